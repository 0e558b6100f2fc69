"""Contradictions by rule, and BERTScore by hand."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import pytest

from valign.evaluation.bertscore import bertscore
from valign.evaluation.contradiction import contradicts

DAYS = (("nine days", "9 days"),)


@pytest.mark.parametrize(
    ("answer", "verdict", "facts", "expected"),
    [
        ("Yes, you may.", "no", (), 1.0),
        ("No, nobody may.", "no", (), 0.0),
        ("It depends.", "no", (), 0.0),
        ("It is kept for 20 days.", None, DAYS, 1.0),
        ("It is kept for nine days, not 20 days.", None, DAYS, 0.0),
        ("It is kept for 20 weeks.", None, DAYS, 0.0),
        ("After thirty days it is sold.", None, DAYS, 0.0),
        ("It is kept for twelve days.", None, (*DAYS, ("12 days",)), 0.0),
        ("It is kept for a while.", None, DAYS, 0.0),
        ("It is blue.", None, (("yellow",),), None),
        ("It is blue.", None, (), None),
    ],
)
def test_contradiction(answer: str, verdict: str | None, facts: tuple[tuple[str, ...], ...], expected: object) -> None:
    """The question has 30 days, which is no contradiction; neither is another fact's number, or another unit."""
    question = "Is it mine after thirty days?"
    assert contradicts(answer, question, "It is kept for nine days.", verdict, facts) == expected


class Letters:
    """Embeds each letter a, b or c on an axis, and d between a and b."""

    ROWS: ClassVar = {
        "a": (1.0, 0.0, 0.0), "b": (0.0, 1.0, 0.0), "c": (0.0, 0.0, 1.0), "d": (math.sqrt(0.5), math.sqrt(0.5), 0.0),
    }  # fmt: skip

    def embed_tokens(self, texts: list[str], /) -> list[np.ndarray]:
        """Return a row for each letter."""
        return [np.array([self.ROWS[letter] for letter in text]).reshape(-1, 3) for text in texts]


def test_bertscore_by_hand() -> None:
    """For "ac" against "ab": precision and recall 1/2. For "d": precision √½, recall √½. Order does not matter."""
    found = bertscore(Letters(), ["ac", "d", "ba", "", "c"], ["ab", "ab", "ab", "ab", "ab"])
    assert found == pytest.approx([0.5, math.sqrt(0.5), 1.0, 0.0, 0.0])


def test_bertscore_precision_and_recall_differ() -> None:
    """For "a" against "ab": precision 1, recall 1/2, so 2/3."""
    assert bertscore(Letters(), ["a"], ["ab"]) == pytest.approx([2 / 3])
