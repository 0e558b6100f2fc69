"""Candidates: questions with answers as a large teacher or a file has them, before the filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# How a teacher's rejected answer contradicts its clause: by the opposite verdict, an exception that the clause does not
# have, another scope, another holder of the right or duty, another consequence.
CONTRADICTIONS = ("verdict", "exception", "scope", "holder", "consequence")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A question about a clause and its answer; with a rejected answer it is meant for D_pref, else for D_sft.

    Attributes:
        clause: Id of the clause that decides the question.
        kind: Kind of question, for example ``factual``, ``case``, ``scenario``.
        question: What the user says.
        answer: The faithful answer.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        rejected: An answer that contradicts the clause; nothing for D_sft.
        rejected_kind: How it contradicts: one of ``CONTRADICTIONS``.
        teacher: Id of the model that wrote it.
        template: Id of the prompt template.
        template_hash: SHA-256 (first 16 hex digits) of the template's text.
        sampling: Sampling settings of the call.
    """

    clause: str
    kind: str
    question: str
    answer: str
    verdict: str | None = None
    rejected: str = ""
    rejected_kind: str = ""
    teacher: str
    template: str
    template_hash: str = ""
    sampling: Mapping[str, Any] = field(default_factory=dict)
