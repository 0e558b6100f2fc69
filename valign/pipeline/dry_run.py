"""The dry run: what the calls of the teacher, and then of the policy judge, would take; nobody is asked."""

from __future__ import annotations

from collections.abc import Iterator

from valign.documents.clauses import ClauseIndex
from valign.evaluation.judging.policy_judge import policy_request
from valign.evaluation.probes.policy import MADE
from valign.generation.requests import Request
from valign.pipeline.authors import author_line
from valign.pipeline.context import Context
from valign.pipeline.data_stage import teacher_budget
from valign.pipeline.policy_stage import POLICY_JUDGE
from valign.pipeline.probe_stage import has_capable_teacher
from valign.synthesis.budget import Budget, DryTeacher, budget_table
from valign.synthesis.placeholders import UNWRITTEN
from valign.teachers.completion_store import CompletionStore
from valign.teachers.factory import make_teacher
from valign.teachers.local import LocalTeacher
from valign.teachers.settings import TeacherSettings
from valign.teachers.vllm import VllmTeacher

PROBES_BY_RULES = (
    "not counted: probes of the rules, which are made without a call (a teacher writes them with prompts=large)"
)
NO_TEACHER = "teacher=none: nobody is asked, so the data cost no call; leave out dry_run=true to make them."


def dry_run_lines(context: Context) -> list[str]:
    """Return the budget of the data, and of the policy judge where there is one, as lines of text."""
    settings, judge = context.settings, context.settings.evaluation.policy_judge
    name = context.document.name
    _ = context.given_rows  # refused here as they will be
    if settings.teacher.kind == "none":
        lines = [NO_TEACHER]
    else:
        who = f"budget of {name}, teacher {context.teacher.id} (nothing was asked)"
        author = author_line(settings.teacher, settings.synthesis, name)
        notes = [*([author] if author else []), *_notes(settings.teacher)]
        lines = ["", who, *notes, "", budget_table(teacher_budget(context))]
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


def policy_budget(context: Context, judge: TeacherSettings) -> Budget:
    """Say what the policy judge's calls would take if every answer were as long as it may be and unlike the others."""
    asked = make_teacher(judge, POLICY_JUDGE, context.settings.trainer.accelerator, context.logs)
    store = CompletionStore(context.cache)
    tokens = asked.count_prompt_tokens if isinstance(asked, LocalTeacher | VllmTeacher) else None
    counting = DryTeacher(asked.id, store, tokens)
    counting.complete_all(list(_requests(context)), "policy judgements")
    return Budget(tuple(counting.steps), store.spent_by(asked.id), judge.calls_at_once, *judge.paid_prices)


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
