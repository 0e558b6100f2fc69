"""Structured calls to a capable teacher: several planned items in one JSON reply, and one repair of what is lacking."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from valign.core.records import Message, Passage
from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.synthesis.candidates import Candidate
from valign.synthesis.case_plans import ItemPlan, plan_cases, plan_contrasts
from valign.synthesis.filters import Funnel, well_formed
from valign.synthesis.reply_forms import CASES, CONTRASTS, Form, text_of
from valign.synthesis.writer import Writer
from valign.teachers.json_replies import read_items

NOT_WRITTEN, MALFORMED = "not written", "malformed"
SHOWN_REPLY = 12_000
LONGEST_NUMBER = 9


@dataclass
class PlannedCall:
    """A call, what it is to bring, and what it has brought.

    Attributes:
        passage: The clause.
        plans: What is wanted, by number.
        request: The call.
        found: Candidates by number.
        faults: What is wrong, by number: of candidates that are not fit, and of items that are not there.
    """

    passage: Passage
    plans: dict[int, ItemPlan]
    request: Request
    found: dict[int, Candidate] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)


def ask_cases(
    writer: Writer,
    passages: Sequence[Passage],
    turn: int = 0,
    funnel: Funnel | None = None,
    count: int | None = None,
) -> list[Candidate]:
    """Let the teacher write questions with answers about passages, several in a call.

    Args:
        writer: Writes with the teacher.
        passages: What is asked about.
        turn: Number of the round; each has another plan.
        funnel: Counts of D_sft; items that stay unfit after the repair are added as dropped.
        count: Questions about a passage, of all kinds; by default what the settings say.

    Returns:
        The items that are fit, in the order of passages and plan; the kind is the plan's. A ``silent`` one's answer is
        nothing.
    """
    form = CASES.with_reasons() if writer.settings.instructions.reasons else CASES
    planned = [(passage, plan_cases(writer, passage, turn, count)) for passage in passages]
    return ask_form(writer, form, divided(planned, writer.settings.items_per_call), turn, funnel)


def ask_contrasts(
    writer: Writer,
    passages: Sequence[Passage],
    turn: int = 0,
    funnel: Funnel | None = None,
    count: int | None = None,
    avoided: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> list[Candidate]:
    """Let the teacher write situations, each with a faithful answer and one that contradicts the clause.

    Args:
        writer: Writes with the teacher.
        passages: What the situations are about; those without a value get none.
        turn: Number of the round; each has another plan.
        funnel: Counts of D_pref; items that stay unfit after the repair are added as dropped.
        count: Situations of a passage; by default what the settings say.
        avoided: Words that neither answer is to have.
        kinds: Ways to contradict; by default all, in turn.

    Returns:
        The pairs that are fit in form, in the order of passages and plan.
    """
    settings = writer.settings.preferences
    number = settings.scenarios_per_passage if count is None else count
    planned = [(passage, plan_contrasts(writer, passage, turn, number, avoided, kinds)) for passage in passages]
    return ask_form(writer, CONTRASTS, divided(planned, settings.situations_per_call), turn, funnel)


def divided(
    planned: Sequence[tuple[Passage, Sequence[ItemPlan]]], size: int
) -> list[tuple[Passage, Sequence[ItemPlan]]]:
    """Divide each passage's plan into calls of at most ``size`` items."""
    return [(p, plans[start : start + size]) for p, plans in planned for start in range(0, len(plans), size)]


def ask_form(
    writer: Writer,
    form: Form,
    planned: Sequence[tuple[Passage, Sequence[ItemPlan]]],
    turn: int = 0,
    funnel: Funnel | None = None,
    show: Callable[[Passage], str] = labelled,
) -> list[Candidate]:
    """Ask for everything that is planned, then once more for what is missing or unfit.

    Args:
        writer: Writes with the teacher.
        form: What a call asks for.
        planned: The calls: a passage with its plan.
        turn: Number of the round.
        funnel: Counts; items that stay unfit after the repair are added as dropped.
        show: Returns a passage's words as the prompt shows them.
    """
    template = writer.template(form.template)
    calls = []
    for passage, plans in planned:
        shown = "\n".join(plan.line() for plan in plans)
        messages = template.fill(passage=show(passage), plan=shown, form=form.example)
        request = Request(messages, _sampling(writer, form, len(plans), shown, passage, turn), schema=form.schema)
        calls.append(PlannedCall(passage, {plan.number: plan for plan in plans}, request))
    replies = [found[0].text for found in writer.teacher.complete_all([c.request for c in calls], form.label)]
    for call, reply in zip(calls, replies, strict=True):
        _read(writer, form, call, reply, call.request)
    lacking = [(call, reply) for call, reply in zip(calls, replies, strict=True) if call.faults]
    if lacking:
        requests = [_repair(writer, form, call, reply, turn) for call, reply in lacking]
        again = writer.teacher.complete_all(requests, f"{form.label}, second try")
        for (call, _), request, found in zip(lacking, requests, again, strict=True):
            _read(writer, form, call, found[0].text, request)
    for fault in (fault for call in calls for fault in call.faults.values()):
        if funnel is not None:
            funnel.made += 1
            funnel.drop(fault)
    return [call.found[number] for call in calls for number in call.plans if number in call.found]


def _sampling(writer: Writer, form: Form, count: int, shown: str, passage: Passage, turn: int) -> Sampling:
    """Return how a call of so many items is sampled."""
    drawn = writer.sampling(1, form.template, shown, passage.text, str(turn))
    return replace(drawn, max_new_tokens=count * max(form.tokens, drawn.max_new_tokens))


def _repair(writer: Writer, form: Form, call: PlannedCall, reply: str, turn: int) -> Request:
    """Return the call with its reply and what is wrong with it."""
    lines = [f"{call.plans[number].line()} ({fault})" for number, fault in call.faults.items()]
    plan = "\n".join(lines)
    asked = writer.template("items_repair").fill(plan=plan, form=form.example)
    before: Message = {"role": "assistant", "content": reply[:SHOWN_REPLY].strip() or "(nothing)"}
    sampling = _sampling(writer, form, len(lines), plan, call.passage, turn)
    return Request((*call.request.messages, before, *asked), sampling, schema=call.request.schema)


def _read(writer: Writer, form: Form, call: PlannedCall, reply: str, request: Request) -> None:
    """Put what the reply to a request has of the items still wanted among the call's candidates and faults."""
    wanted = [number for number in call.plans if number not in call.found]
    items = _numbered(read_items(reply, ("question",)), wanted)
    template = writer.template(form.template)
    drawn = request.sampling.drawn()
    if request is not call.request:
        drawn["repaired"] = True
    for number in wanted:
        if number not in items:
            call.faults.setdefault(number, NOT_WRITTEN)
            continue
        raw = Candidate(
            clause=call.passage.clause,
            kind=call.plans[number].kind,
            question=text_of(items[number].get("question")),
            answer="",
            teacher=writer.teacher.id,
            template=template.id,
            template_hash=template.hash,
            sampling=drawn,
        )
        candidate, fault = form.read(items[number], call.plans[number], raw, writer.document)
        if not well_formed(candidate.question):
            fault = MALFORMED
        call.faults.pop(number, None)
        if fault:
            call.faults[number] = fault
        else:
            call.found[number] = candidate


def _numbered(items: Sequence[Mapping[str, Any]], wanted: Sequence[int]) -> dict[int, Mapping[str, Any]]:
    """Return items by their numbers; where none of these is wanted, by their order."""
    numbers = [text_of(item.get("number")) for item in items]
    found: dict[int, Mapping[str, Any]] = {}
    for number, item in zip(numbers, items, strict=True):
        if number.isdecimal() and len(number) <= LONGEST_NUMBER and int(number) in wanted:
            found.setdefault(int(number), item)
    return found or dict(zip(wanted, items, strict=False))
