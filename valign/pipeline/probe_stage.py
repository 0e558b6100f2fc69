"""The probes of a policy: made from the document, before the data, so that no training row is near one."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from valign.core.files import read_json, read_jsonl, to_dict, write_json, write_jsonl
from valign.core.records import Question
from valign.core.store import digest
from valign.evaluation.probes.policy import MADE, PolicyProbe, read_policy_probes
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.reporting.probe_counts import count_lines
from valign.runs.layout import POLICY_PROBES
from valign.synthesis.budget import DryTeacher, WordEmbedder
from valign.synthesis.languages.choice import language_of
from valign.synthesis.probes.make import make_probes
from valign.synthesis.templates import load_template
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

STAGE, PROBE_COUNTS = "policy_probes", "funnel.json"
PROBE_TEMPLATES = ("probes", "probe_check", "items_repair", "carries_value")
RELEVANCE = ("relevance_clauses", "min_relevance", "max_rank", "rank_margin")


@dataclass(frozen=True)
class PolicyProbes:
    """The probes of a run.

    Attributes:
        probes: What is asked.
        made: How they came about, where they were made: see ``ProbeCounts``.
    """

    probes: tuple[PolicyProbe, ...] = ()
    made: Mapping[str, Any] | None = None

    @property
    def questions(self) -> list[Question]:
        """The questions as an arm is asked them."""
        return [probe.to_question() for probe in self.probes]


def policy_probes(context: Context, artifacts: Artifacts) -> PolicyProbes:
    """Return the probes that the config names, made where it asks for that; none where it names none.

    Raises:
        Pending: A batch has completions still to bring.
        ValignError: A file of probes cannot be read, or does not fit the document.
    """
    wanted = context.settings.evaluation.policy_probes
    if wanted.questions != MADE:
        return PolicyProbes(tuple(p for p in given_policy_probes(context) if p.kind in wanted.kinds))
    folder = artifacts.find_pinned(STAGE) or _build(context, artifacts)
    return PolicyProbes(tuple(read_jsonl(folder / POLICY_PROBES, PolicyProbe)), read_json(folder / PROBE_COUNTS))


def given_policy_probes(context: Context) -> list[PolicyProbe]:
    """Return the probes of the policy that come from a file; none where they are made, or not asked.

    Raises:
        ValignError: The file cannot be read, or does not fit the document.
    """
    where = context.settings.evaluation.policy_probes.questions
    return read_policy_probes(where, context.document) if where not in (None, MADE) else []


def has_capable_teacher(context: Context) -> bool:
    """Tell whether a teacher writes the probes: one with ``prompts=large``, or one for questions; else rules do."""
    settings = context.settings
    is_large = settings.synthesis.prompts == "large" and settings.teacher.kind != "none"
    return is_large or settings.synthesis.question_teacher is not None


def _build(context: Context, artifacts: Artifacts) -> Path:
    """Return the stage's folder, with the probes and how many of them were dropped and why."""
    settings, by_teacher = context.settings, has_capable_teacher(context)
    wanted, synthesis = settings.evaluation.policy_probes, settings.synthesis
    language = language_of(context.document)
    asked = context.question_teacher or context.teacher
    templates = [load_template(name, synthesis.templates, language.prompts) for name in PROBE_TEMPLATES]
    config = {
        "kinds": wanted.kinds,
        "max_clauses": wanted.max_clauses,
        "by_teacher": by_teacher,
        "sampling": asdict(synthesis.sampling),
        "max_quote_words": synthesis.max_quote_words,
        "relevance": {name: getattr(synthesis.filters, name) for name in RELEVANCE},
        "seed": settings.seed,
    }
    inputs = {
        "document": digest([context.document.title, [to_dict(p) for p in context.document.passages]]),
        "language": language.code or "none",
        "embedder": context.embedder.id,
        **({"teacher": asked.id} if by_teacher else {}),
        **({f"template/{t.id}": t.hash for t in templates} if by_teacher else {}),
    }

    def fill(folder: Path) -> dict[str, Any]:
        teacher = CachedTeacher(asked, context.cache)
        writer = Writer(context.document, teacher, context.embedder, _of_all(context), settings.seed)
        try:
            found, counts = make_probes(writer, wanted.kinds, wanted.max_clauses, by_teacher, folder.name)
        finally:
            teacher.close()
        write_jsonl(folder / POLICY_PROBES, found)
        made = counts.to_dict()
        write_json(folder / PROBE_COUNTS, made)
        for line in count_lines(made):
            log.info("%s", line)
        return {"probes": len(found), "calls": teacher.calls, "calls_cached": teacher.hits}

    return artifacts.build(STAGE, config, inputs, fill)


def _of_all(context: Context) -> Any:
    """Return the settings of a synthesis that leaves no clause out: probes ask about those held out, too."""
    return replace(context.settings.synthesis, hold_out_clauses=())


def dry_probes(context: Context, teacher: DryTeacher) -> None:
    """Let a teacher that only counts go through the calls for the probes, where some are to be made by a teacher."""
    wanted = context.settings.evaluation.policy_probes
    if wanted.questions == MADE and has_capable_teacher(context):
        stand_in: Any = teacher
        writer = Writer(context.document, stand_in, WordEmbedder(), _of_all(context), context.settings.seed)
        make_probes(writer, wanted.kinds, wanted.max_clauses, True, "dry")
