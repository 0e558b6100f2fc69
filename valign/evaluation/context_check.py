"""The check that the whole document, a question and its answer fit into the model's context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from valign.core.errors import ValignError
from valign.core.records import Passage, Question
from valign.evaluation.answering import conversation
from valign.models.chat_template import render_conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def check_context_length(
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    passages: Sequence[Passage],
    *,
    arm: str,
    context: int | None,
    max_new_tokens: int,
    system: str | None = None,
) -> int:
    """Return how many tokens the longest prompt with the whole document takes, the answer included.

    An answer takes the most tokens that may be written, or those of the reference where it is longer, because its
    likelihood is measured after the same prompt.

    Args:
        tokenizer: The base model's.
        questions: What is asked, at least one.
        passages: The whole document.
        arm: Name of the arm, for the message.
        context: Most tokens that the model takes; None for no limit.
        max_new_tokens: Longest answer, in tokens.
        system: System prompt.

    Raises:
        ValignError: It is more than the context; the message says by how many tokens.
    """
    needed = 0
    for question in questions:
        prompt = conversation(question.question, passages, system)
        answered = render_conversation(tokenizer, (*prompt, {"role": "assistant", "content": question.reference}))
        needed = max(needed, answered.prompt_length + max_new_tokens, len(answered.ids))
    if context is not None and needed > context:
        raise ValignError(
            f"arm {arm}: the whole document with question and answer takes {needed:,} tokens, {needed - context:,} "
            f"more than the model's context of {context:,}; choose recipe=rag, or a model with a longer context."
        )
    return needed
