"""Does a passage carry a value? Definitions, headings and preambles without a rule decide no situation."""

from __future__ import annotations

import logging
import re
from typing import Any

from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.synthesis.json_replies import read_object
from valign.synthesis.writer import Writer

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
    """Note with the writer which clauses carry no value, unless that is known."""
    if writer.without_value is None:
        writer.without_value = find_without_value(writer)


def find_without_value(writer: Writer) -> frozenset[str]:
    """Ask the teacher about each passage whether it carries a value, in one call (greedy decoding).

    Returns:
        Clause ids of the passages that do not; where a reply cannot be read, the passage counts as one that does.
    """
    template = writer.template(FIELD)
    sampling = Sampling(max_new_tokens=24)
    passages = writer.document.passages
    requests = [Request(template.fill(passage=labelled(p)), sampling, schema=VALUE_SCHEMA) for p in passages]
    replies = writer.teacher.complete_all(requests, "does the clause carry a value?")
    found = frozenset(p.clause for p, reply in zip(passages, replies, strict=True) if _says_no(reply[0].text))
    if found:
        log.info("%d of %d clauses carry no value: %s", len(found), len(passages), ", ".join(sorted(found)))
    return found


def _says_no(reply: str) -> bool:
    data = read_object(reply, (FIELD,))
    said = data[FIELD] if data is not None else reply
    return said is False or NO_VALUE.match(str(said)) is not None
