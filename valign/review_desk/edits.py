"""What a person wrote into a row: what of it is new, and whether it may be trained on or asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import to_dict
from valign.core.text import words
from valign.evaluation.leakage import question_overlap
from valign.evaluation.verdicts import VERDICTS, stated_verdict
from valign.synthesis.candidates import CONTRADICTIONS
from valign.synthesis.decisions import D_PREF, D_SFT, PROBE_SET, QUESTION_SET, RowState, check_change
from valign.synthesis.review_rows import ReviewRow, changeable
from valign.synthesis.reviewed_probes import probe_edit_fault

SHARED_WORDS_AT_MOST = 5  # in a row in common with an evaluation question, as in the filters
NEEDED = {
    D_SFT: ("question", "answer"),
    D_PREF: ("question", "answer", "rejected", "rejected_kind"),
    QUESTION_SET: ("question", "answer"),
    PROBE_SET: ("question", "answer", "verdict"),
}
"""The sets to which rows can be added, and what a new row has to have; probes only where the data have some."""


def make_change(row: ReviewRow, given: Any, state: RowState | None) -> dict[str, Any]:
    """Return what an edit changes of a row as synthesised, or as added.

    Args:
        row: The row as it was at first.
        given: What the page sent: the values of some of the row's fields.
        state: What had been decided about it.

    Raises:
        ValignError: A value cannot be kept, both answers are the same, or a probe cannot be asked so.
    """
    before, sent = to_dict(row), only_changeable(given, row.set)
    values = check_change({name: value for name, value in sent.items() if _as_sent(value) != _as_sent(before[name])})
    earlier = {name: value for name, value in (state.change if state else {}).items() if name not in sent}
    shown = {**before, **earlier, **values}
    if shown["rejected"] and shown["rejected"] == shown["answer"]:
        raise ValignError("answer and rejected answer are the same; change one of them.")
    change = {name: value for name, value in values.items() if value != _as_sent(before[name])}
    if row.set == PROBE_SET and (fault := probe_edit_fault(row, change)):
        raise ValignError(fault)
    if {"answer", "verdict"} & change.keys():
        check_verdict(shown["verdict"], shown["answer"])
    return change


def check_verdict(verdict: str | None, answer: str) -> None:
    """Refuse an answer that begins with the other one of yes and no.

    Args:
        verdict: ``yes``, ``no`` or None.
        answer: The right answer.

    Raises:
        ValignError: It does.
    """
    said = stated_verdict(answer) if words(answer)[:1] and words(answer)[0] in VERDICTS else None
    if verdict is not None and said not in (verdict, None):
        raise ValignError(f"the verdict is {verdict}, and the answer says {said}; make them agree.")


def check_edit(name: str, change: Mapping[str, Any], asked: Sequence[str]) -> None:
    """Check a pair's kind, and that no question for training gives an evaluation question away.

    The build checks that by meaning, too; by words it can be said at once.

    Args:
        name: The row's set.
        change: What is new of it.
        asked: The evaluation questions and probes.

    Raises:
        ValignError: It is not so.
    """
    if (kind := change.get("rejected_kind")) and kind not in CONTRADICTIONS:
        raise ValignError(f"'{kind}' is no way to contradict a clause; give one of: {', '.join(CONTRADICTIONS)}.")
    if name not in (D_SFT, D_PREF) or "question" not in change:
        return
    if found := question_overlap(asked, [change["question"]], SHARED_WORDS_AT_MOST + 1)["questions"]:
        first = found[0]
        raise ValignError(
            f"the question shares '{first['shared']}' with '{first['question']}' of the evaluation, which "
            "training may not give away; ask in other words."
        )


def only_changeable(given: Any, name: str) -> dict[str, Any]:
    """Return what a person wrote, as far as a set's rows have it."""
    if not isinstance(given, dict):
        raise ValignError("'change' must be a JSON object.")
    known = changeable(name)
    if unknown := [key for key in given if key not in known]:
        raise ValignError(f"'{unknown[0]}' cannot be changed in {name}; give some of: {', '.join(known)}.")
    return given


def _as_sent(value: Any) -> Any:
    """Return a row's value as the page sends it when nothing was changed: lists, texts without space around them."""
    if isinstance(value, str):
        return value.replace("\r\n", "\n").replace("\r", "\n").strip()
    return [list(one) for one in value] if isinstance(value, tuple) else value
