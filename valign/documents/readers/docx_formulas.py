"""The signs that Word keeps in the properties of a formula: brackets, roots and sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

M = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
PLACES = {f"{M}sup": "exponent", f"{M}sub": "subscript", f"{M}deg": "exponent"}
"""How what is within a part of a formula stands on the line."""


def formula_parts(element: Any) -> Iterator[Any]:
    """Yield the children of an element of a formula, and texts for what is drawn between them."""
    if element.tag == f"{M}d":
        yield _sign(element, "begChr", "(")
        for index, part in enumerate(element.findall(f"{M}e")):
            if index:
                yield _sign(element, "sepChr", "|")
            yield part
        yield _sign(element, "endChr", ")")
        return
    if element.tag == f"{M}nary":
        yield _sign(element, "chr", "\N{INTEGRAL}")
    for child in element:
        if child.tag == f"{M}den":
            yield "/"
        elif child.tag == f"{M}e" and element.tag == f"{M}rad":
            yield "√"
        yield child


def _sign(element: Any, name: str, default: str) -> str:
    """Return the sign that a property names; an empty one is none."""
    found = element.find(f"{element.tag}Pr/{M}{name}")
    return default if found is None else str(found.get(f"{M}val", ""))
