"""What a model's chat template does with every conversation: found out with a probe, once a tokenizer."""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from valign.core.control_tokens import CONTROL_TOKEN
from valign.core.errors import ValignError, first_line
from valign.core.records import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

TEMPLATE_DATE = datetime.date(2024, 7, 26)
"""What day it is in a template that shows one: always the same, so that a run can be repeated."""
NO_THOUGHT = {"enable_thinking": False, "thinking": False}
"""How templates are told that the model shall not think; those that do not ask ignore it."""
DATE = re.compile(r"""\bstrftime_now\(\s*(?:format\s*=\s*)?("[^"]*"|'[^']*')\s*\)""")
OTHER_DATE = re.compile(r"\bstrftime_now\s*\(|(?<!if )(?<!and )(?<!or )(?<!not )\bstrftime_now\b(?!\s+is\b)")
OPENED_THOUGHT = re.compile(
    r"<([^<>/\s]*think[^<>\s]*)>\s*(?P<closed></\1>\s*)?$|<\|channel>thought\s*(?:<channel\|>\s*)$"
)
ANSWER_PROBE = "answer-probe"
PROBE: tuple[Message, ...] = (
    {"role": "system", "content": "system-probe"},
    {"role": "user", "content": "user-probe"},
    {"role": "assistant", "content": ANSWER_PROBE},
)


@dataclass(frozen=True)
class TemplateTraits:
    """What a chat template does with every conversation, found out with a probe.

    Attributes:
        keeps_system: Whether it shows a system turn, in its place, also when an answer follows.
        lacking: How a prompt ends that opens a block of thought which a finished conversation does not have.
        closing: What stands between prompt and answer and is no part of the answer: the rest of an empty block of
            thought, or the header of the answer's channel.
        end: The token that ends an answer.
    """

    keeps_system: bool
    lacking: str
    closing: str
    end: int

    def prompt(self, opened: str) -> str:
        """Return all that stands before the answer, for a prompt as the template opens it."""
        return opened + self.closing

    def answer(self, opened: str, finished: str) -> str | None:
        """Return the answer and all behind it, of a finished conversation; None where the prompt is not in it."""
        before = opened.removesuffix(self.lacking) if self.lacking else self.prompt(opened)
        return finished[len(before) :] if finished.startswith(before) else None


def end_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids of all tokens that end an answer: the tokenizer's first, then the template's and the model's.

    Args:
        model: A model whose ``generation_config`` may name one or several; None for none.
        tokenizer: Its tokenizer.

    Raises:
        ValignError: The tokenizer has no end token.
    """
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    more = named if isinstance(named, (list, tuple)) else [] if named is None else [named]
    if not all(isinstance(token, int) for token in more):
        raise ValignError(
            f"generation_config.json of {_name(tokenizer)} has eos_token_id={named!r}, which is no token's number; "
            "mend it, or choose another model."
        )
    return list(dict.fromkeys((_eos(tokenizer), template_traits(tokenizer).end, *more)))


def template_traits(tokenizer: PreTrainedTokenizerBase) -> TemplateTraits:
    """Find out what a tokenizer's chat template does with every conversation.

    Raises:
        ValignError: The tokenizer has no end token, or the template cannot be trained with.
    """
    return _traits(tokenizer, _template(tokenizer))


def control_tokens(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Return what a control token of a tokenizer or a turn mark of its chat template looks like in a text."""
    return _control_tokens(tokenizer, _template(tokenizer))


def shown_date(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Return the day that it is in every prompt, as ``2024-07-26``; None where the chat template asks for none."""
    return TEMPLATE_DATE.isoformat() if "strftime_now" in _template(tokenizer) else None


def _eos(tokenizer: PreTrainedTokenizerBase) -> int:
    eos = tokenizer.eos_token_id
    if not isinstance(eos, int):
        raise ValignError(
            f"The tokenizer of {_name(tokenizer)} has no end token, so no answer could end; "
            "set eos_token in its tokenizer_config.json, or choose another model."
        )
    return eos


def _name(tokenizer: PreTrainedTokenizerBase) -> str:
    return tokenizer.name_or_path or "the model"


def _template(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:  # several by name, and none for a plain conversation
        raise ValignError(f"The chat template of {_name(tokenizer)} cannot be chosen: {first_line(error)}.") from None


def render_template(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], *, opened: bool) -> str:
    """Render turns with the chat template, on the day that it is in all of them.

    Raises:
        ValignError: The template does not take the turns.
    """
    conversation: Any = list(turns)
    options: dict[str, Any] = {"chat_template": _dated(_template(tokenizer)), **NO_THOUGHT}
    try:
        return str(tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=opened, **options))
    except Exception as error:  # a template is a program, and can raise anything
        said = first_line(error) if str(error).strip() else type(error).__name__
        raise ValignError(
            f"The chat template of {_name(tokenizer)} cannot render {len(turns)} turns "
            f"({', '.join(turn['role'] for turn in turns)}): {said}"
        ) from error


@lru_cache(maxsize=8)
def _dated(template: str) -> str:
    """Return a template with its calls for the present day answered.

    Raises:
        ValignError: The template makes up the date's format as it goes.
    """
    found = DATE.sub(lambda call: repr(TEMPLATE_DATE.strftime(call[1][1:-1])), template)
    if OTHER_DATE.search(found):
        raise ValignError(
            "The chat template shows a date in a format of its own making; write the format into the call."
        )
    return found


@lru_cache(maxsize=8)
def _control_tokens(tokenizer: PreTrainedTokenizerBase, template: str) -> re.Pattern[str]:
    added = tokenizer.added_tokens_decoder.values()
    own = {str(token.content) for token in added if token.special or CONTROL_TOKEN.fullmatch(str(token.content))}
    marks = own | {match[0] for match in CONTROL_TOKEN.finditer(template)}
    longest_first = sorted((mark for mark in marks if len(mark.strip()) > 1), key=lambda mark: (-len(mark), mark))
    return re.compile("|".join(map(re.escape, longest_first)) or "(?!)")


@lru_cache(maxsize=8)
def _traits(tokenizer: PreTrainedTokenizerBase, template: str) -> TemplateTraits:
    """Render the probe opened and finished, with and without its system turn, and compare."""
    eos = _eos(tokenizer)
    if shown_date(tokenizer):
        log.info("the chat template of %s shows a date: %s in every prompt", _name(tokenizer), TEMPLATE_DATE)
    for probe in (PROBE, PROBE[1:]):
        try:
            opened = render_template(tokenizer, probe[:-1], opened=True)
            found = _compare(opened, render_template(tokenizer, probe, opened=False))
        except ValignError:
            if probe is PROBE:
                continue
            raise
        if found and probe[0]["content"] in opened:
            lacking, closing, behind = found
            ends = (
                int(token)
                for token in tokenizer(behind, add_special_tokens=False)["input_ids"]
                if _is_control(tokenizer, token)
            )
            return TemplateTraits(probe is PROBE, lacking, closing, next(ends, eos))
    if PROBE[1]["content"] not in opened:
        raise ValignError(
            f"The chat template of {_name(tokenizer)} does not show what a user says; choose another model."
        )
    return TemplateTraits(False, "", "", eos)


def _compare(opened: str, finished: str) -> tuple[str, str, str] | None:
    """Return ``lacking`` and ``closing`` of a template's traits, and what it puts behind an answer.

    None where the opened prompt is not the beginning of the finished conversation.
    """
    lacking, closing = "", ""
    if not finished.startswith(opened):
        thought = OPENED_THOUGHT.search(opened)
        if thought is None or not finished.startswith(opened[: thought.start()]):
            return None
        is_open = thought[1] and not thought["closed"]
        lacking, closing = thought[0], f"\n</{thought[1]}>\n\n" if is_open else ""
    start = len(opened) - len(lacking)
    place = finished.find(ANSWER_PROBE, start)
    between = finished[start:place]
    if place < 0 or (lacking and between.strip()):
        return None
    return lacking, closing or (between if CONTROL_TOKEN.search(between) else ""), finished[place + len(ANSWER_PROBE) :]


def _is_control(tokenizer: PreTrainedTokenizerBase, token: int) -> bool:
    added = tokenizer.added_tokens_decoder.get(token)
    return added is not None and bool(added.special or CONTROL_TOKEN.fullmatch(str(added.content)))
