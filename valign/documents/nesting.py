"""Numbered lists within the paragraphs of another one, told by their indentation."""

from __future__ import annotations

from dataclasses import replace

from valign.documents.lines import HEADINGS, Unit
from valign.documents.numerals import successor


def nest_lists(units: list[Unit], text: str) -> list[Unit]:
    """Make the members of a list within a numbered paragraph items of it.

    Such a list begins again with 1, further to the right, and its members stand below one another. A member that may be
    a title counts only where no blank line is above it; where it goes on with a list of paragraphs, it is one of them.

    Args:
        units: The text's units, of which those in plain text are indented.
        text: The text.
    """
    nested: list[Unit] = []
    levels: list[Unit] = []  # the last member of each list that is open, the outermost first
    for index, unit in enumerate(units):
        loose = index > 0 and "\n\n" in text[units[index - 1].end : unit.start].replace(" ", "")
        if unit.number is None or (unit.kind == "numbered" and loose):
            levels = [] if unit.kind in HEADINGS else levels
            nested.append(unit)
            continue
        if exact := [level for level in levels if level.indent == unit.indent and _follows(unit, level)]:
            del levels[levels.index(exact[-1]) + 1 :]
        while levels and unit.indent < levels[-1].indent - _follows(unit, levels[-1]):
            levels.pop()
        if levels and _follows(unit, levels[-1]) and abs(unit.indent - levels[-1].indent) <= 1:
            levels[-1] = unit
        elif levels and unit.number == "1" and unit.indent > levels[-1].indent:
            levels.append(unit)
        else:
            levels = [unit] if unit.kind == "body" else []
        if len(levels) > 1:
            nested.append(replace(unit, kind="item", number=None, body=unit.start))
        else:
            nested.append(replace(unit, kind="body") if levels and unit.indent else unit)
    return nested


def _follows(unit: Unit, last: Unit) -> bool:
    return successor(last.number) == unit.number
