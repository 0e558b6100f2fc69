"""Run folders: the names of the files that a run leaves, and how runs are found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_json

RUN = "run.json"
EVALUATIONS = "evaluations"
CONFIG = "config.yaml"
ARTIFACTS = "artifacts.json"
PAGE = "report.html"
CARD = "card.md"
JUDGEMENTS = "judgements.jsonl"
POLICY = "policy.jsonl"
VALIDATION = "validation.json"
PROBED = "probes.jsonl"
POLICY_PROBES, POLICY_ANSWERS = "policy_probes.jsonl", "policy_answers.jsonl"
COMPARISON = "comparison.json"
RUN_LOCK = ".lock"
SERVERS = "servers"  # logs of the servers that a run starts


def run_is_current(folder: Path, state: str) -> bool:
    """Tell whether a run's folder is complete and holds the result of the present config, inputs and code.

    Args:
        folder: The run's folder.
        state: A hash of everything that decides the result.
    """
    if not all((folder / name).is_file() for name in (RUN, PAGE, ARTIFACTS)):
        return False
    try:
        noted = read_json(folder / RUN)
    except ValignError:
        return False  # cut off by a power cut
    return isinstance(noted, dict) and noted.get("state") == state


def validation_error(folder: Path) -> float | None:
    """Return a run's error on its held-out training examples; None where none were held out."""
    noted = folder / VALIDATION
    return float(read_json(noted)["error"]) if noted.is_file() else None


def run_folders(runs: Path) -> list[Path]:
    """Return the run folders in a folder, or the folder itself where it is one, sorted by name; 9 comes before 16.

    Other evaluations of a run, which lie in its folder, are no runs.

    Raises:
        ValignError: There is none.
    """
    if not runs.is_dir():
        raise ValignError(f"{runs} is not a folder; give the folder of a run or of several, as in runs=runs/udhr.")
    if (runs / RUN).is_file():
        return [runs]
    inside = (folder for folder in _folders(runs) if (folder / RUN).is_file())
    found = sorted((f for f in inside if EVALUATIONS not in f.relative_to(runs).parts), key=_by_number)
    if not found:
        raise ValignError(f"{runs} holds no finished run; run python -m valign.train +experiment=udhr first.")
    return found


def refuse_links_out(place: Path, folder: Path) -> None:
    """Refuse links by which what is written to a place in a run's folder would land outside of it.

    Args:
        place: In the folder; need not be there yet.
        folder: The run's folder, which may be a stranger's.

    Raises:
        ValignError: There is such a link at the place, above it in the folder, or below it.
    """
    root = os.path.realpath(folder)
    inside = (Path(at, name) for at, inner, files in os.walk(place) for name in (*inner, *files))
    for path in (place, *inside):
        real = os.path.realpath(path)
        if real != root and not real.startswith(root + os.sep):
            raise ValignError(
                f"{path} leads out of {folder}, to {real}; delete that link, or give another place: output=FOLDER."
            )


def _folders(root: Path) -> Iterator[Path]:
    """Yield the folders in a folder, those behind links too, each once."""
    seen: set[str] = set()
    for place, inner, _ in os.walk(root, followlinks=True):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        real = os.path.realpath(place)
        if real in seen:
            inner[:] = []
            continue
        seen.add(real)
        yield Path(place)


def _by_number(path: Path) -> list[tuple[list[str | float], str]]:
    """Return what puts ``rank-9`` before ``rank-16``, and 0.25 before 0.5: a folder's text and numbers in turn."""
    split = {part: re.split(r"(\d+(?:\.\d+)?)", part) for part in path.parts}
    return [([float(text) if i % 2 else text for i, text in enumerate(split[part])], part) for part in path.parts]


def run_folder(folder: Path) -> Path:
    """Return the one run folder that a folder is, or holds.

    Raises:
        ValignError: There is none, or there are several.
    """
    found = run_folders(folder)
    if len(found) != 1:
        raise ValignError(f"{folder} holds {len(found)} runs; give the folder of one, such as run=runs/udhr/sft_dpo.")
    return found[0]
