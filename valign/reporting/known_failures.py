"""What goes wrong: the clauses on which an arm is worst, and answers with the wrong verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from valign.core.records import Answer
from valign.core.text import one_line
from valign.evaluation.metrics import primary_metrics
from valign.evaluation.probes.policy_probe_scores import says_not_decided
from valign.evaluation.verdicts import stated_verdict
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import ArmResult
from valign.reporting.examples import shorten
from valign.reporting.numbers import finite_number

HALF = 0.5
"""A clause of which less than this was right counts as one not to rely on: a guessed yes or no is right as often."""
MOST_FAILURES = 5
LONGEST_SHOWN = 400


@dataclass(frozen=True)
class ClauseResult:
    """How the questions on one clause went; ``right`` is the mean of the verdicts, where there is none of the facts."""

    clause: str
    right: float
    questions: int


@dataclass(frozen=True)
class Failure:
    """One answer that is wrong; long texts are cut.

    Attributes:
        clause: Id of the deciding clause.
        clause_text: Its words.
        question: What was asked.
        answer: What the arm said.
        expected: The right answer.
        fault: What is wrong with it.
        kind: Of a probe of the policy, its kind.
    """

    clause: str
    clause_text: str
    question: str
    answer: str
    expected: str
    fault: str
    kind: str = ""


def clause_results(arm: ArmResult) -> list[ClauseResult]:
    """Return how the questions on each clause went, the worst clause first; over all seeds where there are several."""
    rows: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for row in arm.every_seed or arm.values:
        value = row_score(row)
        if value is not None:
            rows[str(row.get("clause", ""))].append((str(row.get("question_id")), value))
    found = [
        ClauseResult(clause, sum(value for _, value in told) / len(told), len({question for question, _ in told}))
        for clause, told in rows.items()
    ]
    return sorted(found, key=lambda result: result.right)


def weak_clauses(arm: ArmResult) -> list[ClauseResult]:
    """Return the clauses of which less than half was right, the worst first."""
    return [result for result in clause_results(arm) if result.right < HALF]


def row_score(row: dict[str, Any]) -> float | None:
    """Return how right an answer is: its verdict where the question has one, else its facts; None for neither."""
    found = [finite_number(row.get(name)) for name in reversed(primary_metrics())]
    return next((value for value in found if value is not None), None)


def known_failures(arm: ArmResult, clauses: Clauses, most: int = MOST_FAILURES) -> list[Failure]:
    """Return real answers that are wrong, those with the opposite verdict first, on as many clauses as there are.

    Args:
        arm: The arm.
        clauses: The document's clauses.
        most: Answers wanted, at most.
    """
    rank = {result.clause: i for i, result in enumerate(clause_results(arm))}
    scores = {str(row.get("question_id")): row_score(row) for row in arm.values}
    faults = [(answer, _fault(answer, scores.get(answer.question_id))) for answer in arm.answers]
    wrong = [(kind, rank.get(answer.clause, len(rank)), answer, words) for answer, (kind, words) in faults if words]
    wrong.sort(key=lambda entry: entry[:2])
    turn: dict[str, int] = defaultdict(int)
    ordered = []
    for entry in wrong:
        ordered.append((entry[0], turn[entry[2].clause], entry[1], entry))
        turn[entry[2].clause] += 1
    ordered.sort(key=lambda entry: entry[:3])
    return [_failure(entry[2], entry[3], clauses) for *_, entry in ordered[:most]]


def probe_failures(arm: ArmResult, clauses: Clauses, most: int = MOST_FAILURES) -> tuple[list[Failure], int]:
    """Return wrong answers to the probes of the policy, of each kind in turn, and how many answers are wrong at all.

    What is forbidden and allowed comes first, then what is allowed and denied, what has a verdict where the rules give
    none, and last what states none, or does not say that there is none.

    Args:
        arm: The arm.
        clauses: The document's clauses.
        most: Answers wanted, at most.
    """
    wrong = [(*found, answer) for answer in arm.probed if (found := _probe_fault(answer))[1]]
    wrong.sort(key=lambda entry: entry[0])
    turn: Counter[str] = Counter()
    ordered = []
    for grave, fault, answer in wrong:
        ordered.append((turn[answer.kind], grave, fault, answer))
        turn[answer.kind] += 1
    ordered.sort(key=lambda entry: entry[:2])
    shown = sorted(ordered[:most], key=lambda entry: entry[1])
    return [replace(_failure(answer, fault, clauses), kind=answer.kind) for *_, fault, answer in shown], len(wrong)


def _probe_fault(answer: Answer) -> tuple[int, str]:
    """Say what is wrong with an answer to a probe, and how grave that is, the gravest first."""
    said = stated_verdict(answer.answer)
    if answer.verdict is None:
        if says_not_decided(answer.answer):
            return 0, ""
        missing = 4, "does not say that the rules decide nothing here"
        return (2, f"says {said}, where the rules decide nothing") if said else missing
    if said == answer.verdict:
        return 0, ""
    if said is None:
        return 3, f"states no clear yes or no, where {answer.verdict} is right"
    return int(said == "no"), f"says {said}, where {answer.verdict} is right"


def _fault(answer: Answer, score: float | None) -> tuple[int, str]:
    """Say what is wrong with an answer, and how grave that is, the gravest first; no words where nothing is."""
    if answer.verdict is not None:
        said = stated_verdict(answer.answer)
        if said == answer.verdict:
            return 0, ""
        return (
            (0, f"says {said}, where {answer.verdict} is right") if said else (1, f"states no clear {answer.verdict}")
        )
    return (2, "states none of the facts that a right answer needs") if score == 0.0 else (0, "")


def _failure(answer: Answer, fault: str, clauses: Clauses) -> Failure:
    return Failure(
        clause=answer.clause,
        clause_text=_cut(clauses.text(answer.clause)),
        question=_cut(answer.question),
        answer=_cut(answer.answer),
        expected=_cut(answer.reference),
        fault=fault,
    )


def _cut(text: str) -> str:
    return shorten(one_line(text), LONGEST_SHOWN)
