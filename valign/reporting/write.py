"""The comparison of some runs, written as a page with its picture and as tables, or printed."""

from __future__ import annotations

from pathlib import Path

from valign.core.files import write_json, write_text
from valign.reporting.card import alignment_card
from valign.reporting.comparison import Comparison
from valign.reporting.differences import arm_differences, difference_sentences
from valign.reporting.exports import csv_table, latex_table
from valign.reporting.headline import MADE_QUESTIONS, has_made_questions
from valign.reporting.judge_agreement import judge_lines
from valign.reporting.page import render_page, render_picture
from valign.reporting.policy_verdicts import policy_lines
from valign.reporting.retrieval_effect import retrieval_effects
from valign.reporting.score_table import markdown_table, terminal_table
from valign.reporting.seeds import seed_markdown, seed_table
from valign.reporting.study import compare_folder
from valign.reporting.summary import comparison_summary
from valign.reporting.tax_and_probes import extra_markdown, extra_terminal
from valign.reporting.wins import win_lines
from valign.runs.damage import describe_damage
from valign.runs.layout import CARD, COMPARISON


def write_report(runs: Path, output: Path) -> None:
    """Compare all runs in a folder: write the page and the tables, and print one of them."""
    comparison = compare_folder(runs)
    with describe_damage(runs):
        write_page(comparison, output)
        write_tables(comparison, output)
        print("\n" + comparison_table(comparison))
    print(f"\nreport: {output}")


def write_page(comparison: Comparison, output: Path) -> Path:
    """Write a comparison's page, and beside it its leading charts as a picture, ``comparison.json`` and the card."""
    page = render_page(comparison, output)
    render_picture(comparison, output.with_suffix(".svg"))
    write_json(output.with_name(COMPARISON), comparison_summary(comparison))
    write_text(output.with_name(CARD), alignment_card(comparison))
    return page


def write_tables(comparison: Comparison, output: Path) -> None:
    """Write a comparison beside its page as ``table.md``, ``table.csv`` and ``table.tex``."""
    write_text(output.with_name("table.md"), comparison_table(comparison, markdown=True) + "\n")
    write_text(output.with_name("table.csv"), csv_table(comparison))
    write_text(output.with_name("table.tex"), latex_table(comparison))


def comparison_table(comparison: Comparison, *, markdown: bool = False) -> str:
    """Return the table of a comparison and the remarks below it, for a terminal or as Markdown."""
    scores = [arm.scores for arm in comparison.arms]
    remarks = [
        *difference_sentences(arm_differences(comparison)),
        *(row.sentence for row in retrieval_effects(comparison)),
    ]
    remarks += [
        *win_lines(comparison),
        *judge_lines(comparison),
        *policy_lines(comparison),
        *([MADE_QUESTIONS] if has_made_questions(comparison) else []),
    ]
    seeds = seed_table(comparison)
    if seeds:
        remarks.append(seed_markdown(seeds) if markdown else " ".join(seeds.sentences))
    remarks += extra_markdown(comparison) if markdown else extra_terminal(comparison)
    shown = "".join(f"\n{remark}\n" for remark in remarks)
    return (markdown_table(scores) if markdown else terminal_table(scores)) + shown
