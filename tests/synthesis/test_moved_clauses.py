"""Decisions about a document whose file is renamed or whose rules are renumbered: they hold where the words do."""

from __future__ import annotations

from valign.documents.clauses import ClauseIndex
from valign.documents.read import parse_document
from valign.synthesis.decisions import Decision, row_key, settle
from valign.synthesis.review_rows import added_row
from valign.synthesis.reviewing import Review

GEESE = "Nobody may feed the geese at the north gate."
TEXT = f"# Harbour\n\n## Rule 1. Geese\n\n{GEESE}\n\n## Rule 2. Boats\n\nBoats are moored at night.\n"
NEW = f"# Harbour\n\n## Rule 1. Boats\n\nBoats are moored at night.\n\n## Rule 2. Geese\n\n{GEESE}\n"


def test_an_added_row_follows_its_clause() -> None:
    texts = {"question": "May she feed them?", "answer": "No."}
    key = row_key("D_sft", GEESE, *texts.values())
    states = settle([Decision("add", key, "ann", "2026-11-29", "1", "D_sft", "old/rule-1", texts)])
    assert added_row(states[key], ClauseIndex(parse_document(TEXT.encode(), "old").passages)) is not None
    for text, name, clause in ((TEXT, "new", "new/rule-1"), (NEW, "old", "old/rule-2")):
        index = ClauseIndex(parse_document(text.encode(), name).passages)
        ((state, row),) = Review(states, "review.jsonl", index).added("D_sft")
        assert (state.clause, row.clauses, row.key) == (clause, (clause,), key)
    reworded = ClauseIndex(parse_document(TEXT.replace("Nobody may", "No one may").encode(), "old").passages)
    assert added_row(states[key], reworded) is None
