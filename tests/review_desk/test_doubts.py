"""Doubtful rows come first: a verdict against the answer's words, filters that disagree, the worst scores."""

from __future__ import annotations

from dataclasses import replace

from review_work import make_rows

from valign.review_desk.doubts import doubtful_first, find_doubts


def test_rows_are_read_in_the_order_of_doubt() -> None:
    """Of twelve alike, one answers against its verdict, one is near its clause with an answer that is far from it."""
    rows = [replace(row, scores={"relevance": 0.5, "faithfulness": 0.8}) for row in make_rows(12)[:12]]
    rows[7] = replace(rows[7], answer="Yes, of course.")
    rows[9] = replace(rows[9], scores={"relevance": 0.7, "faithfulness": 0.1})
    rows[3] = replace(rows[3], scores={"relevance": 0.3, "faithfulness": 0.2})
    doubts = find_doubts(rows)
    order = [row.name for row in doubtful_first(rows, doubts)]
    assert order[:3] == ["sft-7", "sft-9", "sft-3"]
    assert doubts[rows[7].key].reasons == ("the verdict is no, but the answer says yes",)
    assert doubts[rows[9].key].reasons[0] == (
        "the filters disagree: the answer alone is far from the clause (relevance 0.7, faithfulness 0.1)"
    )
    assert doubts[rows[3].key].reasons == ("relevance 0.3 is among the worst",)
    assert doubts[rows[0].key].reasons == ()


def test_pairs_that_agree_are_doubtful_and_scores_are_compared_within_a_set() -> None:
    rows = make_rows(0)
    pair = replace(rows[0], rejected="No, never.", scores={"overlap": 0.4})
    probe = replace(rows[-1], scores={"overlap": 0.9})
    doubts = find_doubts([pair, *rows[1:-1], probe])
    assert doubts[pair.key].reasons == ("both answers say no",)
    assert doubts[probe.key].level == 0.0


def test_high_is_bad_where_it_means_likeness_to_what_is_held_out() -> None:
    rows = [replace(row, scores={"overlap": i / 20}) for i, row in enumerate(make_rows(12)[:12])]
    doubts = find_doubts(rows)
    assert doubts[rows[11].key].reasons == ("overlap 0.55 is among the worst",)
    assert [row.name for row in doubtful_first(rows, doubts)] == [f"sft-{i}" for i in reversed(range(12))]
