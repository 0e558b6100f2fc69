"""The judge that is a language model: shown the clause and two answers, in both orders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from valign.core.records import Answer, Message
from valign.evaluation.judging.judgement import Judgement, make_judgement, paired_answers
from valign.evaluation.judging.prompt_files import read_prompt
from valign.generation.requests import Request, Sampling
from valign.teachers.cache import CachedTeacher
from valign.teachers.prompts import fill_turns

_TEMPLATE = "pairwise.txt"
_PLACEHOLDER = re.compile(r"\{(clause|question|first|second)\}")
_REPLY = re.compile(r"^\W*(?:the\s+)?(?:better\s+)?(?:answer|option|verdict)?\W*(a|b|tie)\b", re.I)
_SAMPLING = Sampling(max_new_tokens=8)


def judge_template() -> tuple[str, tuple[Message, ...]]:
    """Return the hash of the prompt's words, and its turns."""
    return read_prompt(_TEMPLATE)


def judge_prompt(clause: str, question: str, first: str, second: str) -> tuple[Message, ...]:
    """Return the conversation that asks for a judgement; braces inside the words mean nothing."""
    words = {"clause": clause, "question": question, "first": first, "second": second}
    return fill_turns(judge_template()[1], _PLACEHOLDER, words)


def judge_by_model(
    judge: CachedTeacher, pairs: Sequence[tuple[Sequence[Answer], Sequence[Answer]]], clauses: Mapping[str, str]
) -> list[Judgement]:
    """Let a model judge the answers of pairs of arms, each question in both orders.

    Equal answers are a tie without being asked about.

    Args:
        judge: The model, with its cache.
        pairs: The answers of both arms of each pair.
        clauses: The words of each clause, by its id.
    """
    both = [couple for first, second in pairs for couple in paired_answers(first, second)]
    asked = [couple for couple in both if couple[0].answer.strip() != couple[1].answer.strip()]
    requests = [
        Request(judge_prompt(clauses[a.clause], a.question, x.answer, y.answer), _SAMPLING)
        for a, b in asked
        for x, y in ((a, b), (b, a))
    ]
    replies = iter(judge.complete_all(requests, "judgements") if requests else [])
    known = {}
    for a, b in asked:
        known[a.question_id, a.arm, b.arm] = score_replies(next(replies)[0].text, next(replies)[0].text)
    return [make_judgement(a, b, *known.get((a.question_id, a.arm, b.arm), (0.5, False, 0))) for a, b in both]


def score_replies(forward: str, backward: str) -> tuple[float, bool, int]:
    """Put the replies in both orders together.

    Args:
        forward: The reply where the first arm's answer is A.
        backward: The reply where it is B.

    Returns:
        The first arm's score, whether the judge kept to a place, and how many replies could not be read.

    >>> score_replies("A", "B"), score_replies("A", "A"), score_replies("tie", "B")
    ((1.0, False, 0), (0.5, True, 0), (0.75, False, 0))
    """
    found = [_REPLY.match(reply) for reply in (forward, backward)]
    words = [match[1].lower() if match else "" for match in found]
    first = {"a": 1.0, "b": 0.0}.get(words[0], 0.5)
    second = {"a": 0.0, "b": 1.0}.get(words[1], 0.5)
    return (first + second) / 2, words[0] == words[1] and words[0] in ("a", "b"), words.count("")
