"""The audit of the policy judge: what it says of answers beside what the questions and people say of the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.records import Answer
from valign.evaluation.judging.answer_labels import AnswerLabel
from valign.evaluation.judging.kappa import RatedTwice, cohens_kappa
from valign.evaluation.judging.labels import answer_hash
from valign.evaluation.judging.policy_judgement import (
    CLAUSE_LACKING,
    COMPLIES,
    NOTHING_SAID,
    POLICY_VERDICTS,
    VIOLATES,
    PolicyJudgement,
)
from valign.evaluation.verdicts import stated_verdict

FEWEST_LABELS = 30
QUESTIONS_SAY = "the questions' own verdicts"

AnswerKey = tuple[str, str]
Said = dict[AnswerKey, tuple[str, str]]  # clause and verdict, by question and hash of the answer


@dataclass(frozen=True)
class PolicyAudit:
    """Two who say of the same answers whether these follow their clause.

    Attributes:
        first: One of them.
        second: The other one.
        found: How far they agree; rows and columns of its table are ``complies``, ``violates``, ``undecided``.
    """

    first: str
    second: str
    found: RatedTwice

    @property
    def is_small(self) -> bool:
        """Whether the answers are too few to tell how good either is."""
        return self.found.kappa.n < FEWEST_LABELS

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        found = self.found
        return {
            "first": self.first,
            "second": self.second,
            "outcomes": list(POLICY_VERDICTS),
            "table": [list(row) for row in found.table],
            "same": found.same,
            "kappa": found.kappa.to_json(),
            "too_few": self.is_small,
        }


def judged_verdicts(answers: Sequence[Answer], judgements: Sequence[PolicyJudgement]) -> Said:
    """Return what a judge says of one arm's answers; what it could not be asked about is left out."""
    by_question = {answer.question_id: answer for answer in answers}
    found: Said = {}
    for j in judgements:
        answer = by_question.get(j.question_id)
        if answer is not None and j.fault not in (CLAUSE_LACKING, NOTHING_SAID):
            found[j.question_id, answer_hash(answer)] = j.clause, j.outcome
    return found


def questions_verdicts(answers: Sequence[Answer]) -> Said:
    """Return what the questions' own verdicts say of answers.

    One that states the right verdict complies, one that states the other violates. Left out are questions that have no
    verdict, and answers that state none, as far as the rules that look for it can tell.
    """
    found: Said = {}
    for answer in answers:
        stated = stated_verdict(answer.answer)
        if answer.verdict is not None and stated is not None:
            verdict = COMPLIES if stated == answer.verdict else VIOLATES
            found[answer.question_id, answer_hash(answer)] = answer.clause, verdict
    return found


def people_s_verdicts(labels: Sequence[AnswerLabel], answers: Sequence[Answer]) -> dict[str, Said]:
    """Return each rater's labels of answers that some arm still gives; of several of one answer the last one counts."""
    clauses = {(answer.question_id, answer_hash(answer)): answer.clause for answer in answers}
    found: dict[str, Said] = {}
    for label in labels:
        if label.key in clauses:
            found.setdefault(label.rater, {})[label.key] = clauses[label.key], label.choice
    return found


def audit(said: Mapping[str, Said], samples: int = 1000) -> list[PolicyAudit]:
    """Compare every two who have said something of the same answers, each different answer once.

    Args:
        said: What each says, by name; the first ones are compared first.
        samples: Bootstrap samples behind the intervals, which draw whole clauses.
    """
    names, found = list(said), []
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            shared = sorted(said[first].keys() & said[second].keys())
            if shared:
                rated = [(said[first][key][0], said[first][key][1], said[second][key][1]) for key in shared]
                found.append(PolicyAudit(first, second, cohens_kappa(rated, POLICY_VERDICTS, samples)))
    return found
