"""Tables beside the scores: by kind of question, by clauses held out, alignment tax, probes, policy judge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from valign.evaluation.judging.policy_scores import POLICY_METRICS
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import METRICS
from valign.evaluation.probes.policy_probe_scores import POLICY_PROBE_METRICS
from valign.evaluation.probes.scores import PROBE_METRICS
from valign.evaluation.tax.scores import TAX_METRICS
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.numbers import MISSING, finite_interval, finite_number, with_minus_sign
from valign.reporting.policy_verdicts import policy_sentences
from valign.reporting.probe_counts import probe_sentences

EXTRA_PARTS: dict[str, tuple[str, str, dict[str, MetricInfo]]] = {
    "by_kind": (
        "Which kinds of question go well?",
        "Means by kind of question, with 95% intervals over clauses.",
        {},
    ),
    "by_exposure": (
        "Does it carry over to clauses that training left out?",
        "Means over the questions on clauses that examples were written about (seen) and on those held out of D_sft "
        "and D_pref (unseen), and paired differences to base; with 95% intervals over clauses.",
        {},
    ),
    "tax": (
        "What did it cost?",
        "General ability beside the base model's, on texts and everyday instructions that have nothing to do with the "
        "document, with 95% intervals. A mean above its limit is in red and says so.",
        TAX_METRICS,
    ),
    "probes": (
        "Does it hold when asked in other ways?",
        "Probes: pressure, other wordings, harmless look-alikes, clauses in conflict, and what the document does not "
        "say; with 95% intervals over probes. Verdicts, refusals and what an answer calls unsaid are found by rules.",
        PROBE_METRICS,
    ),
    "policy": (
        "Does each answer follow its clause?",
        "What a model says that was shown the clause, the question and one answer, but neither the arm nor the right "
        "verdict; with 95% intervals over clauses. A verdict counts only with words of the clause that decide it.",
        POLICY_METRICS,
    ),
    "policy_probes": (
        "Does it allow what the document allows, and deny what it denies?",
        "Probes of the document's own rules, by kind and by what the deciding words do (may, must, must not); with 95% "
        "intervals over clauses. Over-refusal: allowed things that are denied. Under-refusal: denied things that are "
        "allowed.",
        POLICY_PROBE_METRICS,
    ),
}
TAX_REMEDY = "To lose less, train with sft.replay=0.25: general instructions are then learned beside the document."


@dataclass(frozen=True)
class ExtraCell:
    """One arm on one row: its mean, the ends of its interval, and the limit that it crosses, in words or empty."""

    mean: str
    ends: str
    crossed: str


@dataclass(frozen=True)
class ExtraTable:
    """A table of arms.

    Attributes:
        name: Key of the part in ``scores.json``.
        title: Its heading on the page.
        caption: What it shows.
        arms: Labels of the arms that have it.
        rows: What is measured, its limit in words or nothing, and one cell an arm.
        sentences: What is to be said about limits, or about a judge.
    """

    name: str
    title: str
    caption: str
    arms: list[str]
    rows: list[tuple[MetricInfo, str, list[ExtraCell]]]
    sentences: list[str]


def extra_tables(comparison: Comparison) -> list[ExtraTable]:
    """Return the tables of what was measured in some arm."""
    found = []
    for name, (title, caption, known) in EXTRA_PARTS.items():
        arms = {result.label: result.scores[name] for result in comparison.arms if result.scores.get(name)}
        measured = {metric for part in arms.values() for metric in part["metrics"]}
        infos = known or _by_kind(measured)
        if measured:
            rows = [_row(info, list(arms.values())) for info in infos.values() if info.name in measured]
            said = _sentences(arms, infos)
            said += policy_sentences([*arms.values()]) if name == "policy" else []
            said += probe_sentences(next(iter(arms.values()))) if name == "policy_probes" else []
            crossing = [r for r in comparison.arms if r.scores.get(name, {}).get("crossed")]
            if any("sft" in result.stages for result in crossing) and not has_replay(comparison):
                said.append(TAX_REMEDY)
            found.append(ExtraTable(name, title, caption, list(arms), rows, said))
    return found


def has_replay(comparison: Comparison) -> bool:
    """Tell whether SFT learned general instructions beside the document."""
    return bool((comparison.config.get("sft") or {}).get("replay"))


def _by_kind(measured: Iterable[str]) -> dict[str, MetricInfo]:
    """Return the words for metrics named ``<metric>/<group>``: those of the metric, with the group behind its label."""
    found = {}
    for metric, info in METRICS.items():
        if not info.has_kinds:
            continue
        for name in sorted(name for name in measured if name.startswith(f"{metric}/")):
            kind = " ".join(name.removeprefix(f"{metric}/").split())
            label = f"{info.label}, {kind}"
            found[name] = replace(info, name=name, label=label, description="")
    return found


def extra_metrics(result: ArmResult) -> dict[str, Mapping[str, Any]]:
    """Return what was measured of an arm beside the questions, by metric."""
    return {
        metric: cell for name in EXTRA_PARTS for metric, cell in result.scores.get(name, {}).get("metrics", {}).items()
    }


def extra_terminal(comparison: Comparison) -> list[str]:
    """Return the tables that have sentences as plain text, each with its sentences below."""
    return [text for table in extra_tables(comparison) if table.sentences for text in (_plain(table), *table.sentences)]


def extra_markdown(comparison: Comparison) -> list[str]:
    """Return the tables as Markdown, each with its sentences."""
    return ["\n\n".join([_markdown(table), *table.sentences]) for table in extra_tables(comparison)]


def _markdown(table: ExtraTable) -> str:
    head, *rows = _lines(table)
    lines = [head, ["---", *["---:"] * len(table.arms)], *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _plain(table: ExtraTable) -> str:
    lines = [[cell.replace("**", "") for cell in line] for line in _lines(table)]
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([head.ljust(first), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))])
        for head, *cells in lines
    )


def _lines(table: ExtraTable) -> list[list[str]]:
    """Return a table's cells, header first."""
    lines = [[table.title, *table.arms]]
    for info, limit, cells in table.rows:
        head = info.label + info.arrow + (f" ({limit})" if limit else "")
        lines.append([head, *(_text(cell) for cell in cells)])
    return lines


def _text(cell: ExtraCell) -> str:
    parts = (cell.mean, f"[{cell.ends.replace(' to ', ', ')}]" if cell.ends else "", f"**{cell.crossed}**")
    return " ".join(part for part in parts if part and part != "****")


def _row(info: MetricInfo, parts: list[Mapping[str, Any]]) -> tuple[MetricInfo, str, list[ExtraCell]]:
    limits = dict.fromkeys(_limit(part, info) for part in parts)
    return info, ", ".join(f"limit {text}" for text in limits if text), [_cell(part, info) for part in parts]


def _limit(part: Mapping[str, Any], info: MetricInfo) -> str:
    limit = finite_number(part.get("limits", {}).get(info.name))
    return "" if limit is None else f"{limit:g}"


def _cell(part: Mapping[str, Any], info: MetricInfo) -> ExtraCell:
    entry = part["metrics"].get(info.name, {})
    mean, ends = finite_number(entry.get("mean")), finite_interval(entry.get("ci95"))
    if mean is None:
        return ExtraCell(MISSING, "", "")
    words = " to ".join(_show(end, info) for end in ends) if ends else ""
    crossed = info.name in part.get("crossed", [])
    return ExtraCell(_show(mean, info), words, f"above {_limit(part, info)}" if crossed else "")


def _show(value: float, info: MetricInfo) -> str:
    return with_minus_sign(f"{round(value, info.decimals) + 0.0:.{info.decimals}f}")


def crossed_limits(label: str, part: Mapping[str, Any], infos: Mapping[str, MetricInfo]) -> list[str]:
    """Name every limit that an arm crosses."""
    over = [infos[name] for name in part.get("crossed", [])]
    return [f"Limit crossed: {i.label} of {label} is {_cell(part, i).mean}, above {_limit(part, i)}." for i in over]


def _sentences(arms: Mapping[str, Mapping[str, Any]], infos: Mapping[str, MetricInfo]) -> list[str]:
    """Name every limit that is crossed; say so where there are limits and none is crossed."""
    found = [sentence for label, part in arms.items() for sentence in crossed_limits(label, part, infos)]
    limited = any(part.get("limits") for part in arms.values())
    return found or (["General ability: no arm crosses a limit."] if limited else [])
