"""Training examples: the rows of D_sft and D_pref as token ids and masks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from transformers import PreTrainedTokenizerBase

from valign.core.control_tokens import NamedText, warn_of_control_tokens
from valign.core.errors import ValignError
from valign.core.records import Instruction, Message, Preference
from valign.models.chat_template import Rendered, render_conversation
from valign.models.template_traits import control_tokens

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodedExample:
    """A training example as tokens: one conversation in SFT; chosen and rejected in DPO."""

    example_id: str
    conversations: tuple[Rendered, ...]

    @property
    def length(self) -> int:
        """Tokens of the longest conversation."""
        return max(len(c.ids) for c in self.conversations)

    @property
    def tokens(self) -> int:
        """Tokens of all conversations, where what both of a pair begin with stands once."""
        common = 0
        if len(self.conversations) == 2:
            both = zip(*(c.ids for c in self.conversations), strict=False)
            common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], both))
        return self.tokens_apart - common

    @property
    def tokens_apart(self) -> int:
        """Tokens of all conversations."""
        return sum(len(c.ids) for c in self.conversations)

    @property
    def supervised(self) -> int:
        """Supervised tokens of the first conversation (in DPO, the chosen answer)."""
        return sum(self.conversations[0].mask)


def encode_instructions(
    tokenizer: PreTrainedTokenizerBase, rows: Sequence[Instruction], system_prompt: str | None, max_length: int
) -> tuple[list[EncodedExample], int]:
    """Render D_sft; return the examples, and how many were dropped as longer than ``max_length`` tokens.

    Raises:
        ValignError: An id occurs twice, or no example is short enough.
    """
    _warn(tokenizer, ((r.example_id, text) for r in rows for text in (r.question, r.answer)))
    found = [EncodedExample(r.example_id, (_render(tokenizer, system_prompt, r.question, r.answer),)) for r in rows]
    return _short_enough(found, max_length)


def encode_preferences(
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Preference],
    system_prompt: str | None,
    max_length: int,
    pivotal: bool = False,
) -> tuple[list[EncodedExample], int]:
    """Render D_pref; return the pairs, and how many were dropped because either answer makes them too long.

    Args:
        tokenizer: The model's.
        rows: D_pref.
        system_prompt: What begins each conversation; None for nothing.
        max_length: In tokens, of the whole conversation.
        pivotal: Compare each pair with a verdict at its pivotal token alone, and leave out the others.

    Raises:
        ValignError: An id occurs twice, or no pair is short enough or has a verdict.
    """
    rows = _with_verdict(rows) if pivotal else rows
    _warn(tokenizer, ((r.example_id, text) for r in rows for text in (r.question, r.chosen, r.rejected)))
    found = []
    for row in rows:
        chosen, rejected = (
            _render(tokenizer, system_prompt, row.question, text) for text in (row.chosen, row.rejected)
        )
        found.append(EncodedExample(row.example_id, (chosen, rejected)))
    examples, dropped = _short_enough(found, max_length)
    return [_at_pivot(e) for e in examples] if pivotal else examples, dropped


def _with_verdict(rows: Sequence[Preference]) -> list[Preference]:
    kept = [row for row in rows if row.verdict is not None]
    if not kept:
        raise ValignError("dpo.tokens=pivotal: none of the pairs has a verdict, yes or no; set dpo.tokens=all.")
    if len(kept) < len(rows):
        log.info("dpo: %d of %d pairs are without a verdict and left out", len(rows) - len(kept), len(rows))
    return kept


def _at_pivot(pair: EncodedExample) -> EncodedExample:
    """Cut a pair's conversations after the first token in which they differ, and supervise that token alone.

    Where one answer ends within the other's beginning, and has no end token to differ in, the pair stays whole.
    """
    chosen, rejected = pair.conversations
    both = enumerate(zip(chosen.ids, rejected.ids, strict=False))
    place = next((i for i, (one, other) in both if one != other), None)
    if place is None or not (chosen.mask[place] and rejected.mask[place]):
        return pair
    mask = (0,) * place + (1,)
    return EncodedExample(pair.example_id, tuple(Rendered(c.ids[: place + 1], mask) for c in pair.conversations))


def _warn(tokenizer: PreTrainedTokenizerBase, texts: Iterable[tuple[str, str]]) -> None:
    """Warn of examples that hold control tokens of this model, which are trained on broken up."""
    warn_of_control_tokens("training examples", (NamedText(*each) for each in texts), control_tokens(tokenizer))


def _render(tokenizer: PreTrainedTokenizerBase, system_prompt: str | None, question: str, answer: str) -> Rendered:
    messages: list[Message] = [{"role": "system", "content": system_prompt}] if system_prompt else []
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return render_conversation(tokenizer, messages)


def _short_enough(examples: list[EncodedExample], max_length: int) -> tuple[list[EncodedExample], int]:
    ids = {e.example_id for e in examples}
    if len(ids) < len(examples):
        raise ValignError("two training examples have the same example_id; give each its own.")
    kept = [e for e in examples if e.length <= max_length]
    if not kept:
        raise ValignError(
            f"none of {len(examples)} training examples has at most max_length={max_length} tokens; "
            "raise max_length or make more data."
        )
    return kept, len(examples) - len(kept)
