"""Copy measured tables from the studies' pages into other pages, so that no figure is typed twice.

    python docs/hooks/figures.py            # fill the copies
    python docs/hooks/figures.py --check    # say which pages are stale; exit code 1 where one is

A study's page in ``experiments/`` owns its tables (``experiments/tables.py`` fills them from runs). Another page says
what it shows of them, and where:

    <!-- copy experiments/udhr/README.md runs/udhr_ablation rows="base,SFT" columns="Fact recall,Similarity" -->
    <!-- /copy -->

gives these rows and columns (all by default) of the page's table of those runs, with the line under it, and

    <!-- across column="Fact recall" rows="base,SFT" "Declaration: experiments/udhr/README.md runs/udhr_ablation" -->
    <!-- /across -->

one row for each study, with that column of the arms named.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COPY = re.compile(r"(<!-- copy (.+?) -->\n)(.*?)(<!-- /copy -->)", re.DOTALL)
ACROSS = re.compile(r"(<!-- across (.+?) -->\n)(.*?)(<!-- /across -->)", re.DOTALL)
SOURCE = re.compile(r"<!-- table (\S+)((?: \w+=\S+)*) -->\n(.*?)<!-- /table -->", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A Markdown table: its cells by row, heading first, the line under the heading, and what follows the table."""

    cells: list[list[str]]
    rule: list[str]
    note: str

    @property
    def rows(self) -> dict[str, list[str]]:
        """The rows below the heading by their first cell."""
        return {row[0]: row for row in self.cells[1:]}

    def column(self, label: str) -> int:
        """Return the position of the column with a label; the heading may end with an arrow."""
        labels = [cell.rstrip(" ↑↓") for cell in self.cells[0]]
        if label not in labels:
            raise ValueError(f"no column {label!r}; there are: {', '.join(labels)}")
        return labels.index(label)

    def chosen(self, rows: Sequence[str], columns: Sequence[str]) -> str:
        """Return the Markdown of some rows and columns, all where none is named."""
        places = [0, *(self.column(label) for label in columns)] if columns else list(range(len(self.rule)))
        kept = [self.cells[0], self.rule, *(self.rows[row] for row in rows or self.rows)]
        return "\n".join(line([row[i] for i in places]) for row in kept)


def line(cells: Sequence[str]) -> str:
    """Return one line of a Markdown table."""
    return f"| {' | '.join(cells)} |"


def parse(text: str) -> Table:
    """Read a Markdown table and what stands below it."""
    lines = [row for row in text.splitlines() if row.startswith("|")]
    cells = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in lines]
    note = "\n".join(row for row in text.splitlines() if not row.startswith("|")).strip()
    return Table([cells[0], *cells[2:]], cells[1], note)


def find(page: str, runs: str, rows: Sequence[str], root: Path) -> Table:
    """Return the first table of some runs on a study's page that has the rows named."""
    for found in SOURCE.finditer((root / page).read_text(encoding="utf-8")):
        if found[1] == runs and "part=" not in found[2]:
            table = parse(found[3])
            if set(rows) <= set(table.rows):
                return table
    raise ValueError(f"{page} has no table of {runs} with the rows {', '.join(rows)}")


def options(text: str) -> tuple[list[str], dict[str, list[str]]]:
    """Split what a mark says into its plain words and its lists."""
    words = shlex.split(text)
    named = [word.partition("=") for word in words if re.match(r"\w+=", word)]
    return [word for word in words if not re.match(r"\w+=", word)], {k: v.split(",") for k, _, v in named}


def copied(text: str, root: Path) -> str:
    """Return the table that a mark ``copy`` asks for."""
    (page, runs), lists = options(text)
    rows = lists.get("rows", [])
    table = find(page, runs, rows, root)
    return f"{table.chosen(rows, lists.get('columns', []))}\n\n{table.note}"


def across(text: str, root: Path) -> str:
    """Return the table that a mark ``across`` asks for."""
    studies, lists = options(text)
    (label,), arms = lists["column"], lists["rows"]
    lines = [line([label, *arms]), line(["---", *("---:" for _ in arms)])]
    for study in studies:
        title, _, place = study.partition(": ")
        table = find(*place.split(), [], root)
        row = [table.rows[arm][table.column(label)] if arm in table.rows else "" for arm in arms]
        lines.append(line([title, *row]))
    return "\n".join(lines)


def filled(text: str, root: Path = ROOT) -> str:
    """Return a page with its copies made anew."""
    text = COPY.sub(lambda m: f"{m[1]}{copied(m[2], root)}\n\n{m[4]}", text)
    return ACROSS.sub(lambda m: f"{m[1]}{across(m[2], root)}\n\n{m[4]}", text)


def pages() -> list[Path]:
    """Return the pages that may hold copies."""
    return [ROOT / "README.md", ROOT / "experiments/README.md", *sorted((ROOT / "docs").glob("*.md"))]


def stale() -> list[str]:
    """Return the pages of which a copy differs from its study's table."""
    texts = {page: page.read_text(encoding="utf-8") for page in pages()}
    return [str(page.relative_to(ROOT)) for page, text in texts.items() if filled(text) != text]


def main() -> int:
    """Fill the copies, or check them."""
    found = stale()
    for page in found:
        print(f"{page}: {'stale' if '--check' in sys.argv else 'filled'}")
        if "--check" not in sys.argv:
            (ROOT / page).write_text(filled((ROOT / page).read_text(encoding="utf-8")), encoding="utf-8")
    return 1 if found and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
