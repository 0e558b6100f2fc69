"""What the page and the tables show, as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from valign.core.errors import ValignError
from valign.core.records import Answer, Instruction, Passage, Preference
from valign.evaluation.arm_names import arm_label
from valign.evaluation.judging.answer_labels import AnswerLabel
from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.judgement import Judgement, judge_by_reference
from valign.evaluation.judging.labels import Label
from valign.evaluation.judging.policy_judgement import PolicyJudgement
from valign.evaluation.judging.tournament import Tournament, hold_tournament
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import METRICS, page_order
from valign.evaluation.tax.scores import TAX_METRICS
from valign.models.terms import BaseModel
from valign.reporting.numbers import finite_interval, finite_number

BASE = "base"


@dataclass(frozen=True)
class ArmResult:
    """What one arm answered and scored.

    Attributes:
        arm: The arm's name, for example ``sft_dpo``.
        scores: The content of its ``scores.json``.
        answers: Its answers, one a question.
        values: Metric values by question: ``{"question_id": ..., metric: number or None, ...}``.
        stages: The trainings behind it: ``sft``, ``dpo``, both or none.
        data: Hash of the data that it was trained on; nothing where it was not.
        policy: What a policy judge says of its answers; empty where there is none.
        every_seed: Where several seeds were trained, the values of them all, with the ``seed`` of each row; ``answers``
            and ``values`` are then those of the lowest.
        probed: Its answers to the probes of the policy; empty where none were asked.
    """

    arm: str
    scores: dict[str, Any]
    answers: list[Answer]
    values: list[dict[str, Any]]
    stages: tuple[str, ...] = ()
    data: str = ""
    policy: list[PolicyJudgement] = field(default_factory=list)
    every_seed: list[dict[str, Any]] = field(default_factory=list)
    probed: list[Answer] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The arm's name for a reader."""
        return arm_label(self.arm)

    def count(self, metric: str) -> int:
        """Return the number of questions that a metric was measured on."""
        return int(finite_number(self.scores.get("metrics", {}).get(metric, {}).get("n")) or 0)

    def mean(self, metric: str) -> float | None:
        """Return the mean of a metric, or None where it was not measured."""
        return finite_number(self.scores.get("metrics", {}).get(metric, {}).get("mean"))

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the 95% interval of a metric's mean, or None where there is none."""
        return finite_interval(self.scores.get("metrics", {}).get(metric, {}).get("ci95"))

    def difference(self, metric: str, other: str = BASE) -> tuple[float, tuple[float, float] | None] | None:
        """Return this arm minus another on the same questions: the mean difference and its 95% interval."""
        entry = self.scores.get("versus", {}).get(other, {}).get(metric, {})
        mean = finite_number(entry.get("mean"))
        return None if mean is None else (mean, finite_interval(entry.get("ci95")))

    def by_clause(self, clause: str, metric: str) -> float | None:
        """Return the mean of a metric over the questions on one clause."""
        return finite_number(self.scores.get("by_clause", {}).get(clause, {}).get(metric))


@dataclass(frozen=True)
class Comparison:
    """Everything the page shows.

    Attributes:
        title: The document's title.
        experiment: The experiment's name.
        document_sha256: SHA-256 of the document's text.
        passages: The document's clauses in reading order.
        arms: The arms in the order of the tables' columns.
        funnel: By kind of data (``sft``, ``preference``, ``facts``): ``made``, ``dropped`` by filter, ``kept``,
            ``per_clause``, and ``audit``, for pairs in the form of ``valign.synthesis.shortcut_audit.audit_shortcuts``,
            for ``sft`` in that of ``valign.synthesis.verdict_audit.audit_verdicts``; ``review`` is what people read:
            ``sets`` with their counts, and ``reviewers``.
        leak: Overlap of questions and training data, in the form of ``valign.evaluation.leakage.question_overlap``; in
            ``wording`` what ``verdicts_by_wording`` found.
        curves: Points (step, value) by name, for example ``dpo/loss``.
        timings: Seconds by stage.
        config: The resolved configuration.
        artifacts: Hash by artifact.
        work: What each stage did, as its manifest counts it: examples, steps, tokens, calls of the teacher.
        examples: Training examples by the hash of their data.
        judge: The judge of pairs of answers; None for none.
        judgements: What it said, where it is a model.
        labels: What people said of pairs of answers.
        answer_labels: What people said of single answers.
        document_name: First part of every clause id.
        base_model: The base model as the runs note it; None where they do not.
        results: Names of the arms for which the runs were started, one a run: the last that was trained.
    """

    title: str
    experiment: str
    document_sha256: str
    passages: list[Passage]
    arms: list[ArmResult]
    funnel: dict[str, dict[str, Any]] | None = None
    leak: dict[str, Any] | None = None
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    artifacts: dict[str, str] = field(default_factory=dict)
    work: dict[str, dict[str, Any]] = field(default_factory=dict)
    examples: dict[str, list[Instruction | Preference]] = field(default_factory=dict)
    judge: Judge | None = None
    judgements: list[Judgement] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    answer_labels: list[AnswerLabel] = field(default_factory=list)
    document_name: str = ""
    base_model: BaseModel | None = None
    results: tuple[str, ...] = ()

    @cached_property
    def wins(self) -> Tournament | None:
        """Win rates of all pairs of arms and their ranking; None without a judge, or with nothing judged.

        The judge ``reference`` needs no model: it compares the similarities to the reference that were measured.
        """
        if self.judge is None:
            return None
        judge = self.judge
        found = self.judgements if judge.model else self.by_reference(judge.tie)
        return hold_tournament(found, judge.kind, judge.model, judge.warning) if found else None

    def by_reference(self, tie: float) -> list[Judgement]:
        """Judge all pairs of arms by the nearness of their answers to the reference; gaps up to ``tie`` are ties."""
        near = [
            {str(row.get("question_id")): finite_number(row.get("similarity")) for row in result.values}
            for result in self.arms
        ]
        said = [[replace(answer, arm=result.arm) for answer in result.answers] for result in self.arms]
        pairs = [(j, i) for j in range(len(said)) for i in range(j)]
        return [row for j, i in pairs for row in judge_by_reference(said[j], said[i], (near[j], near[i]), tie)]

    def check(self) -> None:
        """Raise a ValignError when there is nothing to compare or an arm appears twice."""
        names = [result.arm for result in self.arms]
        if not names:
            raise ValignError("the report has no arm to show; evaluate at least one recipe first.")
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValignError(f"the report was given arm '{twice[0]}' twice; give each arm once.")

    @property
    def base(self) -> ArmResult | None:
        """The arm that the others are compared with, where it was run."""
        return next((result for result in self.arms if result.arm == BASE), None)

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics with a value in some arm: those of substance first, the unknown ones last."""
        found = [m for result in self.arms for m in result.scores.get("metrics", {}) if result.mean(m) is not None]
        known = page_order()
        return [m for m in known if m in found] + [m for m in dict.fromkeys(found) if m not in known]


def metric_named(name: str) -> MetricInfo:
    """Return what is said of a metric of the answers or of the alignment tax; an unknown one is called by its name."""
    known = METRICS.get(name) or TAX_METRICS.get(name)
    return known or MetricInfo(name, name.replace("_", " "), "", None)
