"""What a model has written, from its tokens: the text without special tokens and thoughts, and whether it has ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from valign.generation.requests import Completion
from valign.generation.thoughts import visible_completion


def read_completion(tokenizer: Any, ends: Collection[int], tokens: Sequence[int]) -> tuple[Completion, bool]:
    """Return a completion, and whether it held thoughts and nothing else.

    Args:
        tokenizer: The model's.
        ends: The tokens that end a completion.
        tokens: What the model has written, the end token included.
    """
    finished = bool(tokens) and tokens[-1] in ends
    words = tokens[:-1] if finished else tokens
    text = str(tokenizer.decode(words, skip_special_tokens=True)).strip()
    marked = Completion(str(tokenizer.decode(words)).strip(), len(tokens), finished)  # marks may be special tokens
    visible = visible_completion(marked, lambda text: len(token_ids(tokenizer, text)))
    if visible is marked:
        return Completion(text, len(tokens), finished), False
    return replace(visible, text=_plain(tokenizer, visible.text)), not visible.text


def token_ids(tokenizer: Any, text: str) -> list[int]:
    """Return a text's tokens, none added."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _plain(tokenizer: Any, text: str) -> str:
    """Return a text without special tokens."""
    for token in tokenizer.all_special_tokens:
        text = text.replace(token, "")
    return text.strip()
