"""valign beside TRL on this machine: ``python experiments/benchmark/run.py`` (``--help`` for shorter runs).

Every measurement is a process of its own, valign's and TRL's in turn. What is finished is kept, so that the same
command goes on after a kill.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
STAGES = ("sft", "dpo")
PLAIN = {"engine": "trl", "precision": "float32", "attention": "sdpa", "options": {}}
CANDIDATES: dict[str, list[dict[str, Any]]] = {
    "sft": [
        PLAIN,
        PLAIN | {"attention": "eager"},
        PLAIN | {"options": {"padding_free": True, "max_length": None}},
        PLAIN | {"precision": "bfloat16"},
        PLAIN | {"precision": "bfloat16", "options": {"padding_free": True, "max_length": None}},
    ],
    "dpo": [
        PLAIN | {"options": {"precompute_ref_log_probs": True}},
        PLAIN | {"attention": "eager", "options": {"precompute_ref_log_probs": True}},
        PLAIN,
        PLAIN | {"precision": "bfloat16", "options": {"precompute_ref_log_probs": True}},
    ],
}
VALIGN = {"engine": "valign", "precision": "auto"}
LENGTHS, BATCHES, VOCABULARIES = (128, 512, 2048), (1, 4, 16), (1024, 8192, 65536)
BASE = {"length": 128, "batch_size": 4, "vocabulary": 8192, "examples": 16}


class Measurements:
    """Makes measurements, each once: finished ones are read from ``measurements.jsonl``.

    Args:
        folder: Where measurements, random models and the trainings' output are kept.
    """

    def __init__(self, folder: Path) -> None:
        """Read what an earlier call has finished."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.file = folder, folder / "measurements.jsonl"
        lines = self.file.read_text(encoding="utf-8").splitlines() if self.file.is_file() else []
        self.done = {row["key"]: row for row in map(json.loads, lines)}
        self.planned: dict[str, float] = {}
        self.started: dict[str, subprocess.Popen[str]] = {}
        self.guessed = self.taken = 0.0

    def plan(self, specs: list[dict[str, Any]], seconds: float) -> None:
        """Announce measurements that will be asked for, with a guess of the seconds of each."""
        self.planned |= {key: seconds for key in map(key_of, specs) if key not in self.done}

    def __call__(
        self, spec: dict[str, Any], limit: float | None = None, following: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a measurement's result: ``{"error": ...}`` where it failed or was not done in ``limit`` seconds.

        A failure is not kept: the same command tries again. The process of ``following``, the measurement that comes
        next, is started at the same time, so that it has imported all that it needs when its turn comes.
        """
        key = key_of(spec)
        if key in self.done:
            return dict(self.done[key]["result"])
        guess = self.planned.pop(key, 30.0)
        self._announce(spec, guess)
        began = time.perf_counter()
        process = self.started.pop(key, None) or self._start(spec)
        if following is not None and (other := key_of(following)) not in {*self.done, *self.started}:
            self.started[other] = self._start(following)
        result = self._finish(process, key, limit)
        self.guessed, self.taken = self.guessed + guess, self.taken + time.perf_counter() - began
        if "error" not in result:
            self.done[key] = {"key": key, "spec": spec, "result": result}
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(self.done[key]) + "\n")
        print(f"  {shown(result)}", flush=True)
        return result

    def stop(self) -> None:
        """End the processes that wait for their turn."""
        for process in self.started.values():
            process.kill()
            process.wait()
        self.started.clear()

    def _announce(self, spec: dict[str, Any], guess: float) -> None:
        left = (guess + sum(self.planned.values())) * (self.taken / self.guessed if self.guessed else 1)
        print(f"{label(spec)} ({len(self.planned) + 1} to go, about {left / 60:.0f} min)", flush=True)

    def _start(self, spec: dict[str, Any]) -> subprocess.Popen[str]:
        """Start a measurement's process, which waits for a line."""
        from valign.training.checkpoints import remove_path

        key = key_of(spec)
        asked, result = self.folder / f"{key}.asked.json", self.folder / f"{key}.json"
        asked.write_text(json.dumps(spec), encoding="utf-8")
        remove_path(result)
        remove_path(self.folder / key)
        command = [sys.executable, str(HERE / "worker.py"), str(asked), str(result), "--wait"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(spec["threads"])}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, env=environment, **pipes)

    def _finish(self, process: subprocess.Popen[str], key: str, limit: float | None) -> dict[str, Any]:
        """Let a process begin, wait for its end, and return what it found."""
        from valign.training.checkpoints import remove_path

        asked, result = self.folder / f"{key}.asked.json", self.folder / f"{key}.json"
        try:
            said = process.communicate("begin\n", timeout=limit)[1]
            if process.returncode:
                return {"error": (said.strip().splitlines() or ["killed"])[-1]}
            return dict(json.loads(result.read_text(encoding="utf-8")))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return {"error": f"not done after {limit:.0f} s"}
        finally:
            for path in (asked, result, self.folder / key):
                remove_path(path)


def key_of(spec: dict[str, Any]) -> str:
    """Return a measurement's name; other code has other names, so that it is measured anew."""
    from valign.core.store import code_digest, digest

    return digest([spec, code_digest("training", "models")])[:16]


def label(spec: dict[str, Any]) -> str:
    """Return a measurement in words."""
    if spec["engine"] == "ceiling":
        return "products of large matrices"
    size = [f"{spec['length']} tokens", f"vocabulary {spec['vocabulary']}"] if "length" in spec else []
    chosen = [f"{key}={value}" for key, value in spec.get("trainer", {}).items() if value]
    options = [spec["precision"], spec.get("attention", ""), *spec.get("options", {}), *chosen]
    words = [spec["engine"], spec["stage"], f"{spec['examples']} examples", f"batch {spec['batch_size']}"]
    return ", ".join([*words, *size, *filter(None, options)])


def shown(result: dict[str, Any]) -> str:
    """Return a result in words."""
    if "error" in result:
        return f"failed: {result['error']}"
    if "ceiling" in result:
        return ", ".join(f"{flops / 1e9:.0f} GFLOP/s in {name}" for name, flops in result["ceiling"].items())
    return (
        f"{result['examples'] / result['seconds']:.3f} examples/s, {result['peak_mib']:.0f} MiB, "
        f"final loss {result['final_loss']:.4f}"
    )


def growth(shared: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return the measurements of random models: by length, by batch and by vocabulary, both engines in turn.

    Each has two steps at least.
    """
    from subjects import initial_adapter, random_model

    sizes = [(s, BASE | {"length": n, "examples": max(8, 2048 // n)}) for n in LENGTHS for s in STAGES]
    sizes += [("sft", BASE | {"batch_size": n, "examples": max(16, 2 * n)}) for n in BATCHES]
    sizes += [("sft", BASE | {"vocabulary": n}) for n in VOCABULARIES]
    found: dict[str, dict[str, Any]] = {}
    for stage, size in sizes:
        model = random_model(folder, size["vocabulary"])
        adapter = folder / f"{model.name}.safetensors"
        if not adapter.is_file():
            initial_adapter(model, adapter)
        trl = CANDIDATES[stage][0]
        for engine in (VALIGN | {"precision": "float32"}, trl):
            spec = shared | size | engine | {"stage": stage, "model": str(model), "adapter": str(adapter)}
            found[key_of(spec)] = spec
    return list(found.values())


def best(candidates: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """Return the candidate with the most examples a second.

    Raises:
        SystemExit: None of them ran.
    """
    ran = [(result["examples"] / result["seconds"], spec) for spec, result in candidates if "error" not in result]
    if not ran:
        raise SystemExit("TRL did not run in any configuration; see measurements.jsonl")
    return max(ran, key=lambda pair: pair[0])[1]


def measure_growth(options: argparse.Namespace, work: Measurements) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Make the measurements of growth, each with its limit of time, and return them with what they measure."""
    grown = growth({"threads": options.threads}, options.work)
    work.plan(grown, 18)
    return [(spec, work(spec, options.limit)) for spec in grown]


def measure(options: argparse.Namespace, work: Measurements) -> dict[str, Any]:
    """Make the measurements of the real model and return them: ceiling, candidates, rounds."""
    from subjects import initial_adapter

    from valign.models.load import prepare_model

    model, adapter = prepare_model(options.model), options.work / f"{options.model.split(':')[-1]}.safetensors"
    if not adapter.is_file():
        initial_adapter(Path(model), adapter)
    shared = {"threads": options.threads}
    real = shared | {"model": str(model), "adapter": str(adapter), "batch_size": options.batch}
    real |= {"artifact": str(options.artifact.resolve())} if options.artifact else {}
    probes = {s: [real | c | {"stage": s, "examples": options.probe} for c in CANDIDATES[s]] for s in STAGES}
    rounds = [(i, stage) for i in range(options.rounds) for stage in STAGES]
    mine = {(i, s): real | VALIGN | {"stage": s, "examples": options.examples, "round": i} for i, s in rounds}
    for stage, guess in (("sft", 0.5), ("dpo", 1.0)):
        work.plan(probes[stage], 12 + 1.5 * guess * options.probe)
        work.plan([mine[i, s] for i, s in rounds if s == stage], 10 + guess * options.examples)
    standing_in = [f"trl-{i}-{stage}" for i, stage in rounds]
    work.planned |= dict.fromkeys(standing_in, 15 + 1.5 * options.examples)

    ceiling = work(shared | {"engine": "ceiling"})
    limit = 60 + 10 * options.probe  # several times what the fastest takes on a slow machine
    candidates = {stage: [(spec, work(spec, limit)) for spec in probes[stage]] for stage in STAGES}
    chosen = {stage: best(candidates[stage]) for stage in STAGES}
    found: dict[str, dict[str, list[Any]]] = {stage: {"valign": [], "trl": []} for stage in STAGES}
    for i, stage in rounds:
        del work.planned[f"trl-{i}-{stage}"]
        other = chosen[stage] | {"examples": options.examples, "round": i}
        work.plan([other], 15 + 1.5 * options.examples)
        for spec in (mine[i, stage], other)[:: 1 if i % 2 == 0 else -1]:
            found[stage][spec["engine"]].append(work(spec))
    return {"ceiling": ceiling["ceiling"], "candidates": candidates, "chosen": chosen, "rounds": found}


def main() -> None:
    """Measure, then write results.json, the README's table and the plots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="embedded:smollm2-135m", help="embedded model; tiny to try the script")
    parser.add_argument(
        "--artifact", type=Path, help="folder of artifacts/data whose rows are used; else rows are made"
    )
    parser.add_argument("--examples", type=int, default=128, help="examples in each measurement")
    parser.add_argument("--rounds", type=int, default=2, help="times that valign and TRL are measured in turn")
    parser.add_argument(
        "--probe",
        type=int,
        default=32,
        help="examples with which TRL's configurations are compared; few favour float32, as kernels for bfloat16 are "
        "compiled in the first steps",
    )
    parser.add_argument("--batch", type=int, default=8, help="examples, or pairs, in a batch")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="threads of both")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--skip-growth", action="store_true", help="leave out lengths, batches and vocabularies")
    parts.add_argument("--only-growth", action="store_true", help="measure nothing else; the other results stay")
    parser.add_argument("--limit", type=float, default=600, help="seconds that a measurement of growth may take")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark"), help="folder of finished measurements")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of results.json, README table and plots")
    options = parser.parse_args()
    from results import growth_summary, plots, summary, table, write_table

    work, file = Measurements(options.work), options.output / "results.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not options.only_growth:
        results |= summary(measure(options, work), vars(options))
    if not options.skip_growth:
        results |= growth_summary(measure_growth(options, work), vars(options))
    options.output.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    text = table(results)
    write_table(options.output / "README.md", text)
    plots(results, options.output)
    print(text)


if __name__ == "__main__":
    main()
