"""Forms of structured replies: the JSON schema of their items, and how an item is read and checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from valign.core.records import Document
from valign.core.text import one_line
from valign.synthesis.candidates import CONTRADICTIONS, Candidate
from valign.synthesis.case_plans import OPPOSITE, ItemPlan
from valign.synthesis.contrast_checks import AGAINST_VERDICT, contrast_fault, leading_verdict
from valign.synthesis.frames import SILENT

OTHER_VERDICT, EMPTY = "other verdict than planned", "empty answer"
REASON_TOKENS = 64
VERDICT_WORDS = {"yes": "yes", "no": "no", "true": "yes", "false": "no", "oui": "yes", "non": "no"}


@dataclass(frozen=True)
class Form:
    """What one kind of structured call asks for.

    Attributes:
        template: Name of the prompt template.
        label: What is written, for the progress bar and the budget.
        fields: JSON schema of each field of an item, in the order in which they are written.
        tokens: The fewest tokens that an item may take.
        read: Makes a candidate of an item and says what is wrong with it.
    """

    template: str
    label: str
    fields: Mapping[str, Mapping[str, Any]]
    tokens: int
    read: Callable[[Mapping[str, Any], ItemPlan, Candidate, Document], tuple[Candidate, str]]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of a reply, in what every server's grammar supports."""
        item = {
            "type": "object",
            "properties": {name: dict(kind) for name, kind in self.fields.items()},
            "required": list(self.fields),
            "additionalProperties": False,
        }
        items = {"items": {"type": "array", "items": item}}
        return {"type": "object", "properties": items, "required": ["items"], "additionalProperties": False}

    @property
    def example(self) -> str:
        """An empty reply, as the prompt shows it."""
        shown = ", ".join(
            f'"{name}": ' + ("1" if kind["type"] == "integer" else f'"{" or ".join(kind.get("enum", ()))}"')
            for name, kind in self.fields.items()
        )
        return f'{{"items": [{{{shown}}}, ...]}}'

    def with_reasons(self) -> Form:
        """Return the form whose answers are followed by a reason."""
        return replace(self, fields={**self.fields, "reason": STRING}, tokens=self.tokens + REASON_TOKENS)


def text_of(value: Any) -> str:
    """Return a text or number of a reply as one line; nothing for anything else."""
    try:
        return one_line(str(value)) if isinstance(value, str | int | float) else ""
    except ValueError:  # a number of more digits than Python writes out
        return ""


def read_verdict(item: Mapping[str, Any]) -> str | None:
    """Return the verdict of an item: ``yes``, ``no``, or None for none."""
    return VERDICT_WORDS.get(text_of(item.get("verdict")).lower().strip(" .,!"))


def with_verdict(verdict: str | None, answer: str, plan: ItemPlan) -> str:
    """Return an answer that begins with its verdict."""
    if verdict is None or not answer or leading_verdict(answer):
        return answer
    return f"{plan.said[verdict]}. {answer[:1].upper()}{answer[1:]}"


def _read_case(item: Mapping[str, Any], plan: ItemPlan, raw: Candidate, document: Document) -> tuple[Candidate, str]:
    """Read a question of D_sft with its answer."""
    if plan.kind == SILENT:
        return raw, ""
    answer, reason = text_of(item.get("answer")), text_of(item.get("reason"))
    verdict = read_verdict(item) or (leading_verdict(answer) if plan.verdict else None)
    answer = with_verdict(verdict, answer, plan)
    found = replace(raw, answer=f"{answer} {reason}".strip(), verdict=verdict)
    if not answer:
        return found, EMPTY
    if verdict != plan.verdict:
        return found, OTHER_VERDICT
    return found, "" if leading_verdict(answer) == verdict else AGAINST_VERDICT


def _read_contrast(
    item: Mapping[str, Any], plan: ItemPlan, raw: Candidate, document: Document
) -> tuple[Candidate, str]:
    """Read a situation of D_pref with its two answers."""
    chosen, rejected = text_of(item.get("faithful")), text_of(item.get("unfaithful"))
    verdict = read_verdict(item) or (leading_verdict(chosen) if plan.verdict else None)
    if verdict and not leading_verdict(chosen) and not leading_verdict(rejected):
        chosen, rejected = with_verdict(verdict, chosen, plan), with_verdict(OPPOSITE[verdict], rejected, plan)
    kind = text_of(item.get("kind")).lower()
    if kind not in CONTRADICTIONS or (kind == "verdict" and verdict is None):
        kind = plan.contradiction
    found = replace(raw, answer=chosen, rejected=rejected, rejected_kind=kind, verdict=verdict)
    if verdict != plan.verdict and chosen and rejected:
        return found, OTHER_VERDICT
    return found, contrast_fault(verdict, chosen, rejected, document)


STRING: dict[str, Any] = {"type": "string"}
VERDICT_FIELD: dict[str, Any] = {"type": "string", "enum": ["yes", "no", "none"]}
NUMBERED: dict[str, dict[str, Any]] = {"number": {"type": "integer"}, "question": STRING, "verdict": VERDICT_FIELD}
CASES = Form("cases", "questions and answers", {**NUMBERED, "answer": STRING}, 160, _read_case)
CONTRASTS = Form(
    "contrasts",
    "situations with two answers",
    {**NUMBERED, "faithful": STRING, "kind": {"type": "string", "enum": list(CONTRADICTIONS)}, "unfaithful": STRING},
    256,
    _read_contrast,
)
