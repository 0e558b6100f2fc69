"""Settings as frozen dataclasses: a key's type and limits are said once, for the code and for the config.

A room declares what it can be told, in its ``settings.py``; ``valign.config.schema`` makes the config's keys of it.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Mapping
from dataclasses import field
from functools import cache
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

S = TypeVar("S")


def setting(default: Any = dataclasses.MISSING, **limits: Any) -> Any:
    """Declare a setting with its limits.

    Args:
        default: The value where none is given; by default one has to be.
        **limits: ``choices`` (a tuple), ``above``, ``at_least``, ``below``, ``at_most`` (numbers).
    """
    return field(default=default, metadata=limits)


def group(kind: type[Any]) -> Any:
    """Declare settings that are a group of their own, by default with that group's defaults."""
    return field(default_factory=kind)


def make_settings(kind: type[S], values: Mapping[str, Any]) -> S:
    """Make settings from plain values: groups from mappings, tuples from lists.

    Args:
        kind: A frozen dataclass.
        values: Its fields by name; those without a default have to be there.

    Raises:
        TypeError: A name is unknown, or one is missing.
    """
    hints: Mapping[str, Any] = type_hints(cast(Hashable, kind))
    return kind(**{name: _value(hints.get(name), value) for name, value in values.items()})


@cache
def type_hints(kind: Any) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields, which are written as text."""
    return get_type_hints(kind)


def without_none(hint: Any) -> Any:
    """Return the type that a type is besides None."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def _value(hint: Any, value: Any) -> Any:
    kind = without_none(hint)
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return make_settings(kind, value)  # type: ignore[arg-type]
    if isinstance(value, list) and (get_origin(kind) or kind) is tuple:
        return tuple(value)
    return value
