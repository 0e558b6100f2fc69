"""Put measured tables and figures into the studies' pages, from the run folders that their commands leave.

    python experiments/tables.py            # from runs/ here
    python experiments/tables.py FOLDER     # from FOLDER/runs

A page says between which marks a table stands, from which runs, with which arms and columns (all by default):

    <!-- table runs/udhr_ablation arms=base,sft,sft_dpo columns=fact_recall,similarity -->
    <!-- /table -->

``part=tax`` (or ``by_kind``, ``by_exposure``, ``probes``, ``seeds``) gives that table instead of the scores, and
``<!-- figure runs/udhr_ablation/report.svg report.svg -->`` has that file copied beside the page. Runs that are not
there leave a page as it is.
"""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from valign.core.errors import ValignError
from valign.reporting.comparison import Comparison
from valign.reporting.score_table import markdown_table
from valign.reporting.seeds import seed_markdown, seed_table
from valign.reporting.study import compare_runs
from valign.reporting.tax_and_probes import extra_markdown, extra_tables
from valign.runs.layout import run_folders

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"(<!-- table (\S+)((?: \w+=\S+)*) -->\n)(.*?)(<!-- /table -->)", re.DOTALL)
FIGURE = re.compile(r"<!-- figure (\S+) (\S+) -->")


def fill_tables(text: str, place: Path) -> tuple[str, list[str]]:
    """Return a page with the tables of the runs in a folder, and what was done about each."""
    said: list[str] = []

    def put(found: re.Match[str]) -> str:
        opening, runs, options, _, ending = found.groups()
        try:
            folders = top_runs(place / runs)
        except ValignError:
            said.append(f"kept: {runs} has no finished run")
            return found.group(0)
        chosen = dict(option.split("=", 1) for option in options.split())
        said.append(f"filled: {runs}{options}")
        return f"{opening}{study_table(compare_runs(folders), chosen)}\n\n{ending}"

    return TABLE.sub(put, text), said


def top_runs(folder: Path) -> list[Path]:
    """Return the runs of an experiment without the evaluations on other questions inside them."""
    return [found for found in run_folders(folder) if "evaluations" not in found.relative_to(folder).parts]


def study_table(comparison: Comparison, chosen: dict[str, str]) -> str:
    """Return one table of a comparison as Markdown."""
    arms = chosen["arms"].split(",") if "arms" in chosen else [result.arm for result in comparison.arms]
    kept = replace(comparison, arms=[result for result in comparison.arms if result.arm in arms])
    part = chosen.get("part")
    if part is None:
        columns = chosen["columns"].split(",") if "columns" in chosen else None
        return markdown_table([result.scores for result in kept.arms], columns).strip()
    if part == "seeds":
        seeds = seed_table(kept)
        return seed_markdown(seeds) if seeds else "One seed alone."
    names = [found.name for found in extra_tables(kept)]
    return extra_markdown(kept)[names.index(part)] if part in names else "Not measured."


def main(place: Path) -> None:
    """Fill all pages."""
    for page in (ROOT / "README.md", *sorted(ROOT.glob("experiments/*/README.md"))):
        text = page.read_text(encoding="utf-8")
        new, said = fill_tables(text, place)
        if new != text:
            page.write_text(new, encoding="utf-8")
        for source, target in FIGURE.findall(text):
            if (place / source).is_file():
                shutil.copyfile(place / source, page.parent / target)
                said.append(f"copied: {source}")
        for line in said:
            print(f"{page.relative_to(ROOT)}: {line}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
