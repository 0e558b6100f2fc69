"""Thoughts of a reasoning model inside its text: told from what it answers, and taken off."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from valign.generation.requests import Completion

_NAMES = "think|thinking|thoughts?|reasoning|reflection|antthinking|seed:think"
_MARKS = re.compile(
    rf"(?P<opens><(?:{_NAMES})(?:\s[^<>]*)?>|\[THINK\]|\u25c1think\u25b7|<\|begin_of_thought\|>|<unused94>(?:thought\n)?"
    r"|(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*(?:analysis|commentary)[^<]*<\|message\|>)"
    rf"|(?P<closes></(?:{_NAMES})\s*>|\[/THINK\]|\u25c1/think\u25b7|<\|end_of_thought\|>|<unused95>"
    r"|(?:<\|end\|>)?(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*final[^<]*<\|message\|>)",
    re.I,
)
_FIRST = "<[\u25c1"  # what marks begin with; to look for these first is thirty times as fast
# The channels of gpt-oss where the server has left their marks out: "analysisThe user asks ...assistantfinalYes."
_BARE_OPENS = re.compile(r"\s*analysis(?=[A-Z\"'(])")
_BARE_CLOSES = "assistantfinal"
_WRAPPED = re.compile(
    r"\s*(?:<(answer|response)>(?P<text>.*)</\1>|<\|begin_of_solution\|>(?P<solution>.*)<\|end_of_solution\|>)\s*",
    re.S | re.I,
)
_ENDS = ("<|return|>", "<|end|>")


@dataclass(frozen=True)
class Visible:
    """What a text says once its thoughts are taken off.

    Attributes:
        text: What is left; a text without thoughts as it is.
        has_thoughts: Whether there were any.
        is_open: Whether a block of thoughts has no end, so that the text broke off inside of it.
    """

    text: str
    has_thoughts: bool = False
    is_open: bool = False


def without_thoughts(text: str) -> Visible:
    r"""Take thoughts off a text: whole blocks, what stands before a lone end mark, and behind a lone start mark.

    The marks are those of the usual reasoning models. A block ends at its first end mark, as it does for the models'
    own templates; an end without a start means that everything before it was thought.

    >>> without_thoughts("<think>\nA number?\n</think>\n\nHow much?").text
    'How much?'
    >>> without_thoughts("A number?\n</think>\n\nHow much?").text
    'How much?'
    >>> without_thoughts("<think>\nThe user wants")
    Visible(text='', has_thoughts=True, is_open=True)
    """
    if bare := _BARE_OPENS.match(text):
        _, found, rest = text[bare.end() :].rpartition(_BARE_CLOSES)
        return Visible(rest.strip() if found else "", True, not found)
    if not any(first in text for first in _FIRST) or not _MARKS.search(text):
        return Visible(text)
    kept: list[str] = []
    place, is_open = 0, False
    for mark in _MARKS.finditer(text):
        if mark["closes"]:
            if not is_open:
                kept.clear()
            place, is_open = mark.end(), False
        elif not is_open:
            kept.append(text[place : mark.start()])
            is_open = True
    if not is_open:
        kept.append(text[place:])
    left = _without_ends("".join(kept))
    if wrapped := _WRAPPED.fullmatch(left):
        left = wrapped["text"] or wrapped["solution"] or ""
    return Visible(left.strip(), True, is_open)


def _without_ends(text: str) -> str:
    """Return a text without the marks of its end."""
    text = text.rstrip()
    while text.endswith(_ENDS):
        text = text[: text.rindex("<|")].rstrip()
    return text


def visible_completion(found: Completion, count_tokens: Callable[[str], int]) -> Completion:
    """Return a completion without the thoughts that it may hold; one that broke off inside of them has not ended.

    Args:
        found: A completion, as a model, a cache or a recording has it.
        count_tokens: Counts, or estimates, the tokens of what is left.
    """
    visible = without_thoughts(found.text)
    if not visible.has_thoughts:
        return found
    return Completion(visible.text, count_tokens(visible.text), found.finished and not visible.is_open)
