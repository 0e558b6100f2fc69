"""Does a passage carry a value? Definitions, headings and preambles without a rule decide no situation."""

from __future__ import annotations

import logging
import re
from typing import Any

from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.synthesis.writer import Writer
from valign.teachers.json_replies import read_object
from valign.teachers.pending import is_pending

log = logging.getLogger(__name__)

FIELD = "carries_value"
VALUE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {FIELD: {"type": "string", "enum": ["yes", "no"]}},
    "required": [FIELD],
    "additionalProperties": False,
}
NO_VALUE = re.compile(r"\W*no\b", re.I)


def check_values(writer: Writer) -> None:
    """Note with the writer which clauses carry no value, and of which a batch has still to say so, unless it is known.

    Where a reply cannot be read, the clause counts as one that carries a value.
    """
    if writer.without_value is not None:
        return
    replies = _ask_values(writer)
    found = writer.without_value = frozenset(clause for clause, reply in replies.items() if _says_no(reply))
    writer.unknown_value = frozenset(clause for clause, reply in replies.items() if is_pending(reply))
    if found:
        log.info("%d of %d clauses carry no value: %s", len(found), len(replies), ", ".join(sorted(found)))


def _ask_values(writer: Writer) -> dict[str, str]:
    """Ask the teacher about each passage whether it carries a value, in one call (greedy); return replies by clause."""
    template = writer.template(FIELD)
    sampling = Sampling(max_new_tokens=24)
    passages = writer.document.passages
    requests = [Request(template.fill(passage=labelled(p)), sampling, schema=VALUE_SCHEMA) for p in passages]
    replies = writer.teacher.complete_all(requests, "does the clause carry a value?")
    return {passage.clause: found[0].text for passage, found in zip(passages, replies, strict=True)}


def _says_no(reply: str) -> bool:
    data = read_object(reply, (FIELD,))
    said = data[FIELD] if data is not None else reply
    return said is False or NO_VALUE.match(str(said)) is not None
