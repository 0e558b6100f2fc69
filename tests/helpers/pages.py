"""The comparison page of an invented ferry company's rules: three arms, six questions, two clauses."""

from __future__ import annotations

import dataclasses
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from valign.core.records import Answer, Passage
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.page import render_page

HOSTILE = "<script>alert(1)</script></script>\"'><img src=x onerror=alert(2)>{{7*7}}{% raw %}"


VOID = {"meta", "input", "line", "circle", "polyline", "rect", "img", "br", "link"}


MEANS = {"base": 0.0, "sft": 0.5, "sft_dpo": 0.75}


SAID = {"base": "I am not sure.", "sft": "No, it takes nine days.", "sft_dpo": "No: nine days, and it is yellow."}


def passages() -> list[Passage]:
    """Return the document's two clauses."""
    heading = ("Rules of the ferry", "Lost property")
    return [
        Passage("ferry/section-1", heading, "Lost things are kept for nine days.", 0, 35),
        Passage("ferry/section-2", ("Rules of the ferry", "Helmets"), "Helmets are yellow.", 36, 55),
    ]


def answer(arm: str, i: int, text: str | None = None) -> Answer:
    """Return an arm's answer to question i; questions 0 to 2 are on the first clause, 3 to 5 on the second."""
    return Answer(
        question_id=f"q{i}",
        clause="ferry/section-1" if i < len(MEANS) else "ferry/section-2",
        question=f"Question {i}: how long is it kept, and in what colour?",
        reference="No, for nine days, and it is yellow.",
        answer=SAID[arm] if text is None else text,
        arm=arm,
        facts=(("nine days", "9 days"), ("yellow",)),
        verdict="no",
    )


def arm_result(arm: str, ci: tuple[float | None, float | None] = (0.2, 0.8)) -> ArmResult:
    """Return an arm whose difference from base on fact recall has the interval ``ci``."""
    mean = MEANS[arm]
    scores: dict[str, Any] = {
        "arm": arm,
        "n": 6,
        "metrics": {
            "fact_recall": {"mean": mean, "ci95": [max(0.0, mean - 0.2), mean + 0.2], "n": 6},
            "reference_nll": {"mean": 3.0 - mean, "ci95": [None, None], "n": 6},
            "length": {"mean": 12.0, "ci95": [10.0, 14.0], "n": 6},
        },
        "by_clause": {
            "ferry/section-1": {"n": 3, "fact_recall": mean, "reference_nll": 3.0 - mean},
            "ferry/section-2": {"n": 3, "fact_recall": None, "reference_nll": 3.0},
        },
        "versus": {} if arm == "base" else {"base": {"fact_recall": {"mean": mean, "ci95": list(ci), "n": 6}}},
    }
    values = [{"question_id": f"q{i}", "clause": "c", "fact_recall": mean, "verdict_accuracy": 1.0} for i in range(6)]
    return ArmResult(arm, scores, [answer(arm, i) for i in range(6)], values)


def comparison(*arms: ArmResult, **changes: Any) -> Comparison:
    """Return the whole comparison, or one of the given arms."""
    funnel = {"made": 10, "dropped": {"relevant": 4}, "kept": 6, "per_clause": {"ferry/section-1": 6}}
    whole = Comparison(
        title="Rules of the ferry",
        experiment="ferry",
        document_sha256="ab" * 32,
        passages=passages(),
        arms=list(arms) or [arm_result(name) for name in MEANS],
        funnel={"sft": funnel, "preference": funnel},
        leak={"rate": 0.0, "questions": [], "max_jaccard": [0.1, 0.25]},
        curves={"sft/loss": [(0, 3.0), (10, 1.0)], "dpo/loss": [(0, math.log(2)), (5, 0.4)]},
        timings={"synthesis": 61.0, "sft": 183.0},
        config={"recipe": "sft_dpo", "teacher": {"api_key": "sk-very-secret", "max_tokens": 5}},
        artifacts={"sft": "0123456789abcdef"},
    )
    return dataclasses.replace(whole, **changes)


class Page(HTMLParser):
    """Collects elements, texts by element and nesting errors."""

    def __init__(self, html: str) -> None:
        """Parse a whole page."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element; void ones and ``<x/>`` are not left open."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element, which must be this one."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text and the element that it stands in."""
        if self.open:
            self.texts.append((self.open[-1], data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element of one name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self) -> str:
        """Return all text, except styles and scripts, with single spaces."""
        return " ".join(" ".join(t for tag, t in self.texts if tag not in ("script", "style")).split())


def page(tmp_path: Path, shown: Comparison) -> Page:
    """Write a comparison and read it back."""
    return Page(render_page(shown, tmp_path / "made" / "report.html").read_text(encoding="utf-8"))
