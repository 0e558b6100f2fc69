"""The data: D_sft, D_pref and evaluation questions from the document, and general instructions to replay in SFT."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl, to_dict, write_jsonl
from valign.core.records import Instruction, Question
from valign.core.store import digest
from valign.documents.changes import compare_versions
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.evaluation.questions import without_original
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.authors import asked_of, author_line
from valign.pipeline.base_teacher import is_base_teacher
from valign.pipeline.context import Context
from valign.pipeline.probe_stage import policy_probes
from valign.synthesis.apply_review import fingerprint
from valign.synthesis.build import TEMPLATES, synthesize
from valign.synthesis.dataset import (
    FUNNEL,
    QUESTIONS,
    REVIEWED,
    SFT,
    latest_source,
    read_reviewed,
    write_source,
)
from valign.synthesis.evaluation_questions import no_questions
from valign.synthesis.held_out_clauses import exposure
from valign.synthesis.languages.choice import language_of
from valign.synthesis.replay import general_instructions, replay_rows
from valign.synthesis.reviewed_questions import mend_questions
from valign.synthesis.templates import Template, load_template
from valign.teachers.cache import CachedTeacher
from valign.teachers.protocol import Teacher

log = logging.getLogger(__name__)

# their id and their words are among the inputs; what is required decides nothing
NOT_HASHED = ("question_teacher", "templates", "rows", "review", "require_review")
REPLAY = "replay.jsonl"


def data_stage(context: Context, artifacts: Artifacts, judge: Teacher | None = None) -> Path:
    """Let the teacher write the data; the folder holds D_sft, D_pref, evaluation questions, facts and the funnel.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        judge: Who judges answers later, and is looked at before the teacher is paid.
    """
    if pinned := artifacts.find_pinned("data"):
        return pinned
    settings = context.settings
    if said := author_line(settings.teacher, settings.synthesis, context.document.name):
        log.info("%s", said)
    probes = policy_probes(context, artifacts).probes
    synthesis = asked_of(settings.teacher, settings.synthesis)
    teachers = _Teachers(context, judge)
    templates = _templates(context)
    inputs = _inputs(context, teachers, templates, probes)
    chosen = {key: value for key, value in asdict(synthesis).items() if key not in NOT_HASHED}
    config = {"synthesis": chosen, "seed": settings.seed, "system_prompt": settings.base_model.system_prompt}

    def fill(folder: Path) -> dict[str, Any]:
        with teachers:
            counts = synthesize(
                folder,
                context.document,
                context.given_questions,
                teacher=teachers.writer,
                base=teachers.base,
                embedder=context.embedder,
                settings=synthesis,
                seed=settings.seed,
                system_prompt=settings.base_model.system_prompt,
                question_teacher=teachers.questions,
                given=context.given_rows,
                review=context.review,
                probes=probes,
            )
        without_value = counts.get("without_value", ())
        write_source(folder, context.document, settings.document.path, templates, without_value)
        spent = teachers.counts()
        log.info(
            "%s; calls of %s: %d from the cache, %d new",
            _changes(context),
            "the teacher" if teachers.base is teachers.writer else "the teacher and the base model",
            spent["calls_cached"],
            spent["calls"],
        )
        return {**counts, **spent}

    if teachers.share > 0:
        with tempfile.TemporaryDirectory() as scratch:  # the first share writes; what this one asks is in the cache
            fill(Path(scratch))
        log.info("share %d of %d is done", teachers.share, teachers.shares)
    return artifacts.build("data", config, inputs, fill)


def data_if_needed(context: Context, artifacts: Artifacts, judge: Teacher | None = None) -> Path | None:
    """Do as ``data_stage`` does where a run uses data; where it does not, ask no teacher and return None.

    A run that trains nothing uses data for its questions, where the config names none or people have reviewed them,
    and for probes of the rules: those that training gives away are asked of no arm of a study.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        judge: As in ``data_stage``.
    """
    settings = context.settings
    if artifacts.pinned is not None:
        is_used = "data" in artifacts.pinned
    else:
        asks_more = context.review is not None or settings.evaluation.policy_probes.questions is not None
        is_used = not context.given_questions or asks_more
    if settings.recipe.stages or is_used:
        return data_stage(context, artifacts, judge)
    log.info("nothing is trained and the questions are given, so no data are written")
    return None


def _templates(context: Context) -> list[Template]:
    prompts = language_of(context.document).prompts
    return [load_template(name, context.settings.synthesis.templates, prompts) for name in TEMPLATES]


def _inputs(
    context: Context, teachers: _Teachers, templates: Sequence[Template], probes: Sequence[PolicyProbe]
) -> dict[str, Any]:
    """Return what the data are made from, as ids and digests."""
    asking, given = teachers.questions if context.given_questions is None else None, context.given_rows
    return {
        "document": digest([context.document.sha256, [to_dict(p) for p in context.document.passages]]),
        "questions": digest([without_original(q) for q in context.given_questions or []]),
        "language": language_of(context.document).code or "none",
        "teacher": teachers.writer.id,
        **({"question_teacher": asking.id} if asking else {}),
        **({"rows": digest([to_dict(row) for row in given])} if given else {}),
        **({"review": fingerprint(context.review.states)} if context.review else {}),
        **({"probes": digest([to_dict(probe) for probe in probes])} if probes else {}),
        "base_model": context.model_id,
        "embedder": context.embedder.id,
        **{f"template/{template.id}": template.hash for template in templates},
    }


class _Teachers:
    """The teachers of a synthesis, each behind the cache."""

    def __init__(self, context: Context, judge: Teacher | None) -> None:
        self.share, self.shares = (int(part) for part in (context.settings.teacher.share or "0/1").split("/"))
        share, other = (self.share, self.shares), context.question_teacher
        all_asked = [teacher for teacher in (judge, other, context.teacher) if teacher]

        def checked(teacher: Teacher) -> CachedTeacher:
            others = [one for one in all_asked if one is not teacher]
            return CachedTeacher(teacher, context.cache, share=share, checks_first=True, checks_too=others)

        self.writer = checked(context.teacher)
        self.base = self.writer
        if not is_base_teacher(context.settings):
            self.base = CachedTeacher(context.base_teacher, context.cache, share=share)
        self.questions = checked(other) if other else None
        self.all = {self.writer, self.base, *([self.questions] if self.questions else [])}

    def __enter__(self) -> None:
        """Nothing is opened before it is asked."""

    def __exit__(self, *_: object) -> None:
        for teacher in self.all:
            teacher.close()

    def counts(self) -> dict[str, int]:
        """Return the calls, new and from the cache, and the tokens of the writer."""
        spent = self.writer.spent()
        return {
            "calls": sum(teacher.calls for teacher in self.all),
            "calls_cached": sum(teacher.hits for teacher in self.all),
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
        }


def _changes(context: Context) -> str:
    """Say what changed in the document since the store's last data about it."""
    last = latest_source(context.store, context.document.name)
    if last is None:
        return f"document: no earlier data about {context.document.name}"
    folder, source = last
    return f"document, against {folder}: {compare_versions(source.passages, context.document.passages).line()}"


def replay_stage(context: Context, artifacts: Artifacts, data: Path) -> Path | None:
    """Let the base model answer general instructions, which SFT learns beside D_sft.

    Returns:
        The file of these rows; None where none are asked for, or SFT is no stage of the recipe.
    """
    settings = context.settings
    if not settings.sft.replay or "sft" not in settings.recipe.stages:
        return None
    if pinned := artifacts.find_pinned("replay"):
        return pinned / REPLAY
    given = general_instructions(settings.sft.replay_file)
    count = max(1, round(settings.sft.replay * len(read_jsonl(data / SFT, Instruction))))
    system = settings.base_model.system_prompt
    config = {"rows": count, "seed": settings.seed, "system_prompt": system}
    inputs = {"instructions": digest([to_dict(item) for item in given]), "base_model": context.model_id}

    def fill(folder: Path) -> dict[str, Any]:
        base = CachedTeacher(context.base_teacher, context.cache)
        try:
            rows = replay_rows(given, count, base, settings.seed, system)
        finally:
            base.close()
        write_jsonl(folder / REPLAY, rows)
        return {"general": len(rows), "calls": base.calls, "calls_cached": base.hits}

    return artifacts.build("replay", config, inputs, fill) / REPLAY


def evaluation_questions(context: Context, data: Path | None) -> list[Question]:
    """Return the evaluation questions: those that the config names, or those that were made with the data.

    Those that people edited, dropped or added when they reviewed the data are so here.

    Args:
        context: What is known of the run.
        data: The data stage's folder; None where no data were written.

    Raises:
        ValignError: None were made.
    """
    if data is None:
        return list(context.given_questions or ())
    if context.given_questions:
        index = ClauseIndex(context.document.passages)
        mended = mend_questions(context.given_questions, read_reviewed(data), index)
        if not mended:
            raise ValignError(f"every evaluation question was dropped in review ({data / REVIEWED}); keep or add some.")
        return mended
    made = read_jsonl(data / QUESTIONS, Question)
    if not made:
        raise no_questions(context.document.name)
    return made


def clause_exposure(context: Context, questions: Sequence[Question]) -> dict[str, str]:
    """Say of the clauses that questions are about whether they were ``seen`` or ``unseen`` in training.

    Returns:
        By clause; empty where no clause was held out of training.
    """
    held_out = context.settings.synthesis.hold_out_clauses
    return exposure(context.document, held_out, {q.clause for q in questions})


def read_funnel(data: Path) -> dict[str, Any]:
    """Return what synthesis made, and what its filters dropped."""
    counts: dict[str, Any] = read_json(data / FUNNEL)
    return counts
