"""The second look at a probe: asked without its verdict, does its clause decide it, and how?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from valign.documents.clauses import labelled
from valign.evaluation.probes.kinds import UNDECIDED_KINDS
from valign.evaluation.probes.policy import PolicyProbe
from valign.generation.requests import Request, Sampling
from valign.synthesis.judge_replies import find_letters
from valign.synthesis.relevance import CLAUSE_LETTERS, NO_CLAUSE, OTHER_CLAUSE, RelevanceChecks, RelevanceJudge
from valign.synthesis.reply_forms import VERDICT_FIELD, VERDICT_WORDS, text_of
from valign.synthesis.writer import Writer
from valign.teachers.json_replies import read_object

CHECK_TEMPLATE, CHECK_LABEL = "probe_check", "probes, second look"
CHECK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"decides": {"type": "array", "items": {"type": "string"}}, "verdict": VERDICT_FIELD},
    "required": ["decides", "verdict"],
    "additionalProperties": False,
}
REPLY_UNREADABLE, A_CLAUSE_DECIDES, SECOND_VERDICT = "unreadable", "a clause decides it", "other verdict"
FAR = "far from its clause"
COSINE_ONLY = "nearness to its clause alone; the verdict is the rule's"


def look_again(writer: Writer, probes: Sequence[PolicyProbe]) -> list[tuple[PolicyProbe, str]]:
    """Let the teacher decide each question, shown the clauses nearest to it and neither verdict nor kind.

    Returns:
        Each probe with a note of who checked it, and why it is to be dropped; nothing for a reason where it stays.
    """
    judge = RelevanceJudge(
        writer.whole.passages,
        writer.embedder,
        writer.teacher,
        writer.settings.filters.relevance_clauses,
        writer.settings.templates,
        writer.language.prompts,
    )
    orders = [judge.order(probe.question, probe.clause) for probe in probes]
    requests = [_request(writer, judge, probe, order) for probe, order in zip(probes, orders, strict=True)]
    replies = writer.teacher.complete_all(requests, CHECK_LABEL) if requests else []
    found = []
    for probe, order, reply in zip(probes, orders, replies, strict=True):
        named, verdict = _read(reply[0].text, len(order))
        clauses = (
            None if named is None else [judge.passages[order[CLAUSE_LETTERS.index(letter)]].clause for letter in named]
        )
        said = verdict or "unreadable"
        noted = replace(probe, checked=f"{writer.teacher.id}: {said} by {', '.join(clauses or ()) or 'no clause'}")
        found.append((noted, _reason(probe, clauses, verdict)))
    return found


def _request(writer: Writer, judge: RelevanceJudge, probe: PolicyProbe, order: Sequence[int]) -> Request:
    lines = [f"{CLAUSE_LETTERS[i]}. {labelled(judge.passages[place])}" for i, place in enumerate(order)]
    shown = "\n".join([f"({writer.whole.title})", *lines])
    messages = writer.template(CHECK_TEMPLATE).fill(passage=shown, question=probe.question)
    return Request(messages, Sampling(max_new_tokens=40), schema=CHECK_SCHEMA)


def _read(reply: str, shown: int) -> tuple[list[str] | None, str | None]:
    """Return the letters that a reply names and its verdict; None for what cannot be read."""
    data = read_object(reply, ("verdict",))
    said = text_of(data.get("verdict")).lower().strip(" .") if data else ""
    verdict = "none" if said == "none" else VERDICT_WORDS.get(said)
    return find_letters(reply, "decides", CLAUSE_LETTERS[:shown]), verdict


def _reason(probe: PolicyProbe, clauses: Sequence[str] | None, verdict: str | None) -> str:
    """Say where the second look disagrees with a probe."""
    if clauses is None or verdict is None:
        return REPLY_UNREADABLE
    if probe.kind in UNDECIDED_KINDS:
        return A_CLAUSE_DECIDES if clauses or verdict != "none" else ""
    if probe.clause not in clauses:
        return OTHER_CLAUSE if clauses else NO_CLAUSE
    return "" if verdict == probe.verdict else SECOND_VERDICT


def measure_nearness(writer: Writer, probes: Sequence[PolicyProbe]) -> list[tuple[PolicyProbe, str]]:
    """Check probes by cosines where no teacher can: is the clause among the nearest to its question?

    What no clause decides is not checked, and no verdict is.

    Returns:
        As ``look_again`` does.
    """
    checks = RelevanceChecks(writer.whole.passages, writer.embedder, writer.settings.filters)
    found = []
    for probe in probes:
        if probe.kind in UNDECIDED_KINDS:
            found.append((probe, ""))
            continue
        reason, scores = checks.check(probe.question, probe.clause)
        noted = f"cosine {scores['relevance']:.2f}, rank {scores['rank']:.0f}; {COSINE_ONLY}"
        found.append((replace(probe, checked=noted), FAR if reason else ""))
    return found
