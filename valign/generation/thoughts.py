"""Thoughts of a reasoning model inside its text: told from what it answers, and taken off."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from valign.generation.requests import Completion

_NAMES = (
    r"(?:[\w-]{1,24}[:_])?(?:think|thinking|thoughts?|reasoning|reflection|antthinking|scratchpad|analysis"
    r"|(?:inner_)?monologue|working_out)(?:_fast|_never_used_\w{1,64})?"
)
_STAGES = r"(?:of_)?(?:thoughts?|thinking|reasoning)"
_LT, _GT = "(?:<|&lt;)", "(?:>|&gt;)"  # some servers escape what a model writes
_CHANNEL = r"(?:<\|start\|>\s*assistant\s*)?<\|channel\|>\s*"
_MESSAGE = r"[^<]*(?:<\|constrain\|>[^<]*)?<\|message\|>"
_MARKS = re.compile(
    rf"(?P<closes>{_LT}(?:end_working_out|/(?:{_NAMES}))\s*{_GT}|\[/THINK\]|\u25c1/think\u25b7|<unused95>|\[unused17\]"
    rf"|<\|end_{_STAGES}\|>|<\|inner_suffix\|>|<channel\|>|(?:<\|end\|>)?{_CHANNEL}final{_MESSAGE})"
    rf"|(?P<opens>{_LT}(?:{_NAMES})(?:\s[^<>]{{0,200}})?{_GT}|\[THINK\]|\u25c1think\u25b7|<unused94>(?:thought\n)?"
    rf"|\[unused16\]|<\|(?:begin|start)_{_STAGES}\|>|<\|inner_prefix\|>|<\|channel>thought\b"
    rf"|{_CHANNEL}(?:analysis|commentary){_MESSAGE})",
    re.I,
)
# Names that an answer may use itself, and marks that are quoted: these open a block at the beginning of a text alone.
_LOOSE = re.compile(r"&lt;|</?\s*(?:[\w-]{1,24}_|analysis\b|monologue\b|working_out\b)", re.I)
_FIRST = "<[\u25c1&"  # what marks begin with; to look for these first is thirty times as fast
# The channels of gpt-oss where the server has left their marks out: "analysisThe user asks ...assistantfinalYes."
_BARE_OPENS = re.compile(r"\s*analysis(?=[A-Z\"'(]|.*assistantfinal)", re.S)
_BARE_CLOSES = "assistantfinal"
# Granite says in words what it does.
_SPOKEN = re.compile(r"\s*here(?:'s| is) my thought process:(?P<rest>.*)", re.S | re.I)
_SPOKEN_CLOSES = re.compile(r"here(?:'s| is) my response:", re.I)
_DETAILS = re.compile(r"<details\s[^<>]*type=[\"']?reasoning[^<>]*>(.*?)(</details>|$)", re.S | re.I)
_WRAPS = "<(?P<name>(?:final_)?answer|response|solution|output)>"
_WRAPPED = re.compile(
    rf"\s*(?:{_WRAPS}(?P<text>.*?)(?:</(?P=name)>|$)|<\|begin_of_(?P<stage>solution|box)\|>(?P<solution>.*?)"
    r"(?:<\|end_of_(?P=stage)\|>|$)|<\|START_(?P<part>RESPONSE|TEXT)\|>(?P<response>.*?)(?:<\|END_(?P=part)\|>|$))\s*",
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
    if spoken := _SPOKEN.fullmatch(text):
        found, *answer = _SPOKEN_CLOSES.split(spoken["rest"], maxsplit=1)
        return Visible(answer[0].strip() if answer else "", True, not answer)
    if not any(first in text for first in _FIRST):
        return Visible(text)
    text = _DETAILS.sub(lambda block: f"<think>{block[1]}{'</think>' if block[2] else ''}", text)
    if not _MARKS.search(text):
        return Visible(text)
    kept: list[str] = []
    place, is_open, own = 0, False, 0
    for mark in _MARKS.finditer(text):
        is_quoted = "`" in (text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1])
        is_loose = _LOOSE.match(mark[0]) is not None and bool("".join([*kept, text[place : mark.start()]]).strip())
        if not is_open and (is_quoted or (is_loose and (mark["opens"] or own))):
            own += 0 if is_quoted else 1 if mark["opens"] else -1
            continue
        if mark["closes"]:
            if not is_open:
                kept.clear()
            place, is_open = mark.end(), False
        elif not is_open:
            kept.append(text[place : mark.start()])
            is_open = True
    if not is_open:
        kept.append(text[place:])
    if not place and not is_open:
        return Visible(text)  # all its marks were the answer's own
    return Visible(unwrapped(_without_ends("".join(kept))), True, is_open)


def unwrapped(text: str) -> str:
    """Return an answer without the marks around it that some models set after their thoughts.

    >>> unwrapped("<answer>Yes.</answer>")
    'Yes.'
    """
    if wrapped := _WRAPPED.fullmatch(text):
        text = wrapped["text"] or wrapped["solution"] or wrapped["response"] or ""
    return text.strip()


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
