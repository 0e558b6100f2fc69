"""Quotes, phrases that one clause has alone, and prompt templates, by hand and on the shipped documents."""

from __future__ import annotations

import pytest
from fakes import Bag
from shipped_data import passages

from valign.core.errors import ValignError
from valign.core.records import Fact, Passage
from valign.documents.clauses import labelled, topic
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document
from valign.synthesis.build import TEMPLATES
from valign.synthesis.languages.en.fact_phrasings import phrasings
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.quotes import Quote, best_quote, find_unique_phrases, split_sentences
from valign.synthesis.templates import Template, load_template


def test_sentences_by_hand() -> None:
    """Offsets count from the document's start: the clause begins at 100."""
    passage = Passage("d/1", ("Code",), "Keys are lent; lost ones\ncost 3.50 euros. Ask!", 100, 147)
    assert [(q.text, q.start, q.end) for q in split_sentences(passage)] == [
        ("Keys are lent;", 100, 114),
        ("lost ones\ncost 3.50 euros.", 115, 141),
        ("Ask!", 142, 146),
    ]
    assert [q.sentence for q in split_sentences(passage)] == ["Keys are lent.", "Lost ones cost 3.50 euros.", "Ask!"]


ROWS = [f"Item {n} | {10 * n} euros a year | line manager {n}" for n in range(1, 12)]


def test_a_row_of_a_table_is_a_sentence() -> None:
    """Quotes begin and end with rows, which stay lines in an answer; no phrase runs from one into the next."""
    text = "\n".join(["Limits are", "these.", "Item | Limit | Who", *ROWS])
    passage = Passage("d/1", ("Code",), text, 0, len(text))
    assert [q.sentence for q in split_sentences(passage)][:3] == [
        "Limits are these.",
        "Item | Limit | Who.",
        f"{ROWS[0]}.",
    ]
    quote = best_quote("Who?", passage, Bag(), 40)
    assert quote.text.split("\n")[1:] == quote.sentence.rstrip(".").split("\n")[1:] and "\n" in quote.text
    assert set(quote.sentence.rstrip(".").split("\n")) <= {"Limits are these.", "Item | Limit | Who", *ROWS}
    assert "Limits are these.\nItem | Limit | Who\nItem 1 |" in Quote(text, 0, len(text)).sentence
    (phrases,) = find_unique_phrases([passage], 50, {"these", "are"}).values()
    assert "line manager" in phrases and not any("item" in phrase and "manager" in phrase for phrase in phrases)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        (
            "Devices stay apart, except\n\n1. for guests,\n2. for a phone.\n\nAll else is lent.",
            ["Devices stay apart, except 1. for guests, 2. for a phone.", "All else is lent."],
        ),
        (
            "Never type a secret, as in\ncat key | mail, in a shell.",
            ["Never type a secret, as in cat key | mail, in a shell."],
        ),
        ("Item | Limit\nDesk | 450\n\nOne desk each.", ["Item | Limit.", "Desk | 450.", "One desk each."]),
        ("No. That is wrong.", ["No.", "That is wrong."]),
    ],
    ids=["list", "prose", "behind a table", "short"],
)
def test_list_numbers_end_no_sentence_and_rows_do(text: str, sentences: list[str]) -> None:
    assert [q.sentence for q in split_sentences(Passage("d/1", ("Code",), text, 0, len(text)))] == sentences


def test_what_is_asked_about_a_row_names_its_first_cell() -> None:
    text = "Item | Limit\nChair | 300 euros | none"
    passage = Passage("d/1", ("Code", "Furniture"), text, 0, len(text))
    fact = Fact("f", "d/1", "number", "300 euros", text.index("300"), text.index(" | none"))
    made, gaps = phrasings(fact, passage)
    assert made == ["Chair: how many euros?", "How many euros does the Furniture name?"]
    assert all("Item" not in gap for gap in gaps)
    text = "Item | Limit\n| 450 euros | 2 days"
    empty = Passage("d/1", ("Code", "Furniture"), text, 0, len(text))
    fact = Fact("f", "d/1", "number", "2 days", text.index("2 days"), len(text))
    assert phrasings(fact, empty)[0] == ["How many days does the Furniture name?"]


def test_best_quote_by_hand() -> None:
    """With room for 7 words: the sentence of the helmet (4 words) and, of its neighbours of 3 words, the nearer one."""
    passage = Passage("d/1", ("Code",), "Oil stays below. Helmets are yellow here. Guards wear helmets.", 5, 66)
    whole = best_quote("Which colour do helmets have?", passage, Bag(), 20)
    assert whole == Quote(passage.text, 5, 66)
    part = best_quote("Which helmets are yellow?", passage, Bag(), 7)
    assert part == Quote("Helmets are yellow here. Guards wear helmets.", 22, 67)
    assert best_quote("Which helmets are yellow?", passage, Bag(), 4).text == "Helmets are yellow here."


@pytest.mark.parametrize("name", shipped_names())
def test_quotes_of_the_shipped_documents_are_verbatim(name: str) -> None:
    """Sentences and quotes of every clause stand at their offsets, and the sentences leave out nothing but spaces."""
    document = shipped_document(name)
    for passage in document.passages:
        pieces = split_sentences(passage)
        found = [best_quote(piece.text, passage, Bag(), limit) for piece in pieces for limit in (5, 25)]
        for quote in [*pieces, *found]:
            assert document.text[quote.start : quote.end] == quote.text
            assert passage.start <= quote.start < quote.end <= passage.end
        assert "".join("".join(p.text for p in pieces).split()) == "".join(passage.text.split())


def test_phrases_are_those_that_no_other_clause_has() -> None:
    """The lamp oil and "eel soup" stand in one clause; "the gate" in both; numbers and stop words do not count."""
    texts = passages("The lamp oil is at the gate for 12 days.", "Eel soup is at the gate.")
    found = find_unique_phrases(texts, 5, ENGLISH.stop_words())
    assert found["d/1"][0] == "lamp oil"
    assert "eel soup" in found["d/2"]
    assert not any("gate" in phrase or "12" in phrase for own in found.values() for phrase in own)


def test_templates_keep_braces_of_a_passage() -> None:
    """Words that look like a place for words are not filled, whatever is put in first."""
    template = Template("t", "h", ({"role": "user", "content": "{passage} | {question} | {other}"},))
    (turn,) = template.fill(passage="a {question} {passage} {x}", question="b {passage}")
    assert turn["content"] == "a {question} {passage} {x} | b {passage} | {other}"


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_template_shows_the_passage_last(name: str) -> None:
    template = load_template(name)
    words = {"passage": "PASSAGE {question}", "question": "QUESTION", "second": "SECOND", "reply": "REPLY"}
    words |= {"answer": "ANSWER", "plan": "PLAN", "form": "FORM"}
    turns = template.fill(**words)
    assert [t["role"] for t in turns][-1] == "user"
    is_turn_behind_others = name == "items_repair"
    assert sum("PASSAGE {question}" in t["content"] for t in turns) == (not is_turn_behind_others)
    assert ("PASSAGE {question}" in turns[-1]["content"]) == (not is_turn_behind_others)
    assert ("PLAN" in turns[-1]["content"]) == (name in ("cases", "contrasts", "items_repair"))
    assert ("QUESTION" in turns[-1]["content"]) == (name in ("answer", "silent_check", "faithful", "decides"))
    assert ("ANSWER" in turns[-1]["content"]) == (name == "faithful")


def test_an_unknown_template() -> None:
    with pytest.raises(ValignError, match="no prompt template 'questions'"):
        load_template("questions")


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        (("Code",), ""),
        (("Code", "Section 3. Fog"), "Fog"),
        (("Code", "Article 5"), ""),
        (("Code", "§ 4.2 Eel soup"), "Eel soup"),
        (("Code", "IV. Dogs"), "Dogs"),
        (("Code", "Preamble"), "Preamble"),
    ],
)
def test_topics_by_hand(heading: tuple[str, ...], words: str) -> None:
    passage = Passage("d/1", heading, "Text.", 0, 5)
    assert topic(passage) == words
    assert labelled(passage) == (f"{words}. Text." if words else "Text.")
