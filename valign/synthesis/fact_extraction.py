"""Listing a document's facts: by rules, or by a teacher that replies in JSON."""

from __future__ import annotations

from collections import Counter
from typing import Any

from valign.core.quotation import find_quote
from valign.core.records import Fact, Passage
from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.synthesis.facts import make_fact
from valign.synthesis.writer import Writer
from valign.teachers.json_replies import read_object

TEXT_LIST = {"type": "array", "items": {"type": "string"}}
VALUE = {
    "who": {"type": "string"},
    "force": {"type": "string", "enum": ["right", "duty", "ban"]},
    "what": {"type": "string"},
    "conditions": TEXT_LIST,
    "exceptions": TEXT_LIST,
    "consequences": TEXT_LIST,
}
FACTS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "values": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": VALUE,
                "required": list(VALUE),
                "additionalProperties": False,
            },
        },
        "numbers": TEXT_LIST,
        "names": TEXT_LIST,
    },
    "required": ["values", "numbers", "names"],
    "additionalProperties": False,
}
LONGEST_REPLY = 1024
UNREADABLE, NOT_THERE = "unreadable reply", "not in the clause"


def list_facts(writer: Writer) -> tuple[list[Fact], Counter[str]]:
    """List the facts of every clause, in reading order.

    With ``extract: teacher`` the teacher lists them; a reply that cannot be read gets one try to be repaired, and where
    that fails, too, the rules do the clause. Words that do not stand in the clause are left out.

    Returns:
        The facts, and how often a reply was unreadable or its words were not in the clause.
    """
    passages = writer.document.passages
    failures: Counter[str] = Counter()
    if not writer.settings.instructions.examples_per_fact:
        return [], failures
    if writer.settings.instructions.extract == "rules":
        return [fact for passage in passages for fact in writer.language.find_facts(passage)], failures
    facts = []
    for passage, data in zip(passages, _replies(writer), strict=True):
        if data is None:
            failures[UNREADABLE] += 1
            facts += writer.language.find_facts(passage)
        else:
            found, missing = locate_facts(passage, data)
            failures[NOT_THERE] += missing
            facts += found
    return facts, +failures


def _replies(writer: Writer) -> list[dict[str, Any] | None]:
    """Return what the teacher says about each clause, None where it cannot be read even after a repair."""
    template, again = writer.template("extract"), writer.template("repair")
    sampling = Sampling(max_new_tokens=LONGEST_REPLY)
    passages = writer.document.passages
    requests = [Request(template.fill(passage=labelled(p)), sampling, schema=FACTS_SCHEMA) for p in passages]
    texts = [found[0].text for found in writer.teacher.complete_all(requests, "facts")]
    replies = [parse_facts(text) for text in texts]
    broken = [i for i, reply in enumerate(replies) if reply is None]
    requests = [
        Request(again.fill(passage=labelled(passages[i]), reply=texts[i]), sampling, schema=FACTS_SCHEMA)
        for i in broken
    ]
    if requests:
        for i, found in zip(broken, writer.teacher.complete_all(requests, "facts, second try"), strict=True):
            replies[i] = parse_facts(found[0].text)
    return replies


def parse_facts(text: str) -> dict[str, Any] | None:
    r"""Read the JSON object in a reply, with prose or a code fence around it, or commas too many; None without one.

    >>> parse_facts('Here it is:\n```json\n{"values": [], "numbers": ["two",], "names": []}\n```')
    {'values': [], 'numbers': ['two'], 'names': []}
    """
    return read_object(text, ("values", "numbers", "names"))


def locate_facts(passage: Passage, data: dict[str, Any]) -> tuple[list[Fact], int]:
    """Find a reply's words in the clause.

    Args:
        passage: The clause.
        data: The reply; entries of another form than the schema's are passed over.

    Returns:
        The facts in reading order, and the number of texts that do not stand in the clause.
    """
    found: dict[tuple[int, int], Fact] = {}
    missing = 0
    for kind, text, who, force in _entries(data):
        span = find_words(text, passage)
        if span is None:
            missing += 1
        else:
            found.setdefault(span, make_fact(passage, kind, *span, who=who, force=force))
    return sorted(found.values(), key=lambda fact: (fact.start, fact.end)), missing


def find_words(text: str, passage: Passage) -> tuple[int, int] | None:
    """Return the document offsets of words in a passage, whatever their case and the spaces between them."""
    found = find_quote(text, passage.text)
    return (passage.start + found[0], passage.start + found[1]) if found else None


def _entries(data: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return kind, words, who and force of everything in a reply that has the schema's form."""
    found = [("number", text, "", "") for text in _texts(data.get("numbers"))]
    found += [("name", text, "", "") for text in _texts(data.get("names"))]
    values = data.get("values")
    for value in values if isinstance(values, list) else []:
        if not isinstance(value, dict):
            continue
        who, force = (str(value.get(key) or "") for key in ("who", "force"))
        for kind in ("condition", "exception", "consequence"):
            found += [(kind, text, "", "") for text in _texts(value.get(f"{kind}s"))]
        found += [("norm", text, who, force) for text in _texts([value.get("what")])]
    return found


def _texts(value: Any) -> list[str]:
    return [text for text in value if isinstance(text, str) and text.strip()] if isinstance(value, list) else []
