"""JSON in a model's replies, read tolerantly: prose and fences around it, commas too many, lists that break off."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator
from itertools import islice
from typing import Any

from valign.generation.thoughts import without_thoughts

LONGEST_READ = 200_000
MOST_TRIES = 2_000
"""Opening brackets that are tried; a reply with more of them that open nothing is no JSON."""
CURLY_QUOTES = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"'})


def read_object(text: str, keys: Collection[str]) -> dict[str, Any] | None:
    r"""Return the first JSON object in a reply that has one of the keys; None where there is none.

    >>> read_object('Here it is:\n```json\n{"numbers": ["two",]}\n```', {"numbers"})
    {'numbers': ['two']}

    Args:
        text: The reply.
        keys: Top-level names, of which the object has at least one.
    """
    for candidate in _readings(text):
        for data, _ in _objects(candidate):
            if set(data) & set(keys):
                return data
    return None


def read_items(text: str, keys: Collection[str]) -> list[dict[str, Any]]:
    """Return the JSON objects in a reply that have all of the keys, in their order, however they are wrapped.

    They may stand in an object, in a list, one a line, or by number in an object. Of a list that breaks off, the whole
    items are returned.

    >>> read_items('{"items": [{"number": 1, "question": "Who?"}, {"number": 2, "quest', {"question"})
    [{'number': 1, 'question': 'Who?'}]

    Args:
        text: The reply.
        keys: Names that an item has.
    """
    for candidate in _readings(text):
        if found := list(_items_in(candidate, set(keys))):
            return found
    visible = without_thoughts(text[:LONGEST_READ]).text
    return [item for item in _python_objects(visible) if set(keys) <= set(item)]


def _readings(text: str) -> Iterator[str]:
    """Yield a reply without its thoughts, then without commas too many, then with straight quotation marks."""
    text = without_thoughts(text[:LONGEST_READ]).text
    yield text
    yield _without_trailing_commas(text)
    straight = text.translate(CURLY_QUOTES)
    if straight != text:
        yield _without_trailing_commas(straight)


def _without_trailing_commas(text: str) -> str:
    """Remove commas before a closing bracket; what stands in quotation marks stays."""
    return re.sub(r'("(?:[^"\\]|\\.)*(?:"|\\?\Z))|,(?=\s*[}\]])', lambda m: m.group(1) or "", text, flags=re.S)


def _objects(text: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield every object that can be decoded, also those inside of others, and the offset behind it."""
    decoder = json.JSONDecoder(strict=False)
    for match in islice(re.finditer(r"\{", text), MOST_TRIES):
        try:
            data, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(data, dict):
            yield data, end


def _items_in(text: str, keys: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the items of a text; what is inside of an item or of a wrapper that was read is not looked at again."""
    decoder = json.JSONDecoder(strict=False)
    place = tries = 0
    while (place := text.find("{", place)) >= 0 and tries < MOST_TRIES:
        try:
            data, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            place, tries = place + 1, tries + 1
            continue
        yield from _inside(data, keys)
        place = end


def _inside(data: Any, keys: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the items in a value, in their order; one under a number in an object has that number."""
    stack = [("", data)]
    while stack:
        name, value = stack.pop()
        if isinstance(value, list):
            stack.extend(("", inner) for inner in reversed(value))
        elif isinstance(value, dict) and keys <= set(value):
            yield {"number": name, **value} if name.isdigit() else value
        elif isinstance(value, dict):
            stack.extend(reversed(value.items()))


def _python_objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield flat objects in single quotation marks, as Python prints them."""
    for match in islice(re.finditer(r"\{[^{}]*\}", text), MOST_TRIES):
        try:
            data = ast.literal_eval(match.group())
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(data, dict):
            yield {str(name): value for name, value in data.items()}
