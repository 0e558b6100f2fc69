"""Marks of turns in a reply's text, which a server with a wrong template leaves there, and characters no text has."""

from __future__ import annotations

import re

_BEGINS = re.compile(
    r"\s*(?:(?:<\|im_start\|>|<\|start_header_id\|>|<\|start\|>|<start_of_turn>|<\|turn>)\s*(?:assistant|model)\s*"
    r"(?:<\|end_header_id\|>|<\|im_sep\|>|<\|message\|>)?|<\|(?:assistant|START_OF_TURN_TOKEN)\|>|\[/INST\]"
    r"|assistant\n)\s*"
)
_ENDS = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|eot|eos|endoftext|end_of_text|end_of_turn|end_of_sentence|END_OF_TURN_TOKEN|role_end"
    r"|endofturn|im_start|start_header_id|user|return|call)\|>|<\|end\|>(?!\s*<\|start\|>)|</s>(?=\s*(?:$|[<\[]))|<eos>"
    r"|<end_of_turn>|<start_of_turn>|<turn\|>|<\|turn>|<\uff5cend\u2581of\u2581sentence\uff5c>|\[/?INST\]"
)
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff]")
_BLANK = " \t\n\u00a0\u200b\u2060"


def plain_text(text: str) -> str:
    r"""Return what a reply says: the model's own turn alone, without control characters, and with plain line ends.

    Where a server does not stop at the end of the turn, the model goes on with turns of its own making; these go, too.

    >>> plain_text("<|im_start|>assistant\nYes.<|im_end|>\n<|im_start|>user\nWhy?")
    'Yes.'
    """
    text = text.encode("utf-8", "replace").decode()  # lone surrogates, which JSON allows and no file can hold
    text = _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip(_BLANK)
    if begins := _BEGINS.match(text):
        text = text[begins.end() :]
    ends = next((mark for mark in _ENDS.finditer(text) if not _is_own(mark)), None)
    if ends:
        text = text[: ends.start()]
    return text.strip(_BLANK)


def _is_own(mark: re.Match[str]) -> bool:
    """Tell whether a mark belongs to the answer: in backticks, or the end of words that HTML strikes through."""
    text = mark.string
    if "`" in (text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 1]):
        return True
    before = text[: mark.start()]
    return mark[0] == "</s>" and before.count("<s>") > before.count("</s>")
