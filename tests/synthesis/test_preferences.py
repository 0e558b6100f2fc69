"""D_pref: kinds of rejected answers by their shares, and situations matched two by two."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
from changed_settings import changed
from fakes import Bag
from shipped_data import build, passages

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Preference, Provenance
from valign.core.settings import make_settings
from valign.documents.shipped import shipped_document
from valign.synthesis.pairing import MOST_CANDIDATES, Situation, pair_situations
from valign.synthesis.preferences import check_shares, draw_kind
from valign.synthesis.settings import RejectedShares, SynthesisSettings
from valign.synthesis.writer import Writer


def test_unknown_kinds_of_rejected_answers(settings: SynthesisSettings, tmp_path: Path) -> None:
    document = shipped_document("saltmarsh")
    with pytest.raises(TypeError, match="other"):
        make_settings(RejectedShares, {"other": 1.0})
    none = RejectedShares(edit=0.0)
    with pytest.raises(ValignError, match=r"rejected=.*nothing.* some of edit, clause, base, contradiction"):
        check_shares(none)
    with pytest.raises(ValignError, match=r"synthesis\.preferences\.rejected"):
        build(tmp_path, document, None, changed(settings, preferences={"rejected": none}))


def test_one_kind_alone(settings: SynthesisSettings, tmp_path: Path) -> None:
    """With every share but one at 0, situations have that kind, or the kind that stands in for it."""
    document = shipped_document("lanternfield")
    for kind, allowed in (("contradiction", {"contradiction", "edit", "clause"}), ("clause", {"clause", "edit"})):
        shares = RejectedShares(**{kind: 2.0, "base": 0.0})
        build(tmp_path / kind, document, [], changed(settings, preferences={"rejected": shares}))
        rows = read_jsonl(tmp_path / kind / "preferences.jsonl", Preference)
        found = [row.rejected_kind for row in rows if row.kind == "situation"]
        assert kind in found and set(found) <= allowed


def test_couples_reject_what_they_choose(settings: SynthesisSettings) -> None:
    """Five situations are two couples, and one is left over.

    Every answer of a couple is chosen once and rejected once, for questions of different clauses; the nearest are
    matched first, here the two that share the word fog.
    """
    clauses = passages("No ferry leaves in fog.", "In fog the pier is shut.", "Ale is sold at noon.")
    fog, pier, ale = clauses
    asked = [
        (fog, "Does a ferry leave in fog?"),
        (fog, "When is a ferry held back?"),
        (pier, "Is the pier shut in fog?"),
        (pier, "Who shuts a pier?"),
        (ale, "Is ale sold at noon?"),
    ]
    writer = Writer(Document("d", "Code", "", "", clauses), cast(Any, None), Bag(), settings, 0)
    situations = [Situation(question, p.text, p, Provenance("", 0, 0, "", "", ""), {}) for p, question in asked]
    found = pair_situations(situations, writer)
    assert len(found) == 4
    assert found["Does a ferry leave in fog?"] == pier.text and found["Is the pier shut in fog?"] == fog.text
    chosen = Counter(s.chosen for s in situations if s.question in found)
    assert chosen == Counter(found.values())
    assert all(found[s.question] != s.chosen for s in situations if s.question in found)
    assert pair_situations(situations[:2], writer) == pair_situations(situations[:1], writer) == {}


def test_couples_are_found_beyond_the_nearest(settings: SynthesisSettings) -> None:
    """Sixty situations ask the same as one another, of three clauses with 40, 15 and 5: 40 + 20 leave 20 over."""
    clauses = passages("No ferry leaves in fog.", "In fog the pier is shut.", "Ale is sold at noon.")
    counts = (40, 15, 5)
    asked = [(p, f"Is fog number {p.clause} {i}?") for p, n in zip(clauses, counts, strict=True) for i in range(n)]
    assert len(asked) > MOST_CANDIDATES
    writer = Writer(Document("d", "Code", "", "", clauses), cast(Any, None), Bag(), settings, 0)
    nowhere = Provenance("", 0, 0, "", "", "")
    situations = [Situation(question, p.text, p, nowhere, {}) for p, question in asked]
    found = pair_situations(situations, writer)
    chosen = Counter(s.chosen for s in situations if s.question in found)
    assert chosen == Counter(found.values())
    assert chosen[clauses[1].text] == 15 and chosen[clauses[2].text] == 5
    assert len(found) == 40


def test_shares_are_kept_on_the_whole() -> None:
    """Three to one: of 400 draws 300 are expected to be the first, with a standard deviation below 9."""
    drawn = [draw_kind(random.Random(i), {"edit": 3.0, "clause": 1.0}) for i in range(400)]
    assert 270 < drawn.count("edit") < 330
