"""Synthesis: edits, quotes, filters and templates by hand; then whole data sets of the shipped documents, checked."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from changed_settings import changed
from fakes import Bag, Parrot

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Fact, Instruction, Passage, Preference, Provenance, Question
from valign.core.settings import make_settings
from valign.documents.clauses import labelled, topic
from valign.documents.shipped import shipped_document, shipped_names, shipped_questions
from valign.synthesis.build import TEMPLATES, synthesize
from valign.synthesis.claims import CLAIM_FRAMES, write_claims
from valign.synthesis.edits import (
    NUMBER_WORDS,
    as_question,
    contradict,
    find_ungrounded,
    make_edits,
    names_in,
    numbers_in,
)
from valign.synthesis.filters import Filters, Funnel, Vectors, funnel_table, well_formed
from valign.synthesis.pairing import MOST_CANDIDATES, Situation, pair_situations
from valign.synthesis.preferences import _draw, check_shares
from valign.synthesis.quotes import Quote, best_quote, find_unique_phrases, split_sentences
from valign.synthesis.settings import FilterSettings, RejectedShares, SynthesisSettings
from valign.synthesis.templates import Template, load_template
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

LOOSE = FilterSettings(min_relevance=0.1, max_rank=3, min_faithfulness=0.1, max_duplicate=0.95, max_overlap=0.5)


class Table:
    """Embeds each text as the vector that it was given."""

    def __init__(self, **vectors: tuple[float, float, float]) -> None:
        """Keep unit vectors by the text's first word."""
        self.vectors = vectors

    def embed(self, texts: list[str], /) -> np.ndarray:
        """Look the texts up."""
        return np.array([self.vectors[text.split()[0].strip(".:")] for text in texts], np.float32)


def passages(*texts: str) -> tuple[Passage, ...]:
    """Return clauses of one document, with a blank line between them."""
    found, start = [], 0
    for number, text in enumerate(texts, start=1):
        found.append(Passage(f"d/{number}", ("Code",), text, start, start + len(text)))
        start += len(text) + 2
    return tuple(found)


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
    ],
)
def test_statements_as_questions(sentence: str, question: str | None) -> None:
    assert as_question(sentence) == question


def test_sentences_by_hand() -> None:
    """Offsets count from the document's start: the clause begins at 100."""
    passage = Passage("d/1", ("Code",), "Keys are lent; lost ones\ncost 3.50 euros. Ask!", 100, 147)
    assert [(q.text, q.start, q.end) for q in split_sentences(passage)] == [
        ("Keys are lent;", 100, 114),
        ("lost ones\ncost 3.50 euros.", 115, 141),
        ("Ask!", 142, 146),
    ]
    assert [q.sentence for q in split_sentences(passage)] == ["Keys are lent.", "Lost ones cost 3.50 euros.", "Ask!"]


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
    found = find_unique_phrases(passages("The lamp oil is at the gate for 12 days.", "Eel soup is at the gate."), 5)
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
    words["answer"] = "ANSWER"
    turns = template.fill(**words)
    assert [t["role"] for t in turns][-1] == "user"
    assert sum("PASSAGE {question}" in t["content"] for t in turns) == 1
    assert "PASSAGE {question}" in turns[-1]["content"]
    assert ("QUESTION" in turns[-1]["content"]) == (name in ("answer", "silent_check"))
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


@pytest.mark.parametrize("name", shipped_names())
def test_claims_have_the_verdict_of_their_clause(name: str, settings: SynthesisSettings, tmp_path: Path) -> None:
    """A broken sentence is "No" and a whole one "Yes", unless "No one may ..." is asked as "May anyone ...?"."""
    document = shipped_document(name)
    writer = Writer(document, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), settings, 0)
    framed = [re.escape(frame).replace(r"\{claim\}", ".*") for frame in CLAIM_FRAMES]
    verdicts = []
    for passage in document.passages:
        for claim in write_claims(writer, passage, 6):
            direct = not any(re.fullmatch(frame, claim.question) for frame in framed)
            nobody = direct and claim.quote.text.lower().startswith(("no one ", "nobody "))
            assert claim.verdict == ("No" if claim.broken or nobody else "Yes")
            assert claim.broken != claim.quote.sentence
            assert document.text[claim.quote.start : claim.quote.end] == claim.quote.text
            verdicts.append(claim.verdict)
    assert 0.3 < verdicts.count("Yes") / len(verdicts) < 0.7


def build(
    folder: Path, document: Document, held_out: Sequence[Question] | None, settings: SynthesisSettings, seed: int = 0
) -> dict[str, Any]:
    """Run the whole stage with the parrot."""
    teacher = CachedTeacher(Parrot(), folder / "completions.sqlite")
    return synthesize(
        folder, document, held_out, teacher=teacher, base=teacher, embedder=Bag(), seed=seed,
        settings=replace(settings, filters=LOOSE),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("made", [False, True], ids=["given questions", "made questions"])
@pytest.mark.parametrize("name", shipped_names())
def test_whole_data_sets(name: str, made: bool, settings: SynthesisSettings, tmp_path: Path) -> None:
    """Funnels add up, quotes are verbatim, ids are unique, and no evaluation question lives on in training."""
    document = shipped_document(name)
    counts = build(tmp_path, document, None if made else shipped_questions(name), settings)
    sft = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    preferences = read_jsonl(tmp_path / "preferences.jsonl", Preference)
    questions = read_jsonl(tmp_path / "questions.jsonl", Question)
    funnels = json.loads((tmp_path / "funnel.json").read_text())
    facts = read_jsonl(tmp_path / "facts.jsonl", Fact)
    taught = [fact for fact in facts if fact.fact_id in {row.fact for row in sft}]
    rows: dict[str, Sequence[Any]] = {"sft": sft, "preference": preferences, "questions": questions, "facts": taught}
    assert set(funnels) == {"sft", "preference", "facts"} | ({"questions"} if made else set())
    for key, funnel in funnels.items():
        assert funnel["made"] == funnel["kept"] + sum(funnel["dropped"].values())
        assert funnel["kept"] == len(rows[key]) == sum(funnel["per_clause"].values()) == sum(funnel["kinds"].values())
    assert funnels["sft"]["dropped"]["malformed"] > 0
    both: list[Instruction | Preference] = [*sft, *preferences]
    for row in both:
        origin = row.provenance
        assert document.text[origin.start : origin.end] == origin.quote
        assert set(row.clauses) <= {p.clause for p in document.passages}
    assert {q.family for q in questions if made} & {row.family for row in both} == set()
    assert counts["quotes"] == counts["quotes_verified"] == len(both)
    assert len({row.example_id for row in both}) == len(both)
    assert len({q.question_id for q in questions}) == len(questions) == counts["questions"]
    filters = Filters(document.passages, questions, Bag(), LOOSE)
    assert not [row.question for row in both if filters.check_leak(row.question)[0]]
    assert all(row.chosen != row.rejected for row in preferences)
    for row in preferences:
        if row.kind == "claim":
            assert {row.chosen.split(".")[0], row.rejected.split(".")[0]} == {"Yes", "No"}
    if made:
        assert all((q.facts or q.verdict) and q.reference for q in questions)
        assert not [q for q in questions for fact in q.facts if fact[0] in q.question.lower()]


@pytest.mark.slow
def test_the_same_seed_writes_the_same_files(settings: SynthesisSettings, tmp_path: Path) -> None:
    document = shipped_document("saltmarsh")
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        build(tmp_path / name, document, None, settings, seed)
    files = ("sft.jsonl", "preferences.jsonl", "questions.jsonl", "funnel.json")
    assert [(tmp_path / "a" / f).read_bytes() for f in files] == [(tmp_path / "b" / f).read_bytes() for f in files]
    assert (tmp_path / "a" / "sft.jsonl").read_bytes() != (tmp_path / "c" / "sft.jsonl").read_bytes()


def test_unknown_kinds_of_rejected_answers(settings: SynthesisSettings, tmp_path: Path) -> None:
    document = shipped_document("saltmarsh")
    with pytest.raises(TypeError, match="other"):
        make_settings(RejectedShares, {"other": 1.0})
    none = RejectedShares(edit=0.0)
    with pytest.raises(ValignError, match=r"rejected=.*nothing.* some of edit, clause, base, contradiction"):
        check_shares(none)
    with pytest.raises(ValignError, match=r"synthesis\.preferences\.rejected"):
        build(tmp_path, document, None, changed(settings, preferences={"rejected": none}))


def test_one_kind_alone(settings: SynthesisSettings, tmp_path: Path) -> None:
    """With every share but one at 0, situations have that kind, or the kind that stands in for it."""
    document = shipped_document("lanternfield")
    for kind, allowed in (("contradiction", {"contradiction", "edit", "clause"}), ("clause", {"clause", "edit"})):
        shares = RejectedShares(**{kind: 2.0, "base": 0.0})
        build(tmp_path / kind, document, [], changed(settings, preferences={"rejected": shares}))
        rows = read_jsonl(tmp_path / kind / "preferences.jsonl", Preference)
        found = [row.rejected_kind for row in rows if row.kind == "situation"]
        assert kind in found and set(found) <= allowed


def test_couples_reject_what_they_choose(settings: SynthesisSettings) -> None:
    """Five situations are two couples, and one is left over.

    Every answer of a couple is chosen once and rejected once, for questions of different clauses; the nearest are
    matched first, here the two that share the word fog.
    """
    clauses = passages("No ferry leaves in fog.", "In fog the pier is shut.", "Ale is sold at noon.")
    fog, pier, ale = clauses
    asked = [
        (fog, "Does a ferry leave in fog?"),
        (fog, "When is a ferry held back?"),
        (pier, "Is the pier shut in fog?"),
        (pier, "Who shuts a pier?"),
        (ale, "Is ale sold at noon?"),
    ]
    writer = Writer(Document("d", "Code", "", "", clauses), cast(Any, None), Bag(), settings, 0)
    situations = [Situation(question, p.text, p, Provenance("", 0, 0, "", "", ""), {}) for p, question in asked]
    found = pair_situations(situations, writer)
    assert len(found) == 4
    assert found["Does a ferry leave in fog?"] == pier.text and found["Is the pier shut in fog?"] == fog.text
    chosen = Counter(s.chosen for s in situations if s.question in found)
    assert chosen == Counter(found.values())
    assert all(found[s.question] != s.chosen for s in situations if s.question in found)
    assert pair_situations(situations[:2], writer) == pair_situations(situations[:1], writer) == {}


def test_couples_are_found_beyond_the_nearest(settings: SynthesisSettings) -> None:
    """Sixty situations ask the same as one another, of three clauses with 40, 15 and 5: 40 + 20 leave 20 over."""
    clauses = passages("No ferry leaves in fog.", "In fog the pier is shut.", "Ale is sold at noon.")
    counts = (40, 15, 5)
    asked = [(p, f"Is fog number {p.clause} {i}?") for p, n in zip(clauses, counts, strict=True) for i in range(n)]
    assert len(asked) > MOST_CANDIDATES
    writer = Writer(Document("d", "Code", "", "", clauses), cast(Any, None), Bag(), settings, 0)
    nowhere = Provenance("", 0, 0, "", "", "")
    situations = [Situation(question, p.text, p, nowhere, {}) for p, question in asked]
    found = pair_situations(situations, writer)
    chosen = Counter(s.chosen for s in situations if s.question in found)
    assert chosen == Counter(found.values())
    assert chosen[clauses[1].text] == 15 and chosen[clauses[2].text] == 5
    assert len(found) == 40


def test_shares_are_kept_on_the_whole() -> None:
    """Three to one: of 400 draws 300 are expected to be the first, with a standard deviation below 9."""
    drawn = [_draw(random.Random(i), {"edit": 3.0, "clause": 1.0}) for i in range(400)]
    assert 270 < drawn.count("edit") < 330


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
