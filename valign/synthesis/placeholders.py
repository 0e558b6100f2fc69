"""What stands for completions in a dry pass: questions, and structured replies with every item that was planned."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from valign.generation.requests import Completion, Request
from valign.synthesis.case_plans import OPPOSITE, PLAN_LINE

UNWRITTEN = "asyetunwritten"


def make_placeholder(request: Request, number: int) -> Completion:
    """Return what stands for a completion: a reply of the request's schema where it has one, else a question.

    No two questions are the same. The second word differs by prompt, so that questions of an evaluation prompt and of a
    training prompt are never of one scenario family.

    Args:
        request: The request.
        number: Of the completion, from 0.
    """
    if request.schema is None:
        return Completion(_question(request, number), 0, True)
    filled = _filled(request.schema)
    plan = PLAN_LINE.findall(request.messages[-1]["content"])
    if plan and "items" in filled:
        fields = request.schema["properties"]["items"]["items"]["properties"]
        filled["items"] = [_item(request, fields, int(line), verdict) for line, _, verdict in plan]
    return Completion(json.dumps(filled), 0, True)


def _question(request: Request, number: int) -> str:
    words = list(dict.fromkeys(re.findall(r"[a-z]{3,}", request.messages[-1]["content"].lower()))) or ["this"]
    first = number % len(words)
    own = _letters(zlib.crc32("".join(turn["content"] for turn in request.messages).encode()))
    shown = " ".join((words[first:] + words[:first])[:6])
    return f"Which {own} {shown} {UNWRITTEN} {_letters(number)} {_letters(request.sampling.seed)}?"


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def _filled(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the smallest object of a schema: empty texts and lists of one, of a choice the first.

    An empty list would be a reply, that no clause decides a question; an empty text in it says nothing.
    """
    empty = {"string": "", "array": [""], "integer": 0, "number": 0, "boolean": False, "object": {}}
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: (kind.get("enum") or [empty.get(str(kind.get("type")))])[0] for name, kind in properties.items()}


def _item(request: Request, fields: dict[str, Any], number: int, verdict: str) -> dict[str, Any]:
    """Return an item as it was planned, which every check lets pass."""
    question = _question(request, number)
    words = {"yes": "Yes. ", "no": "No. ", "none": ""}
    item = {**_filled({"properties": fields}), "number": number, "question": question, "verdict": verdict}
    said = f"what {question[:-1].lower()} says"
    for name in fields:
        if name in ("answer", "faithful"):
            item[name] = words[verdict] + said
        elif name == "unfaithful":
            item[name] = words[OPPOSITE.get(verdict, verdict)] + f"not {said.removeprefix('what ')}"
    return item
