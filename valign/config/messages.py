"""One-line messages about keys: unknown, missing, renamed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hydra.core.hydra_config import HydraConfig

from valign.core.errors import ValignError

NEEDS = {
    "document.path": "document={choice} needs your own copy of the document: add document.path=/path/to/file.pdf",
    "base_model.model": "base_model={choice} needs a model: add base_model.model=owner/name or a folder's path",
    "teacher.model": "teacher={choice} needs the model's name on the server: add teacher.model=owner/name",
    "evaluation.judge_model.model": "evaluation={choice} needs the judge: add evaluation.judge_model.model=NAME",
    "teacher.recording": "teacher={choice} needs its recording: add teacher.recording=/path/to/file.jsonl",
    "output": "usage: python -m valign.export run=runs/udhr/sft_dpo output=FOLDER",
    "run": "usage: python -m valign.evaluate run=runs/udhr/sft_dpo [questions=FILE.jsonl] [output=FOLDER]",
    "runs": "usage: python -m valign.{choice} runs=runs/udhr",
}


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Return the message that there is no such key, with the nearest one: of the same name, or spelt most like it."""
    options = [*known, "experiment"]
    group, _, name = key.rpartition(".")
    same = [option for option in options if option.rpartition(".")[2] == name]
    hint = f" (did you mean {' or '.join(same)}?)" if same else did_you_mean(key, options)
    if not hint and (siblings := [option for option in options if group and option.rpartition(".")[0] == group]):
        hint = f" ({group} has: {', '.join(option.rpartition('.')[2] for option in siblings)})"
    return f"unknown key '{key}'{hint}; --cfg job shows every key."


def missing(key: str) -> ValignError:
    """Return the error for a key that has to be given and was not."""
    text = NEEDS.get(key, f"add {key}=...")
    if HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
        text = text.format(choice=choices.get(key.partition(".")[0], HydraConfig.get().job.config_name))
    else:
        text = text.rpartition(": ")[2]
    return ValignError(f"{key} is missing: {text}")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return `` (did you mean '...'?)`` with the option that is spelt most like a word, or an empty text."""
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
