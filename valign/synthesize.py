"""``python -m valign.synthesize +experiment=udhr``: only the data, D_sft and D_pref."""

from __future__ import annotations

from omegaconf import DictConfig

from valign.cli.main import main_with


def main(config: DictConfig) -> None:
    """Write the data, and print what was made, what the filters dropped, and how well it covers the document.

    With ``dry_run=true`` the teacher is not asked: what its calls would take is printed instead.
    """
    if config.dry_run:
        print_budget(config)
        return
    from valign.core.files import read_json
    from valign.core.store import MANIFEST
    from valign.core.text import typed
    from valign.pipeline.artifacts import Artifacts
    from valign.pipeline.base_check import check_base_model
    from valign.pipeline.context import Context
    from valign.pipeline.data_stage import data_stage, evaluation_questions, read_funnel, replay_stage
    from valign.pipeline.leak import measure_leak, print_wording
    from valign.synthesis.coverage import coverage_lines
    from valign.synthesis.funnel_table import funnel_table

    context = Context.of(config)
    check_base_model(context, is_trained=False)
    artifacts = Artifacts(context.store)
    folder = data_stage(context, artifacts)
    counts = read_json(folder / MANIFEST)["counts"]
    print("\n" + funnel_table(read_funnel(folder)))
    print("\n".join(coverage_lines(counts["coverage"])))
    print(f"data: {folder}")
    found = measure_leak(folder, replay_stage(context, artifacts, folder), evaluation_questions(context, folder))
    print_wording(found)
    print(f"clauses covered: {100 * counts['clauses_covered'] / counts['clauses']:.1f}%")
    if counts.get("clauses_held_out"):
        print(f"clauses held out: {counts['clauses_held_out']}")
    if counts["facts"]:
        print(f"facts covered: {100 * counts['facts_covered'] / counts['facts']:.1f}%")
    print(f"quotes verified: {100 * counts['quotes_verified'] / counts['quotes']:.1f}%")
    print(f"leak rate: {100 * found['rate']:.1f}%")
    print(f"read and mend them: python -m valign.review {typed('artifact', str(folder))} reviewer=NAME")


def print_budget(config: DictConfig) -> None:
    """Print what the teacher's and the policy judge's calls would take, and which limit would stop them."""
    from valign.pipeline.context import Context
    from valign.pipeline.dry_run import dry_run_lines

    print("\n".join(dry_run_lines(Context.of(config))))


if __name__ == "__main__":
    main_with(main)
