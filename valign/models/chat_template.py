"""One function renders a conversation and returns its token ids and the supervised mask together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from valign.core.control_tokens import break_up_control_tokens
from valign.core.errors import ValignError
from valign.core.records import Message
from valign.models.template_traits import control_tokens, render_template, template_traits

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
    """Render a conversation with the model's chat template, without thinking where the template knows thoughts.

    A conversation that ends with a user turn is opened for generation and has nothing supervised. One that ends with
    an assistant turn is supervised on that turn: its words and the end token, and nothing else. The boundary is found
    on the joint rendering, because tokenising prompt and answer separately may give other tokens. Control tokens in the
    turns' contents are broken up by a space, so that none but the template's own begins or ends a turn.

    Args:
        tokenizer: A fast tokenizer with a chat template.
        messages: Turns from first to last; a system turn is folded into the first user turn where the model's
            template has no place for it.

    Raises:
        ValignError: The tokenizer has no end token, the template cannot render the conversation or renders the prompt
            differently once the answer follows, or a token spans the boundary between prompt and answer.
    """
    traits, tokens = template_traits(tokenizer), control_tokens(tokenizer)
    turns: list[Message] = [
        {"role": turn["role"], "content": break_up_control_tokens(turn["content"], tokens)}
        for turn in adapt_to_template(tokenizer, messages)
    ]
    if turns[-1]["role"] != "assistant":
        ids = _encode(tokenizer, traits.prompt(render_template(tokenizer, turns, opened=True)))["input_ids"]
        return Rendered(tuple(ids), (0,) * len(ids))
    opened = render_template(tokenizer, turns[:-1], opened=True)
    answer = traits.answer(opened, render_template(tokenizer, turns, opened=False))
    if answer is None:
        raise _changed_prompt(tokenizer)
    prompt = traits.prompt(opened)
    return _supervise(tokenizer, prompt + answer, len(prompt), traits.end)


def _supervise(tokenizer: PreTrainedTokenizerBase, text: str, boundary: int, end_token: int) -> Rendered:
    """Tokenise text and supervise what starts at or after the boundary, up to the first end token."""
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
        if mask[-1] and token == end_token:
            return Rendered(tuple(ids), tuple(mask))
    return Rendered((*ids, end_token), (*mask, 1))


def adapt_to_template(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[Message]:
    """Return the turns, with a system turn folded into the first user turn where the template has no place for it."""
    return list(messages) if template_traits(tokenizer).keeps_system else fold_system(messages)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """Return the turns with a leading system turn put before the first user turn's words."""
    if messages[0]["role"] != "system":
        return list(messages)
    first = messages[1]
    folded: Message = {"role": first["role"], "content": f"{messages[0]['content']}\n\n{first['content']}"}
    return [folded, *messages[2:]]


def _changed_prompt(tokenizer: PreTrainedTokenizerBase) -> ValignError:
    return ValignError(
        f"The chat template of {tokenizer.name_or_path or 'the model'} renders a prompt differently once an answer "
        "follows; choose a base model whose template keeps the prompt."
    )


def _encode(tokenizer: PreTrainedTokenizerBase, text: str) -> Any:
    return tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
