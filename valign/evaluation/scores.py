"""From an arm's answers to the values of the metrics, and from these to its ``scores.json``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.evaluation.bootstrap import bootstrap_mean, paired_difference
from valign.evaluation.metric_info import Likelihoods, MetricInput
from valign.evaluation.metrics import METRICS
from valign.retrieval.protocols import Embedder

Values = dict[str, Any]


def question_values(
    answers: Sequence[Answer],
    passages: Sequence[Passage],
    embedder: Embedder,
    likelihoods: Likelihoods | None = None,
) -> list[Values]:
    """Return the value of every metric, cosines to four decimals, for every answer of one arm.

    Args:
        answers: N answers.
        passages: All passages of the document.
        embedder: Gives unit rows for texts; the answers are embedded three times, so let it remember them.
        likelihoods: N values each, for the metrics that need the arm's model itself; None leaves them out.

    Returns:
        N dictionaries with ``question_id``, ``clause``, ``kind`` and one value for each metric in ``METRICS``; None
        where it does not apply: no facts, no verdict, no original, not measured, a clause that the document does not
        have, or an embedder that does not embed tokens.

    Raises:
        ValueError: A list has another length than ``answers``.
    """
    for name, column in vars(likelihoods).items() if likelihoods else ():
        if len(column) != len(answers):
            raise ValueError(f"{len(answers)} answers but {len(column)} values of {name}")
    given = MetricInput(answers, passages, embedder, likelihoods)
    columns = {name: info.compute(given) for name, info in METRICS.items() if info.compute is not None}
    return [
        {
            "question_id": a.question_id,
            "clause": a.clause,
            "kind": a.kind,
            **{name: column[i] for name, column in columns.items()},
        }
        for i, a in enumerate(answers)
    ]


def choose_metrics(values: Sequence[Values], names: Sequence[str] | None) -> list[Values]:
    """Return an arm's values without those of the metrics that are not named; all of them where ``names`` is None."""
    left_out = set(METRICS) - set(METRICS if names is None else names)
    return [{key: value for key, value in row.items() if key not in left_out} for row in values]


def score_arm(
    arm: str,
    values: Sequence[Values],
    base_values: Sequence[Values] | None = None,
    samples: int = 2000,
    exposure: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return an arm's scores in the form of ``scores.json``.

    Intervals are percentile bootstraps over clauses (``bootstrap_mean``). A metric without any value is left out. Where
    there are several kinds of question, ``by_kind`` has the same for each of them, under ``<metric>/<kind>``. Where
    training left clauses out, ``by_exposure`` has the same for the seen and the unseen ones, and the paired differences
    to base under ``<metric>/<exposure>, minus base``.

    The values of several trainings are scored together where the rows say in ``seed`` which one they come from: means
    and differences are those over all of them, intervals resample seeds and clauses, ``n`` counts questions, ``seeds``
    lists the seeds, and ``by_seed`` has the mean of every metric for each.

    Args:
        arm: Name of the arm.
        values: Its values by question, from ``question_values``.
        base_values: The same for base, for the paired differences; questions are matched by id.
        samples: Number of bootstrap samples.
        exposure: ``seen`` or ``unseen`` for the questions' clauses; empty where training left none out.

    Raises:
        ValignError: A question id occurs twice, a value is not finite, or the two arms share no question.
    """
    _check(arm, values)
    clauses = [str(v["clause"]) for v in values]
    means = _intervals(values, samples)
    by_clause: dict[str, Any] = {clause: [] for clause in clauses}
    for row in values:
        by_clause[str(row["clause"])].append(row)
    by_clause = {clause: {"n": _questions(rows), **_means(rows)} for clause, rows in by_clause.items()}
    versus = {} if base_values is None else {"base": difference_by_metric(arm, values, base_values, samples)}
    scores = {"arm": arm, "n": _questions(values), "metrics": means, "by_clause": by_clause, "versus": versus}
    seeds = sorted({int(v["seed"]) for v in values if "seed" in v})
    if seeds:
        scores["seeds"] = seeds
        scores["by_seed"] = {str(seed): _means([v for v in values if v["seed"] == seed]) for seed in seeds}
    kinds = sorted({str(v["kind"]) for v in values if v.get("kind")})
    if len(kinds) > 1:
        of_kind = {kind: _intervals([v for v in values if v.get("kind") == kind], samples) for kind in kinds}
        scores["by_kind"] = {"metrics": _named(of_kind)}
    if exposure:
        parts: dict[str, dict[str, Any]] = {}
        for group in ("seen", "unseen"):
            rows = [v for v in values if exposure.get(str(v["clause"])) == group]
            parts[group] = _intervals(rows, samples)
            if rows and base_values is not None:
                parts[f"{group}, minus base"] = difference_by_metric(arm, rows, base_values, samples)
        scores["by_exposure"] = {"metrics": _named(parts)}
    return scores


def _named(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the intervals of all groups in one dictionary, metric by metric, as ``<metric>/<group>``."""
    return {f"{name}/{group}": found[name] for name in METRICS for group, found in parts.items() if name in found}


def _intervals(values: Sequence[Values], samples: int) -> dict[str, dict[str, Any]]:
    """Return mean and interval of every metric that has a value."""
    clauses, seeds = [str(v["clause"]) for v in values], [v.get("seed") for v in values]
    found = {}
    for name, info in METRICS.items():
        column = [v.get(name) for v in values]
        interval = bootstrap_mean(column, clauses, samples, repeats=seeds, is_share=info.is_share)
        if interval.n:
            measured = _questions([v for v in values if v.get(name) is not None])
            found[name] = {**interval.to_json(), "n": measured}
    return found


def _questions(rows: Sequence[Values]) -> int:
    return len({row["question_id"] for row in rows})


def difference_by_metric(
    arm: str, values: Sequence[Values], other_values: Sequence[Values], samples: int = 2000
) -> dict[str, dict[str, Any]]:
    """Return the paired difference of an arm to another one by metric, over the questions that both have.

    Where the rows come from several trainings, those of the same seed are paired; an arm without seeds is paired with
    each of the other's.

    Args:
        arm: Name of the arm, for messages.
        values: The arm's values by question, from ``question_values``.
        other_values: Those of the other arm.
        samples: Number of bootstrap samples.

    Returns:
        ``mean``, ``ci95`` and ``n`` (questions) by metric.

    Raises:
        ValignError: A question id occurs twice, a value is not finite, or the two arms share no question.
    """
    _check(arm, values)
    _check("the other arm", other_values)
    pairs = paired_rows(values, other_values)
    if values and other_values and not pairs:
        raise ValignError(f"{arm}: shares no question with the arm it is compared with; score both on one file.")
    clauses = [str(own["clause"]) for own, _ in pairs]
    seeds = [own.get("seed", other.get("seed")) for own, other in pairs]
    result = {}
    for name in METRICS:
        measured = [(own.get(name), other.get(name)) for own, other in pairs]
        interval = paired_difference(
            [a for a, _ in measured], [b for _, b in measured], clauses, samples, repeats=seeds
        )
        if interval.n:
            both = [own for own, other in pairs if own.get(name) is not None and other.get(name) is not None]
            result[name] = {**interval.to_json(), "n": _questions(both)}
    return result


def paired_rows(values: Sequence[Values], other_values: Sequence[Values]) -> list[tuple[Values, Values]]:
    """Return the rows of two arms that are about the same question and, where they have a seed, of the same one."""
    others: dict[str, dict[Any, Values]] = {}
    for row in other_values:
        others.setdefault(row["question_id"], {})[row.get("seed")] = row
    pairs = []
    for row in values:
        for seed, other in others.get(row["question_id"], {}).items():
            if seed is None or "seed" not in row or seed == row["seed"]:
                pairs.append((row, other))
    return pairs


def _check(arm: str, values: Sequence[Values]) -> None:
    """Refuse repeated question ids and values that are not finite."""
    seen: set[tuple[str, Any]] = set()
    for row in values:
        question = row["question_id"]
        if (question, row.get("seed")) in seen:
            raise ValignError(f"{arm}: question '{question}' occurs twice; give each question an id of its own.")
        seen.add((question, row.get("seed")))
        for name in METRICS:
            value = row.get(name)
            if value is not None and not math.isfinite(value):
                raise ValignError(f"{arm}, question '{question}': {name} is {value}; check the weights.")


def _means(rows: Sequence[Values]) -> dict[str, float]:
    """Return the mean of every metric that has a value in these rows."""
    columns = {name: [r[name] for r in rows if r.get(name) is not None] for name in METRICS}
    return {name: math.fsum(column) / len(column) for name, column in columns.items() if column}
