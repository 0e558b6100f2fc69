"""Each filter drops what it should, with scores computed by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest
from fakes import Bag
from shipped_data import Table, passages

from valign.core.records import Question
from valign.synthesis.filters import Filters, Funnel, Vectors, well_formed
from valign.synthesis.funnel_table import funnel_table
from valign.synthesis.settings import FilterSettings


@pytest.mark.parametrize(
    ("text", "fit"),
    [
        ("May I swim?", True),
        ("May I?", False),
        ("May I swim", False),
        ("May I\nswim?", False),
        (" ".join(["word"] * 2 + [f"w{i}" for i in range(43)]) + "?", True),
        (" ".join(f"w{i}" for i in range(46)) + "?", False),
        ("Can a guest swim here, can a guest eat?", False),
    ],
)
def test_well_formed_questions(text: str, fit: bool) -> None:
    """3 to 45 words on one line, a question mark at the end, and no three words twice ("can a guest")."""
    assert well_formed(text) is fit


def fog_and_oil(held_out: Sequence[Question] = ()) -> Filters:
    """Two passages along the first two axes; texts are known by their first word.

    "Near" has cosine 0.8 with the fog and 0.6 with the oil, "Far" 0.28 and 0 (0.96 along the third axis), "Oily" 0.6
    and 0.8, "Twin" lies at 0.7996 and 0.6005, so that its cosine with "Near" is above 0.99.
    """
    table = Table(
        Fog=(1, 0, 0), Oil=(0, 1, 0), Near=(0.8, 0.6, 0), Far=(0.28, 0, 0.96), Oily=(0.6, 0.8, 0),
        Twin=(0.7996, 0.6005, 0), Test=(0, 0, 1),
    )  # fmt: skip
    limits = FilterSettings(min_relevance=0.5, max_rank=1, min_faithfulness=0.5, max_duplicate=0.97, max_overlap=0.4)
    return Filters(passages("Fog lasts nine days.", "Oil is sold."), held_out, table, limits)


HELD_OUT = Question("q", "d/1", "Test whether a guest may swim here?", "No.")


@pytest.mark.parametrize(
    ("text", "reason", "scores"),
    [
        ("Near the pier, is there fog?", None, {"relevance": 0.8, "rank": 1.0, "overlap": 0.0, "nearest": 0.0}),
        ("Near.", "malformed", {}),
        ("Far away, is there fog?", "irrelevant", {"relevance": 0.28, "rank": 1.0}),
        ("Oily as it is, may I?", "irrelevant", {"relevance": 0.6, "rank": 2.0}),
        ("Near whether a guest may swim?", "overlaps evaluation", {"relevance": 0.8, "rank": 1.0, "overlap": 0.625}),
        ("Near: whether a guest may swim here, she asks by letter today?", "overlaps evaluation", {"overlap": 1.0}),
    ],
)
def test_reasons_to_drop_a_question(text: str, reason: str | None, scores: dict[str, float]) -> None:
    """Overlap by hand; the evaluation question has the 7 words test, whether, a, guest, may, swim, here.

    "Near the pier, is there fog" shares none of 13: 0; "near whether a guest may swim" shares 5 of 8: 0.625; the last
    one has six words in a row in common: 1.
    """
    found, measured = fog_and_oil([HELD_OUT]).check_question(text, "d/1")
    assert found == reason
    assert {name: measured[name] for name in scores} == pytest.approx(scores, abs=1e-4)


def test_a_near_duplicate_is_dropped_and_a_dropped_question_blocks_nothing() -> None:
    filters = fog_and_oil()
    assert filters.check_question("Near the pier, is there fog?", "d/2")[0] == "irrelevant"
    assert filters.check_question("Near the pier, is there fog?", "d/1")[0] is None
    reason, scores = filters.check_question("Twin of the pier, is there fog?", "d/1")
    assert reason == "duplicate"
    assert scores["nearest"] == pytest.approx(1.0, abs=1e-3)


def test_the_same_question_twice_is_a_duplicate_whatever_the_limits() -> None:
    open_limits = FilterSettings(min_relevance=-1, max_rank=9, min_faithfulness=-1, max_duplicate=1, max_overlap=1)
    filters = Filters(passages("Fog lasts nine days."), (), Bag(), open_limits)
    assert [filters.check_question("How long is there fog?", "d/1")[0] for _ in range(2)] == [None, "duplicate"]


def test_the_nearest_of_many_vectors() -> None:
    """Of 200 unit vectors in the plane at 0, 1, 2 ... degrees, the nearest to 100.4 degrees is 0.4 degrees away."""
    vectors = Vectors(2)
    assert vectors.nearest(np.array([1.0, 0.0], np.float32)) == 0.0
    at = [np.array([np.cos(a), np.sin(a)], np.float32) for a in np.deg2rad([*range(200), 100.4])]
    for vector in at[:-1]:
        vectors.add(vector)
    assert vectors.nearest(at[-1]) == pytest.approx(float(np.cos(np.deg2rad(0.4))), abs=1e-6)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" ", "empty answer"),
        ("Near nine days.", None),
        ("Near ten days.", "ungrounded number or name"),
        ("Near nine days, says Jim.", "ungrounded number or name"),
        ("Far off.", "unfaithful"),
    ],
)
def test_reasons_to_drop_an_answer(text: str, reason: str | None) -> None:
    filters = fog_and_oil()
    assert filters.check_answer(text, passages("Fog lasts nine days.")[0])[0] == reason


def test_framed_questions_are_judged_by_their_likeness_to_the_evaluation_alone() -> None:
    filters = fog_and_oil([HELD_OUT])
    assert filters.check_leak("Near") == (None, {"overlap": 0.0, "evaluation": 0.0})
    assert filters.check_leak("Far")[1] == {"overlap": 0.0, "evaluation": 0.96}
    assert filters.check_leak("Near whether a guest may swim")[0] == "overlaps evaluation"
    assert filters.check_leak("Test something else") == ("near evaluation", {"overlap": 0.1111, "evaluation": 1.0})
    assert fog_and_oil().check_leak("Test something else") == (None, {"overlap": 0.0, "evaluation": 0.0})


def test_the_funnel_counts() -> None:
    funnel = Funnel(made=3)
    funnel.drop("irrelevant")
    funnel.keep("d/1", "question")
    funnel.keep("d/1", "claim")
    data = json.loads(json.dumps(funnel.to_dict()))
    assert data == {
        "made": 3,
        "dropped": {"irrelevant": 1},
        "kept": 2,
        "per_clause": {"d/1": 2},
        "kinds": {"question": 1, "claim": 1},
    }
    table = funnel_table({"sft": data})
    assert "D_sft: 3 made, 2 kept" in table
    assert "1 dropped: irrelevant" in table
