"""The policy judge: a language model that says whether one answer follows its clause, and by which words of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.control_tokens import break_up_control_tokens
from valign.core.quotation import find_quote
from valign.core.records import Answer, Message
from valign.core.store import digest
from valign.core.text import words
from valign.evaluation.judging.policy_judgement import (
    CLAUSE_LACKING,
    NOTHING_SAID,
    POLICY_VERDICTS,
    UNDECIDED,
    UNREAD,
    UNVERIFIED,
    PolicyJudgement,
)
from valign.evaluation.judging.prompt_files import read_prompt
from valign.generation.requests import Request, Sampling
from valign.teachers.cache import CachedTeacher
from valign.teachers.json_replies import read_items
from valign.teachers.pending import is_pending
from valign.teachers.prompts import fill_turns

POLICY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "quote": {"type": "string"},
        "verdict": {"type": "string", "enum": list(POLICY_VERDICTS)},
    },
    "required": ["quote", "verdict"],
    "additionalProperties": False,
}
_TEMPLATE, _REPAIR = "policy.txt", "policy_repair.txt"
_PLACEHOLDER = re.compile(r"\{(clause|question|answer|mark|fault)\}")
_SAMPLING = Sampling(max_new_tokens=256)
_SHOWN_REPLY = 4000
_FEWEST_WORDS = 2
_FAULTS = {
    UNREAD: "it is not one JSON object with a quote and one of the three verdicts",
    UNVERIFIED: "its quote does not stand in the rule word for word, or is too short to decide anything",
}


@dataclass(frozen=True)
class Ruling:
    """What a reply says: the verdict in it, the quote, and why it does not count, if it does not."""

    said: str = ""
    quote: str = ""
    fault: str = ""


def policy_template() -> str:
    """Return a hash of the words of both prompts."""
    return digest([read_prompt(name)[0] for name in (_TEMPLATE, _REPAIR)])


def policy_request(clause: str, question: str, answer: str) -> Request:
    """Return the call that asks about one answer.

    The mark between the texts follows from them, so that no text can hold it, and the same call has the same words.
    """
    texts = {"clause": clause.strip(), "question": question.strip(), "answer": answer.strip()}
    turns = fill_turns(read_prompt(_TEMPLATE)[1], _PLACEHOLDER, {**texts, "mark": _mark(texts)})
    return Request(turns, _SAMPLING, schema=POLICY_SCHEMA)


def _mark(texts: Mapping[str, str]) -> str:
    return digest([texts["clause"], texts["question"], texts["answer"]])[:12]


def judge_answers(judge: CachedTeacher, answers: Sequence[Answer], clauses: Mapping[str, str]) -> list[PolicyJudgement]:
    """Let a model judge answers one by one; the same answer of several arms is asked about once.

    A reply that cannot be read, or whose quote is not in the clause, is asked for once more.

    Args:
        judge: The model, with its cache. It sees neither the arm, nor the reference, nor the question's verdict.
        answers: The answers of all arms.
        clauses: The words of each clause, by its id.
    """
    shown = {clause: break_up_control_tokens(text) for clause, text in clauses.items()}
    asked = [a for a in answers if words(a.answer) and shown.get(a.clause, "").strip()]
    requests = [policy_request(shown[a.clause], a.question, a.answer) for a in asked]
    replies = [found[0].text for found in judge.complete_all(requests, "policy judgements")] if asked else []
    rulings = [read_ruling(reply, shown[a.clause]) for reply, a in zip(replies, asked, strict=True)]
    lacking = [i for i, found in enumerate(rulings) if found.fault and not is_pending(replies[i])]
    if lacking:
        again = [_repair(requests[i], replies[i], rulings[i].fault) for i in lacking]
        second = judge.complete_all(again, "policy judgements, second try")
        for i, found in zip(lacking, second, strict=True):
            rulings[i] = read_ruling(found[0].text, shown[asked[i].clause])
    ruled = {(a.question_id, a.arm): (rulings[i], i in set(lacking)) for i, a in enumerate(asked)}
    return [_judgement(a, ruled.get((a.question_id, a.arm)), shown) for a in answers]


def read_ruling(reply: str, clause: str) -> Ruling:
    """Read a judge's reply, and look its quote up in the clause.

    Of several objects that contradict one another none counts: one of them may be the answer's, repeated. A verdict
    needs a quote; ``undecided`` does not.

    >>> read_ruling('{"quote": "boats  MAY stay", "verdict": "complies"}', "Boats may stay.")
    Ruling(said='complies', quote='Boats may stay', fault='')

    Args:
        reply: What the judge said.
        clause: The clause as it was shown.
    """
    items = read_items(reply, ("verdict",))
    verdicts = {str(item["verdict"]).strip(" .\"'*").lower() for item in items}
    said = verdicts.pop() if len(verdicts) == 1 else ""
    if said not in POLICY_VERDICTS:
        return Ruling(fault=UNREAD)
    quote = next((item["quote"] for item in items if isinstance(item.get("quote"), str)), "")
    place = find_quote(quote, clause)
    found = clause[place[0] : place[1]] if place else ""
    if len(words(found)) < min(_FEWEST_WORDS, len(words(clause))):
        return Ruling(said) if said == UNDECIDED else Ruling(said, quote, UNVERIFIED)
    return Ruling(said, found)


def _repair(request: Request, reply: str, fault: str) -> Request:
    """Return a call with its reply and what is wrong with it."""
    before = Message(role="assistant", content=reply[:_SHOWN_REPLY].strip() or "(nothing)")
    mark = re.findall(r"^END (\w+)$", request.messages[-1]["content"], re.M)[-1]
    filled = {"fault": _FAULTS[fault], "mark": mark}
    asked = fill_turns(read_prompt(_REPAIR)[1], _PLACEHOLDER, filled)
    return Request((*request.messages, before, *asked), _SAMPLING, schema=POLICY_SCHEMA)


def _judgement(answer: Answer, ruled: tuple[Ruling, bool] | None, clauses: Mapping[str, str]) -> PolicyJudgement:
    named = (answer.question_id, answer.clause, answer.arm)
    if ruled is None:
        return PolicyJudgement(*named, UNDECIDED, fault=NOTHING_SAID if clauses.get(answer.clause) else CLAUSE_LACKING)
    found, repaired = ruled
    verdict = UNDECIDED if found.fault else found.said
    return PolicyJudgement(*named, verdict, found.quote, found.fault, found.said, repaired)
