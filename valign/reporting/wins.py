"""Who wins against whom, in words and as a matrix for the page."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.arm_names import arm_label
from valign.evaluation.bootstrap import Interval
from valign.evaluation.judging.tournament import Tournament
from valign.evaluation.judging.win_rates import WinRate
from valign.reporting.colours import colour_step
from valign.reporting.comparison import BASE, Comparison
from valign.reporting.numbers import MISSING, format_number


@dataclass(frozen=True)
class WinCell:
    """The row's arm against the column's: rate, interval, length-controlled rate; empty on the diagonal."""

    rate: str
    ends: str
    controlled: str
    step: int | None


@dataclass(frozen=True)
class WinMatrix:
    """The page's view of a tournament.

    Attributes:
        judge: The judge in words.
        warning: Why it may be partial, if it may.
        columns: The arms' names for a reader.
        rows: Each arm with its cells.
        ranking: Each arm by strength: name, strength, interval.
        sentence: Ties, flips and unread replies over all pairs.
    """

    judge: str
    warning: str
    columns: list[str]
    rows: list[tuple[str, list[WinCell]]]
    ranking: list[tuple[str, str, str]]
    sentence: str


def win_matrix(comparison: Comparison) -> WinMatrix | None:
    """Lay out who wins against whom; None where nothing was judged."""
    wins = comparison.wins
    if wins is None:
        return None
    names = [result.arm for result in comparison.arms if any(result.arm in pair for pair in wins.pairs)]
    rows = [(arm_label(arm), [_cell(wins.pairs.get((arm, other))) for other in names]) for arm in names]
    intervals = [(s, Interval(s.value, s.low, s.high, 0)) for s in wins.ranking]
    ranking = [(arm_label(s.arm), format_number(s.value, True), _ends(interval, True)) for s, interval in intervals]
    return WinMatrix(wins.name, wins.warning, [arm_label(a) for a in names], rows, ranking, _counts(wins))


def _cell(rate: WinRate | None) -> WinCell:
    if rate is None:
        return WinCell(MISSING, "", "", None)
    step = colour_step(rate.rate.mean, 0.0, 1.0, True)
    return WinCell(format_number(rate.rate.mean), _ends(rate.rate), format_number(rate.controlled.mean), step)


def _ends(interval: Interval, signed: bool = False) -> str:
    if interval.low != interval.low:
        return ""
    return f"{format_number(interval.low, signed)} to {format_number(interval.high, signed)}"


def _counts(wins: Tournament) -> str:
    """Say how often the judge saw no difference, and how often its verdict hung on the order."""
    once = [rate for (arm, other), rate in wins.pairs.items() if arm > other]
    judged = sum(rate.rate.n for rate in once)
    ties = sum(rate.ties * rate.rate.n for rate in once) / judged
    flips = sum(rate.flips * rate.rate.n for rate in once) / judged
    unread = sum(rate.unread for rate in once)
    words = f"Of {judged} pairs of answers, {100 * ties:.0f}% count as ties"
    if wins.kind == "reference":
        return f"{words}; the order in which they are seen does not matter to this judge."
    words += f"; in {100 * flips:.0f}% the verdict hung on which answer came first, which counts as a tie"
    return f"{words}. {unread} replies could not be read and count as ties." if unread else f"{words}."


def win_lines(comparison: Comparison) -> list[str]:
    """Return the lines for a terminal: every arm's win rate against base, the judge, and a warning."""
    wins = comparison.wins
    if wins is None:
        return []
    found = []
    for result in comparison.arms:
        rate = wins.pairs.get((result.arm, BASE))
        if rate is not None:
            ends = f" [{rate.rate.low:.2f}, {rate.rate.high:.2f}]" if rate.rate.low == rate.rate.low else ""
            found.append(f"{result.label} {rate.rate.mean:.2f}{ends}, {rate.controlled.mean:.2f} at equal length")
    lines = [f"wins over base, judge {wins.name}: {'; '.join(found)}"] if found else []
    return [*lines, *([f"warning: {wins.warning}"] if wins.warning else [])]
