"""People's decisions applied to the rows that were written: dropped ones go, edited ones change, added ones come in."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from valign.core.files import to_dict, write_jsonl
from valign.core.records import Fact, Question
from valign.core.store import digest
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.synthesis.candidates import filters_of_given
from valign.synthesis.dataset import REVIEWED, DataRows
from valign.synthesis.decisions import D_PREF, D_SFT, ReviewFile, RowState
from valign.synthesis.fact_examples import UNTAUGHT, count_taught
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.review_summary import summarise_review
from valign.synthesis.reviewed_probes import review_probes
from valign.synthesis.reviewed_questions import review_questions
from valign.synthesis.reviewed_training import TrainingReview
from valign.synthesis.reviewing import Review, stale_states
from valign.synthesis.writer import Writer

log = logging.getLogger(__name__)

CLAUSES_AT_MOST = 6  # named in one line


def review_data(
    folder: Path,
    given: ReviewFile,
    rows: DataRows,
    writer: Writer,
    funnels: dict[str, Funnel],
    facts: Sequence[Fact],
    make_filters: Callable[[Sequence[Question]], Filters],
    probes: Sequence[PolicyProbe] = (),
) -> tuple[DataRows, dict[str, Any]]:
    """Apply a file of decisions, and note in ``reviewed.jsonl`` what came of each.

    Args:
        folder: The data's folder.
        given: The file of decisions.
        rows: The rows as synthesised; for the other arguments see ``apply_review``, to which they go.
        writer: The document's writer.
        funnels: The counts, by kind of data.
        facts: What D_sft teaches one by one.
        make_filters: Makes the document's filters for some evaluation questions.
        probes: The probes of the policy as they were made.

    Returns:
        The rows, and the counts for the funnel (``summarise_review``).
    """
    review = Review(given.states, given.path, ClauseIndex(writer.whole.passages))
    rows = apply_review(review, rows, writer, funnels, facts, make_filters, probes)
    write_jsonl(folder / REVIEWED, review.reviewed)
    return rows, summarise_review(review.rows, review.reviewed, len(stale_states(review)), given.path)


def apply_review(
    review: Review,
    rows: DataRows,
    writer: Writer,
    funnels: dict[str, Funnel],
    facts: Sequence[Fact],
    make_filters: Callable[[Sequence[Question]], Filters],
    probes: Sequence[PolicyProbe] = (),
) -> DataRows:
    """Apply decisions to rows as they would be written; nobody is asked anything.

    Rows that were edited or added pass the leak filter; where evaluation questions or probes were, all rows do. The
    funnels follow, so that coverage is counted on what is left.

    Args:
        review: The decisions; what comes of them is noted there.
        rows: The rows.
        writer: The document's writer.
        funnels: The counts, by kind of data.
        facts: What D_sft teaches one by one; a row that was edited may teach its fact no more.
        make_filters: Makes the document's filters for some evaluation questions.
        probes: The probes of the policy; what is asked of them is none of the data, and only kept apart from it.
    """
    questions = review_questions(review, rows.questions, funnels.get("questions"), writer.whole.name)
    asked = [*questions, *(probe.to_question() for probe in review_probes(review, probes))]
    before = [*rows.questions, *(probe.to_question() for probe in probes)]
    is_changed = [q.question for q in asked] != [q.question for q in before]
    filters = filters_of_given(writer, make_filters(asked))
    desk = TrainingReview(review, writer, filters, funnels, {fact.fact_id: fact.text for fact in facts}, is_changed)
    instructions = [
        *(kept for row in rows.instructions if (kept := desk.instruction(row))),
        *(one for state, row in review.added(D_SFT) if (one := desk.added_instruction(state, row))),
    ]
    preferences = [
        *(left for pair in rows.preferences if (left := desk.preference(pair))),
        *(two for state, row in review.added(D_PREF) if (two := desk.added_preference(state, row))),
    ]
    failures = {name: n for name, n in funnels["facts"].dropped.items() if name != UNTAUGHT}
    funnels["facts"] = count_taught(facts, instructions, failures)
    _warn(review)
    return DataRows(instructions, preferences, questions)


def _warn(review: Review) -> None:
    """Name the decisions that do not apply, and the rows that people wrote and a filter dropped."""
    stale = stale_states(review)
    if stale:
        log.warning(
            "%d decisions of %s do not apply, as their clause or row is another now: %s; the page of valign.review "
            "for the new data has what stands there instead, to be read",
            len(stale),
            review.file,
            stale_said(stale),
        )
    if refused := [one for one in review.reviewed if one.refused]:
        question = refused[0].change.get("question") or refused[0].original.get("question", "")
        log.warning(
            "%d reviewed rows dropped by filters, all named in reviewed.jsonl; the first: %r (%s); mend them on the "
            "page of valign.review",
            len(refused),
            question,
            refused[0].refused,
        )


def stale_said(stale: Sequence[RowState]) -> str:
    """Say of each clause how many decisions about it do not apply, and of which sort; the first few clauses are named.

    >>> stale_said([RowState("k", "D_sft", "a/1", "edit", "ann", "", "", {}, {}, "", ())])
    'a/1 (1 edit)'
    """
    clauses: dict[str, Counter[str]] = {}
    for one in stale:
        clauses.setdefault(one.clause or one.key, Counter())[one.action] += 1
    said = [
        f"{clause} ({', '.join(f'{count} {action}' for action, count in counts.items())})"
        for clause, counts in list(clauses.items())[:CLAUSES_AT_MOST]
    ]
    more = [f"{len(clauses) - CLAUSES_AT_MOST} other clauses"] if len(clauses) > CLAUSES_AT_MOST else []
    return ", ".join([*said, *more])


def fingerprint(states: Mapping[str, RowState]) -> str:
    """Return a hash of what decisions come to, whatever file and order they have."""
    return digest([to_dict(states[key]) for key in sorted(states)])
