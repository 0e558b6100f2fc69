"""The likelihood of reference answers and verdicts under a served model, by the log-probabilities of its prompts."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.progress import progress
from valign.core.records import Passage, Question
from valign.evaluation.answering import conversation
from valign.evaluation.metric_info import FIRST_WORDS, Likelihoods, verdict_rightness
from valign.generation.written_tokens import token_ids
from valign.models.chat_template import render_conversation
from valign.serving.served_model import ServedModel


def served_likelihoods(
    model: ServedModel,
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[Passage]],
    *,
    arm: str,
    system: str | None = None,
) -> Likelihoods:
    """Measure what ``measure_likelihoods`` does, of a model behind a server of ours.

    For the verdicts the prompt is sent once with each of the two words behind it.

    Args:
        model: The arm's model.
        questions: N questions with references.
        retrieved: For each question the passages in its prompt; empty lists for none.
        arm: Name of the arm, for the progress bar.
        system: System prompt.

    Returns:
        N values each.
    """
    words = [token_ids(model.tokenizer, word)[0] for word in FIRST_WORDS]
    rows: list[list[int]] = []
    supervised: list[int] = []
    for question, passages in zip(questions, retrieved, strict=True):
        turns = conversation(question.question, passages, system)
        rendered = render_conversation(model.tokenizer, (*turns, {"role": "assistant", "content": question.reference}))
        rows.append(list(rendered.ids))
        supervised.append(sum(rendered.mask))
    decided = [i for i, question in enumerate(questions) if question.verdict is not None]
    asked = rows + [[*rows[i][: -supervised[i]], word] for i in decided for word in words]
    with progress(len(asked), f"{arm} likelihoods", "calls") as bar:
        found = model.token_logps(asked, bar.update)
    nll = [-sum(logps[-count:]) / count for logps, count in zip(found, supervised, strict=False)]
    verdicts: list[float | None] = [None] * len(questions)
    for place, i in enumerate(decided):
        yes, no = (logps[-1] for logps in found[len(rows) + 2 * place :][:2])
        verdicts[i] = verdict_rightness(yes, no, questions[i].verdict)
    return Likelihoods(nll, verdicts)
