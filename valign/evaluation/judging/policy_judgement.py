"""What a policy judge says of one answer: whether it follows its clause, and by which words of the clause."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl

COMPLIES, VIOLATES, UNDECIDED = "complies", "violates", "undecided"
POLICY_VERDICTS = (COMPLIES, VIOLATES, UNDECIDED)
UNREAD, UNVERIFIED, NOTHING_SAID, CLAUSE_LACKING = "unread", "unverified", "nothing said", "no clause"


@dataclass(frozen=True)
class PolicyJudgement:
    """Whether an answer follows the clause that decides its question.

    Attributes:
        question_id: The question.
        clause: The clause.
        arm: Whose answer it is, which the judge is not told.
        outcome: ``complies``, ``violates`` or ``undecided``; the last one wherever there is a fault.
        quote: The words that decide it: the clause's own, or, of a quote that is not in the clause, the judge's.
        fault: Why the judge's verdict does not count: ``unread`` (no reply of the form that was asked for),
            ``unverified`` (the quote does not stand in the clause), or why it was not asked: ``nothing said`` (an empty
            answer), ``no clause`` (the document has none of this name). Nothing where it counts.
        said: The verdict in the judge's reply, whether it counts or not; nothing where there is none.
        repaired: Whether the judge was asked a second time.
    """

    question_id: str
    clause: str
    arm: str
    outcome: str
    quote: str = ""
    fault: str = ""
    said: str = ""
    repaired: bool = False


def read_policy_judgements(path: Path) -> list[PolicyJudgement]:
    """Read what a policy judge said.

    Raises:
        ValignError: The file is missing, or a line of it is not such a judgement.
    """
    found = read_jsonl(path, PolicyJudgement)
    for row in found:
        if row.outcome not in POLICY_VERDICTS:
            raise ValignError(f"{path}: '{row.outcome}' is no outcome; give one of {', '.join(POLICY_VERDICTS)}.")
    return found
