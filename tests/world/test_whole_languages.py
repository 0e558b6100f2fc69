"""A synthesis from end to end in French, and in Spanish, which has no folder: rows are in the document's language."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag, Parrot
from short_document import LOOSE

from valign.core.files import read_json, read_jsonl
from valign.core.records import Document, Instruction, Preference, Question
from valign.documents.read import parse_document
from valign.generation.requests import Completion, Request
from valign.synthesis.build import synthesize
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.languages.fr.words import FRENCH
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.cache import CachedTeacher

HELD_OUT, QUESTIONS = 8, 12  # in a call; the evaluation's are on a passage's second sentence, the others on its first
FRENCH_RULES = {
    "Casques": "Chaque gardien porte un casque jaune sur la jetée. Les visiteurs portent un casque bleu pendant neuf "
    "jours.",
    "Oies": "Nul ne peut nourrir les oies à la porte nord. Le gardien met chaque amende dans le coffre de la brume.",
    "Lampes": "Une lampe doit brûler à chaque porte dès le crépuscule. Le capitaine prête de l’huile à ceux qui "
    "n’en ont pas.",
}
SPANISH_RULES = {
    "Cascos": "Cada guardia lleva un casco amarillo en el muelle. Los visitantes llevan un casco azul durante los 9 "
    "primeros días.",
    "Gansos": "Nadie puede dar de comer a los gansos en la puerta norte. El guarda pone cada multa en el cofre de la "
    "niebla.",
    "Faroles": "Un farol debe arder en cada puerta desde el anochecer. El capitán presta aceite a los que no "
    "lo tienen.",
}
ENGLISH_WORDS = re.compile(
    r"\b(?:the|what|which|does|says?|true|right|is|are|of|rules?|yes|correct|about|somebody|told|words?|heard)\b", re.I
)


def document(title: str, label: str, rules: dict[str, str], language: str = "auto") -> Document:
    parts = [f"## {label} {i}. {name}\n\n{text}\n" for i, (name, text) in enumerate(rules.items(), 1)]
    return replace(parse_document(f"# {title}\n\n{''.join(parts)}".encode(), "puerto", suffix="md"), language=language)


class Local(Parrot):
    """A teacher that asks with words of the passage in its prompt, and answers with one sentence where it sees none."""

    def __init__(self, about: Document, openings: Sequence[str], mark: str, answer: str) -> None:
        self.about, self.openings, self.mark, self.answer = about, openings, mark, answer
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Note what is asked."""
        self.asked += requests
        return super().complete(requests)

    def _one(self, request: Request, i: int) -> Completion:
        shown = request.messages[-1]["content"]
        passage = next((p for p in self.about.passages if p.text in shown), None)
        if passage is None:
            return Completion(self.answer, 9, True)
        opening = request.openings[i] if request.openings else self.openings[i % len(self.openings)]
        sentences = passage.text.split(". ")
        words = re.findall(r"[\w’-]+", sentences[request.sampling.n == HELD_OUT])
        words = (
            words if request.sampling.n in (HELD_OUT, QUESTIONS) else words[::-1]
        )  # situations are no questions again
        begin = (2 * i) % (len(words) - 5)
        asked = " ".join(dict.fromkeys(word.lower() for word in words[begin : begin + 6]))
        return Completion(f"{opening} {asked}{self.mark}", 20, i % 7 != 6)


def write(folder: Path, teacher: Local, settings: SynthesisSettings) -> tuple[Any, ...]:
    """Make data and evaluation questions; return D_sft, D_pref, the questions and the counts."""
    cached = CachedTeacher(teacher, folder / "c.sqlite")
    counts = synthesize(
        folder, teacher.about, None, teacher=cached, base=cached, embedder=Bag(), seed=0,
        settings=changed(replace(settings, filters=LOOSE), instructions={"questions_per_passage": QUESTIONS},
                         coverage={"min_instructions": 2}),
    )  # fmt: skip
    rows = read_jsonl(folder / "sft.jsonl", Instruction), read_jsonl(folder / "preferences.jsonl", Preference)
    return *rows, read_jsonl(folder / "questions.jsonl", Question), {**counts, **read_json(folder / "funnel.json")}


def texts(sft: list[Instruction], pairs: list[Preference], questions: list[Question]) -> list[str]:
    found = [text for row in sft for text in (row.question, row.answer)]
    found += [text for row in pairs for text in (row.question, row.chosen, row.rejected)]
    return found + [text for row in questions for text in (row.question, row.reference)]


@pytest.mark.parametrize("language", ["auto", "fr"])
def test_a_french_synthesis_is_french(language: str, settings: SynthesisSettings, tmp_path: Path) -> None:
    teacher = Local(
        document("Règlement du port", "Règle", FRENCH_RULES, language),
        ["Que dit le port sur"],
        " ?",
        "Chacun est vert.",
    )
    sft, pairs, questions, counts = write(tmp_path, teacher, settings)
    assert {"question", "phrase", "recite", "claim", "fact"} == {row.kind for row in sft}
    assert {"edit", "clause", "verdict"} <= {row.rejected_kind for row in pairs}
    clauses = {passage.clause for passage in teacher.about.passages}
    assert {q.clause for q in questions} == {row.clauses[0] for row in sft} == clauses
    assert all(q.facts or q.verdict for q in questions)
    assert [text for text in texts(sft, pairs, questions) if ENGLISH_WORDS.search(text)] == []
    said = {row.answer.partition(" ")[0] for row in sft if row.kind == "claim"}
    assert said == {"Oui.", "Non."}
    assert counts["quotes_verified"] == counts["quotes"] > 30
    assert [report["short"] for report in counts["coverage"].values()] == [{}, {}, {}]
    assert counts["sft"]["made"] > counts["sft"]["kept"] > 30
    forced = {opening for request in teacher.asked for opening in request.openings}
    assert forced and forced <= {*FRENCH.question_openings, *FRENCH.situation_openings}
    prompts = {turn["content"] for request in teacher.asked for turn in request.messages if turn["role"] == "system"}
    assert [text for text in prompts if ENGLISH_WORDS.search(text)] == []


def test_a_spanish_synthesis_says_what_is_off_and_does_the_rest(
    settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    openings = ["¿Qué dice el puerto sobre", "¿Quién pregunta por", "¿Cuándo vale eso de", "¿Por qué se pide", "¿Dónde"]
    teacher = Local(document("Reglamento del puerto", "Norma", SPANISH_RULES), openings, "?", "Todos son verdes.")
    with caplog.at_level(logging.WARNING):
        sft, pairs, questions, counts = write(tmp_path, teacher, settings)
    (line,) = (text for text in caplog.messages if "which has no word lists" in text)
    assert line.startswith("puerto is in Spanish")
    assert {row.kind for row in sft} == {"question"}
    assert {row.rejected_kind for row in pairs} <= {"clause", "base"}
    assert {q.clause for q in questions} == {passage.clause for passage in teacher.about.passages}
    assert all(q.facts for q in questions)
    assert [text for text in texts(sft, pairs, questions) if ENGLISH_WORDS.search(text)] == []
    assert not {opening for request in teacher.asked for opening in request.openings}
    assert counts["quotes_verified"] == counts["quotes"]
    assert [counts["coverage"][kind]["short"] for kind in ("instructions", "questions")] == [{}, {}]
    assert ENGLISH.verdicts["yes"] not in {row.answer.partition(".")[0] for row in sft}
