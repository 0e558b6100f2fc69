"""The page's headline: does any arm follow the document better than base, and how sure is that?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from valign.evaluation.metric_info import MANNER, MetricInfo
from valign.evaluation.significance import LEVEL
from valign.evaluation.tax.scores import TAX_METRICS
from valign.reporting.comparison import BASE, ArmResult, Comparison, metric_named
from valign.reporting.differences import ArmDifference, arm_differences, format_p_value
from valign.reporting.numbers import format_number, format_share, with_minus_sign
from valign.reporting.tax_and_probes import crossed_limits

MADE_QUESTIONS = (
    "The teacher made these questions from the document, and the right answers are the document's own words: reciting "
    "the clause is right. Questions that a person wrote (document.questions=FILE.jsonl) are better evidence."
)


@dataclass(frozen=True)
class Headline:
    """What the page says first.

    Attributes:
        finding: ``better``, ``worse``, ``unclear`` or ``alone``.
        badge: The same in words.
        sentence: The best arm beside base, with the interval of the difference.
        notes: What to keep in mind about it.
        warnings: In what the best arm is worse than base, and which limits it crosses.
    """

    finding: str
    badge: str
    sentence: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...] = ()


_BADGES = {
    "better": "Better than base",
    "worse": "Worse than base",
    "unclear": "No clear difference from base",
    "alone": "Nothing to compare with",
}


def has_made_questions(comparison: Comparison) -> bool:
    """Tell whether valign made the questions itself, because the config names none."""
    parts = [comparison.config.get(group) for group in ("evaluation", "document")]
    return all(isinstance(part, dict) and "questions" in part and part["questions"] is None for part in parts)


def find_headline(comparison: Comparison, tested: Sequence[ArmDifference] | None = None) -> Headline:
    """Compare the best arm with base on fact recall, or on the first metric that was measured in its place.

    An arm counts as better or worse where the interval leaves zero out and the test, corrected for the number of
    differences, agrees.

    Args:
        comparison: The arms.
        tested: Its differences, where they are known already.
    """
    metric = leading_metric(comparison)
    if metric is None:
        return Headline("alone", _BADGES["alone"], "No metric was measured, so nothing can be said about the arms.", ())
    base = comparison.base
    others = [result for result in comparison.arms if result.arm != BASE and result.mean(metric.name) is not None]
    if base is None or base.mean(metric.name) is None or not others:
        return _alone(metric, others or comparison.arms, base)
    best = best_arm(others, metric)
    tested = arm_differences(comparison) if tested is None else tested
    gains = [row for row in tested if (row.arm, row.other) == (best.arm, BASE)]
    corrected = next((row.p_holm for row in gains if row.metric.name == metric.name), None)
    finding, notes = sure_finding(best, metric, tested), []
    if finding == "unclear" != _finding(best, metric):
        family = sum(row.p_holm is not None for row in tested)
        notes.append(
            f"The interval leaves zero out, but of {family} differences that were tested some do so by chance: "
            f"corrected for their number, p is {format_p_value(corrected)}."
        )
    trained = [result for result in others if not _looks_up(result)]
    if _looks_up(best) and trained:
        memory = best_arm(trained, metric)
        notes.append("Of the arms that answer without looking the document up: " + _sentence(memory, base, metric))
    if len(others) > 1:
        notes.append(
            f"The best of {len(others)} arms was picked by this same figure, which flatters it a little; "
            "the table gives every arm."
        )
    if metric.group == MANNER:
        notes.append(f"No facts or verdicts were scored: {metric.label} rewards the manner of an answer, true or not.")
    if has_made_questions(comparison):
        notes.append(MADE_QUESTIONS)
    return Headline(
        finding, _BADGES[finding], _sentence(best, base, metric), tuple(notes), _warnings(best, base, gains)
    )


def _warnings(best: ArmResult, base: ArmResult, gains: Sequence[ArmDifference]) -> tuple[str, ...]:
    """Say in what an arm is worse than base beyond chance, and which limits of general ability it crosses."""
    surely = [row.metric for row in gains if row.p_holm is not None and row.p_holm < LEVEL]
    worse = [metric for metric in surely if standing(best.difference(metric.name), metric) == "worse"]
    found = [f"{metric.label} {_amount(best, metric)} (base {_amount(base, metric)})" for metric in worse]
    said = [f"{best.label} is worse than base in: {', '.join(found)}."] if found else []
    return (*said, *crossed_limits(best.label, best.scores.get("tax") or {}, TAX_METRICS))


def leading_metric(comparison: Comparison) -> MetricInfo | None:
    """Return the metric that the headline rests on: the first that has a better direction."""
    found = [metric_named(name) for name in comparison.metrics]
    return next((metric for metric in found if metric.higher_is_better is not None), None)


def best_arm(arms: Sequence[ArmResult], metric: MetricInfo) -> ArmResult:
    """Return the arm with the best mean; the first of equals."""
    sign = -1.0 if metric.higher_is_better is False else 1.0
    return max(arms, key=lambda result: sign * (result.mean(metric.name) or 0.0))


def _looks_up(result: ArmResult) -> bool:
    return any(answer.retrieved for answer in result.answers)


def sure_finding(result: ArmResult, metric: MetricInfo, tested: Sequence[ArmDifference]) -> str:
    """Say whether an arm is ``better`` or ``worse`` than base by the interval and the corrected test, else ``unclear``.

    Args:
        result: The arm.
        metric: By which measure.
        tested: All differences of the comparison.
    """
    found = [row for row in tested if (row.arm, row.other, row.metric.name) == (result.arm, BASE, metric.name)]
    by_chance = any(row.p_holm is not None and row.p_holm >= LEVEL for row in found)
    return "unclear" if by_chance else _finding(result, metric)


def _finding(result: ArmResult, metric: MetricInfo) -> str:
    """Say what the interval of the difference from base allows to say."""
    state = standing(result.difference(metric.name), metric)
    return state if state in ("better", "worse") else "unclear"


def standing(difference: tuple[float, tuple[float, float] | None] | None, metric: MetricInfo) -> str:
    """Return ``better`` or ``worse`` where the interval leaves zero out, ``same`` where it holds it, else ``""``."""
    if difference is None or difference[1] is None or metric.higher_is_better is None:
        return ""
    low, high = difference[1]
    if low <= 0.0 <= high:
        return "same"
    return "better" if (low > 0.0) == metric.higher_is_better else "worse"


def _sentence(result: ArmResult, base: ArmResult, metric: MetricInfo) -> str:
    """Write the comparison of one arm with base, with the interval of the difference."""
    found = result.difference(metric.name)
    places = _places(result.mean(metric.name), base.mean(metric.name), found[0] if found else None)
    against = _plain(base.mean(metric.name), metric, places)
    opening = f"{_capital(result.label)} {_states(result, metric, places)}, against {against} for base"
    if found is None or found[1] is None:
        return f"{opening}; no interval of the difference was computed, so chance cannot be ruled out."
    mean, low, high = (_signed(value, metric, places) for value in (found[0], *found[1]))
    unit = " percentage points" if metric.finding else ""
    gap = f"a difference of {mean}{unit} (95% interval {low} to {high})"
    ending = {
        "better": ".",
        "worse": "; base does better.",
        "same": "; this may be chance, as the interval includes zero.",
    }
    return f"{opening}: {gap}{ending[standing(found, metric)]}"


def _alone(metric: MetricInfo, arms: Sequence[ArmResult], base: ArmResult | None) -> Headline:
    """Describe the best arm where there is no base, or base where there is nothing else."""
    measured = [result for result in arms if result.mean(metric.name) is not None]
    best = best_arm(measured, metric)
    ends = best.interval(metric.name)
    sure = f" (95% interval {_plain(ends[0], metric)} to {_plain(ends[1], metric)})" if ends else ""
    missing = "No other arm was run" if best is base else "Base was not run"
    opening = f"{_capital(best.label)} {_states(best, metric)}{sure}"
    return Headline("alone", _BADGES["alone"], f"{opening}. {missing}, so nothing can be said about a gain.", ())


def _places(mean: float | None, base: float | None, difference: float | None) -> int:
    """Return how many decimals of a percentage let a difference be that of the shares shown: none, or one."""
    if mean is None or base is None or difference is None:
        return 0
    return int(round(100 * round(mean, 2)) - round(100 * round(base, 2)) != round(100 * round(difference, 2)))


def _states(result: ArmResult, metric: MetricInfo, places: int = 0) -> str:
    share = _plain(result.mean(metric.name), metric, places)
    if metric.finding:
        return metric.finding.format(share)
    return f"has the best {metric.label}, {share}" if result.arm != BASE else f"has a {metric.label} of {share}"


def _amount(result: ArmResult, metric: MetricInfo) -> str:
    return _plain(result.mean(metric.name), metric)


def _plain(value: float | None, metric: MetricInfo, places: int = 0) -> str:
    """Write a share in percent and anything else as a number."""
    if metric.finding and value is not None:
        return format_share(value, places)
    return format_number(value)


def _signed(value: float, metric: MetricInfo, places: int = 0) -> str:
    """Write a difference with its sign: in percentage points for a share."""
    if not metric.finding:
        return format_number(value, signed=True)
    points = round(100 * round(value, 2 + places), places)
    return with_minus_sign(f"{points:+.{places}f}") if points else "0"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
