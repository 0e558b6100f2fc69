"""Write the comparison page: one HTML file that needs no network and runs nothing from the texts it shows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from valign.core.errors import ValignError
from valign.core.files import write_bytes
from valign.reporting.answers import answers_by_clause, question_filters
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import Comparison, metric_named
from valign.reporting.costs import stage_costs
from valign.reporting.coverage import audit_table, coverage_table, verdict_audit_table
from valign.reporting.curve_charts import curve_charts
from valign.reporting.differences import arm_differences, difference_sentences
from valign.reporting.dot_charts import dot_charts
from valign.reporting.glossary import GLOSSARY, arm_notes
from valign.reporting.headline import find_headline
from valign.reporting.heat_map import heat_map
from valign.reporting.judge_agreement import judge_rows
from valign.reporting.known_failures import probe_failures
from valign.reporting.numbers import format_duration, format_number
from valign.reporting.opening import make_opening
from valign.reporting.policy_verdicts import policy_view
from valign.reporting.retrieval_effect import retrieval_effects
from valign.reporting.score_groups import score_groups
from valign.reporting.score_table import server_note
from valign.reporting.seeds import seed_table
from valign.reporting.subject import find_subject
from valign.reporting.tax_and_probes import extra_tables
from valign.reporting.training_data import funnels, leak_rows, leak_sentence, review_rows
from valign.reporting.wins import win_matrix
from valign.synthesis.review_summary import review_sentence

PAGE_FILES = Path(__file__).parent / "templates"
_PAGE = "page.html.j2"
_PICTURE = "picture.svg.j2"
_MARGIN, _GAP, _HEADING = 16, 32, 20
SECRET = re.compile(r"(^|[_-])(api_?key|password|secret|token)$", re.IGNORECASE)


def render_page(comparison: Comparison, output: Path) -> Path:
    """Write the page in one step, so that a reader sees the whole file or none.

    The same comparison gives the same bytes. All texts are escaped; the page's policy forbids every network request.

    Args:
        comparison: What to show.
        output: The HTML file; its folder is made where it does not exist.

    Returns:
        The file that was written.

    Raises:
        ValignError: There is no arm, an arm appears twice, or the file cannot be written.
    """
    comparison.check()
    return _write(_environment().get_template(_PAGE).render(_context(comparison)), output)


def render_picture(comparison: Comparison, output: Path) -> Path:
    """Write the leading metrics of the arms as one SVG that stands by itself, two charts in a row.

    Args:
        comparison: What to show.
        output: The SVG file.

    Returns:
        The file that was written.

    Raises:
        ValignError: There is no arm, an arm appears twice, or the file cannot be written.
    """
    comparison.check()
    charts = dot_charts(comparison)
    places, y = [], _MARGIN
    for row in (charts[i : i + 2] for i in range(0, len(charts), 2)):
        y += _HEADING
        places += [(_MARGIN + i * (chart.width + _GAP), y, chart) for i, chart in enumerate(row)]
        y += max(chart.height for chart in row)
    width = max([x + chart.width for x, _, chart in places], default=_MARGIN) + _MARGIN
    picture = _environment().get_template(_PICTURE).render(places=places, width=width, height=y + _MARGIN)
    return _write(picture, output)


def _write(text: str, output: Path) -> Path:
    if output.is_dir():
        raise ValignError(f"report {output} is a folder; give the path of a file.")
    try:
        write_bytes(output, text.encode("utf-8", errors="replace"))
    except OSError as error:
        raise ValignError(f"report {output} cannot be written ({error.strerror}); choose another path.") from None
    return output


def _environment() -> Environment:
    """Return a Jinja environment that escapes everything and fails on a name it does not know."""
    loader = FileSystemLoader(PAGE_FILES)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["seconds"] = format_duration
    environment.filters["decimals"] = format_number
    return environment


def _context(comparison: Comparison) -> dict[str, Any]:
    """Collect what the template shows, section by section."""
    named = [c for result in comparison.arms for c in result.scores.get("by_clause", {})]
    named += [answer.clause for result in comparison.arms for answer in result.answers]
    clauses = Clauses(comparison.passages, named)
    groups = answers_by_clause(comparison, clauses)
    tested = arm_differences(comparison)
    subject = find_subject(comparison).arm
    probe_faults, wrong_probes = probe_failures(subject, clauses)
    anchors = {group.clause: group.anchor for group in groups}
    return {
        "style": Markup((PAGE_FILES / "page.css").read_text(encoding="utf-8")),
        "script": Markup((PAGE_FILES / "page.js").read_text(encoding="utf-8")),
        "comparison": comparison,
        "clauses": clauses,
        "metrics": [metric_named(name) for name in comparison.metrics],
        "arm_notes": arm_notes(comparison.arms),
        "glossary": GLOSSARY,
        "opening": make_opening(comparison, clauses, tested),
        "headline": find_headline(comparison, tested),
        "score_groups": score_groups(comparison),
        "served": server_note([result.scores for result in comparison.arms]),
        "tested": tested,
        "findings": difference_sentences(tested),
        "seeds": seed_table(comparison),
        "wins": win_matrix(comparison),
        "judges": judge_rows(comparison),
        "lookups": retrieval_effects(comparison),
        "policy": policy_view(comparison, clauses),
        "extras": extra_tables(comparison),
        "probe_failures": probe_faults,
        "wrong_probes": wrong_probes,
        "probes_answered": len(subject.probed),
        "probe_arm": subject.label,
        "charts": dot_charts(comparison),
        "heat": heat_map(comparison, clauses, anchors),
        "groups": groups,
        "questions": sum(len(group.questions) for group in groups),
        "filters": question_filters(comparison),
        "funnels": funnels(comparison),
        "coverage": coverage_table(comparison, clauses),
        "audit": audit_table(comparison),
        "verdict_audit": verdict_audit_table(comparison),
        "leak": leak_sentence(comparison),
        "leaks": leak_rows(comparison),
        "reviewed": review_sentence(comparison.funnel),
        "review_sets": review_rows(comparison),
        "curves": curve_charts(comparison),
        "costs": stage_costs(comparison),
        "config": json.dumps(_without_secrets(comparison.config), indent=2, ensure_ascii=False, default=str),
    }


def _without_secrets(value: Any) -> Any:
    """Return a configuration with the values of keys that name a secret replaced."""
    if isinstance(value, Mapping):
        return {
            str(key): "(not shown)" if item and SECRET.search(str(key)) else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_without_secrets(item) for item in value]
    return value
