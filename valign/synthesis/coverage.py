"""Coverage contract: so many examples, pairs and evaluation questions for every clause, or the build says which lack.

A clause that has too few is asked about again with other random numbers; where that does not help, fixed sentences
stand in. What is written for a clause depends on that clause alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.errors import ValignError
from valign.core.records import Instruction, Passage, Preference, Question
from valign.core.store import digest
from valign.documents.clauses import enclosing
from valign.synthesis.case_rows import ask_instructions
from valign.synthesis.dataset import DataRows
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.preferences import Situation, ask_pairs, pairs_of
from valign.synthesis.rows import frame_words, keep_framed, make_framed_row
from valign.synthesis.writer import Writer, is_waiting
from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

ASKED_BY = {
    "instructions": "synthesis.instructions.questions_per_passage",
    "preferences": "synthesis.preferences.scenarios_per_passage",
    "questions": "synthesis.evaluation_questions.per_passage",
}
TOP_UP_ROUNDS = "synthesis.coverage.top_up_rounds"
NOUNS = {"instructions": "D_sft", "preferences": "D_pref", "questions": "evaluation questions"}


def top_up(
    writer: Writer,
    funnel: Funnel,
    least: int,
    ask: Callable[[Sequence[Passage], int], None],
    frame: Callable[[Passage, int], None],
    exempt: Collection[str] = (),
) -> None:
    """Write more for the clauses that have too few; nothing while a batch has completions still to bring.

    Args:
        writer: The document's writer; its settings say how often the teacher is asked again.
        funnel: What is there; ``ask`` and ``frame`` count what they add.
        least: Items that every clause is to have.
        ask: Lets the teacher write more about some passages, in a round counted from 1.
        frame: Adds up to so many fixed sentences about a passage.
        exempt: Clauses that may have fewer.
    """
    wanting = [passage for passage in writer.document.passages if passage.clause not in exempt]
    for turn in range(1, writer.settings.coverage.top_up_rounds + 1):
        if is_waiting(writer):
            return  # what is short shows when the batch is back
        short = [p for p in wanting if funnel.per_clause[p.clause] < least]
        if not short:
            return
        noun = "clause" if len(short) == 1 else "clauses"
        log.info("coverage: round %d for %d %s with fewer than %d", turn, len(short), noun, least)
        ask(short, turn)
    for passage in wanting:
        if (missing := least - funnel.per_clause[passage.clause]) > 0 and not is_waiting(writer):
            frame(passage, missing)


def cover_instructions(writer: Writer, filters: Filters, funnel: Funnel, rows: list[Instruction]) -> None:
    """Top D_sft up where a clause has fewer than ``coverage.min_instructions`` rows, of whatever kind.

    Args:
        writer: The document's writer.
        filters: The document's filters.
        funnel: Counts of D_sft.
        rows: What is there; new rows are added behind.
    """
    top_up(
        writer,
        funnel,
        writer.settings.coverage.min_instructions,
        lambda passages, turn: rows.extend(ask_instructions(writer, filters, funnel, passages, turn)),
        lambda passage, count: _frame_instructions(writer, filters, funnel, rows, passage, count),
    )


def cover_preferences(
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnel: Funnel,
    rows: list[Preference],
    system: str | None = None,
) -> None:
    """Top D_pref up where a clause has fewer than ``min_preferences`` pairs.

    Args:
        writer: The document's writer.
        base: The base model, behind a cache.
        filters: The document's filters.
        funnel: Counts of D_pref.
        rows: What is there; new pairs are added behind.
        system: System prompt under which the base model answers.
    """

    def ask(passages: Sequence[Passage], turn: int) -> None:
        rows.extend(ask_pairs(writer, base, filters, funnel, system, passages, turn))

    def frame(passage: Passage, count: int) -> None:
        wanted = funnel.per_clause[passage.clause] + count
        for situation in _frame_situations(writer, filters, funnel, passage):
            rows.extend(pairs_of([situation], writer, base, filters, funnel, system))
            if funnel.per_clause[passage.clause] == wanted:
                break

    top_up(writer, funnel, writer.settings.coverage.min_preferences, ask, frame, writer.without_value or ())


def _frame_instructions(
    writer: Writer, filters: Filters, funnel: Funnel, rows: list[Instruction], passage: Passage, count: int
) -> None:
    """Add up to ``count`` requests for a passage or for words that only it has, each of them new."""
    before = len(rows)
    taken = {row.question for row in rows if row.clauses[0] == passage.clause}
    for kind, question, words in _framed(writer, passage):
        if len(rows) - before == count:
            return
        if question not in taken:
            quote = writer.quote(words, passage)
            row = make_framed_row(writer, passage, kind, question, quote.sentence, quote, None)
            keep_framed(rows, row, filters, funnel, passage)


def _frame_situations(writer: Writer, filters: Filters, funnel: Funnel, passage: Passage) -> Iterator[Situation]:
    """Yield requests for a passage, with answers, as situations that only lack a rejected answer."""
    for _, question, words in _framed(writer, passage):
        funnel.made += 1
        quote = writer.quote(words, passage)
        reason, scores = filters.check_leak(question)
        if not reason:
            reason, more = filters.check_answer(quote.sentence, passage)
            scores = {**scores, **more}
        if reason:
            funnel.drop(reason)
        else:
            origin = writer.provenance(quote, "frame/situation", digest(question)[:8], None)
            yield Situation(question, quote.sentence, passage, origin, scores)


def _framed(writer: Writer, passage: Passage) -> list[tuple[str, str, str]]:
    """Return kind, question and what is asked for, recitations first, then phrases."""
    title, subject = frame_words(writer, passage)
    frames = writer.language
    phrases = writer.unique_phrases[passage.clause]
    asked = [("phrase", frame.format(words=words), words) for words in phrases for frame in frames.phrase_frames]
    recited = [("recite", frame.format(title=title, topic=subject), passage.text) for frame in frames.recite_frames]
    return [*recited, *asked]


def count_questions(questions: Sequence[Question], passages: Sequence[Passage]) -> Counter[str]:
    """Count evaluation questions by passage; a question on ``d/4`` counts for ``d/4/1`` and ``d/4/2`` too."""
    named = Counter(question.clause for question in questions)
    return Counter({p.clause: sum(named[clause] for clause in enclosing(p.clause)) for p in passages})


def check_not_empty(writer: Writer, rows: DataRows, funnels: Mapping[str, Funnel]) -> None:
    """Check that there is something to train on.

    Raises:
        ValignError: There is no row of one of the two.
    """
    clauses = {passage.clause for passage in writer.document.passages}
    if not rows.preferences and (writer.without_value or set()) >= clauses:
        raise ValignError(
            f"D_pref is empty: by {writer.teacher.id} no clause of the document carries a value; check that it states "
            "rules, or take another teacher."
        )
    kinds = (("D_sft", rows.instructions, "sft"), ("D_pref", rows.preferences, "preference"))
    for name, kept, kind in kinds:
        if not kept:
            raise ValignError(
                f"{name} is empty: every candidate was dropped ({dict(funnels[kind].dropped)}); lower "
                "synthesis.filters.min_relevance or raise synthesis.instructions.questions_per_passage."
            )


@dataclass(frozen=True)
class ReviewLosses:
    """What a review took away.

    Attributes:
        path: The file of decisions.
        counts: How many rows of each clause people dropped, or changed so that a filter dropped them; of
            ``instructions``, ``preferences`` and ``questions``.
    """

    path: str
    counts: Mapping[str, Mapping[str, int]]


def check_coverage(
    writer: Writer,
    counts: Mapping[str, Mapping[str, int]],
    given_questions: bool,
    lost: ReviewLosses | None = None,
) -> dict[str, dict[str, Any]]:
    """Check that every clause has what ``synthesis.coverage`` asks for.

    Args:
        writer: The document's writer, with its settings.
        counts: Items by clause, of ``instructions``, ``preferences`` and ``questions``.
        given_questions: The user wrote the questions, so that a lack of them is a warning.
        lost: What a review took away; None where there was none.

    Returns:
        For each of the three: ``least``, and ``short`` with the number of items of the clauses that have fewer; of
        the pairs also ``without_value``, the clauses that carry no value and so need none, where there are any.

    Raises:
        ValignError: A clause is short, and ``synthesis.coverage.waive`` is false.
    """
    settings = writer.settings.coverage
    least = {kind: int(getattr(settings, f"min_{kind}")) for kind in NOUNS}
    report: dict[str, dict[str, Any]] = {}
    for kind, number in least.items():
        found = {p.clause: counts[kind].get(p.clause, 0) for p in writer.document.passages}
        exempt = writer.without_value or () if kind == "preferences" else ()
        short = {clause: n for clause, n in found.items() if n < number and clause not in exempt}
        report[kind] = {"least": number, "short": short}
        if exempt:
            report[kind]["without_value"] = sorted(exempt)
    report["questions"]["given"] = given_questions
    lacking = {kind: r for kind, r in report.items() if r["short"]}
    tolerated = {kind for kind in lacking if settings.waive or (kind == "questions" and given_questions)}
    if fatal := {kind: r for kind, r in lacking.items() if kind not in tolerated}:
        more = ", ".join([*(ASKED_BY[kind] for kind in fatal), TOP_UP_ROUNDS])
        raise ValignError(
            f"coverage: {'; '.join(_listed(kind, r) for kind, r in fatal.items())}. "
            f"{_blame(fatal, lost)}Let more be asked ({more}) or set synthesis.coverage.waive=true."
        )
    for kind in sorted(tolerated):
        log.warning("coverage: %s", _as_warning(kind, lacking[kind]))
    return report


def _blame(short: Mapping[str, Mapping[str, Any]], lost: ReviewLosses | None) -> str:
    """Say where clauses are short because of a review, and what to do there."""
    gone = [
        f"{n} {NOUNS[kind]} of {clause}"
        for kind, r in short.items()
        for clause in r["short"]
        if lost and (n := lost.counts.get(kind, {}).get(clause, 0))
    ]
    if not gone or lost is None:
        return ""
    return (
        f"The review in {lost.path} took away {', '.join(gone)}: add rows about these clauses on the page of "
        "valign.review, or keep some of the dropped ones. "
    )


def coverage_lines(report: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the contract and what it lacks, for the closing table; nothing where there was none."""
    if not report:
        return []
    asked = ", ".join(f"{r['least']} {NOUNS[kind]}" for kind, r in report.items())
    lines = [f"coverage asked of every clause: {asked}"]
    if without := report.get("preferences", {}).get("without_value"):
        lines.append(f"    no pairs needed for {len(without)} clauses that carry no value: {', '.join(without)}")
    return lines + [f"    {_as_warning(kind, r)}" for kind, r in report.items() if r["short"]]


def _as_warning(kind: str, lack: Mapping[str, Any]) -> str:
    """Say what is short as a warning; of questions that the user wrote, which are as the user wants them, as a note."""
    if not lack.get("given"):
        return f"WARNING: {_listed(kind, lack)}"
    short: Mapping[str, int] = lack["short"]
    few = "no evaluation question asks" if not any(short.values()) else f"fewer than {lack['least']} questions ask"
    clauses = ", ".join(f"{clause} ({n})" if n else clause for clause, n in short.items())
    return f"note: {few} about {clauses}; the scores say as little about these clauses"


def _listed(kind: str, lack: Mapping[str, Any]) -> str:
    clauses = ", ".join(f"{clause} ({n})" for clause, n in lack["short"].items())
    return f"short of synthesis.coverage.min_{kind}={lack['least']}: {clauses}"
