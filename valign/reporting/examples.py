"""The training examples of each clause: what an arm was taught before it was asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from valign.core.records import Instruction, Preference
from valign.reporting.comparison import ArmResult, Comparison

MOST_EXAMPLES = 3
MOST_CHARACTERS = 200
_STAGES = {"sft": ("D_sft", "example"), "dpo": ("D_pref", "pair")}


@dataclass(frozen=True)
class ExampleView:
    """One example, long texts cut; ``rejected`` is empty where there is none."""

    example_id: str
    kind: str
    question: str
    answer: str
    rejected: str


@dataclass(frozen=True)
class ExampleList:
    """The first examples of one kind on a clause; ``total`` is how many there are, ``data`` the hash of their data."""

    data: str
    total: str
    rows: list[ExampleView]


class Examples:
    """The training examples by data, training stage and clause."""

    def __init__(self, comparison: Comparison) -> None:
        self._data = list(comparison.examples)
        self._rows: dict[tuple[str, str, str], list[Instruction | Preference]] = {}
        for data, rows in comparison.examples.items():
            for row in rows:
                stage = "sft" if isinstance(row, Instruction) else "dpo"
                for clause in dict.fromkeys(row.clauses):
                    self._rows.setdefault((data, stage, clause), []).append(row)

    def lists(self, clauses: Iterable[str]) -> list[ExampleList]:
        """Return the examples on some clauses, the first of each kind in full view."""
        named = list(clauses)
        found = []
        for data in self._data:
            for stage in _STAGES:
                rows = self._on(data, stage, named)
                if rows:
                    views = [_view(row) for row in rows[:MOST_EXAMPLES]]
                    found.append(ExampleList(data, _amount(len(rows), stage), views))
        return found

    def trained(self, result: ArmResult, clauses: Iterable[str]) -> str:
        """Say how many examples on some clauses an arm was trained on; nothing where it was not, or is not known."""
        if not result.stages or result.data not in self._data:
            return ""
        named = list(clauses)
        stages = [stage for stage in _STAGES if stage in result.stages]
        return " and ".join(_amount(len(self._on(result.data, stage, named)), stage) for stage in stages)

    def _on(self, data: str, stage: str, clauses: Iterable[str]) -> list[Instruction | Preference]:
        rows = [row for clause in clauses for row in self._rows.get((data, stage, clause), [])]
        return list({row.example_id: row for row in rows}.values())


def _amount(count: int, stage: str) -> str:
    title, noun = _STAGES[stage]
    return f"{count} {noun}{'' if count == 1 else 's'} of {title}"


def _view(row: Instruction | Preference) -> ExampleView:
    if isinstance(row, Instruction):
        return ExampleView(row.example_id, row.kind, shorten(row.question), shorten(row.answer), "")
    return ExampleView(
        row.example_id, row.rejected_kind, shorten(row.question), shorten(row.chosen), shorten(row.rejected)
    )


def shorten(text: str, most: int = MOST_CHARACTERS) -> str:
    """Return a text of at most so many characters; an ellipsis stands for the rest."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
