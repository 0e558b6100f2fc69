"""``python -m valign.synthesize +experiment=udhr``: only the data, D_sft and D_pref."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from valign.cli import main_with

log = logging.getLogger("valign.synthesize")


def main(config: DictConfig) -> None:
    """Write the data, and print what was made, what the filters dropped, and how well it covers the document."""
    from valign.pipeline import Pipeline
    from valign.store import read_json
    from valign.synthesis.build import funnel_table
    from valign.synthesis.coverage import coverage_lines

    pipeline = Pipeline(config)
    folder = pipeline.data
    counts = read_json(folder / "manifest.json")["counts"]
    print("\n" + funnel_table(pipeline.funnel()))
    print("\n".join(coverage_lines(counts["coverage"])))
    print(f"data: {folder}")
    print(f"clauses covered: {100 * counts['clauses_covered'] / counts['clauses']:.1f}%")
    print(f"quotes verified: {100 * counts['quotes_verified'] / counts['quotes']:.1f}%")
    print(f"leak rate: {100 * pipeline.leak()['rate']:.1f}%")


if __name__ == "__main__":
    main_with(main)
