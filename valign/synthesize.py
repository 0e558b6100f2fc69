"""``python -m valign.synthesize +experiment=udhr``: only the data, D_sft and D_pref."""

from __future__ import annotations

import logging

from omegaconf import DictConfig

from valign.cli.main import main_with

log = logging.getLogger("valign.synthesize")


def main(config: DictConfig) -> None:
    """Write the data, and print what was made, what the filters dropped, and how well it covers the document.

    With ``dry_run=true`` the teacher is not asked: what its calls would take is printed instead.
    """
    if config.dry_run:
        show_budget(config)
        return
    from valign.core.files import read_json
    from valign.pipeline.artifacts import Pipeline
    from valign.synthesis.coverage import coverage_lines
    from valign.synthesis.filters import funnel_table

    pipeline = Pipeline(config)
    folder = pipeline.data
    counts = read_json(folder / "manifest.json")["counts"]
    print("\n" + funnel_table(pipeline.funnel()))
    print("\n".join(coverage_lines(counts["coverage"])))
    print(f"data: {folder}")
    print(f"clauses covered: {100 * counts['clauses_covered'] / counts['clauses']:.1f}%")
    if counts.get("clauses_held_out"):
        print(f"clauses held out: {counts['clauses_held_out']}")
    if counts["facts"]:
        print(f"facts covered: {100 * counts['facts_covered'] / counts['facts']:.1f}%")
    print(f"quotes verified: {100 * counts['quotes_verified'] / counts['quotes']:.1f}%")
    print(f"leak rate: {100 * pipeline.leak()['rate']:.1f}%")


def show_budget(config: DictConfig) -> None:
    """Print what the teacher's calls would take, and which limit would stop them."""
    from valign.pipeline.artifacts import Pipeline
    from valign.synthesis.budget import budget_table

    pipeline = Pipeline(config)
    budget = pipeline.budget()
    kind = "its own tokenizer" if config.teacher.kind == "local" else "an estimate: one for four characters"
    print(f"\nbudget of {pipeline.document.name}, teacher {pipeline.teacher.id} (nothing was asked)")
    print(f"prompt tokens: {kind}\n")
    print(budget_table(budget))


if __name__ == "__main__":
    main_with(main)
