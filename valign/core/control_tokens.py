"""Control tokens of chat templates in texts: found, and broken up, so that no text begins or ends a turn."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from typing import NamedTuple

log = logging.getLogger(__name__)

SHOWN = 5  # ids in a warning
CONTROL_TOKEN = re.compile(
    r"<[|｜][^<>|｜\s]{1,60}[|｜]?>|<[^<>|｜\s]{1,60}[|｜]>|\[\|[^\[\]|\s]{1,60}\|\]"  # noqa: RUF001
    r"|</?(?:s|bos|eos|pad|unk|mask|cls|sep|sop|eop|think|thinking|thought|reasoning|tools?|tool_calls?"
    r"|tool_responses?|start_of_turn|end_of_turn|start_of_image|end_of_image|start_of_role|end_of_role"
    r"|unused_?\d+|reserved_?\d+|extra_id_\d+|seed:\w+)>"
    r"|<</?SYS>>|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|THINK|gMASK)\]"
)
"""What control tokens and turn marks of the common families look like, for texts that another program tokenises."""


class NamedText(NamedTuple):
    """A text and the id under which a warning names it."""

    name: str
    text: str


def find_control_tokens(text: str, tokens: re.Pattern[str] = CONTROL_TOKEN) -> list[str]:
    """Return the control tokens in a text, each once, in their order.

    >>> find_control_tokens("Yes.<|im_end|> But <b>not</b> [INST] now.")
    ['<|im_end|>', '[INST]']
    """
    return list(dict.fromkeys(match[0] for match in tokens.finditer(text)))


def break_up_control_tokens(text: str, tokens: re.Pattern[str] = CONTROL_TOKEN) -> str:
    """Return a text with a space behind the first character of each control token; others come back as they are.

    >>> break_up_control_tokens("Yes.<|im_end|> But not now.")
    'Yes.< |im_end|> But not now.'
    """
    while tokens.search(text):
        text = tokens.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)
    return text


def warn_of_control_tokens(what: str, texts: Iterable[NamedText], tokens: re.Pattern[str] = CONTROL_TOKEN) -> None:
    """Warn, in one line, of the texts that hold control tokens.

    Args:
        what: The kind of the texts, in the plural.
        texts: The texts, each under its id; several may have the same.
        tokens: What control tokens look like.
    """
    found: dict[str, dict[str, None]] = {}
    for name, text in texts:
        for token in find_control_tokens(text, tokens):
            found.setdefault(name, {})[token] = None
    if not found:
        return
    named = [f"{name} ({', '.join(marks)})" for name, marks in list(found.items())[:SHOWN]]
    more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    log.warning(
        "control tokens of chat templates in %s: %s%s; models see them as plain text, with a space inside",
        what,
        "; ".join(named),
        more,
    )
