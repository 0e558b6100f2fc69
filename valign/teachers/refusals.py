"""Parameters that a server refuses: which one it means, and in which form the call may do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from valign.teachers.calls import RequestForm

REFUSALS = (400, 422)
REFUSING = re.compile(r"unsupported param|requested parameters|support (?:the |these )?param", re.I)
"""What some servers say of a parameter with another status."""
# What servers say of a prompt or completion that does not fit; in another form it would not fit either.
TOO_LONG = re.compile(
    r"context[ _]?(?:length|size|window|limit)|reduce the length|longer than|max_(?:model_len|total_tokens)"
    r"|(?:prompt|input) (?:is )?too large|(?:prompt|input length).{0,20} exceeds|range of (?:input length|max_tokens)"
    r"|must have less than \d+ tokens|too (?:long|many (?:input |prompt )?tokens)"
    r"|max_(?:completion_|new_)?tokens\W{0,3}(?:is |are )?too large"
    r"|tokens?\b.{0,60}(?:too large|exceeds?|maximum|must be <=)|(?:exceeds?|maximum|at most)\b.{0,60}\btokens?\b",
    re.I,
)
# In the order in which they are given up: from what changes least of what comes back.
PATTERNS = {
    "seed": re.compile(r"(?<![\w\\])seed(?!\w)", re.I),
    "top_p": re.compile(r"(?<!\w)top_?p(?!\w)", re.I),
    "n": re.compile(
        r"(?<![\w\\.])n(?!\w)|best_of|candidateCount"
        r"|(?i:number of|multiple|several|only one) (?:completions?|choices?|candidates?)\b"
    ),
    "response_format": re.compile(
        r"response_?format|json_?(?:schema|object)|schema|grammar|guided|structured.output", re.I
    ),
    "system": re.compile(
        r"(?:system|developer) (?:role|message|prompt|instruction|turn)s?\W.{0,60}\b(?:not|n't|un\w+|only)\b"
        r"|only user and",
        re.I,
    ),
    "temperature": re.compile(r"(?<!\w)temperature(?!\w)", re.I),
    "max_tokens": re.compile(r"(?<!\w)max_(?:completion_)?tokens(?!\w)"),
}
WITHOUT_A_WORD = ("response_format", "n")  # tried where a server refuses a call and names nothing
LEFT_OUT = {
    "n": "call for several completions (n); they are asked for one by one",
    "system": "system turn; its words stand before the first question",
    "response_format": "JSON schema (response_format); replies are read as they come",
}
RANGE = re.compile(r"positive|must be|greater|less|between|range|[<>]", re.I)
RANGE_ENDS = {"temperature": 0.0, "top_p": 1.0}


def next_form(form: RequestForm, body: Mapping[str, Any], said: str, fields: Sequence[str] = ()) -> RequestForm | None:
    """Return the form in which a call may do that a server has refused; None where another form is no help.

    Args:
        form: In which it was sent.
        body: What was sent.
        said: The server's words.
        fields: Parameters that it names as data, which count more than its words.
    """
    if TOO_LONG.search(said):
        return None
    is_told = any(turn["role"] == "system" for turn in body.get("messages", ()))
    there = {*body, *(["max_tokens"] if form.max_tokens_name in body else []), *(["system"] if is_told else [])}
    sent = [name for name in PATTERNS if name in there]
    named = [name for name in sent if name in fields or (name == "max_tokens" and form.max_tokens_name in fields)]
    named = named or [name for name in sent if re.search(rf"['\"`]{name}['\"`]", said)]
    named = named or [name for name in sent if PATTERNS[name].search(said)]
    for name in named or [name for name in WITHOUT_A_WORD if name in body]:
        if name == "max_tokens":
            if form.max_tokens_name == "max_tokens":
                return replace(form, max_tokens_name="max_completion_tokens")
        elif name not in form.inside and body.get(name) == RANGE_ENDS.get(name, "") and RANGE.search(said):
            return replace(form, inside=form.inside | {name})
        else:
            return replace(form, left_out=form.left_out | {name})
    return None


def describe_change(before: RequestForm, after: RequestForm) -> list[str]:
    """Return in words what a server is asked otherwise, a line each; the first word of each follows its address."""
    lines = [
        f"takes no {LEFT_OUT.get(name) or f'{name}; calls are made without it'} from now on"
        for name in sorted(after.left_out - before.left_out)
    ]
    for name in sorted(after.inside - before.inside):
        lines.append(f"takes no {name}={RANGE_ENDS[name]:g}; the value beside it is sent from now on")
    if after.max_tokens_name != before.max_tokens_name:
        lines.append(f"wants {after.max_tokens_name} instead of {before.max_tokens_name}, and gets it from now on")
    return lines
