"""The embedding model's own weights: shape, meaning, cache and messages."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from valign.core.errors import ValignError
from valign.documents.shipped import shipped_document, shipped_questions
from valign.evaluation.bertscore import bertscore
from valign.retrieval.embedder import SentenceEmbedder
from valign.retrieval.search import make_retriever, recall_at_k

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def embedder() -> SentenceEmbedder:
    return SentenceEmbedder()


def test_rows_are_unit_vectors_in_order(embedder: SentenceEmbedder) -> None:
    """The two sentences about dogs are nearer to each other than either is to the one about tax."""
    texts = [
        "A dog barked at night.",
        "Taxes are due in April.",
        "The hound was loud after dark.",
        "A dog barked at night.",
    ]
    rows = embedder.embed(texts)
    assert rows.shape == (4, 384)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert (rows[0] == rows[3]).all()
    assert rows[0] @ rows[2] > 0.4 > rows[0] @ rows[1]
    assert embedder.embed([]).shape == (0, 384)


def test_known_texts_are_not_embedded_again(monkeypatch: pytest.MonkeyPatch, embedder: SentenceEmbedder) -> None:
    first = embedder.embed(["Once is enough."])
    monkeypatch.setattr(embedder.model, "encode", None)
    assert (embedder.embed(["Once is enough."]) == first).all()


def test_tokens_are_matched_greedily(embedder: SentenceEmbedder) -> None:
    """Four words are four rows of length 1; a text is nearest to itself, then to one about the same thing."""
    (rows,) = embedder.embed_tokens(["the cat sat down"])
    assert rows.shape == (4, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    answers = ["A cat sat down.", "The cat took a seat.", "Taxes rise in March.", ""]
    found = bertscore(embedder, answers, ["A cat sat down."] * 4)
    assert found[0] == pytest.approx(1, abs=1e-5)
    assert 1 > found[1] > found[2] > found[3] == 0
    assert embedder.embed_tokens([]) == []


def test_id_names_the_weights(embedder: SentenceEmbedder) -> None:
    assert re.fullmatch(r"all-MiniLM-L6-v2@[0-9a-f]{8}", embedder.id)
    same = SentenceEmbedder(embedder.source)
    assert same.id.split("@")[1] == embedder.id.split("@")[1]


def test_finds_udhr_clauses_that_share_no_words_with_the_question(embedder: SentenceEmbedder) -> None:
    """A draw of 5 of 58 passages holds an article's right one, at most 4 paragraphs, in 5 * 4 / 58 = 34 % of cases.

    The questions avoid the wording of their articles, so BM25 is no better than that; meaning must be.
    """
    questions = shipped_questions("udhr")
    passages = shipped_document("udhr").passages
    recalls = {}
    for kind in ("bm25", "embedding"):
        found = make_retriever(kind, passages, embedder).search([q.question for q in questions], k=5)
        recalls[kind] = recall_at_k(found, [q.clause for q in questions])
    assert recalls["embedding"] > 0.5 > recalls["bm25"]


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ValignError, match="cannot be loaded"):
        SentenceEmbedder(tmp_path).embed(["text"])
