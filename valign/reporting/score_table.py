"""The table of scores, for a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from valign.core.text import one_line
from valign.evaluation.arm_names import arm_label, sort_scores
from valign.evaluation.metric_info import MODEL, MetricInfo
from valign.evaluation.metrics import METRICS


def _markdown_cell(text: str) -> str:
    """Return a cell's text, which may be a question's kind or an arm's name, as text for a Markdown table."""
    return one_line(text).replace("|", "\\|").replace("<", "&lt;")


def markdown_table(scores: Sequence[dict[str, Any]], metrics: Sequence[str] | None = None) -> str:
    """Return arms by metrics as a Markdown table, with a line that says over how many questions.

    Args:
        scores: What ``score_arm`` gave, one for each arm.
        metrics: Names of the columns in order; by default every metric that an arm has, facts and verdicts first.
    """
    header, *rows = table_cells(scores, metrics)
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    table = ["| " + " | ".join(_markdown_cell(cell) for cell in line) + " |" for line in lines]
    return "\n".join([*table, "", footnote(scores)]) + "\n"


def terminal_table(scores: Sequence[dict[str, Any]], metrics: Sequence[str] | None = None, width: int = 120) -> str:
    """Return arms by metrics as plain text; columns that do not fit the width go to a further block of lines."""
    blocks: list[list[list[str]]] = []
    used = width
    arms, *columns = (list(column) for column in zip(*table_cells(scores, metrics), strict=True))
    margin = max(map(len, arms))
    if not columns:
        blocks.append([[arm.ljust(margin) for arm in arms]])
    for column in columns:
        size = max(map(len, column)) + 2
        if used + size > width:
            blocks.append([[arm.ljust(margin) for arm in arms]])
            used = margin
        blocks[-1].append([cell.rjust(size) for cell in column])
        used += size
    text = ["\n".join("".join(row) for row in zip(*block, strict=True)) for block in blocks]
    return "\n\n".join([*text, footnote(scores)]) + "\n"


def _columns(scores: Sequence[dict[str, Any]], metrics: Sequence[str] | None) -> list[MetricInfo]:
    """Choose the table's columns; an unknown metric gets its name as label."""
    present = dict.fromkeys(name for s in scores for name in s["metrics"])
    names = metrics or [*(m for m in METRICS if m in present), *(m for m in present if m not in METRICS)]
    return [METRICS.get(name, MetricInfo(name, name, "")) for name in names]


def table_cells(scores: Sequence[dict[str, Any]], metrics: Sequence[str] | None = None) -> list[list[str]]:
    """Return the table's cells, one row for each arm, header first.

    Args:
        scores: What ``score_arm`` gave, one for each arm.
        metrics: Names of the columns in order; by default every metric that an arm has.
    """
    columns = _columns(scores, metrics)
    rows = [["Arm", *[c.label + c.arrow for c in columns]]]
    for score in sort_scores(scores):
        rows.append([arm_label(score["arm"]), *[_cell(score["metrics"].get(c.name), c.decimals) for c in columns]])
    return rows


def _cell(value: Mapping[str, Any] | None, decimals: int) -> str:
    """Write ``0.54 [0.49, 0.59]``, the mean alone where there is no interval, and a dash where there is no value."""
    if value is None or value["mean"] is None:
        return "-"
    low, high = value["ci95"]
    mean = f"{value['mean']:.{decimals}f}"
    return mean if low is None else f"{mean} [{low:.{decimals}f}, {high:.{decimals}f}]"


def footnote(scores: Sequence[dict[str, Any]]) -> str:
    """Say over how many questions, and what the brackets are."""
    counts = {arm_label(s["arm"]): s["n"] for s in sort_scores(scores)}
    if not counts:
        return "no arm was scored"
    if len(set(counts.values())) == 1:
        n = next(iter(counts.values()))
        number = f"n = {n} question{'s' * (n != 1)}"
    else:
        number = "questions: " + ", ".join(f"{arm} {n}" for arm, n in counts.items())
    verdicts = {s["metrics"]["verdict_accuracy"]["n"] for s in scores if "verdict_accuracy" in s["metrics"]}
    if len(verdicts) == 1:
        number += f", {next(iter(verdicts))} of them with a verdict"
    changed = {s["metrics"]["follows_document"]["n"] for s in scores if "follows_document" in s["metrics"]}
    if len(changed) == 1:
        number += f", {next(iter(changed))} where the document contradicts the original"
    seeds = {len(s["seeds"]) for s in scores if "seeds" in s}
    over = "clauses"
    if seeds:
        number += (
            f"; means over {' to '.join(str(n) for n in sorted({min(seeds), max(seeds)}))} seeds of what was trained"
        )
        over = "seeds and clauses"
    notes = [number, *filter(None, [server_note(scores)]), f"brackets: 95% bootstrap interval over {over}."]
    return "; ".join(notes)


def server_note(scores: Sequence[dict[str, Any]]) -> str:
    """Say which arms answered through a server, and of which some metrics could not be measured; or nothing."""
    served = sort_scores([s for s in scores if "server" in s])
    if not served:
        return ""
    note = f"answered through a server: {', '.join(arm_label(s['arm']) for s in served)}"
    unmeasured = [arm_label(s["arm"]) for s in served if s["server"]["likelihoods"] == "none"]
    if unmeasured:
        measured = sorted(info.label[0].lower() + info.label[1:] for info in METRICS.values() if info.needs == MODEL)
        left_out = f"what needs the model itself ({', '.join(measured)}, alignment tax) not measured for"
        note += f"; {left_out}: {', '.join(unmeasured)}"
    return note
