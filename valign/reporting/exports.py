"""The comparison for other programs: every number as CSV, the table as LaTeX."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from typing import Any

from valign.reporting.comparison import Comparison
from valign.reporting.differences import arm_differences
from valign.reporting.score_table import footnote, table_cells
from valign.reporting.tax_and_probes import extra_metrics

CSV_COLUMNS = (
    "arm",
    "minus",
    "metric",
    "n",
    "mean",
    "ci95_low",
    "ci95_high",
    "p",
    "p_holm",
    "effect_size",
    "smallest_effect",
)
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",
    "]": "{]}",
    "\u2191": r"$\uparrow$",
    "\u2193": r"$\downarrow$",
    "\u2212": "$-$",
}
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_table(comparison: Comparison) -> str:
    """Return every mean and every difference, one a row, in full precision.

    Rows with ``minus`` are paired differences to that arm, with what ``valign.reporting.differences`` gives. A name
    that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for row in _rows(comparison):
        writer.writerow({key: _plain(value) for key, value in row.items() if key in CSV_COLUMNS})
    return file.getvalue()


def _rows(comparison: Comparison) -> Iterator[dict[str, Any]]:
    for result in comparison.arms:
        metrics = {**result.scores.get("metrics", {}), **extra_metrics(result)}
        for metric, cell in metrics.items():
            low, high = cell["ci95"]
            n = cell.get("n") or result.scores.get("n")
            yield {
                "arm": result.arm, "metric": metric, "n": n, "mean": cell["mean"], "ci95_low": low, "ci95_high": high
            }  # fmt: skip
    for difference in arm_differences(comparison):
        row = difference.to_json()
        low, high = row["ci95"]
        yield {**row, "minus": row["other"], "ci95_low": low, "ci95_high": high}


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


def latex_table(comparison: Comparison) -> str:
    """Return metrics by arms as a LaTeX ``tabular`` that needs no package; every text is escaped."""
    cells = table_cells([result.scores for result in comparison.arms])
    columns = [list(column) for column in zip(*cells, strict=True)]
    header, *rows = [" & ".join(latex(cell) for cell in column) + r" \\" for column in columns]
    note = latex(footnote([result.scores for result in comparison.arms]))
    ends = [r"\hline", r"\end{tabular}", "", rf"% {note}"]
    lines = [rf"\begin{{tabular}}{{l{'r' * (len(cells) - 1)}}}", r"\hline", header, r"\hline", *rows, *ends]
    return "\n".join(lines) + "\n"


def latex(text: str) -> str:
    r"""Escape a text for LaTeX; line breaks become spaces.

    >>> latex("50% of a_b & [c]")
    '50\\% of a\\_b \\& {[}c{]}'
    """
    flat = re.sub(r"\s+", " ", text)
    return "".join(_LATEX.get(character, character) for character in flat)
