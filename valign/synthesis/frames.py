"""Sentence frames of questions about a passage's own words."""

from __future__ import annotations

import re

SILENT = "silent"
ADDED_BY_PERSON = "review/added"
"""Template of a row that a person added."""
FROM_TEACHER, FROM_FRAME, FROM_FILE = "asked", "valign", "given"


def scenario_family(clause: str, kind: str, question: str) -> str:
    """Name a scenario family: the clause, what wrote the question, and its first two words.

    >>> scenario_family("d/1", "asked", "How many days may I stay?")
    'd/1/asked/how-many'
    """
    return "/".join([clause, kind, "-".join(re.findall(r"\w+", question.lower())[:2])])
