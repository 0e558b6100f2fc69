"""What people have read of a run: the training data, the evaluation questions, the answers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from valign.core.records import Provenance
from valign.models.terms import short_name
from valign.reporting.comparison import Comparison
from valign.reporting.headline import has_made_questions
from valign.reporting.numbers import count_noun, finite_number, format_share
from valign.synthesis.decisions import PROBE_SET
from valign.synthesis.frames import FROM_FILE, FROM_FRAME
from valign.synthesis.probes.make import BY_RULES

_TRAINING_SETS = ("D_sft", "D_pref")
_QUESTION_SET = "questions"
_EDITED = "; edited by "
"""What stands in a row's provenance between its teacher and the person who changed it."""
OWN_WORDS = "valign's own fixed sentences"


def reading_sentences(comparison: Comparison) -> list[str]:
    """Say what was read by a person, and plainly where nothing was."""
    return [_data(comparison), _questions(comparison), *_probes(comparison), *_lost(comparison), _answers(comparison)]


def rows_read(comparison: Comparison) -> tuple[int, int]:
    """Return how many rows of the training data, as they were written, people have read, and how many there are."""
    sets = _reviewed(comparison)
    return _total(sets, "read"), _total(sets, "rows")


def _reviewed(comparison: Comparison, names: Sequence[str] = _TRAINING_SETS) -> list[dict[str, Any]]:
    """Return the review's counts of some sets, by default of those that are trained on."""
    sets = ((comparison.funnel or {}).get("review") or {}).get("sets") or {}
    return [counts for name, counts in sets.items() if name in names]


def _total(sets: list[dict[str, Any]], key: str) -> int:
    return sum(int(finite_number(counts.get(key)) or 0) for counts in sets)


def _data(comparison: Comparison) -> str:
    """Say which share of the training data a person has read, and what came of it."""
    if comparison.funnel is None and not any(arm.stages for arm in comparison.arms):
        return "The training data: there are none, as nothing was trained."
    read, rows = rows_read(comparison)
    changes = [(_total(_reviewed(comparison), name), name) for name in ("edited", "dropped", "added")]
    if not rows or not (read or any(count for count, _ in changes)):
        return "The training data: no person has read them, as far as this run notes."
    done = ", ".join(f"{count:,} {name}" for count, name in changes if count) or "none was changed"
    people = len((comparison.funnel or {})["review"].get("reviewers") or {})
    by = f" by {_people(people)}" if people else ""
    share = format_share(math.floor(100 * read / rows) / 100)  # 19.8% are not the 20% that may be required
    return f"The training data: {read:,} of {rows:,} rows ({share}) were read{by}; {done}."


def _people(number: int) -> str:
    return f"{number:,} {'person' if number == 1 else 'people'}"


def _questions(comparison: Comparison) -> str:
    read, asked = (_total(_reviewed(comparison, (_QUESTION_SET,)), key) for key in ("read", "rows"))
    seen = f"; {read:,} of {asked:,} were read by a person" if read else ""
    if has_made_questions(comparison):
        seen = seen or "; nobody is noted to have read them"
        return f"The evaluation questions: a model wrote them from the document{seen}."
    parts = [comparison.config.get(group) for group in ("evaluation", "document")]
    given = next((part["questions"] for part in parts if isinstance(part, dict) and part.get("questions")), None)
    if given == "shipped":
        return f"The evaluation questions: those that come with the document, which are no training data{seen}."
    if given:
        return f"The evaluation questions: from a file of whoever started this run{seen}."
    return f"The evaluation questions: who wrote them is not noted{seen}."


def _probes(comparison: Comparison) -> list[str]:
    """Say who wrote the probes of the policy and what people did with them; nothing where none were asked."""
    parts = [arm.scores.get("policy_probes") or {} for arm in comparison.arms]
    part = next((part for part in parts if part.get("metrics")), None)
    if part is None:
        return []
    made = part.get("made")
    by = made.get("by") if isinstance(made, dict) else None
    wrote = "from a file" if by is None else f"{'rules' if by == BY_RULES else 'a model'} made them from the document"
    counts = _reviewed(comparison, (PROBE_SET,))
    read, rows = (_total(counts, key) for key in ("read", "rows"))
    if not read:
        own = f"; people added {added:,}" if (added := _total(counts, "added")) else ""
        return [f"The probes of the policy: {wrote}{own}; nobody is noted to have read them."]
    done = ", ".join(f"{n:,} {name}" for name in ("edited", "dropped", "added") if (n := _total(counts, name)))
    return [f"The probes of the policy: {wrote}; {read:,} of {rows:,} were read by a person, {done or 'none changed'}."]


def _lost(comparison: Comparison) -> list[str]:
    """Say how many decisions did not apply when the data were made; nothing where all did."""
    review = (comparison.funnel or {}).get("review") or {}
    lost = int(finite_number(review.get("stale")) or 0)
    was = "decision of theirs does" if lost == 1 else "decisions of theirs do"
    return [f"{lost:,} {was} not apply any more, as the clause or the row is another now."] if lost else []


def judged_by_people(comparison: Comparison) -> list[Any]:
    """Return what people said of answers: of pairs of them, and of single ones where the runs have such labels."""
    return [*comparison.labels, *comparison.answer_labels]


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
            named.update(_writer(row.provenance) for row in rows)
    return named.most_common()


def _writer(origin: Provenance) -> str:
    """Name what wrote a row for a reader; people who changed one are not named."""
    teacher, edited, _ = origin.teacher.partition(_EDITED)
    ending = ", edited by a person" if edited else ""
    if origin.template.startswith("review/"):
        return f"a person{ending}"
    if teacher == FROM_FRAME:
        return f"{OWN_WORDS}{ending}"
    if teacher.startswith(FROM_FILE):
        return f"a file ({short_name(teacher.partition(': ')[2]) or 'who wrote it is not noted'}){ending}"
    return f"the teacher model ({short_name(teacher)}){ending}"
