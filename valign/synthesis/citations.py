"""Answers that end with the clause that they rest on, as a person would name it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from valign.core.records import Instruction, Passage, Preference

NUMBERED_HEADING = re.compile(r"(?:[^\W\d]+ )?(?:§ ?)?(?:\d+(?:\.\d+)*|[IVXLC]+\b)")


def name_clause(passage: Passage) -> str:
    """Name a clause by its nearest heading, a numbered one by its number, and by its paragraph where it has one.

    >>> name_clause(Passage("udhr/article-14/2", ("Universal Declaration", "Article 14"), "...", 0, 3))
    'Article 14, 2'
    """
    heading = passage.heading[-1] if len(passage.heading) > 1 else ""
    numbered = NUMBERED_HEADING.match(heading)
    name = numbered.group() if numbered else heading
    last = passage.clause.rpartition("/")[2]
    if not name:
        return last.replace("-", " ").capitalize()
    return f"{name}, {last}" if last.isdigit() else name


def with_citation(row: Instruction, passages: Sequence[Passage]) -> Instruction:
    """Return a row whose answer ends with its clauses in brackets."""
    return replace(row, answer=f"{row.answer} {_brackets(row.clauses, passages)}")


def pair_with_citation(row: Preference, passages: Sequence[Passage]) -> Preference:
    """Return a pair both of whose answers end with the clause, so that the brackets do not tell them apart."""
    end = _brackets(row.clauses, passages)
    return replace(row, chosen=f"{row.chosen} {end}", rejected=f"{row.rejected} {end}")


def _brackets(clauses: Sequence[str], passages: Sequence[Passage]) -> str:
    names = {passage.clause: name_clause(passage) for passage in passages if passage.clause in clauses}
    return f"({'; '.join(names[clause] for clause in clauses)})"
