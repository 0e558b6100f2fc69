"""D_pref: everyday situations, a faithful answer to each, and one that is not."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from valign.core.errors import ValignError
from valign.core.records import Passage, Preference
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.synthesis.answer_checks import WRONG
from valign.synthesis.claim_pairs import write_claim_pairs
from valign.synthesis.contrasts import count_contrasts, replace_worst_kind, write_contrasts
from valign.synthesis.filters import Filters, Funnel, lacking
from valign.synthesis.frames import FROM_FRAME, FROM_TEACHER, scenario_family
from valign.synthesis.languages.choice import own_openings
from valign.synthesis.pairing import Situation, pair_situations
from valign.synthesis.settings import RejectedShares
from valign.synthesis.value_check import check_values
from valign.synthesis.writer import Writer, is_waiting
from valign.teachers.cache import CachedTeacher

REJECTED_KINDS = ("edit", "clause", "base", "contradiction")


def write_preferences(
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnel: Funnel,
    system: str | None = None,
    audited: bool = True,
) -> list[Preference]:
    """Write D_pref.

    The rejected answer of a situation is of one kind, drawn by the question alone, so that it does not depend on other
    clauses:

    - ``edit``: the chosen answer with one fact or its polarity changed;
    - ``clause``: the right answer to a situation of another clause, whose rejected answer is this one's in turn;
    - ``base``: the base model's own answer without the passage, where it is unfaithful;
    - ``contradiction``: the chosen answer with every statement turned into its opposite.

    The share ``teacher`` is of situations both of whose answers the teacher writes in a structured call; that kind of
    contradiction which the shortcut audit finds worst is asked for once more.

    Questions on the truth of a statement are pairs, too, which differ in verdict and fact.

    Args:
        writer: Writes with the teacher.
        base: The base model, behind a cache.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these pairs are added; the teacher is asked for the situations that a clause
            lacks.
        system: System prompt under which the base model answers.
        audited: Whether the teacher's contrasts are searched for shortcuts; not in a dry pass.

    Returns:
        The rows that every filter let pass.

    Raises:
        ValignError: No kind of rejected answer has a share.
    """
    check_shares(writer.settings.preferences.rejected)
    wanted = writer.settings.preferences.scenarios_per_passage
    rows: list[Preference] = []
    found: list[Situation] = []
    for count, passages in lacking(funnel, writer.document.passages, wanted):
        written, told = _ask_situations(writer, filters, funnel, passages, 0, count)
        rows, found = rows + written, found + told
    if audited and count_contrasts(writer.settings.preferences) and not is_waiting(writer):
        rows = replace_worst_kind(writer, filters, funnel, rows)
    return rows + pairs_of(found, writer, base, filters, funnel, system) + write_claim_pairs(writer, filters, funnel)


def ask_pairs(
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnel: Funnel,
    system: str | None = None,
    passages: Sequence[Passage] | None = None,
    turn: int = 0,
) -> list[Preference]:
    """Return pairs on situations that the teacher tells, with rejected answers of every kind that has a share.

    Args:
        writer: Writes with the teacher.
        base: The base model, behind a cache.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these pairs are added.
        system: System prompt under which the base model answers.
        passages: What the situations are about; by default the document's passages. Those without a value get none.
        turn: Number of the round; each has other random numbers.
    """
    rows, found = _ask_situations(writer, filters, funnel, passages, turn, None)
    return rows + pairs_of(found, writer, base, filters, funnel, system)


def _ask_situations(
    writer: Writer, filters: Filters, funnel: Funnel, passages: Sequence[Passage] | None, turn: int, total: int | None
) -> tuple[list[Preference], list[Situation]]:
    """Return pairs that the teacher wrote, and situations that lack a rejected answer, by the shares of the kinds."""
    settings = writer.settings.preferences
    count = settings.scenarios_per_passage if total is None else total
    contrasts = count_contrasts(settings, count)
    if contrasts:
        check_values(writer)
    if left_out := (writer.without_value or frozenset()) | writer.unknown_value:
        shown = writer.document.passages if passages is None else passages
        passages = [passage for passage in shown if passage.clause not in left_out]
    rows = write_contrasts(writer, filters, funnel, passages, turn, contrasts)
    return rows, ask_situations(writer, filters, funnel, passages, turn, count - contrasts)


def pairs_of(
    found: Sequence[Situation],
    writer: Writer,
    base: CachedTeacher,
    filters: Filters,
    funnel: Funnel,
    system: str | None = None,
) -> list[Preference]:
    """Return situations as pairs, each with a rejected answer of a drawn kind.

    Where the teacher's own rejected answers alone have a share, as for fixed sentences, it is an edit.

    Args:
        found: The situations.
        writer: Has the settings, the random numbers and the document.
        base: The base model, behind a cache.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these pairs are added.
        system: System prompt under which the base model answers.
    """
    shares = check_shares(writer.settings.preferences.rejected) or {"edit": 1.0}
    rows: list[Preference] = []
    turn = {s.question: draw_kind(writer.rng("kind", s.question), shares) for s in found}
    # a model in this process computes its answers together, so it is asked when all situations are known
    asked = [s for s in found if turn[s.question] == "base" and not is_waiting(writer)]
    own = _base_answers(base, asked, system)
    other = pair_situations([s for s in found if turn[s.question] == "clause"], writer)
    asked = [s for s in found if s.question in own]
    filters.score_faithfulness([(own[s.question], s.passage) for s in asked], [s.question for s in asked])
    for situation in found:
        kind = turn[situation.question]
        given = (own if kind == "base" else other).get(situation.question)
        rejected, kind = _rejected(writer, filters, situation, kind, given)
        if rejected is None or rejected == situation.chosen:
            funnel.drop("no rejected answer")
            continue
        group = FROM_TEACHER if situation.origin.teacher != FROM_FRAME else "situation"
        name = f"pref-{digest([situation.passage.clause, situation.question, kind])[:12]}"
        rows.append(
            Preference(
                name,
                (situation.passage.clause,),
                "situation",
                situation.question,
                situation.chosen,
                rejected,
                kind,
                situation.origin,
                situation.scores,
                scenario_family(situation.passage.clause, group, situation.question),
            )
        )
        funnel.keep(situation.passage.clause, kind)
    return rows


def check_shares(shares: RejectedShares) -> dict[str, float]:
    """Return the kinds of rejected answer with a share above 0, other than the teacher's own, which are asked for.

    Raises:
        ValignError: None has one, nor has the teacher.
    """
    found: dict[str, float] = {kind: getattr(shares, kind) for kind in REJECTED_KINDS if getattr(shares, kind) > 0}
    if not found and not shares.teacher:
        raise ValignError(
            f"synthesis.preferences.rejected=nothing: give shares to some of {', '.join((*REJECTED_KINDS, 'teacher'))}."
        )
    return found


def draw_kind(rng: random.Random, shares: Mapping[str, float]) -> str:
    """Draw a kind of rejected answer by its share; where all shares are equal, as a plain choice."""
    if len(set(shares.values())) == 1:
        return rng.choice(list(shares))
    return rng.choices(list(shares), list(shares.values()))[0]


def ask_situations(
    writer: Writer,
    filters: Filters,
    funnel: Funnel,
    passages: Sequence[Passage] | None = None,
    turn: int = 0,
    total: int | None = None,
) -> list[Situation]:
    """Let the teacher tell situations and answer them; return those that the filters let pass.

    The share of situations whose rejected answer the teacher writes, too, is not among them.

    Args:
        writer: Writes with the teacher.
        filters: The document's filters.
        funnel: Counts of D_pref; what is made and dropped is added.
        passages: The passages that the situations are about; by default the document's.
        turn: Number of the round; each has other random numbers.
        total: Situations about each passage; by default as the settings say.
    """
    settings = writer.settings.preferences
    template = writer.template("scenario")
    count = settings.scenarios_per_passage if total is None else total
    if not count:
        return []
    asked = writer.ask(template, own_openings(writer.language, settings.openings), count, "situations", passages, turn)
    filters.score_relevance([(found.text, passage.clause) for passage, every, _ in asked for found in every])
    kept: list[tuple[str, Passage, Sampling, dict[str, float]]] = []
    for passage, completions, sampling in asked:
        for completion in completions:
            funnel.made += 1
            reason, scores = filters.check_question(completion.text, passage.clause)
            reason = reason or writer.reserved_reason(passage.clause, completion.text)
            if reason or not completion.finished:
                funnel.drop(reason or "malformed")
            else:
                kept.append((completion.text, passage, sampling, scores))
    answers = writer.answer_all([(question, passage) for question, passage, _, _ in kept], "chosen answers")
    texts = [(answer, passage) for (_, passage, _, _), (answer, _) in zip(kept, answers, strict=True)]
    filters.score_faithfulness(texts, [question for question, _, _, _ in kept])
    situations = []
    for (question, passage, sampling, scores), (answer, quote) in zip(kept, answers, strict=True):
        reason, more = filters.check_answer(answer, passage, question)
        if reason:
            funnel.drop(reason)
        else:
            origin = writer.provenance(quote, template.id, template.hash, sampling)
            situations.append(Situation(writer.open_ended(question), answer, passage, origin, {**scores, **more}))
    return situations


def _base_answers(base: CachedTeacher, situations: Sequence[Situation], system: str | None) -> dict[str, str]:
    """Return the base model's own answers to the questions, without the passage."""
    if not situations:
        return {}
    lead = ({"role": "system", "content": system},) if system else ()
    sampling = Sampling(max_new_tokens=48)
    requests = [Request((*lead, {"role": "user", "content": s.question}), sampling) for s in situations]
    answers = base.complete_all(requests, "base model's answers")
    return {s.question: found[0].text for s, found in zip(situations, answers, strict=True)}


def _rejected(
    writer: Writer, filters: Filters, situation: Situation, kind: str, given: str | None
) -> tuple[str | None, str]:
    """Return a rejected answer of the kind asked for, or of another kind where that one cannot be had.

    ``given`` is the base model's answer, or the one to the situation that this one was matched with.
    """
    if kind == "clause" and given:
        return given, kind
    if kind == "base" and given and filters.check_answer(given, situation.passage, situation.question)[0] in WRONG:
        return given, kind
    if kind == "contradiction" and (opposite := writer.language.contradict(situation.chosen)):
        return opposite, kind
    found = writer.language.make_edits(situation.chosen, writer.names, writer.rng("edit", situation.question))
    facts = [e for e in found if e.kind != "polarity"] or found
    if facts:
        return writer.rng("pick", situation.question).choice(facts).text, "edit"
    others = [p for p in writer.document.passages if p.clause != situation.passage.clause]
    if not others:
        return None, kind
    vectors = writer.embedder.embed([labelled(p) for p in others])
    near = vectors @ writer.embedder.embed([situation.question])[0]
    return writer.quote(situation.question, others[int(near.argmax())]).sentence, "clause"
