"""What people have read of a run: the training data, the evaluation questions, the answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from valign.models.terms import short_name
from valign.reporting.comparison import Comparison
from valign.reporting.headline import has_made_questions
from valign.reporting.numbers import count_noun, finite_number, format_share
from valign.synthesis.frames import FROM_FILE, FROM_FRAME

TRAINING_SETS = ("D_sft", "D_pref")
OWN_WORDS = "valign's own fixed sentences"


def reading_sentences(comparison: Comparison) -> list[str]:
    """Say what was read by a person, and plainly where nothing was."""
    return [_data(comparison), _questions(comparison), _answers(comparison)]


def rows_read(comparison: Comparison) -> tuple[int, int]:
    """Return how many rows of the training data, as they were written, people have read, and how many there are."""
    sets = [counts for name, counts in (comparison.review.get("sets") or {}).items() if name in TRAINING_SETS]
    return _total(sets, "read"), _total(sets, "rows")


def _total(sets: list[dict[str, Any]], key: str) -> int:
    return sum(int(finite_number(counts.get(key)) or 0) for counts in sets)


def _data(comparison: Comparison) -> str:
    """Say which share of the training data a person has read, and what came of it."""
    read, rows = rows_read(comparison)
    if not read:
        return "The training data: no person has read them, as far as this run notes."
    sets = [counts for name, counts in comparison.review["sets"].items() if name in TRAINING_SETS]
    changes = [(_total(sets, name), name) for name in ("edited", "dropped", "added")]
    done = ", ".join(f"{count:,} {name}" for count, name in changes if count) or "none was changed"
    people = len(comparison.review.get("reviewers") or {})
    by = f" by {_people(people)}" if people else ""
    return f"The training data: {read:,} of {rows:,} rows ({format_share(read / rows)}) were read{by}; {done}."


def _people(number: int) -> str:
    return f"{number:,} {'person' if number == 1 else 'people'}"


def _questions(comparison: Comparison) -> str:
    if has_made_questions(comparison):
        return "The evaluation questions: a model wrote them from the document; that a person read them is not noted."
    parts = [comparison.config.get(group) for group in ("evaluation", "document")]
    given = next((part["questions"] for part in parts if isinstance(part, dict) and part.get("questions")), None)
    if given == "shipped":
        return "The evaluation questions: those that come with the document; they are no part of the training data."
    if given:
        return "The evaluation questions: from a file of whoever started this run."
    return "The evaluation questions: who wrote them is not noted."


def judged_by_people(comparison: Comparison) -> list[Any]:
    """Return what people said of answers: of pairs of them, and of single ones where the runs have such labels."""
    return [*comparison.labels, *getattr(comparison, "answer_labels", ())]


def _answers(comparison: Comparison) -> str:
    """Count what people said of answers."""
    raters = Counter(label.rater for label in judged_by_people(comparison))
    if not raters:
        return "The answers: no person has judged them."
    said = count_noun(sum(raters.values()), "judgement")
    return f"The answers: {_people(len(raters))} gave {said} on them, without seeing which model had answered."


def writers(comparison: Comparison, data: str = "") -> list[tuple[str, int]]:
    """Return who wrote the training rows, as their provenance says, and how many rows each; most first.

    Args:
        comparison: Holds the rows, where they are still in the store.
        data: Hash of the data in question; nothing for all.
    """
    named: Counter[str] = Counter()
    for key, rows in comparison.examples.items():
        if not data or key == data:
            named.update(_writer(row.provenance.teacher) for row in rows)
    return named.most_common()


def _writer(teacher: str) -> str:
    """Name what wrote a row for a reader."""
    if teacher == FROM_FRAME:
        return OWN_WORDS
    if teacher.startswith(FROM_FILE):
        return f"a file ({short_name(teacher.partition(': ')[2]) or 'who wrote it is not noted'})"
    return f"the teacher model ({short_name(teacher)})"
