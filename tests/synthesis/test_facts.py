"""Facts: what the rules list, what a teacher's reply gives, the questions they make, and what they are counted as."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag, Parrot

from valign.core.records import Document, Instruction, Passage
from valign.documents.read import parse_document
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document
from valign.generation.requests import Completion, Request, Sampling
from valign.synthesis.fact_examples import count_taught, write_fact_examples
from valign.synthesis.fact_extraction import FACTS_SCHEMA, list_facts, locate_facts, parse_facts
from valign.synthesis.facts import FACT_KINDS, sentence_of
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.languages.en.fact_phrasings import clause_label, phrasings
from valign.synthesis.languages.en.fact_rules import find_facts
from valign.synthesis.settings import FilterSettings, SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher, request_key

LOOSE = FilterSettings(min_relevance=0.1, max_rank=3, min_faithfulness=0.1, max_duplicate=0.95, max_overlap=0.5)
BOATS = """# Pier code

## Rule 1. Boats

A guest may use the Red Boat for at most two hours. Whoever scratches it pays six francs, unless the wind was strong.

## Rule 2. Keys

Keys hang in the hall, save for the keeper's key.
"""


def clause(text: str, heading: str = "Rule 3. Boats") -> Passage:
    """Return a clause that begins at offset 100."""
    return Passage("d/3", ("Code", heading), text, 100, 100 + len(text))


def boats() -> Document:
    """Return a document of two rules."""
    return parse_document(BOATS.encode(), "pier")


class Scribe(Parrot):
    """A teacher that replies with given texts, one after another, and keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Reply in turn."""
        self.asked += requests
        return [[Completion(self.replies.pop(0), 5, True)] for _ in requests]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Keys cost eleven euros.", [("consequence", "Keys cost eleven euros"), ("number", "eleven euros")]),
        ("No one is asked, and one another is helped.", []),
        ("Ask one guest.", [("number", "one guest")]),
        ("Stay for no more than 5 nights in a row.", [("number", "no more than 5 nights")]),
        ("It opens at four in the afternoon.", [("number", "four")]),
        ("We gather in Mill Lane each May.", [("name", "Mill Lane"), ("detail", "May")]),
        ("Wear the green hat on the second day.", [("detail", "green hat"), ("detail", "the second day")]),
        ("If it rains hard, stay.", [("condition", "If it rains hard")]),
        ("Come back within six days.", [("number", "within six days")]),
        ("After dark, swim on Sundays only.", [("condition", "After dark"), ("condition", "on Sundays only"),
                                               ("detail", "Sundays")]),
        ("Take it, so that no favour can be bought.", []),
        ("All are equal before the law.", []),
        ("Speak without fear and to all, nor shall you hide.", [("condition", "without fear")]),
        ("It is shut, save for repairs.", [("exception", "save for repairs")]),
        ("Guests pay; the cook is excused.", [("consequence", "Guests pay"), ("exception", "the cook is excused")]),
        ("Guests must ring after 17:30.", [("norm", "Guests must ring after 17:30"), ("condition", "after 17:30"),
                                           ("number", "17:30")]),
        ("Dogs must sleep here, and no one may wake them.", [("norm", "Dogs must sleep here"),
                                                           ("norm", "no one may wake them")]),
    ],
)  # fmt: skip
def test_facts_by_hand(text: str, expected: list[tuple[str, str]]) -> None:
    assert [(fact.kind, fact.text) for fact in find_facts(clause(text))] == expected


def test_whom_a_fact_concerns() -> None:
    """The trigger ends before the main verb, which is not the relative clause's own."""
    passage = clause("Whoever breaks a plate pays nothing. No one shall be scolded. Staff may eat.")
    found = {fact.text: (fact.kind, fact.who, fact.force) for fact in find_facts(passage)}
    assert found == {
        "Whoever breaks a plate pays nothing": ("consequence", "Whoever breaks a plate", ""),
        "No one shall be scolded": ("norm", "No one", "ban"),
        "Staff may eat": ("norm", "Staff", "right"),
    }


@pytest.mark.parametrize("name", shipped_names())
def test_facts_of_the_shipped_documents(name: str) -> None:
    """Words stand at their offsets, ids differ, and every fact can be asked for."""
    document = shipped_document(name)
    found = [(fact, passage) for passage in document.passages for fact in find_facts(passage)]
    assert len({fact.fact_id for fact, _ in found}) == len(found) > len(document.passages)
    for fact, passage in found:
        assert fact.kind in FACT_KINDS
        assert document.text[fact.start : fact.end] == fact.text
        held = sentence_of(fact, passage)
        assert held.start <= fact.start < fact.end <= held.end
        questions, gaps = phrasings(fact, passage)
        assert questions or gaps
        assert all("\n" not in question and "  " not in question for question in [*questions, *gaps])


@pytest.mark.parametrize(
    ("text", "kind", "questions", "gap"),
    [
        (
            "A guest may use the boat for at most two hours.",
            "number",
            [
                "For how many hours may a guest use the boat?",
                "A guest may use the boat for at most how many hours?",
                "How many hours does the rule on boats name?",
            ],
            "A guest may use the boat for ___.",
        ),
        (
            "Every guest greets the Keeper of Keys.",
            "name",
            [
                "What does the rule on boats say about the Keeper of Keys?",
                "What do the rules say in which the Keeper of Keys comes up?",
            ],
            "Every guest greets the ___.",
        ),
        (
            "When it rains hard, boats stay in.",
            "condition",
            ["What applies when it rains hard?", 'Which rule has the condition "when it rains hard"?'],
            "___, boats stay in.",
        ),
        (
            "Boats are locked at night, save for the lifeboat.",
            "exception",
            [
                'What is the exception to this: "Boats are locked at night"?',
                "Which exception does the rule on boats make?",
                "What is exempt from the rule on boats, or who?",
            ],
            "Boats are locked at night, ___.",
        ),
        (
            "A child who finds a boat may keep it.",
            "consequence",
            ["What follows for a child who finds a boat?", "What do the rules lay down for a child who finds a boat?"],
            None,
        ),
        ("All guests have the right to rest.", "norm", ["Who or what has the right to rest?",
                                                       "What are the rules for all guests?"], None),
        ("No one shall be held.", "norm", ["Who may be held?"], None),
    ],
)  # fmt: skip
def test_phrasings_by_hand(text: str, kind: str, questions: list[str], gap: str | None) -> None:
    passage = clause(text)
    (fact,) = (fact for fact in find_facts(passage) if fact.kind == kind)
    found, gaps = phrasings(fact, passage)
    assert found == questions
    assert gaps[:1] == ([f'Complete the sentence: "{gap}"'] if gap else [])


@pytest.mark.parametrize(
    ("heading", "name"),
    [("Rule 3. Boats", "the rule on boats"), ("Article 5", "Article 5"), ("Preamble", "the Preamble")],
)
def test_how_a_clause_is_called(heading: str, name: str) -> None:
    assert clause_label(clause("Text.", heading)) == name


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ('{"numbers": ["two"]}', {"numbers": ["two"]}),
        ('Sure!\n```json\n{"names": []}\n``` Bye {you}', {"names": []}),
        ('{"names": ["a, ]", "b",], "values": [],}', {"names": ["a, ]", "b"], "values": []}),
        ('A rule {of course} says {"values": []}', {"values": []}),
        ('{"other": 1}', None),
        ('{"names": ["cut off', None),
        ("[]", None),
        ("", None),
    ],
)
def test_replies_are_read_tolerantly(text: str, data: dict[str, Any] | None) -> None:
    assert parse_facts(text) == data


def test_a_reply_is_looked_up_in_the_clause() -> None:
    """Case and spaces do not matter; "three hours" is not there, and entries of another form are passed over."""
    passage = clause("A guest may use the\nRed Boat for two\nhours, if it is dry.")
    data = {
        "values": [
            {
                "who": "A guest",
                "force": "right",
                "what": "A guest may use the Red Boat",
                "conditions": ["if it is dry"],
            },
            "odd",
            {"exceptions": "none", "what": None},
        ],
        "numbers": ["two  HOURS", "three hours", 7],
        "names": "Red Boat",
    }
    facts, missing = locate_facts(passage, data)
    assert missing == 1
    assert [(f.kind, f.text, f.who, f.force) for f in facts] == [
        ("norm", "A guest may use the\nRed Boat", "A guest", "right"),
        ("number", "two\nhours", "", ""),
        ("condition", "if it is dry", "", ""),
    ]
    assert all(passage.text[f.start - 100 : f.end - 100] == f.text for f in facts)


def test_an_unreadable_reply_gets_one_try_and_then_the_rules(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The first clause's reply is repaired, with one text that is not there; the second one's stays unreadable."""
    mended = json.dumps({"values": [], "numbers": ["two hours", "nine hours"], "names": []})
    scribe = Scribe("two hours!", "the keeper's key", mended, "{")
    document = boats()
    chosen = changed(settings, instructions={"extract": "teacher"})
    facts, failures = list_facts(Writer(document, CachedTeacher(scribe, tmp_path / "c.sqlite"), Bag(), chosen, 0))
    assert [fact.text for fact in facts] == ["two hours", "save for the keeper's key"]
    assert failures == {"not in the clause": 1, "unreadable reply": 1}
    assert [request.schema for request in scribe.asked] == [FACTS_SCHEMA] * 4
    assert "two hours!" in scribe.asked[2].messages[-1]["content"]


def test_a_request_without_a_schema_keeps_its_key() -> None:
    plain_request = Request(({"role": "user", "content": "Hello"},), Sampling())
    assert "schema" not in plain_request.to_dict()
    assert request_key("t", replace(plain_request, schema=FACTS_SCHEMA)) != request_key("t", plain_request)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_each_fact_gets_its_examples(count: int, settings: SynthesisSettings, tmp_path: Path) -> None:
    """The answers hold the facts, no question is asked twice, and every fact of the two rules is taught."""
    document = boats()
    chosen = changed(settings, instructions={"examples_per_fact": count})
    writer = Writer(document, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), chosen, 0)
    facts, _ = list_facts(writer)
    funnel = Funnel()
    rows = write_fact_examples(writer, Filters(document.passages, (), Bag(), LOOSE), funnel, facts, [])
    if not count:
        assert (len(facts), len(rows)) == (0, 0)
        return
    texts = ["A guest may use the Red Boat for at most two hours", "Red Boat", "at most two hours",
             "Whoever scratches it pays six francs, unless the wind was strong", "six francs",
             "unless the wind was strong", "save for the keeper's key"]  # fmt: skip
    assert [fact.text for fact in facts] == texts
    by_id = {fact.fact_id: fact for fact in facts}
    assert [row.fact for row in rows] == [fact.fact_id for fact in facts for _ in range(count)]
    assert len({(row.clauses, row.question) for row in rows}) == len(rows) == funnel.kept
    for row in rows:
        fact, origin = by_id[row.fact], row.provenance
        assert fact.text in row.answer
        assert origin.start <= fact.start < fact.end <= origin.end
        assert document.text[origin.start : origin.end] == origin.quote
    counted = count_taught(facts, rows[count:], {"unreadable reply": 2})
    assert (counted.made, counted.kept) == (9, 6)
    assert counted.dropped == {"unreadable reply": 2, "no example": 1}


def test_a_question_that_is_there_already_is_not_asked_again(settings: SynthesisSettings, tmp_path: Path) -> None:
    document = boats()
    writer = Writer(document, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), settings, 0)
    filters = Filters(document.passages, (), Bag(), LOOSE)
    facts, _ = list_facts(writer)
    first: list[Instruction] = write_fact_examples(writer, filters, Funnel(), facts, [])
    again = write_fact_examples(writer, filters, Funnel(), facts, first)
    assert {row.question for row in first} & {row.question for row in again} == set()
