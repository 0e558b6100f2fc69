"""What is said of a metric, once for tables, page, config and trackers, and what a metric is computed from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from valign.core.records import Answer, Passage
from valign.retrieval.protocols import Embedder

SUBSTANCE = "substance"
MANNER = "manner"
GROUPS = (SUBSTANCE, MANNER)
ANSWER = "answer"
EMBEDDER = "embedder"
MODEL = "model"


FIRST_WORDS = ("Yes", "No")
"""The first words of an answer of which the likelier one is what the model prefers."""


@dataclass(frozen=True)
class Likelihoods:
    """What an arm's model thinks of the right answers.

    Attributes:
        reference_nll: Negative log-likelihood of each reference answer, in nats per token.
        verdict_preference: 1.0 where the right one of Yes and No is the likelier first word, 0.0 where it is not (0.5
            where both are as likely), None where the question has no verdict.
    """

    reference_nll: Sequence[float | None]
    verdict_preference: Sequence[float | None]


def verdict_rightness(yes: float, no: float, verdict: str | None) -> float:
    """Return 1.0 where the right word is the likelier one, 0.0 where the other one is, 0.5 where both are as likely.

    >>> verdict_rightness(2.0, 1.5, "no"), verdict_rightness(2.0, 2.0, "no")
    (0.0, 0.5)

    Args:
        yes: Logit or log-probability of Yes.
        no: The same of No.
        verdict: The right one, ``yes`` or ``no``.
    """
    right, wrong = (yes, no) if verdict == "yes" else (no, yes)
    return 0.5 if right == wrong else float(right > wrong)


@dataclass(frozen=True)
class MetricInput:
    """What the metrics of one arm are computed from.

    Attributes:
        answers: The arm's N answers.
        passages: All passages of the document.
        embedder: Gives unit rows for texts.
        likelihoods: N values each, measured on the arm's model; None where they were not measured.
    """

    answers: Sequence[Answer]
    passages: Sequence[Passage]
    embedder: Embedder
    likelihoods: Likelihoods | None = None


Compute = Callable[[MetricInput], Sequence[float | None]]


@dataclass(frozen=True)
class MetricInfo:
    """How a metric is named, read and computed.

    Attributes:
        name: Key in ``scores.json`` and in ``evaluation.metrics``.
        label: Heading in tables.
        description: One sentence for a reader of the report.
        higher_is_better: None where neither direction is better.
        decimals: Digits behind the point in tables.
        group: Part of the page's score table: ``substance`` (what is said), ``manner`` (how it is said), or empty for a
            metric that has a table of its own.
        page_rank: A group's metrics stand on the page by this number, those with the same one in the order of
            ``METRICS``.
        needs: What it is computed from: each ``answer`` alone, the ``embedder``, or the arm's ``model`` itself.
        compute: Gives N values for N answers, each None where the metric does not apply; None for metrics that are
            not measured on the answers to the questions.
        is_primary: Whether it is among those that say in one word how good an answer is: on the page's clauses, in
            its filter, and of passages that were looked up.
        is_charted: Whether the page draws it, and lists it by seed.
        has_kinds: Whether the page lists it by kind of question.
        finding: The finding in words, such as ``states {} of the facts``, for a metric that is a share; the share is
            put in as a percentage.
        is_share: Whether every value is from 0 to 1 and the mean a share of answers, facts or the like, which has an
            interval even where all values agree.
    """

    name: str
    label: str
    description: str
    higher_is_better: bool | None = True
    decimals: int = 2
    group: str = ""
    page_rank: int = 0
    needs: str = ANSWER
    compute: Compute | None = None
    is_primary: bool = False
    is_charted: bool = False
    has_kinds: bool = False
    finding: str = ""
    is_share: bool = False

    @property
    def direction(self) -> str:
        """Which way is better, in words."""
        if self.higher_is_better is None:
            return ""
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def arrow(self) -> str:
        """Which way is better, as an arrow behind the label."""
        return {True: " ↑", False: " ↓", None: ""}[self.higher_is_better]


def per_answer(function: Callable[[Answer], float | None]) -> Compute:
    """Return what computes a metric that is a pure function of one answer."""
    return lambda given: [function(answer) for answer in given.answers]


def from_likelihoods(function: Callable[[Likelihoods], Sequence[float | None]]) -> Compute:
    """Return what computes a metric that is among the likelihoods; None for each answer where there are none."""
    return lambda given: [None] * len(given.answers) if given.likelihoods is None else function(given.likelihoods)
