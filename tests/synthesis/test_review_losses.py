"""A clause that a review left short of its coverage: the message names the review and what to do there."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes import Bag, Parrot
from short_document import GEESE, HARBOUR, HELMETS, LAMPS

from valign.core.errors import ValignError
from valign.synthesis.coverage import ReviewLosses, check_coverage
from valign.synthesis.dataset import Reviewed
from valign.synthesis.review_summary import lost_in_review
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher


def test_a_clause_that_a_review_left_short_names_the_review(settings: SynthesisSettings, tmp_path: Path) -> None:
    enough = dict.fromkeys((HELMETS, GEESE, LAMPS), 9)
    counts = {"instructions": {**enough, GEESE: 1}, "preferences": {**enough, LAMPS: 0}, "questions": enough}
    rows = [
        Reviewed("D_sft", "k1", "", "drop", "ann", "", GEESE),
        Reviewed("D_sft", "k2", "", "edit", "ann", "", GEESE, refused="overlaps evaluation", original={"name": "x"}),
        Reviewed("D_sft", "k3", "sft-3", "keep", "ann", "", GEESE),
        Reviewed("D_sft", "k4", "", "drop", "ann", "", HELMETS),
    ]
    writer = Writer(HARBOUR, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), settings, 0)
    lost = ReviewLosses("own/review.jsonl", lost_in_review(rows))
    said = (
        r"min_instructions=4: harbour/rule-2 \(1\); .*The review in own/review\.jsonl took away 2 D_sft of "
        r"harbour/rule-2: add rows about these clauses on the page of valign\.review, or keep some"
    )
    with pytest.raises(ValignError, match=said):
        check_coverage(writer, counts, given_questions=True, lost=lost)
    with pytest.raises(ValignError, match=r"rule-3 \(0\)\. Let more be asked"):
        check_coverage(writer, {**counts, "instructions": enough}, given_questions=True, lost=lost)
