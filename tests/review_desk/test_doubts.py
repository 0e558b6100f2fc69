"""Doubtful rows come first: a verdict against the answer's words, filters that disagree, the worst scores."""

from __future__ import annotations

from dataclasses import replace

from review_work import DOCUMENT, GEESE, INDEX, QUOTE, make_rows

from valign.core.records import Instruction, Preference, Provenance
from valign.review_desk.doubts import HIGH_IS_GOOD, IN_WORDS, LOW_IS_GOOD, doubtful_first, find_doubts
from valign.synthesis.review_rows import instruction_row, pair_row


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
    assert doubts[rows[9].key].reasons == (
        "the filters disagree: the answer is among the farthest from the clause, and the question is not (relevance "
        "0.7, faithfulness 0.1)",
    )
    assert doubts[rows[3].key].reasons == ("the question is among the farthest from its clause (relevance 0.3)",)
    assert doubts[rows[0].key].reasons == ()


def test_an_answer_that_is_its_quote_is_not_far_from_its_clause() -> None:
    """Also behind a yes or no; with a word more, or where there is no quote, the score counts."""
    rows = [replace(row, scores={"relevance": 0.5, "faithfulness": 0.8}) for row in make_rows(12)[:12]]
    far = {"relevance": 0.7, "faithfulness": 0.1}
    for answer, is_doubtful in ((QUOTE, False), (f"No. {QUOTE}", False), (f"No, never. {QUOTE}", True), ("No.", True)):
        row = replace(rows[9], answer=answer, scores=far)
        said = find_doubts([*rows[:9], row, *rows[10:]])[row.key].reasons
        assert any("answer is among the farthest" in reason for reason in said) is is_doubtful
    row = replace(rows[9], answer="No.", quote="", scores=far)
    assert find_doubts([*rows[:9], row, *rows[10:]])[row.key].reasons


def test_pairs_that_agree_are_doubtful_and_scores_are_compared_within_a_set() -> None:
    rows = make_rows(0)
    pair = replace(rows[0], rejected="No, never.", scores={"overlap": 0.4})
    probe = replace(rows[-1], scores={"overlap": 0.9})
    doubts = find_doubts([pair, *rows[1:-1], probe])
    assert doubts[pair.key].reasons == ("both answers say no",)
    assert doubts[probe.key].level == 0.0


def test_answers_that_allow_alike_and_differ_in_a_number_are_no_doubt() -> None:
    """Neither says yes or no, and the row has no verdict: that both say "may" is not what is asked about."""
    pair = replace(make_rows(0)[0], verdict=None, answer="Visitors may stay until nine.")
    assert find_doubts([replace(pair, rejected="Visitors may stay until ten.")])[pair.key].reasons == ()
    said = replace(pair, answer="Yes, until nine.", rejected="Yes, until ten.")
    assert find_doubts([said])[pair.key].reasons == ("both answers say yes",)
    decided = replace(pair, verdict="yes", rejected="Visitors may stay until ten.")
    assert find_doubts([decided])[pair.key].reasons == ("both answers say yes",)


def test_every_score_has_words() -> None:
    assert set(IN_WORDS) == {*HIGH_IS_GOOD, *LOW_IS_GOOD}


def test_high_is_bad_where_it_means_likeness_to_what_is_held_out() -> None:
    rows = [replace(row, scores={"overlap": i / 20}) for i, row in enumerate(make_rows(12)[:12])]
    doubts = find_doubts(rows)
    assert doubts[rows[11].key].reasons == (
        "the question is among those that share the most words with the evaluation (overlap 0.55)",
    )
    assert [row.name for row in doubtful_first(rows, doubts)] == [f"sft-{i}" for i in reversed(range(12))]


def test_a_statement_has_the_verdict_with_which_its_answer_begins() -> None:
    """Rules write none into such a row; "none" beside "No." would look like a fault. Other rows have what they say."""
    origin = Provenance(QUOTE, DOCUMENT.text.index(QUOTE), 0, "frame/claim", "", "valign")
    row = Instruction("sft-1", (GEESE,), "claim", "May anyone feed the geese?", "No. Nobody may.", origin)
    assert instruction_row(row, INDEX).verdict == "no"
    assert instruction_row(replace(row, kind="question"), INDEX).verdict is None
    pair = Preference("pref-1", (GEESE,), "claim", "May geese be fed?", "Yes. So it is.", "No.", "verdict", origin)
    assert pair_row(pair, INDEX).verdict == "yes"
