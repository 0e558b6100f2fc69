"""Checks without a model, and the judges of faithfulness, on texts whose answer is plain to see."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fakes import Bag, Noting

from valign.core.errors import ValignError
from valign.core.records import Passage
from valign.core.text import refuses
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document, shipped_questions
from valign.generation.requests import Completion, Request
from valign.synthesis.faithfulness import ByEntailment, make_faithfulness, verbatim
from valign.synthesis.filters import Filters
from valign.synthesis.settings import FilterSettings
from valign.synthesis.text_checks import Language, Wordings, repeated_share
from valign.teachers.cache import CachedTeacher

ENGLISH = ["Nobody may feed the geese at the north gate.", "A lamp must burn at every door from dusk."]
GEESE = Passage("d/1", ("Code",), "Nobody may feed the geese at the north gate. The keeper has a fog chest.", 0, 73)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("May I feed the geese?", 1.0),
        ("Goose feed?", 1.0),
        ("Darf ich hier die Gänse mit dem Brot füttern?", 1 / 6),
        ("Можно ли кормить гусей?", 0.0),
        ("The гуси?", 3 / 7),
    ],
)
def test_language_by_hand(text: str, score: float) -> None:
    """German stop words are ich, hier, die, mit and dem, English ones none: 1 / (5 + 1); three of seven letters."""
    assert Language(ENGLISH).score(text) == pytest.approx(score)


def test_the_documents_own_language_counts() -> None:
    german = Language(["Niemand darf die Gänse füttern, wenn sie auf der Wiese sind.", "Das ist nicht erlaubt."])
    assert german.name == "GERMAN"
    assert german.score("Darf ich die Gänse füttern?") == 1.0
    assert german.score("What is it that they are not allowed to do?") < 0.5
    unknown = Language(["Sgh vlk trd mno plk.", "Wrt klm nbv."])
    assert not unknown.known and unknown.score("What is it that you are?") == 1.0


@pytest.mark.parametrize("name", shipped_names())
def test_questions_people_wrote_are_in_the_documents_language(name: str) -> None:
    language = Language([passage.text for passage in shipped_document(name).passages])
    assert [q.question for q in shipped_questions(name) if language.score(q.question) < 0.5] == []
    assert [q.question for q in shipped_questions(name) if refuses(q.question)] == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I'm sorry, but I can't help with that.", True),
        ("As an AI language model, I have no opinion.", True),
        ("I\u2019m unable to answer this.", True),
        ("I cannot provide legal advice.", True),
        ("I am sorry for the delay.", True),
        ("Nobody can provide a lamp.", False),
        ("A guest cannot answer for another.", False),
        ("She says: I am sorry.", False),
    ],
)
def test_refusals(text: str, found: bool) -> None:
    assert refuses(text) is found


@pytest.mark.parametrize("name", shipped_names())
def test_no_clause_repeats_itself_or_refuses(name: str) -> None:
    for passage in shipped_document(name).passages:
        assert repeated_share(passage.text) <= 0.3 and not refuses(passage.text)


def test_repetition_by_hand() -> None:
    """Of "a b c a b c" the four runs are abc, bca, cab, abc: one of them came before."""
    assert repeated_share("a b c a b c") == 0.25
    assert repeated_share("a b") == 0.0


def test_wordings_find_what_differs_by_a_letter() -> None:
    """One letter of 40 changes five of 36 runs: 31 in common of 41, 0.76; MinHash with 128 draws is within 0.15."""
    met = Wordings()
    assert met.nearest("May a guest feed the geese at the gate?") == 0.0
    met.add("May a guest feed the geese at the gate?")
    assert met.nearest("May a guest FEED the geese: at the gate") == 1.0
    assert met.nearest("May a guest feel the geese at the gate?") == pytest.approx(0.76, abs=0.15)
    assert met.nearest("How many lamps burn in the tower?") == 0.0


def test_verbatim_by_hand() -> None:
    assert verbatim("Nobody may feed the geese.", GEESE)
    assert verbatim("No. Nobody may feed\nthe geese at the north gate.", GEESE)
    assert not verbatim("Nobody may feed the ducks.", GEESE)
    assert not verbatim("Yes.", Passage("d/1", (), "Nobody may feed.", 0, 16)) and not verbatim(".", GEESE)


def filters(**limits: float) -> Filters:
    """Return filters that let every question and answer pass but for the limits given."""
    loose: dict[str, Any] = {"min_relevance": -1, "max_rank": 9, "min_faithfulness": -1, "max_duplicate": 1,
                             "max_overlap": 1}  # fmt: skip
    return Filters([GEESE], [], Bag(), FilterSettings(**loose | limits))


@pytest.mark.parametrize(
    ("limits", "text", "reason"),
    [
        ({"max_repetition": 0.3}, "the geese and the geese and the geese and the geese", "repetition"),
        ({"min_language": 0.5}, "Niemand darf die Gänse an dem Tor und auf der Wiese füttern.", "other language"),
        ({}, "I'm sorry, I cannot help with geese.", "refusal"),
        ({"max_repetition": 0.3, "min_language": 0.5}, "Nobody may feed the geese.", None),
    ],
)
def test_answers_that_are_dropped(limits: dict[str, float], text: str, reason: str | None) -> None:
    found, scores = filters(**limits).check_answer(text, GEESE)
    assert found == reason
    if reason is None:
        assert scores == pytest.approx(
            {"repetition": 0, "answer_language": 1, "faithfulness": scores["faithfulness"], "ungrounded": 0}
        )


def test_questions_that_are_dropped() -> None:
    strict = filters(min_language=0.5, max_wording=0.85)
    assert strict.check_question("Darf ich hier die Gänse mit dem Brot füttern?", "d/1")[0] == "other language"
    assert strict.check_question("As an AI, what may I feed?", "d/1")[0] == "refusal"
    assert strict.check_question("May a guest feed the geese at the gate?", "d/1")[0] is None
    reason, scores = strict.check_question("May a GUEST feed the geese, at the gate?", "d/1")
    assert (reason, scores["wording"]) == ("duplicate wording", 1.0)


class Judge(Noting):
    """Finds answers about geese entailed, those about ducks contradicted; notes what it is asked."""

    id = "judge@1"

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Judge the answer that stands in the last turn."""
        self.asked += requests
        texts = [request.messages[-1]["content"].split("Answer:")[1].split("\n")[0] for request in requests]
        labels = ["entailed" if "geese" in text else "contradicted" for text in texts]
        return [[Completion(f'{{"verdict": "none", "answer": "{label}"}}', 2, True)] for label in labels]


def judged_by(kind: str, model: str | None = None) -> FilterSettings:
    """Return thresholds that let everything pass, with a judge of faithfulness."""
    return FilterSettings(
        min_relevance=-1, max_rank=9, faithfulness=kind, faithfulness_model=model, min_faithfulness=-1,
        max_duplicate=1, max_overlap=1,
    )  # fmt: skip


def test_the_teacher_as_judge(tmp_path: Path) -> None:
    """It is asked greedily, once for each text, and not about the passage's own words."""
    judge = Judge()
    faithful = make_faithfulness(judged_by("judge"), Bag(), CachedTeacher(judge, tmp_path / "c.sqlite"))
    answers = [("Leave the geese alone.", GEESE), ("Feed the ducks.", GEESE), ("The keeper has a fog chest.", GEESE)]
    assert faithful.scores(answers) == [1.0, 0.0, 1.0]
    assert faithful.scores(answers) == [1.0, 0.0, 1.0]
    assert [request.sampling.temperature for request in judge.asked] == [0.0, 0.0]
    assert GEESE.text in judge.asked[0].messages[-1]["content"]


def test_the_judge_asks_with_the_users_own_words(tmp_path: Path) -> None:
    (tmp_path / "faithful.txt").write_text(
        "### user\nRegel: {passage}\nFrage: {question}\nAnswer: {answer}\nStimmt das?"
    )
    judge = Judge()
    teacher = CachedTeacher(judge, tmp_path / "c.sqlite")
    make_faithfulness(judged_by("judge"), Bag(), teacher, str(tmp_path)).scores([("Feed the ducks.", GEESE)])
    assert judge.asked[0].messages[-1]["content"].startswith("Regel: Nobody")


def test_an_answer_is_judged_by_the_words_it_was_shown(tmp_path: Path) -> None:
    """Two clauses together have the first one's id; the judgement of one text does not pass for the other's."""
    judge = Judge()
    limits = FilterSettings(min_relevance=-1, max_rank=9, min_faithfulness=0.5, max_duplicate=1, max_overlap=1)
    faithful = make_faithfulness(judged_by("judge"), Bag(), CachedTeacher(judge, tmp_path / "c.sqlite"))
    one = Filters([GEESE], [], Bag(), limits, faithful)
    both = replace(GEESE, text=f"{GEESE.text}\nDucks may be fed.")
    one.score_faithfulness([("Ducks may be fed.", GEESE), ("Ducks may be fed.", both)])
    assert len(judge.asked) == 1
    assert one.check_answer("Ducks may be fed.", GEESE)[0] == "contradicts its clause"
    assert one.check_answer("Ducks may be fed.", both)[0] is None


class Entailment:
    """A cross-encoder with three classes."""

    class config:
        """Names of the classes."""

        id2label = {0: "contradiction", 1: "Entailment", 2: "neutral"}  # noqa: RUF012

    def __init__(self, name: str, device: str, model_kwargs: dict[str, Any]) -> None:
        """Take any name, and no pickled weights."""
        assert model_kwargs == {"use_safetensors": True}

    def predict(self, pairs: Sequence[tuple[str, str]], **_: Any) -> np.ndarray:
        """Return probabilities; the passage comes first."""
        assert all(premise == GEESE.text for premise, _ in pairs)
        return np.array([[0.1, 0.7, 0.2] if "geese" in text else [0.8, 0.05, 0.15] for _, text in pairs])


def test_an_entailment_model_is_read_by_the_name_of_its_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(CrossEncoder=Entailment))
    faithful = ByEntailment("some/model")
    answers = [("The keeper has a fog chest.", GEESE), ("Leave the geese alone.", GEESE), ("Feed ducks.", GEESE)]
    assert faithful.scores(answers) == [1.0, 0.7, 0.05]
    monkeypatch.setattr(Entailment.config, "id2label", {0: "LABEL_0"})
    with pytest.raises(ValignError, match=r"faithfulness_model=other has no class 'entailment' \(it has: label_0\)"):
        ByEntailment("other").scores(answers)


def test_a_judge_that_cannot_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: Any, **__: Any) -> None:
        raise OSError("no config.json in it.\nMore words")

    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(CrossEncoder=absent))
    teacher = CachedTeacher(Judge(), tmp_path / "c.sqlite")
    with pytest.raises(ValignError, match="faithfulness=none is unknown; choose from: embedding, judge, nli"):
        make_faithfulness(judged_by("none"), Bag(), teacher)
    with pytest.raises(ValignError, match="nli needs a model"):
        make_faithfulness(judged_by("nli"), Bag(), teacher)
    with pytest.raises(ValignError, match=r"cannot be loaded \(no config.json in it\); .*faithfulness=embedding"):
        make_faithfulness(judged_by("nli", str(tmp_path)), Bag(), teacher).scores([("Feed ducks.", GEESE)])
