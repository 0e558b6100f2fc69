"""The synthesis stage: everything that one document's training needs, written to one folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.errors import ValignError
from valign.records import Document, Instruction, Passage, Preference, Question, write_jsonl
from valign.store import digest, write_json
from valign.synthesis.audit import audit, audit_lines
from valign.synthesis.coverage import check_coverage, count_questions, frame_instructions, frame_situations, top_up
from valign.synthesis.edits import names_in, numbers_in
from valign.synthesis.faithfulness import make_faithfulness
from valign.synthesis.filters import Filters, Funnel, Limits
from valign.synthesis.instruct import Settings, Writer, ask_instructions, write_instructions
from valign.synthesis.quotes import phrases
from valign.synthesis.scenario import ask_situations, pairs_of, write_preferences
from valign.synthesis.templates import load_template

if TYPE_CHECKING:
    from valign.evaluation.metrics import Embedder
    from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

SFT, PREFERENCES, QUESTIONS, FUNNEL = "sft.jsonl", "preferences.jsonl", "questions.jsonl", "funnel.json"
HELD_OUT_FRAME = "What has to be kept in mind when it comes to {words}?"
TEMPLATES = ("question", "scenario", "held_out", "answer", "faithful")


def synthesize(
    folder: Path,
    document: Document,
    held_out: Sequence[Question] | None,
    *,
    teacher: CachedTeacher,
    base: CachedTeacher,
    embedder: Embedder,
    settings: Settings,
    limits: Limits,
    seed: int,
    system_prompt: str | None = None,
) -> dict[str, Any]:
    """Write ``sft.jsonl``, ``preferences.jsonl``, ``questions.jsonl`` and ``funnel.json`` to a folder.

    Args:
        folder: Where the files go.
        document: The document.
        held_out: Evaluation questions; None makes some from the document, with a prompt of their own.
        teacher: Writes the data.
        base: The base model, whose own answers may serve as rejected ones.
        embedder: Gives unit vectors.
        settings: What is written, and how much.
        limits: Thresholds of the filters.
        seed: Start of the random numbers.
        system_prompt: The one under which the base model answers.

    Returns:
        Counts for the manifest.

    Raises:
        ValignError: Nothing was left for training, or too little for some clause.
    """
    writer = Writer(document, teacher, embedder, settings, seed)
    funnels: dict[str, Funnel] = {}
    made = held_out
    if made is None:
        made, funnels["questions"] = write_questions(writer, Filters(document.passages, (), embedder, limits))
    write_jsonl(folder / QUESTIONS, made)
    judge = make_faithfulness(settings.faithfulness, settings.faithfulness_model, embedder, teacher)
    filters = Filters(document.passages, made, embedder, limits, judge)
    instructions, funnels["sft"] = write_instructions(writer, filters)
    _cover_instructions(writer, filters, funnels["sft"], instructions)
    preferences, funnels["preference"] = write_preferences(writer, base, filters, system_prompt)
    _cover_preferences(writer, base, filters, funnels["preference"], preferences, system_prompt)
    for name, rows in (("D_sft", instructions), ("D_pref", preferences)):
        if not rows:
            raise ValignError(
                f"{name} is empty: every candidate was dropped ({dict(funnels['sft'].dropped)}); lower "
                "synthesis.min_relevance or raise synthesis.questions_per_passage."
            )
    by_clause = {
        "instructions": funnels["sft"].per_clause,
        "preferences": funnels["preference"].per_clause,
        "questions": count_questions(made, document.passages),
    }
    coverage = check_coverage(writer, by_clause, given_questions=held_out is not None)
    write_jsonl(folder / SFT, instructions)
    write_jsonl(folder / PREFERENCES, preferences)
    counts = {name: funnel.to_dict() for name, funnel in funnels.items()}
    counts["preference"]["audit"] = report = audit(preferences, seed)
    if report["cause"]:
        log.warning("D_pref: %s", report["cause"])
    write_json(folder / FUNNEL, counts)
    quotes = [*(row.provenance for row in instructions), *(row.provenance for row in preferences)]
    verified = sum(document.text[q.start : q.end] == q.quote for q in quotes)
    return {
        "instructions": len(instructions),
        "preferences": len(preferences),
        "questions": len(made),
        "clauses": len(document.passages),
        "clauses_covered": len({c for row in instructions for c in row.clauses}),
        "quotes": len(quotes),
        "quotes_verified": verified,
        "coverage": coverage,
        "shortcut_audit": report,
    }


def _cover_instructions(writer: Writer, filters: Filters, funnel: Funnel, rows: list[Instruction]) -> None:
    """Top D_sft up where a clause has too few."""
    top_up(
        writer,
        funnel,
        writer.settings.min_instructions,
        lambda passages, turn: rows.extend(ask_instructions(writer, filters, funnel, passages, turn)),
        lambda passage, count: frame_instructions(writer, filters, funnel, rows, passage, count),
    )


def _cover_preferences(
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnel: Funnel,
    rows: list[Preference],
    system: str | None,
) -> None:
    """Top D_pref up where a clause has too few."""

    def ask(passages: Sequence[Passage], turn: int) -> None:
        found = ask_situations(writer, filters, funnel, passages, turn)
        rows.extend(pairs_of(found, writer, base, filters, funnel, system))

    def frame(passage: Passage, count: int) -> None:
        wanted = funnel.per_clause[passage.clause] + count
        for situation in frame_situations(writer, filters, funnel, passage):
            rows.extend(pairs_of([situation], writer, base, filters, funnel, system))
            if funnel.per_clause[passage.clause] == wanted:
                break

    top_up(writer, funnel, writer.settings.min_preferences, ask, frame)


def write_questions(writer: Writer, filters: Filters) -> tuple[list[Question], Funnel]:
    """Make held-out questions for a document that has none, ``held_out_per_passage`` for each passage.

    Their prompt is not one that training questions come from. The reference is the quote that answers the question;
    its facts are numbers, names and, where there are none, phrases that only this clause has, unless the question
    gives them away. Clauses that stay short get fixed questions: for their phrases, then on the truth of a statement.

    Raises:
        ValignError: The teacher's questions were all dropped, and ``min_questions`` asks for some.
    """
    funnel = Funnel()
    keyed = phrases(writer.document.passages, 12)
    rows: list[Question] = []
    least = writer.settings.min_questions
    count = max(writer.settings.held_out_per_passage, least)

    def ask(passages: Sequence[Passage] | None, turn: int) -> None:
        template = load_template("held_out")
        for passage, completions, _ in writer.ask(template, (), 4 * count, "held-out questions", passages, turn):
            for completion in completions:
                if funnel.per_clause[passage.clause] == count:
                    break
                funnel.made += 1
                reason, _ = filters.question(completion.text, passage.clause)
                if reason or not completion.finished:
                    funnel.drop(reason or "malformed")
                else:
                    add(completion.text, passage)

    def add(text: str, passage: Passage) -> None:
        quote = writer.quote(text, passage)
        facts = _facts(quote.text, text, keyed[passage.clause])
        name = f"{writer.document.name}-auto-{digest([passage.clause, text])[:8]}"
        if facts:
            rows.append(Question(name, passage.clause, text, quote.sentence, facts, None, "auto"))
            funnel.keep(passage.clause, "auto")
        else:
            funnel.drop("no fact to ask for")

    def frame(passage: Passage, lacking: int) -> None:
        wanted = funnel.per_clause[passage.clause] + lacking
        for words in keyed[passage.clause]:
            if funnel.per_clause[passage.clause] < wanted:
                funnel.made += 1
                add(HELD_OUT_FRAME.format(words=words), passage)
        for claim in writer.claims(passage, wanted - funnel.per_clause[passage.clause]):
            funnel.made += 1
            funnel.keep(passage.clause, "claim")
            name = f"{writer.document.name}-auto-{digest([passage.clause, claim.question])[:8]}"
            answer = f"{claim.verdict}. {claim.quote.sentence}"
            verdict = claim.verdict.lower()
            rows.append(Question(name, passage.clause, claim.question, answer, (), verdict, "claim"))

    ask(None, 0)
    if least and not rows:
        raise no_questions(writer.document.name)
    top_up(writer, funnel, least, ask, frame)
    return rows, funnel


def no_questions(name: str) -> ValignError:
    """Return the error for a document that no held-out question was made about."""
    return ValignError(
        f"the teacher made no held-out question about {name} that passed the filters; add "
        "evaluation.questions=FILE.jsonl, or choose a larger teacher."
    )


def _facts(quote: str, question: str, keyed: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    known = question.lower()
    found = [*sorted(numbers_in(quote)), *names_in(quote)] or [k for k in keyed if k in quote.lower()]
    given = numbers_in(question)
    return tuple((fact.lower(),) for fact in found if fact.lower() not in known and fact not in given)[:2]


def funnel_table(funnels: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the closing table: how many were made, what each filter dropped, examples for each clause."""
    lines = []
    labels = {"sft": "D_sft", "preference": "D_pref", "questions": "held-out questions"}
    for name, funnel in funnels.items():
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(funnel["kinds"].items(), key=lambda item: -item[1]))
        lines.append(f"{labels.get(name, name)}: {funnel['made']} made, {funnel['kept']} kept ({kinds})")
        for reason, count in sorted(funnel["dropped"].items(), key=lambda item: -item[1]):
            lines.append(f"    {count:5d} dropped: {reason}")
        counts = sorted(funnel["per_clause"].values())
        if counts:
            middle = counts[len(counts) // 2]
            lines.append(f"    examples for a clause: at least {counts[0]}, median {middle}, at most {counts[-1]}")
        lines += audit_lines(funnel["audit"]) if "audit" in funnel else []
    return "\n".join(lines)
