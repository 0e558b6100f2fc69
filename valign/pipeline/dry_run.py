"""The dry run: what the calls of the teacher, and then of the policy judge, would take; nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator

from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.policy_judge import policy_request
from valign.evaluation.probes.policy import MADE
from valign.generation.requests import Request
from valign.pipeline.authors import asked_of, author_line
from valign.pipeline.base_teacher import is_base_teacher
from valign.pipeline.context import Context
from valign.pipeline.policy_stage import POLICY_JUDGE
from valign.pipeline.probe_stage import dry_probes, has_capable_teacher
from valign.synthesis.budget import Budget, DryTeacher, budget_table, dry_pass
from valign.synthesis.placeholders import UNWRITTEN
from valign.teachers.completion_store import CompletionStore
from valign.teachers.factory import make_teacher
from valign.teachers.local import LocalTeacher
from valign.teachers.protocol import Teacher
from valign.teachers.settings import TeacherSettings
from valign.teachers.vllm import VllmTeacher

PROBES_BY_RULES = (
    "not counted: probes of the rules, which are made without a call (a teacher writes them with prompts=large)"
)
NO_TEACHER = "teacher=none: nobody is asked, so the data cost no call; leave out dry_run=true to make them."
ONLY_QUESTIONS = "teacher=none: nobody is asked for the data"
QUESTION_TEACHER = "synthesis.question_teacher"


def dry_run_lines(context: Context) -> list[str]:
    """Return the budgets of the data, and of the policy judge where there is one, as lines of text."""
    settings, judge = context.settings, context.settings.evaluation.policy_judge
    name = context.document.name
    _ = context.given_rows  # refused here as they will be
    other, lines = settings.synthesis.question_teacher, list[str]()
    budgets = data_budgets(context) if other is not None or settings.teacher.kind != "none" else {}
    if settings.teacher.kind == "none":
        lines.append(ONLY_QUESTIONS if QUESTION_TEACHER in budgets else NO_TEACHER)
    else:
        who = f"budget of {name}, teacher {context.teacher.id} (nothing was asked)"
        author = author_line(settings.teacher, settings.synthesis, name)
        notes = [*([author] if author else []), *_notes(settings.teacher)]
        lines += ["", who, *notes, "", budget_table(budgets["teacher"])]
    if other is not None and QUESTION_TEACHER in budgets:
        wanted = [] if context.given_questions is not None else ["evaluation questions"]
        wanted += ["probes"] if settings.evaluation.policy_probes.questions == MADE else []
        who = f"budget of {name}'s {' and '.join(wanted)}, teacher {other.model} (nothing was asked)"
        lines += ["", who, *_notes(other), "", budget_table(budgets[QUESTION_TEACHER], QUESTION_TEACHER)]
    if settings.evaluation.policy_probes.questions == MADE and not has_capable_teacher(context):
        lines.append(PROBES_BY_RULES)
    if judge is not None:
        budget, questions = policy_budget(context, judge), ""
        if context.given_questions is None:
            questions = "; the questions are still to be made, as many as are asked for"
        lines += [
            *("", f"budget of the policy judge {judge.model}: every question, {len(context.arms)} arms{questions}"),
            *(*_notes(judge), "", budget_table(budget, POLICY_JUDGE)),
            "not counted: second tries for replies that cannot be read, or whose quote is not in the clause",
        ]
    return lines


def data_budgets(context: Context) -> dict[str, Budget]:
    """Say what the calls for the data, evaluation questions and probes would take, without making one.

    Returns:
        The budget of each teacher by the config group of its settings: ``teacher``, and
        ``synthesis.question_teacher`` where another one would be asked for questions.
    """
    settings, other = context.settings, context.question_teacher
    writer = _counting(context.teacher, context)
    base = writer if is_base_teacher(settings) else DryTeacher("base model", None)
    asking = None if other is None else _counting(other, context)
    dry_probes(context, asking or writer)
    dry_pass(
        context.document,
        context.given_questions,
        asked_of(settings.teacher, settings.synthesis),
        settings.seed,
        settings.base_model.system_prompt,
        writer,
        base,
        context.given_rows,
        asking,
    )
    budgets = {"teacher": _budget(writer, settings.teacher, context, settings.synthesis.coverage.top_up_rounds)}
    if asking is not None and asking.steps and settings.synthesis.question_teacher is not None:
        budgets[QUESTION_TEACHER] = _budget(asking, settings.synthesis.question_teacher, context)
    return budgets


def _counting(teacher: Teacher, context: Context) -> DryTeacher:
    """Return what stands for a teacher and counts, with its own tokenizer where it has one here."""
    tokens = teacher.count_prompt_tokens if isinstance(teacher, LocalTeacher | VllmTeacher) else None
    return DryTeacher(teacher.id, CompletionStore(context.cache), tokens)


def _budget(dry: DryTeacher, settings: TeacherSettings, context: Context, rounds: int = 0) -> Budget:
    spent = CompletionStore(context.cache).spent_by(dry.id)
    return Budget(tuple(dry.steps), spent, settings.calls_at_once, *settings.paid_prices, rounds)


def policy_budget(context: Context, judge: TeacherSettings) -> Budget:
    """Say what the policy judge's calls would take if every answer were as long as it may be and unlike the others."""
    asked = make_teacher(judge, POLICY_JUDGE, context.settings.trainer.accelerator, context.logs)
    counting = _counting(asked, context)
    counting.complete_all(list(_requests(context)), "policy judgements")
    return _budget(counting, judge, context)


def _requests(context: Context) -> Iterator[Request]:
    """Yield the calls about answers that are not there yet; their questions, too, where they are to be made."""
    settings, passages = context.settings, context.document.passages
    index = ClauseIndex(passages)
    asked = [(index.text(q.clause), q.question) for q in context.given_questions or []]
    if context.given_questions is None:
        per_passage = max(
            settings.synthesis.evaluation_questions.per_passage, settings.synthesis.coverage.min_questions
        )
        asked = [(p.text, f"May {UNWRITTEN} {number}?") for p in passages for number in range(per_passage)]
    words = " word" * (settings.evaluation.max_new_tokens - 1)
    for number in range(len(context.arms)):
        for clause, question in asked:
            yield policy_request(clause, question, f"{UNWRITTEN} {number}{words}")


def _notes(settings: TeacherSettings) -> list[str]:
    kind = "its own tokenizer" if settings.kind in ("local", "vllm") else "an estimate: one for four characters"
    notes = [f"prompt tokens: {kind}"]
    if settings.kind == "batch":
        notes.append(f"prices: of a batch, {settings.batch_discount:g} of those of single calls")
    return notes
