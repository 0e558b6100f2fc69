"""Edits, questions made of statements, and claims, by hand and on the shipped documents."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from fakes import Bag, Parrot

from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document
from valign.synthesis.claims import write_claims
from valign.synthesis.languages.en.edits import (
    NUMBER_WORDS,
    as_question,
    as_subclause,
    contradict,
    find_ungrounded,
    make_edits,
    names_in,
    numbers_in,
)
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("Everyone has the right to rest.", "No one has the right to rest."),
        ("No one shall be held in slavery.", "Anyone shall be held in slavery."),
        ("Nobody may feed the geese.", "Everyone may feed the geese."),
        ("A dog must be on a lead.", "A dog need not be on a lead."),
        ("A dog may not bark.", "A dog may bark."),
        ("The pier is open.", "The pier is not open."),
        ("The pier is not open.", "The pier is open."),
        ("Fishing boats may stay.", "Fishing boats may not stay."),
        ("Keys come back never.", "Keys come back always."),
    ],
)
def test_polarity_by_hand(text: str, changed: str) -> None:
    (edit,) = make_edits(text, [], random.Random(0))
    assert (edit.text, edit.kind) == (changed, "polarity")


@pytest.mark.parametrize(
    ("text", "kind", "before", "allowed"),
    [
        ("Keys cost eleven euros.", "number", "eleven", set(NUMBER_WORDS) - {"eleven", "one"}),
        ("Wait 6 hours.", "number", "6", {"7", "12", "3", "11"}),
        ("Six boats left.", "number", "Six", {n.capitalize() for n in NUMBER_WORDS} - {"Six", "One"}),
        ("They dance on Friday.", "series", "Friday", {f"{d}day" for d in "Mon Tues Wednes Thurs Satur Sun".split()}),
        ("Ring after 17:30.", "number", "17:30", {"15:30", "16:30", "18:30", "19:30"}),
        ("Ring at 00:15.", "number", "00:15", {"22:15", "23:15", "01:15", "02:15"}),
        ("Tell the warden of Mill Lane.", "name", "Mill Lane", {"Tarn Hollow"}),
    ],
)
def test_one_fact_is_changed_and_nothing_else(text: str, kind: str, before: str, allowed: set[str]) -> None:
    """Numbers go to another number word, or to n + 1, 2n, n // 2 or n + 5; names to others of the document."""
    for seed in range(20):
        (edit,) = make_edits(text, ["Mill Lane", "Tarn Hollow"], random.Random(seed))
        assert (edit.kind, edit.before) == (kind, before)
        assert edit.after in allowed
        assert edit.text == text.replace(before, edit.after)


def test_no_edit_where_nothing_can_be_broken() -> None:
    """A large number is left alone, and "one" is mostly no number."""
    assert make_edits("Members paid 1,500 francs to one another.", [], random.Random(0)) == []


@pytest.mark.parametrize("name", shipped_names())
def test_edits_of_the_shipped_documents_change_one_place(name: str) -> None:
    """Before the place and behind it the text stays word for word, except that a removed word takes its space along."""
    found = 0
    for passage in shipped_document(name).passages:
        for edit in make_edits(passage.text, ["Mill Lane"], random.Random(0)):
            found += 1
            squeezed = re.sub(r"  +", " ", passage.text.replace(edit.before, "\0", 1))
            assert edit.text != passage.text
            if passage.text.count(edit.before) == 1:
                assert edit.text == re.sub(r"  +", " ", squeezed.replace("\0", edit.after))
    assert found > 20


def test_numbers_and_names_by_hand() -> None:
    assert numbers_in("Twenty-one days, 3 hours, 1,500 francs, sixty") == {"21", "3", "1500", "60"}
    assert names_in("Ask Mill Lane or the Keeper of the Gate. All is free.") == [
        "Keeper of the Gate",
        "Mill Lane",
    ]
    passage = "Lost keys cost eleven euros in Mill Lane."
    assert find_ungrounded("One key costs 11 euros in Mill Lane.", passage) == []
    assert find_ungrounded("Keys cost 12 euros, says Jim.", passage) == ["12", "Jim"]


@pytest.mark.parametrize(
    ("sentence", "question"),
    [
        ("Everyone has the right to a nationality.", "Does everyone have the right to a nationality?"),
        ("No one may be held.", "May anyone be held?"),
        ("Guests may swim after noon.", "May guests swim after noon?"),
        ("Keys are lost.", "Are keys lost?"),
        ("Keys cost eleven euros.", None),
        ("After dark, nobody may swim.", None),
        ("Those who row may swim.", None),
        ("Whereas it is essential to row.", None),
        ("However, no one may row.", None),
        ("Otherwise, guests may row.", None),
        ("At night, guests may row.", None),
        ("Therefore everyone may row.", None),
        ("Butlers may row.", "May butlers row?"),
    ],
)
def test_statements_as_questions(sentence: str, question: str | None) -> None:
    assert as_question(sentence) == question


@pytest.mark.parametrize(
    ("sentence", "within"),
    [
        ("Whereas Member States have pledged to row,", "Member States have pledged to row"),
        ("WHEREAS, the club is old;", "the club is old"),
        ("However, no one may row.", "no one may row"),
        ("However long it takes, row.", "however long it takes, row"),
        ("And guests may row.", "guests may row"),
        ("And, therefore, guests may row.", "guests may row"),
        ("But for the dog, guests may row.", "but for the dog, guests may row"),
        ("Andrew may row.", "andrew may row"),
        ("Whereas", "whereas"),
    ],
)
def test_a_claim_does_not_say_whereas(sentence: str, within: str) -> None:
    assert as_subclause(sentence, []) == within


@pytest.mark.parametrize(
    ("text", "opposite"),
    [
        ("Nobody may feed the geese. The gate is open.", "Everyone may feed the geese. The gate is not open."),
        ("Keys cost eleven euros. Dogs must wait.", "Keys cost eleven euros. Dogs need not wait."),
        ("Keys cost eleven euros.", None),
    ],
)
def test_flat_contradictions_by_hand(text: str, opposite: str | None) -> None:
    assert contradict(text) == opposite


@pytest.mark.parametrize("name", shipped_names())
def test_claims_have_the_verdict_of_their_clause(name: str, settings: SynthesisSettings, tmp_path: Path) -> None:
    """A broken sentence is "no" and a whole one "yes", unless "No one may ..." is asked as "May anyone ...?"."""
    document = shipped_document(name)
    writer = Writer(document, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), settings, 0)
    framed = [re.escape(frame).replace(r"\{claim\}", ".*") for frame in ENGLISH.claim_frames]
    verdicts = []
    for passage in document.passages:
        for claim in write_claims(writer, passage, 6):
            direct = not any(re.fullmatch(frame, claim.question) for frame in framed)
            nobody = direct and claim.quote.text.lower().startswith(("no one ", "nobody "))
            assert claim.verdict == ("no" if claim.broken or nobody else "yes")
            assert claim.broken != claim.quote.sentence
            assert document.text[claim.quote.start : claim.quote.end] == claim.quote.text
            verdicts.append(claim.verdict)
    assert 0.3 < verdicts.count("yes") / len(verdicts) < 0.7


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("All three rest on it.", []),
        ("It is owed by the two of them.", []),
        ("None of the three may happen.", []),
        ("There are three pillars of it.", []),
        ("There are four pillars of it.", ["four"]),
        ("Six days and two more are eight.", []),
        ("It lasts for eight days.", ["eight"]),
        ("It ends after six days.", []),
        ("It ends after nine days.", ["nine"]),
        ("It ends after the three days.", ["three"]),
        ("Farah's case and the Kenyan one are alike.", []),
        ("So I'm sure, and Romani-speaking guests are welcome.", []),
        ("It is so, says Portugal.", []),
        ("It is so, says Ewald.", ["Ewald"]),
        ("Mrs Novak's twins are 5 years old.", []),
        ("Mrs Novak's twins are 31 years old.", ["31"]),
    ],
)
def test_what_follows_from_clause_and_question_is_grounded(answer: str, found: list[str]) -> None:
    """Eight is the sum of six and two, if the answer says one of them; "three" counts life, liberty and rest.

    Three days are no count, as days are what the clause measures.
    """
    clause = "It has to do with life, liberty and rest, and lasts for six days. Two guests may see it."
    question = "Farah is from Kenya, Mrs Novak speaks Romani and Portuguese, her twins are 5 years old; is it for them?"
    assert find_ungrounded(f"Yes. {answer}", clause, question) == found


def test_without_a_question_the_clause_alone_counts() -> None:
    assert find_ungrounded("It takes Farah three days.", "It takes two days.") == ["three", "Farah"]
    assert find_ungrounded("It takes Farah three days.", "It takes two days.", "Does it take Farah three days?") == []
