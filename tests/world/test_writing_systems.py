"""Scripts without spaces, marks that are not Latin, labels in other languages, and words and headings without end."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from valign.core.text import count_words, is_question, join_lines, runs_of, words
from valign.documents.clauses import topic
from valign.documents.labels import read_section_label
from valign.documents.outline import slug
from valign.documents.read import parse_document
from valign.evaluation.answer_metrics import fact_recall, rouge_l
from valign.evaluation.leakage import question_overlap
from valign.retrieval.search import Bm25Retriever
from valign.synthesis.filters import well_formed
from valign.synthesis.quotes import split_sentences

RULE = "员工不得接受价值超过五十欧元的礼物。超过的礼物必须在三日内退还。"


def parse(text: str, max_words: int = 160) -> dict[str, str]:
    document = parse_document(text.encode(), "x", max_words=max_words)
    for passage in document.passages:
        assert document.text[passage.start : passage.end] == passage.text
    return {passage.clause: passage.text for passage in document.passages}


def test_a_chinese_document_is_cut_at_sentence_ends() -> None:
    """Two letters count as a word: the rule has 16, so ten rules are 160."""
    found = parse("员工行为守则\n\n" + f"{RULE}\n\n" * 60)
    assert len(found) == 6
    assert "".join(found.values()).replace("\n", "") == RULE * 60
    assert all(count_words(text) <= 160 and text.endswith("。") for text in found.values())
    long = parse("守则\n\n第一条\n\n" + RULE * 2000)
    assert "".join(long.values()) == RULE * 2000
    assert all(len(text) <= 360 and text.endswith("。") for text in long.values())


@pytest.mark.parametrize("letter", ["礼", "ก", "x", "ひ", "က"])
def test_a_word_without_end_is_cut(letter: str) -> None:
    found = parse(f"Title Of It\n\nArticle 1\n\n{letter * 200_000}")
    assert "".join(found.values()) == letter * 200_000
    assert max(map(len, found.values())) <= 160 * 40


def test_a_heading_without_end_is_a_paragraph() -> None:
    """A heading of 5,000 words, 400 passages below: before, each of them had the whole of it as its heading."""
    text = (
        "# Code\n\n## " + "word " * 5000 + "\n\n" + "\n\n".join(f"{i}. Rule number {i} holds." for i in range(1, 401))
    )
    document = parse_document(text.encode(), "x", suffix="md")
    assert len(json.dumps([asdict(passage) for passage in document.passages])) < 4 * len(text)
    assert sum(passage.text.count("word") for passage in document.passages) == 5000


def test_the_laws_of_chinese_japanese_and_korean() -> None:
    text = (
        "员工守则\n\n第一章 总则\n\n第一条　为了规范行为，制定本守则。\n\n"
        "第二条 员工应当：\n\n（一）诚实；\n\n（二）守时。\n\n"
        "第二章 附则\n\n第十二条 本守则自公布之日起施行。"
    )
    assert parse(text) == {
        "x/article-1": "为了规范行为，制定本守则。",
        "x/article-2": "员工应当：\n\n（一）诚实；\n\n（二）守时。",
        "x/article-12": "本守则自公布之日起施行。",
    }
    assert parse("規則\n\n第１条（目的）\n\nこの規則は目的を定める。\n\n第２条\n\n職員は誠実に働く。\n") == {
        "x/article-1": "この規則は目的を定める。",
        "x/article-2": "職員は誠実に働く。",
    }
    assert parse("규칙\n\n제1조(목적) 이 규칙은 목적을 정한다.\n\n제2조(정의) 직원은 일하는 사람이다.\n") == {
        "x/article-1": "(목적) 이 규칙은 목적을 정한다.",
        "x/article-2": "(정의) 직원은 일하는 사람이다.",
    }
    assert parse("守则\n\n一、总则\n\n员工守时。\n\n二、礼物\n\n不得收礼。\n") == {
        "x/section-1": "员工守时。",
        "x/section-2": "不得收礼。",
    }


@pytest.mark.parametrize(
    ("heading", "key"),
    [
        ("Artículo 1.º Objeto", "article-1"),
        ("Article premier", "article-1"),
        ("Article 1er. Objet", "article-1"),
        ("Artikel 5", "article-5"),
        ("Art. 5 Geltung", "article-5"),
        ("Sec. 3. Fees", "section-3"),
        ("§ 4", "section-4"),
        ("Kapitel II", "chapter-ii"),
        ("Artigo 7º", "article-7"),
        ("Articolo 3", "article-3"),
        ("Статья 12.", "article-12"),
        ("Madde 4 - Amaç", "article-4"),
        ("المادة ٣", "article-3"),
        ("Άρθρο 3", "article-3"),
        ("अनुच्छेद १२", "article-12"),
        ("ข้อ 7", "article-7"),
        ("3. artikla", "article-3"),
        ("第二十八条", "article-28"),
        ("第二百三十四条之一", "article-234-1"),
        ("第三章", "chapter-3"),
        ("제1조", "article-1"),
        ("Préambule", "preamble"),
        ("序言", "preamble"),
        ("नियम", "नियम"),
    ],
)
def test_labels_of_other_languages(heading: str, key: str) -> None:
    assert slug(heading) == key


def test_a_reference_is_no_label_and_a_label_no_topic() -> None:
    assert read_section_label("第一条规定的权利") is None
    assert read_section_label("Artículos diversos") is None
    heads = {"第三条 礼物": "礼物", "第三条": "", "Article premier": "", "Section 3. Fog": "Fog", "Gifts": "Gifts"}
    for heading, expected in heads.items():
        document = parse_document(f"# T\n\n## {heading}\n\nA sentence is here.".encode(), "x", suffix="md")
        assert topic(document.passages[0]) == expected


def test_questions_of_many_scripts() -> None:
    good = (
        "员工可以接受供应商的礼物吗？", "私は贈り物を受け取ってもよいですか。", "هل يجوز لي قبول هدية؟",
        "Μπορώ να δεχτώ ένα δώρο;", "Puis-je accepter un cadeau ?", "¿Puedo aceptar un regalo?", "May I go?",
    )  # fmt: skip
    assert [text for text in good if not well_formed(text)] == []
    bad = (
        "员工可以接受供应商的礼物。",
        "吗？",
        "礼物可以收吗礼物可以收吗礼物可以收吗？",
        "Μπορώ; Ναι.",
        "No; one.",
        "礼" * 100 + "？",
    )
    assert [text for text in bad if well_formed(text)] == []
    assert is_question("Где я могу жить?")


def test_sentences_end_with_the_marks_of_their_script() -> None:
    text = "第一条\n\n人人有权。他们应守法！不得歧视；并应平等。"
    (passage,) = parse_document(text.encode(), "x").passages
    pieces = split_sentences(passage)
    assert [piece.text for piece in pieces] == ["人人有权。", "他们应守法！", "不得歧视；", "并应平等。"]
    assert pieces[2].sentence == "不得歧视。"
    hindi = parse("नियम\n\nअनुच्छेद १\n\n" + "सभी मनुष्य समान हैं। " * 60, 20)
    assert all(text.endswith("।") for text in hindi.values())
    assert join_lines("人人\n有权，\nand so\non") == "人人有权， and so on"


def test_metrics_and_search_know_letters_without_spaces() -> None:
    assert fact_recall("超过五十欧元的礼物必须退还。", [["五十欧元"], ["三日"]]) == 0.5
    assert fact_recall("Il s'agit de l'article dix.", [["article"]]) == 1.0
    assert rouge_l("礼物必须退还", "礼物必须退还") == 1.0
    assert rouge_l("Présenté à l’été", "présenté à l'été") == 1.0
    assert 0 < rouge_l("礼物必须退还", "礼物可以接受") < 0.5
    texts = "第一条\n\n员工不得接受礼物。\n\n第二条\n\n会议在星期三举行。\n\n第三条\n\n钥匙必须归还。"
    passages = parse_document(texts.encode(), "x").passages
    found = Bm25Retriever(passages).search(["会议是哪天举行的？", "礼物可以接受吗？"], 1)
    assert [row[0].clause for row in found] == ["x/article-2", "x/article-1"]


def test_letters_in_a_row_are_half_a_word() -> None:
    """Six words in a row are a leak: of Chinese twelve letters."""
    assert words("礼物 ok") == ("礼", "物", "ok")
    assert len(runs_of(words("员工不得接受价值超过五十"), 6)) == 1
    shared, other = "员工不得接受价值超过五十欧元的礼物吗？", "员工不得接受会议吗？"
    assert question_overlap([shared], [f"请问{shared}"], 6)["rate"] == 1
    assert question_overlap([shared], [other], 6)["rate"] == 0
    short = "员工得接受礼物吗？"  # of more letters than 6, of fewer than its runs have
    assert question_overlap([short], [f"请问{short}"], 6)["questions"][0]["shared"] == "员 工 得 接 受 礼 物 吗"
