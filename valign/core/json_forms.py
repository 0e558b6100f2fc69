"""What a JSON value has to be for a record's field, by the field's annotation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 63


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_whole(value)


FORMS: dict[str, tuple[Callable[[Any], bool], str, str]] = {
    "str": (lambda value: isinstance(value, str), "text", "; put it in quotes"),
    "bool": (lambda value: isinstance(value, bool), "true or false", ""),
    "int": (_is_whole, "a whole number", ""),
    "int | None": (lambda value: value is None or _is_whole(value), "a whole number, or null", ""),
    "float": (_is_number, "a number", ""),
    "dict[str, float]": (
        lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
        "a JSON object of numbers",
        "",
    ),
    "dict[str, Any]": (lambda value: isinstance(value, dict), "a JSON object", ""),
    "tuple[str, ...]": (
        lambda value: isinstance(value, list | tuple) and all(isinstance(one, str) for one in value),
        "a list of texts",
        "",
    ),
}
"""Of an annotation: whether a JSON value is such, that in words, and the remedy."""
