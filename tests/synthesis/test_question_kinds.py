"""Question kinds, styles, citations, own templates, scenario families, and another teacher for the evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag, Parrot
from omegaconf import DictConfig

from valign.config import checks
from valign.config.arguments import plain
from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Document, Instruction, Passage, Preference, Provenance, Question
from valign.core.settings import make_settings
from valign.documents.read import parse_document
from valign.documents.shipped import shipped_document
from valign.generation.requests import Completion, Request
from valign.synthesis.build import synthesize
from valign.synthesis.citations import name_clause, pair_with_citation, with_citation
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import FROM_TEACHER, scenario_family
from valign.synthesis.question_kinds import ask_all_kinds, questions_by_kind
from valign.synthesis.settings import FilterSettings, KindWeights, SynthesisSettings
from valign.synthesis.templates import load_template, template_names
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

Compose = Callable[..., DictConfig]
LOOSE = FilterSettings(min_relevance=0.0, max_rank=3, min_faithfulness=0.0, max_duplicate=1.0, max_overlap=0.9)
PIER = """# Pier code

## Rule 1. Boats

The red boat sails at noon.

## Rule 2. Keys

Brass keys hang in the hall.
"""


class Echo(Parrot):
    """A teacher that replies by what a prompt holds; keeps what it was asked."""

    def __init__(self, name: str = "echo@1", **replies: str) -> None:
        self.id = name
        self.replies = replies
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Reply with the text whose key stands in the prompt (underscores are spaces)."""
        self.asked += requests
        return [[Completion(self._reply(r), 9, True)] * r.sampling.n for r in requests]

    def _reply(self, request: Request) -> str:
        prompt = request.messages[-1]["content"]
        return next(text for key, text in self.replies.items() if key.replace("_", " ") in prompt)


def pier() -> Document:
    """Return a document of two rules."""
    return parse_document(PIER.encode(), "pier")


def asked(
    teacher: Parrot, settings: SynthesisSettings, folder: Path, document: Document
) -> tuple[list[Instruction], Funnel]:
    """Return the rows that a teacher's questions make, and the funnel."""
    funnel = Funnel()
    writer = Writer(document, CachedTeacher(teacher, folder / "c.sqlite"), Bag(), settings, 0)
    return ask_all_kinds(writer, Filters(document.passages, (), Bag(), LOOSE), funnel), funnel


@pytest.mark.parametrize(
    ("kinds", "total", "counts"),
    [
        ({"question": 1.0}, 24, {"question": 24}),
        ({"factual": 10, "everyday": 16, "edge": 10, "conflict": 4, "comparison": 4, "silent": 4}, 48,
         {"factual": 10, "everyday": 16, "edge": 10, "conflict": 4, "comparison": 4, "silent": 4}),
        ({"factual": 1, "everyday": 1, "edge": 1}, 4, {"factual": 2, "everyday": 1, "edge": 1}),
        ({"factual": 3, "edge": 1}, 2, {"factual": 2}),
        ({"question": 1.0}, 0, {}),
    ],
)  # fmt: skip
def test_shares_by_hand(kinds: dict[str, float], total: int, counts: dict[str, int]) -> None:
    """Three and one of four parts of 2 are 1.5 and 0.5: of equal rests the first one gets what is left."""
    assert questions_by_kind(KindWeights(**kinds), total) == counts


def test_kinds_that_are_not_there() -> None:
    with pytest.raises(TypeError, match="factul"):
        make_settings(KindWeights, {"factul": 1.0})
    with pytest.raises(
        ValignError, match=r"synthesis\.instructions\.kinds=.*: give a weight to some of question, factual"
    ):
        questions_by_kind(KindWeights(question=0.0), 4)


def test_two_clauses_together(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The prompts of question and answer show both clauses, and the row names both, its own first."""
    chosen = changed(
        settings, instructions={"kinds": KindWeights(comparison=1.0), "questions_per_passage": 1}, answers="write"
    )
    question = "Does the red boat sail while brass keys hang here?"
    teacher = Echo(Write_one_question=question, Question="The red boat sails at noon, brass keys hang in the hall.")
    rows, funnel = asked(teacher, chosen, tmp_path, pier())
    assert [row.clauses for row in rows] == [("pier/rule-1", "pier/rule-2"), ("pier/rule-2", "pier/rule-1")]
    assert {row.kind for row in rows} == {"comparison"}
    first, last = teacher.asked[0].messages[-1]["content"], teacher.asked[-1].messages[-1]["content"]
    assert first.index("red boat sails") < first.index("Brass keys hang")
    assert "red boat sails" in last
    assert "Brass keys hang" in last
    assert (funnel.made, funnel.kept) == (2, 2)


def test_what_the_document_does_not_say(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The boats' question counts as silent, because the teacher says no; the keys' one is answered after all."""
    silent = {"kinds": KindWeights(silent=1.0), "questions_per_passage": 1, "openings": ()}
    chosen = changed(settings, instructions=silent, answers="write")
    document = pier()
    boats, keys = "Who steers the red boat?", "Where do brass keys hang?"
    checks = {f"Question: {boats}": "No.", f"Question: {keys}": "Yes, the second rule does."}
    teacher = Echo(**checks, **{"Rule: Boats": boats, "Rule: Keys": keys})
    (row,), funnel = asked(teacher, chosen, tmp_path, document)
    assert (row.kind, row.question, row.clauses) == ("silent", boats, ("pier/rule-1",))
    assert row.answer.endswith("The red boat sails at noon.")
    assert any(words in row.answer for words in ("does not say", "leaves that open", "not laid down"))
    assert funnel.dropped == {"not silent": 1}


def test_silence_needs_written_answers(settings: SynthesisSettings, tmp_path: Path, compose_config: Compose) -> None:
    with pytest.raises(
        ValignError, match=r"synthesis\.instructions\.kinds\.silent needs .*add synthesis\.answers=write"
    ):
        asked(Echo(), changed(settings, instructions={"kinds": KindWeights(silent=1.0)}), tmp_path, pier())
    with pytest.raises(
        ValignError,
        match=r"synthesis\.instructions\.kinds\.conflict needs .*synthesis\.instructions\.kinds\.conflict=0",
    ):
        checks.check_config(compose_config("synthesis.instructions.kinds.conflict=1"))
    with pytest.raises(ValignError, match=r"add synthesis\.instructions\.kinds\.question=1"):
        checks.check_config(compose_config("synthesis.instructions.kinds.question=0"))


def test_the_default_asks_as_one_call_for_each_passage(settings: SynthesisSettings, tmp_path: Path) -> None:
    teacher = Echo(Rule="Where does the red boat sail?")
    asked(teacher, settings, tmp_path, pier())
    assert [(r.sampling.n, len(r.openings)) for r in teacher.asked] == [(24, 24), (24, 24)]
    assert [r.messages for r in teacher.asked] == [
        load_template("question").fill(passage="Boats. The red boat sails at noon."),
        load_template("question").fill(passage="Keys. Brass keys hang in the hall."),
    ]


def test_personas_and_lengths(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Each question is a call of its own with one persona; both occur, and a second run draws the same."""
    styles = ("A nurse asks.", "A pupil asks.")
    asking = {"personas": styles, "lengths": ("Be brief.",), "questions_per_passage": 8}
    chosen = changed(settings, instructions=asking, answers="write")
    drawn = []
    for name in ("a", "b"):
        teacher = Echo(**{"Question:": "At noon.", "Write a": "Where does the red boat sail?"})
        asked(teacher, chosen, tmp_path / name, pier())
        questions = [r for r in teacher.asked if "Write a question" in r.messages[-1]["content"]]
        answers = [r for r in teacher.asked if r not in questions]
        assert len(questions) == 16
        assert len({r.sampling.seed for r in questions}) == 16
        assert answers
        assert all(r.messages[-1]["content"].endswith("\nBe brief.") for r in answers)
        drawn.append([r.messages[-1]["content"].rpartition("\n")[2] for r in questions])
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == set(styles)


@pytest.mark.parametrize(
    ("clause", "heading", "name"),
    [
        ("d/article-14/2", ("D", "Article 14"), "Article 14, 2"),
        ("d/rule-2", ("D", "Rule 2. Telescope bookings"), "Rule 2"),
        ("d/preamble/3", ("D", "Preamble"), "Preamble, 3"),
        ("d/conduct", ("D", "Conduct at sea"), "Conduct at sea"),
        ("d/part-4", ("D",), "Part 4"),
    ],
)
def test_citations_by_hand(clause: str, heading: tuple[str, ...], name: str) -> None:
    passage = Passage(clause, heading, "Text.", 0, 5)
    assert name_clause(passage) == name
    origin = Provenance("Text.", 0, 5, "t", "h", "m")
    row = Instruction("i", (clause,), "question", "Why?", "So.", origin)
    pair = Preference("p", (clause,), "situation", "Why?", "So.", "No.", "edit", origin)
    assert with_citation(row, [passage]).answer == f"So. ({name})"
    assert [pair_with_citation(pair, [passage]).chosen, pair_with_citation(pair, [passage]).rejected] == [
        f"So. ({name})",
        f"No. ({name})",
    ]


def test_own_templates_stand_in_for_the_packages(tmp_path: Path) -> None:
    (tmp_path / "factual.txt").write_text("### user\nRegel: {passage}\nStelle eine Frage.\n")
    own, package = load_template("factual", str(tmp_path)), load_template("factual")
    assert own.fill(passage="X")[0]["content"] == "Regel: X\nStelle eine Frage."
    assert own.hash != package.hash
    assert load_template("edge", str(tmp_path)) == load_template("edge")


@pytest.mark.parametrize(
    ("name", "words", "message"),
    [
        (
            "factul.txt",
            "### user\n{passage}",
            r"factul\.txt stands in for no prompt template; call it one of: answer, ",
        ),
        ("factual.txt", "### user\nAsk.", r"factual\.txt lacks \{passage\}; put it where the words go"),
        ("factual.txt", "{passage}", r"factual\.txt must end with a '### user' turn"),
    ],
)
def test_own_templates_that_do_not_fit(name: str, words: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(words)
    with pytest.raises(ValignError, match=message):
        load_template("factual", str(tmp_path))
    with pytest.raises(ValignError, match=r"synthesis\.templates=.*nowhere is not a folder"):
        load_template("factual", str(tmp_path / "nowhere"))


def test_every_template_is_hashed() -> None:
    """In the data's hash or, of the probes' own, in theirs."""
    from valign.pipeline.probe_stage import PROBE_TEMPLATES
    from valign.synthesis.build import TEMPLATES

    assert sorted({*TEMPLATES, *PROBE_TEMPLATES}) == template_names()


def test_families_are_split_and_the_evaluation_has_its_own_teacher(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Made questions come from the other teacher; a training question with the first words of one is dropped.

    Both teachers ask "What about ..." of a clause, so without openings nothing that the teacher asks is left, and all
    rows are made of frames; with openings such as "Can I" the teacher's questions stay.
    """
    document = shipped_document("saltmarsh")
    for name, openings in (("none", ()), ("some", settings.instructions.openings)):
        folder = tmp_path / name
        writing, asking = Parrot(), Parrot()
        asking.id = "asking@1"
        teacher = CachedTeacher(writing, folder / "c.sqlite")
        other = CachedTeacher(asking, folder / "c.sqlite")
        filters = replace(LOOSE, min_relevance=0.1, max_duplicate=0.95, max_overlap=0.5)
        synthesize(
            folder, document, None, teacher=teacher, base=teacher, embedder=Bag(), seed=0, question_teacher=other,
            settings=changed(settings, instructions={"openings": openings}, filters=filters),
        )  # fmt: skip
        assert other.calls == len(document.passages)
        questions = read_jsonl(folder / "questions.jsonl", Question)
        rows = read_jsonl(folder / "sft.jsonl", Instruction)
        both: list[Instruction | Preference] = [*rows, *read_jsonl(folder / "preferences.jsonl", Preference)]
        assert {q.family for q in questions} == {f"{q.clause}/asked/what-about" for q in questions} != set()
        assert {q.family for q in questions} & {row.family for row in both} == set()
        assert all(row.family.startswith(f"{row.clauses[0]}/") for row in both)
        clauses = {q.clause for q in questions}
        left = [row for row in rows if row.kind == "question" and row.clauses[0] in clauses]
        assert bool(left) == (name == "some")
        funnel = json.loads((folder / "funnel.json").read_text())["sft"]
        assert (funnel["dropped"].get("family of the evaluation", 0) > 0) == (name == "none")


def test_a_family_is_clause_writer_and_first_words() -> None:
    assert scenario_family("d/1", FROM_TEACHER, "My neighbour's dog barks. May it?") == "d/1/asked/my-neighbour"


def test_the_second_teacher_is_a_config_node(compose_config: Compose, tmp_path: Path) -> None:
    node: Any = compose_config("+teacher@synthesis.question_teacher=api", "synthesis.question_teacher.model=m")
    checks.check_config(node)
    assert (node.teacher.kind, node.synthesis.question_teacher.kind) == ("local", "api")
    with pytest.raises(ValignError, match=r"synthesis\.question_teacher\.recording=nowhere\.jsonl does not exist"):
        checks.check_config(
            compose_config(
                "+teacher@synthesis.question_teacher=replay", "synthesis.question_teacher.recording=nowhere.jsonl"
            )
        )
    with pytest.raises(ValignError, match=r"synthesis\.templates=nowhere is not a folder"):
        checks.check_config(compose_config("synthesis.templates=nowhere"))


def test_the_large_experiment_has_the_rich_kinds(compose_config: Compose) -> None:
    chosen = make_settings(SynthesisSettings, plain(compose_config("+experiment=udhr_mistral").synthesis)).instructions
    assert sum(questions_by_kind(chosen.kinds, chosen.questions_per_passage).values()) == 48
    assert set(questions_by_kind(chosen.kinds, 48)) == {
        "factual",
        "everyday",
        "edge",
        "conflict",
        "comparison",
        "silent",
    }
