"""A document of thousands of clauses: what is looked up is found by an index, with the result of looking at all."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from valign.core.records import Answer, Passage, Question
from valign.core.word_index import WordIndex
from valign.documents.changes import compare_versions
from valign.documents.clauses import ClauseIndex, clause_passages
from valign.documents.read import parse_document
from valign.evaluation.judging.labels import draw_tasks
from valign.evaluation.leakage import question_overlap
from valign.evaluation.normalise import normalise
from valign.evaluation.questions import check_questions
from valign.evaluation.scores import score_arm
from valign.reporting.clause_names import Clauses
from valign.reporting.comparison import ArmResult
from valign.reporting.retrieval_effect import clause_hits
from valign.synthesis.coverage import count_questions
from valign.synthesis.languages.en.edits import make_edits, names_in
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.names import Names
from valign.synthesis.quotes import find_unique_phrases

SYLLABLES = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
COMMON = "the of to a in shall may not member guest house boat before after every day hour night room keys".split()


def word(rng: random.Random, number: int) -> str:
    """Return a word: the common ones often, new ones the more of them there are."""
    if rng.random() < 0.6:
        return rng.choice(COMMON)
    return "".join(random.Random(rng.randrange(200 + number)).choices(SYLLABLES, k=3))


def sentence(rng: random.Random, number: int, length: int = 10) -> str:
    return " ".join(word(rng, number) for _ in range(length))


def make_passages(count: int) -> list[Passage]:
    rng = random.Random(0)
    found = []
    for i in range(count):
        text = f"{sentence(rng, count).capitalize()}, {word(rng, count).title()} {word(rng, count)}."
        found.append(Passage(f"d/article-{i // 2}/{i % 2 + 1}", ("Rules", f"Article {i // 2}"), text, 0, len(text)))
    return found


def make_questions(count: int, seed: int, number: int) -> list[str]:
    rng = random.Random(seed)
    return [f"{sentence(rng, number, rng.randint(4, 12))}?" for _ in range(count)]


def test_the_nearest_set_is_the_one_that_looking_at_all_finds() -> None:
    trained, asked = make_questions(400, 1, 300), [*make_questions(150, 2, 300), "?", "the the boat?", "zzz qqq?"]
    found = question_overlap(asked, trained, n=4)
    sets, nearest = [set(normalise(t)) for t in trained], []
    for question in asked:
        own = set(normalise(question))
        nearest.append(max((len(own & t) / len(own | t) for t in sets if own | t), default=0.0))
    assert found["max_jaccard"] == nearest
    assert max(nearest) < 1
    assert len(set(nearest)) > 20
    assert question_overlap(["the boat?"], ["May the boats go?", "Who has the boat here?"])["questions"] == [
        {"question": "the boat?", "training": "Who has the boat here?", "shared": "the boat"}
    ]
    assert WordIndex([]).nearest({"a"}) == 0.0


def test_clauses_are_those_that_looking_at_all_finds() -> None:
    passages = [*make_passages(60), Passage("d/x/2/part-1", (), "Text.", 0, 5), Passage("d/x/2", (), "More.", 0, 5)]
    index = ClauseIndex(passages)
    asked = ["d", "d/article-3", "d/article-3/2", "d/article-3/2/1", "d/article", "d/x", "d/x/2/part-1/9", "e", ""]
    for clause in asked:
        inside = [i for i, p in enumerate(passages) if f"{p.clause}/".startswith(f"{clause}/")]
        expected = inside or [i for i, p in enumerate(passages) if clause.startswith(f"{p.clause}/")]
        assert index.indices(clause) == clause_passages(clause, passages) == expected
    questions = [Question(str(i), clause, "Why?", "So.") for i, clause in enumerate([*asked, "d/article-3"])]
    named = Counter(q.clause for q in questions)
    counted = count_questions(questions, passages)
    for p in passages:
        assert counted[p.clause] == sum(
            n for clause, n in named.items() if clause == p.clause or p.clause.startswith(f"{clause}/")
        )


def test_phrases_and_names_are_those_that_looking_at_all_finds() -> None:
    passages = make_passages(120)
    texts = {p.clause: " ".join(p.text.lower().split()) for p in passages}
    unique = find_unique_phrases(passages, 100, ENGLISH.stop_words())
    held = {phrase: [c for c, text in texts.items() if phrase in text] for own in unique.values() for phrase in own}
    assert all(held[phrase] == [clause] for clause, own in unique.items() for phrase in own)
    assert sum(map(len, unique.values())) > 100
    part = [Passage("d/1", (), "A harbourmaster sings.", 0, 0), Passage("d/2", (), "The harbour sleeps.", 0, 0)]
    stop = ENGLISH.stop_words()
    assert find_unique_phrases(part, 9, stop) == {"d/1": ["harbourmaster sings"], "d/2": ["harbour sleeps"]}
    whole = [replace(part[0], text="The old harbourmaster."), replace(part[1], text="Old harbour.")]
    assert find_unique_phrases(whole, 9, stop) == {"d/1": ["old harbourmaster"], "d/2": []}
    names = sorted({name for p in passages for name in names_in(p.text)})
    for p in passages[:40]:
        outside = Names(names).outside(p.text, ["May"])
        assert list(outside) == [n for n in names if n not in p.text and n != "May"]
        assert make_edits(p.text, names, random.Random(1)) == make_edits(p.text, Names(names), random.Random(1))


def test_ids_of_equal_headings_and_paragraphs() -> None:
    text = "\n\n".join(f"## Rule\n\nMembers may go, {i}.\n\nThey may come back, {i}." for i in range(4))
    document = parse_document(f"# Club\n\n{text}\n\n## Rule-2\n\nOne more.".encode(), "club", suffix="md")
    ids = [p.clause.removeprefix("club/") for p in document.passages]
    assert ids == [f"rule{n}/{i}" for n in ("", "-2", "-3", "-4") for i in (1, 2)] + ["rule-2-2"]


def answers_on(passages: Sequence[Passage]) -> list[Answer]:
    shown = tuple(p.clause for p in passages)
    return [
        Answer(f"q{i}", p.clause, "Why?", "So.", f"It is {i}.", "rag", retrieved=shown[i : i + 3])
        for i, p in enumerate(passages)
    ]


def values_on(passages: Sequence[Passage]) -> list[dict[str, object]]:
    return [{"question_id": f"q{i}", "clause": p.clause, "kind": "", "similarity": 0.5} for i, p in enumerate(passages)]


def equal_headings(count: int) -> None:
    parse_document("".join(f"## Rule\n\nText {i}.\n\n" for i in range(count)).encode(), "d", suffix="md")


def many_paragraphs(count: int) -> None:
    parse_document(("## Rule\n\n" + "".join(f"Text {i}.\n\n" for i in range(count))).encode(), "d", suffix="md")


def page(passages: list[Passage]) -> None:
    clauses = Clauses(passages, [])
    for clause in clauses.ordered(p.clause for p in passages):
        clauses.names(clause), clauses.heading(clause), clauses.text(clause)
    answers = answers_on(passages)
    clause_hits(ArmResult("rag", {}, answers, [], (), ""), passages)
    assert not any(clauses.are_all(answer.retrieved) for answer in answers)


def check(passages: list[Passage]) -> None:
    document = parse_document(b"Text.", "d")
    asked = [Question(str(i), p.clause, "Why?", "So.") for i, p in enumerate(passages)]
    check_questions(asked, "q.jsonl", replace(document, passages=tuple(passages)))
    count_questions(asked, passages)


def label(passages: list[Passage]) -> None:
    said = {"a": answers_on(passages), "b": [replace(a, answer="No.") for a in answers_on(passages)]}
    draw_tasks(said, passages, len(passages), "me", 0)


def edit(passages: list[Passage]) -> None:
    names = Names(f"Name{i}" for i in range(len(passages)))
    for p in passages:
        make_edits(p.text, names, random.Random(0))


def compare(passages: list[Passage]) -> None:
    """Every clause has other words than before."""
    changed = [replace(passage, text=f"{passage.text} Or not.") for passage in passages]
    assert len(compare_versions(passages, changed).changed) == len(passages)


STEPS: dict[str, Callable[[int], object]] = {
    "equal headings": equal_headings,
    "paragraphs": many_paragraphs,
    "page": lambda n: page(make_passages(n)),
    "check": lambda n: check(make_passages(n)),
    "labels": lambda n: label(make_passages(n)),
    "scores": lambda n: score_arm("a", values_on(make_passages(n)), samples=100),
    "phrases": lambda n: find_unique_phrases(make_passages(n), 5, ENGLISH.stop_words()),
    "changes": lambda n: compare(make_passages(2 * n)),
    "edits": lambda n: edit(make_passages(n)),
    "overlap": lambda n: question_overlap(make_questions(n // 4, 1, n), make_questions(n // 2, 2, n)),
}


@pytest.mark.parametrize("step", STEPS)
def test_four_times_the_clauses_take_about_four_times_as_long(step: str) -> None:
    """Processor time of 1,000 and 4,000; sixteen times as long would be quadratic."""

    def seconds(count: int) -> float:
        began = time.process_time()
        STEPS[step](count)
        return time.process_time() - began

    STEPS[step](10)
    few, many = (min(seconds(count), seconds(count)) for count in (1000, 4000))
    print(f"{step}: {few:.2f} s, {many:.2f} s")
    assert many < 9 * few + 0.2
