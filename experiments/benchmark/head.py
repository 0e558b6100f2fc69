"""The output layer in chunks beside one product: ``python experiments/benchmark/head.py`` prints the README's table.

One forward and backward pass of the output layer alone, float32 on one thread, each in a process of its own, both ways
in turn. Seconds are the processor's, the least of PASSES; memory is the process's peak less what it held before. What
would take more than LIMIT is left out.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

SHAPES = ((49152, 576), (131072, 1024))  # vocabulary and hidden size
TOKENS = (500, 1000, 2000, 4000)
LIMIT = 3.5 * 2**30
PASSES = 3


def measured(vocabulary: int, hidden: int, tokens: int, trained: bool, way: str) -> dict[str, float]:
    """Return the processor's seconds of the quickest pass and the peak MiB that it adds."""
    import torch
    import torch.nn.functional as F

    from valign.models.logprobs import token_logps

    torch.set_num_threads(1)
    head = torch.nn.Linear(hidden, vocabulary, bias=False).requires_grad_(trained)
    states = torch.randn(tokens, hidden, requires_grad=True)
    targets = torch.randint(0, vocabulary, (tokens,))
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(PASSES):
        began = time.process_time()
        inner = states * 1.0
        if way == "chunks":
            logps = token_logps(head, inner, targets)
        else:
            logps = -F.cross_entropy(head(inner).float(), targets, reduction="none")
        (-logps.sum() / tokens).backward()
        seconds.append(time.process_time() - began)
        head.weight.grad = states.grad = None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": min(seconds), "mib": (peak - held) / 1024}


def alone(*spec: object) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--one", json.dumps(spec)]
    result: dict[str, float] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return result


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(*json.loads(options.one))))
        return
    print("| vocabulary | output layer | tokens | one product, s | chunks, s | one product, MiB | chunks, MiB |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for vocabulary, hidden in SHAPES:
        for trained in (False, True):
            for tokens in TOKENS:
                spec = (vocabulary, hidden, tokens, trained)
                fits = 3 * 4 * vocabulary * tokens < LIMIT
                whole = alone(*spec, "whole") if fits else None
                chunks = alone(*spec, "chunks")
                found = [f"{found[key]:.{n}f}" if found else "" for key, n in (("seconds", 2), ("mib", 0))
                         for found in (whole, chunks)]  # fmt: skip
                name = "trained" if trained else "frozen"
                print("|", " | ".join([str(vocabulary), name, str(tokens), *found]), "|", flush=True)


if __name__ == "__main__":
    main()
