"""``python -m valign.chat runs=DIR``: ask the arms of the runs in a folder, side by side."""

from __future__ import annotations

import sys
from pathlib import Path

from omegaconf import DictConfig

from valign.cli.main import main_with

LONGEST_ANSWER = 120


def main(config: DictConfig) -> None:
    """Read a question a line and print every arm's answer, until the input ends."""
    from valign.core.text import printable
    from valign.evaluation.answering import conversation
    from valign.evaluation.arm_names import arm_label
    from valign.generation.requests import Request, Sampling
    from valign.pipeline.loaded_arms import load_arms

    arms, system = load_arms(Path(config.runs).expanduser(), config.trust)
    print(f"arms: {', '.join(arm_label(name) for name in arms)}. One question a line; Ctrl-D ends.")
    for line in sys.stdin:
        if not line.strip():
            continue
        request = Request(conversation(line.strip(), (), system), Sampling(max_new_tokens=LONGEST_ANSWER))
        for name, generator in arms.items():
            print(f"\n[{arm_label(name)}] {printable(generator.complete([request])[0][0].text)}", flush=True)
        print()


if __name__ == "__main__":
    main_with(main, "chat")
