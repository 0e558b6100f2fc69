"""The kinds of question that the teacher writes for D_sft, each with a prompt template of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace

from valign.core.errors import ValignError
from valign.core.records import Instruction, Passage
from valign.documents.clauses import labelled
from valign.generation.requests import Completion, Request, Sampling
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import SILENT
from valign.synthesis.languages.choice import own_openings
from valign.synthesis.quotes import Quote
from valign.synthesis.relevance import NOT_SILENT
from valign.synthesis.rows import make_instruction, silent_answer
from valign.synthesis.settings import PAIRED_KINDS, WRITTEN_KINDS, KindWeights
from valign.synthesis.templates import Template
from valign.synthesis.writer import Writer

QUESTION_KINDS = tuple(kind.name for kind in fields(KindWeights))
NEAREST_CLAUSES = 3


@dataclass(frozen=True)
class Asked:
    """A question that passed the filters, before it is answered; ``second`` is the other clause of a paired kind."""

    question: str
    passage: Passage
    second: Passage | None
    sampling: Sampling
    scores: dict[str, float]


def questions_by_kind(kinds: KindWeights, total: int) -> dict[str, int]:
    """Divide the questions of a passage among the kinds by weight; what rounding leaves goes to the largest rests.

    >>> questions_by_kind(KindWeights(factual=1.0, edge=0.5), 5)
    {'factual': 3, 'edge': 2}

    Raises:
        ValignError: No kind has a weight.
    """
    weights: dict[str, float] = asdict(kinds)
    weight = sum(weights.values())
    if weight <= 0:
        raise ValignError(
            f"synthesis.instructions.kinds=nothing: give a weight to some of {', '.join(QUESTION_KINDS)}."
        )
    exact = {kind: total * share / weight for kind, share in weights.items() if share > 0}
    counts = {kind: int(share) for kind, share in exact.items()}
    by_rest = sorted(exact, key=lambda kind: (counts[kind] - exact[kind], list(exact).index(kind)))
    for kind in by_rest[: total - sum(counts.values())]:
        counts[kind] += 1
    return {kind: count for kind, count in counts.items() if count}


def ask_all_kinds(
    writer: Writer,
    filters: Filters,
    funnel: Funnel,
    passages: Sequence[Passage] | None = None,
    turn: int = 0,
    total: int | None = None,
    kinds: Sequence[str] = QUESTION_KINDS,
) -> list[Instruction]:
    """Return the rows whose questions the teacher wrote, kind by kind.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these rows are added.
        passages: The passages that are asked about; by default the document's.
        turn: Number of the round; each has other random numbers.
        total: Questions about each passage; by default as the settings say.
        kinds: The kinds that are asked for here; others keep their share and are left out.

    Raises:
        ValignError: A kind needs written answers and ``answers`` is ``quote``, or no kind has a weight.
    """
    rows = []
    settings = writer.settings.instructions
    wanted = settings.questions_per_passage if total is None else total
    for kind, count in questions_by_kind(settings.kinds, wanted).items():
        if kind not in kinds:
            continue
        if kind in WRITTEN_KINDS and writer.settings.answers != "write":
            raise ValignError(
                f"synthesis.instructions.kinds.{kind} needs answers of a large teacher: add synthesis.answers=write."
            )
        template = writer.template(kind)
        asked = _ask(writer, template, kind, count, passages, turn)
        texts = [(found.text, passage.clause) for passage, _, every, _ in asked for found in every]
        if kind in PAIRED_KINDS:
            filters.embed_batch([text for text, _ in texts])
        else:
            filters.score_relevance(texts)
        found = [
            one
            for passage, second, completions, sampling in asked
            for one in fit_questions(writer, filters, funnel, kind, passage, second, completions, sampling)
        ]
        if kind == SILENT:
            rows += answer_silent(writer, funnel, template, found)
        else:
            rows += _answered(writer, filters, funnel, kind, template, found)
    return rows


def _ask(
    writer: Writer, template: Template, kind: str, count: int, passages: Sequence[Passage] | None, turn: int
) -> list[tuple[Passage, Passage | None, list[Completion], Sampling]]:
    """Let the teacher write questions; those of a paired kind take a passage's nearest neighbours in turn."""
    label = "questions" if kind == "question" else f"questions ({kind})"
    if kind not in PAIRED_KINDS:
        asked = writer.ask(
            template, own_openings(writer.language, writer.settings.instructions.openings), count, label, passages, turn
        )
        return [(passage, None, found, sampling) for passage, found, sampling in asked]
    pairs, requests = [], []
    wanted = {passage.clause for passage in (writer.document.passages if passages is None else passages)}
    for passage, near in zip(writer.document.passages, _neighbours(writer), strict=True):
        for i in range(turn * count, (turn + 1) * count if near and passage.clause in wanted else 0):
            second = near[i % len(near)]
            messages = template.fill(passage=labelled(passage), second=labelled(second))
            styled = writer.with_style(messages, writer.settings.instructions.personas, passage, str(i))
            requests.append(Request(styled, writer.sampling(1, template.hash, passage.text, str(i))))
            pairs.append((passage, second))
    completions = writer.teacher.complete_all(requests, label)
    return [(*pair, found, r.sampling) for pair, found, r in zip(pairs, completions, requests, strict=True)]


def _neighbours(writer: Writer) -> list[list[Passage]]:
    """Return, for each passage, the others nearest in meaning, nearest first."""
    passages = writer.document.passages
    vectors = writer.embedder.embed([labelled(p) for p in passages])
    order = (-(vectors @ vectors.T)).argsort(axis=1, kind="stable")
    return [[passages[int(j)] for j in row if int(j) != i][:NEAREST_CLAUSES] for i, row in enumerate(order)]


def fit_questions(
    writer: Writer,
    filters: Filters,
    funnel: Funnel,
    kind: str,
    passage: Passage,
    second: Passage | None,
    completions: Sequence[Completion],
    sampling: Sampling,
) -> list[Asked]:
    """Return the questions that the filters let pass.

    Args:
        writer: Knows the families of the evaluation's questions.
        filters: The document's filters.
        funnel: Counts of D_sft, to which these questions are added.
        kind: Kind of question.
        passage: What they are about.
        second: The other clause of a paired kind.
        completions: The questions.
        sampling: How they were sampled.
    """
    kept = []
    for completion in completions:
        funnel.made += 1
        reason, scores = filters.check_question(completion.text, passage.clause, kind)
        if not completion.finished:
            reason = "malformed"
        reason = reason or writer.reserved_reason(passage.clause, completion.text)
        if reason:
            funnel.drop(reason)
        else:
            kept.append(Asked(completion.text, passage, second, sampling, scores))
    return kept


def _answered(
    writer: Writer, filters: Filters, funnel: Funnel, kind: str, template: Template, asked: Sequence[Asked]
) -> list[Instruction]:
    """Answer questions from their clauses, and keep the answers that rest on them."""
    label = "answers" if kind == "question" else f"answers ({kind})"
    if kind in PAIRED_KINDS:
        written = writer.write_answers([(a.question, a.passage, labelled(_both(a))) for a in asked], label)
        answers = [(text, writer.quote(a.question, a.passage)) for text, a in zip(written, asked, strict=True)]
    else:
        answers = writer.answer_all([(a.question, a.passage) for a in asked], label)
    texts = [(answer, _both(one)) for one, (answer, _) in zip(asked, answers, strict=True)]
    filters.score_faithfulness(texts, [one.question for one in asked])
    rows = []
    for one, (answer, quote) in zip(asked, answers, strict=True):
        reason, more = filters.check_answer(answer, _both(one), one.question)
        if reason:
            funnel.drop(reason)
            continue
        origin = writer.provenance(quote, template.id, template.hash, one.sampling)
        scores = {**one.scores, **more}
        row = make_instruction(kind, one.passage, writer.open_ended(one.question), answer, origin, scores)
        rows.append(replace(row, clauses=(one.passage.clause, *([one.second.clause] if one.second else []))))
        funnel.keep(one.passage.clause, kind)
    return rows


def _both(asked: Asked) -> Passage:
    """Return a question's passage with the second one's words behind its own."""
    if asked.second is None:
        return asked.passage
    return replace(asked.passage, text=f"{asked.passage.text}\n{labelled(asked.second)}")


def answer_silent(writer: Writer, funnel: Funnel, template: Template, asked: Sequence[Asked]) -> list[Instruction]:
    """Answer the questions on which the document is silent: that it does not say.

    The teacher is asked whether the nearest clauses answer a question after all; where it does not say no, the question
    is dropped.

    Args:
        writer: Asks the teacher.
        funnel: Counts of D_sft, to which these rows are added.
        template: The prompt that the questions come from.
        asked: The questions.
    """
    check = writer.template("silent_check")
    passages = writer.whole.passages
    vectors = writer.embedder.embed([labelled(p) for p in passages])
    requests = []
    for one in asked:
        order = (-(vectors @ writer.embedder.embed([one.question])[0])).argsort(kind="stable")[:NEAREST_CLAUSES]
        shown = {p.clause: p for p in [one.passage, *(passages[int(i)] for i in order)]}
        text = "\n".join(labelled(p) for p in shown.values())
        requests.append(Request(check.fill(passage=text, question=one.question), Sampling(max_new_tokens=8)))
    replies = writer.teacher.complete_all(requests, "is the document silent?")
    rows = []
    for one, reply in zip(asked, replies, strict=True):
        if not reply[0].text.strip(" \n\"'*.").lower().startswith("no"):
            funnel.drop(NOT_SILENT)
            continue
        quote = writer.quote(one.question, one.passage)
        rows.append(_silence(writer, template, one, quote))
        funnel.keep(one.passage.clause, SILENT)
    return rows


def _silence(writer: Writer, template: Template, asked: Asked, quote: Quote) -> Instruction:
    origin = writer.provenance(quote, template.id, template.hash, asked.sampling)
    answer = silent_answer(writer, asked.question, quote)
    return make_instruction(SILENT, asked.passage, asked.question, answer, origin, asked.scores)
