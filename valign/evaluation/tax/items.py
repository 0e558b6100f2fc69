"""The general texts and everyday instructions, written for valign; they are in no document and no training data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from valign.core.files import read_jsonl

_DATA = resources.files("valign.evaluation.tax").joinpath("data")


@dataclass(frozen=True)
class GeneralText:
    """A paragraph of general text."""

    item_id: str
    text: str


@dataclass(frozen=True)
class EverydayTask:
    """An everyday instruction with a rule that tells right answers from wrong ones.

    Attributes:
        item_id: Its name.
        instruction: What the model is told.
        pattern: Regular expression that is found in a right answer and in no wrong one; letter case does not matter.
        right: An answer that is right.
        wrong: An answer that is not.
    """

    item_id: str
    instruction: str
    pattern: str
    right: str
    wrong: str

    def solved(self, answer: str) -> bool:
        """Tell whether an answer is right; white space around it does not matter."""
        return re.search(self.pattern, answer.strip(), re.IGNORECASE | re.DOTALL) is not None


def general_texts() -> list[GeneralText]:
    """Return the general texts."""
    with resources.as_file(_DATA.joinpath("texts.jsonl")) as path:
        return read_jsonl(Path(path), GeneralText)


def everyday_tasks() -> list[EverydayTask]:
    """Return the everyday instructions."""
    with resources.as_file(_DATA.joinpath("instructions.jsonl")) as path:
        return read_jsonl(Path(path), EverydayTask)
