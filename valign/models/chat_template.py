"""One function renders a conversation and returns its token ids and the supervised mask together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.core.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Rendered:
    """A conversation as tokens.

    Attributes:
        ids: Token ids, without padding.
        mask: 1 where the token belongs to the last assistant turn (its end token included), else 0; as long as ids.
    """

    ids: tuple[int, ...]
    mask: tuple[int, ...]

    @property
    def prompt_length(self) -> int:
        """Number of tokens before the supervised ones."""
        return len(self.mask) - sum(self.mask)


def render_conversation(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Rendered:
    """Render a conversation with the model's chat template.

    A conversation that ends with a user turn is opened for generation and has nothing supervised. One that ends with
    an assistant turn is supervised on that turn: its words and the end token, and nothing else. The boundary is found
    on the joint rendering, because tokenising prompt and answer separately may give other tokens.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        messages: Turns from first to last; a system turn is folded into the first user turn where the model's
            template has no place for it.

    Raises:
        ValignError: The template renders the prompt differently once the answer follows, or a token spans the
            boundary between prompt and answer.
    """
    turns = adapt_to_template(tokenizer, messages)
    if turns[-1]["role"] != "assistant":
        ids = _encode(tokenizer, _template(tokenizer, turns, opened=True))["input_ids"]
        return Rendered(tuple(ids), (0,) * len(ids))
    prompt = _template(tokenizer, turns[:-1], opened=True)
    text = _template(tokenizer, turns, opened=False)
    if not text.startswith(prompt):
        raise ValignError(
            f"The chat template of {tokenizer.name_or_path} renders a prompt differently once an answer follows; "
            "choose a base model whose template keeps the prompt."
        )
    return _supervise(tokenizer, text, len(prompt))


def _supervise(tokenizer: PreTrainedTokenizerBase, text: str, boundary: int) -> Rendered:
    """Tokenise text and supervise what starts at or after the boundary, up to the first end token."""
    eos = tokenizer.eos_token_id
    encoded = _encode(tokenizer, text)
    ids, mask = [], []
    for token, (start, end) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        if start < boundary < end:
            raise ValignError(
                f"A token of {tokenizer.name_or_path} spans the boundary between prompt and answer "
                f"({text[start:end]!r}); begin the answer with another character."
            )
        ids.append(int(token))
        mask.append(int(start >= boundary))
        if mask[-1] and token == eos:
            return Rendered(tuple(ids), tuple(mask))
    return Rendered((*ids, int(eos)), (*mask, 1))


def adapt_to_template(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[Message]:
    """Return the turns, with a system turn folded into the first user turn where the template has no place for it."""
    return list(messages) if _keeps_system(tokenizer) else fold_system(messages)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return the turns with a leading system turn put before the first user turn's words."""
    if messages[0]["role"] != "system":
        return list(messages)
    first = messages[1]
    folded: Message = {"role": first["role"], "content": f"{messages[0]['content']}\n\n{first['content']}"}
    return [folded, *messages[2:]]


def _template(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], *, opened: bool) -> str:
    conversation: Any = list(turns)
    return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=opened))


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> Any:
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)


@lru_cache(maxsize=8)
def _keeps_system(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the template shows a system turn, in its place, also when an answer follows."""
    probe: list[Message] = [
        {"role": "system", "content": "system-probe"},
        {"role": "user", "content": "user-probe"},
        {"role": "assistant", "content": "answer-probe"},
    ]
    from jinja2 import TemplateError

    try:
        opened = _template(tokenizer, probe[:-1], opened=True)
        whole = _template(tokenizer, probe, opened=False)
    except TemplateError:
        return False
    return "system-probe" in opened and whole.startswith(opened)
