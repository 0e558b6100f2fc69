"""Sentence frames of questions about a passage's own words."""

from __future__ import annotations

import re

PHRASE_FRAMES = (
    "What do the rules say about {words}?",
    "I have a question about {words}. What applies?",
    "Tell me what I should know about {words}.",
    "What is laid down about {words}?",
)
RECITE_FRAMES = (
    "What does the {title} say about {topic}?",
    "Give me the words of the {title} on {topic}.",
    "Which rule of the {title} is about {topic}?",
)
OPEN_TAILS = ("What do the rules say?", "Which rule applies?", "What applies here?")
YES_NO = re.compile(r"^(?:can|may|could|is|are|am|was|were|do|does|did|must|shall|should|has|have|will|would)\b", re.I)
SILENT = "silent"
SILENT_FRAMES = (
    "The {title} does not say. The nearest it comes to this: {quote}",
    "The {title} leaves that open. What it does say: {quote}",
    "That is not laid down in the {title}. Closest to it: {quote}",
)
FROM_TEACHER, FROM_FRAME, FROM_FILE = "asked", "valign", "given"


def scenario_family(clause: str, kind: str, question: str) -> str:
    """Name a scenario family: the clause, what wrote the question, and its first two words.

    >>> scenario_family("d/1", "asked", "How many days may I stay?")
    'd/1/asked/how-many'
    """
    return "/".join([clause, kind, "-".join(re.findall(r"\w+", question.lower())[:2])])
