"""A model in this process that thinks although its template asks for none: no thought is an answer or a row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from short_document import HARBOUR, HELMETS
from transformers import AutoModelForCausalLM

from valign.core.errors import ValignError
from valign.generation.generator import Generator
from valign.generation.requests import Completion, Request, Sampling
from valign.generation.thoughts import visible_completion
from valign.models.random_model import byte_tokenizer, write_random_llama
from valign.synthesis.given_rows import read_given_rows
from valign.synthesis.replay import GeneralInstruction, general_instructions
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher

SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
END = "<|im_end|>"
THOUGHT = "The user wants a number."


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    """A model whose tokenizer has special tokens for one family's marks, as Mistral's has."""
    folder = tmp_path_factory.mktemp("model")
    write_random_llama(folder, vocab_size=300, num_key_value_heads=1, **SHAPE)
    tokenizer = byte_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["[THINK]", "[/THINK]"]})
    return Generator(AutoModelForCausalLM.from_pretrained(folder).eval(), tokenizer, "m@1")


def say(generator: Generator, text: str) -> Request:
    """Return a request whose completion is this text: its tokens are forced."""
    length = len(generator.tokenizer(text, add_special_tokens=False)["input_ids"])
    return Request(({"role": "user", "content": f"How much? {text}"},), Sampling(length), (text,))


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (f"<think>\n{THOUGHT}\n</think>\n\nFifty euros.{END}", Completion("Fifty euros.", 12, True)),
        (f"{THOUGHT}\n</think>\n\nFifty euros.{END}", Completion("Fifty euros.", 12, True)),
        (f"[THINK]{THOUGHT}[/THINK]Fifty<|endoftext|> euros.{END}", Completion("Fifty euros.", 13, True)),
        (f"Fifty.<think>{THOUGHT}", Completion("Fifty.", 6, False)),
        (f"<think>\n{THOUGHT}", Completion("", 0, False)),
        (f"<think>\n{THOUGHT}</think>{END}", Completion("", 0, True)),
        (f"Fifty <b>euros</b>.{END}", Completion("Fifty <b>euros</b>.", 20, True)),
    ],
    ids=range(7),
)
def test_thoughts_of_a_local_model_are_taken_off(generator: Generator, said: str, found: Completion) -> None:
    """Of teachers, base models, arms and chats alike: all of them are asked through this."""
    assert generator.complete([say(generator, said)]) == [[found]]


def test_a_local_teacher_that_only_thinks_ends_the_run(generator: Generator, tmp_path: Path) -> None:
    """Less than half of its completions may be thoughts alone; none of them counts as a text."""
    teacher = LocalTeacher("tiny")
    teacher._generator = generator
    cached = CachedTeacher(teacher, tmp_path / "c.sqlite")
    good, bad = (say(generator, f"<think>{THOUGHT}{end}{END}") for end in ("</think>Yes.", "</think>"))
    goods, bads = (
        [Request(r.messages, replace(r.sampling, seed=i), r.openings) for i in range(80)] for r in (good, bad)
    )
    assert {row[0].text for row in cached.complete_all(goods[:31], "test")} == {"Yes."}
    assert {row[0].text for row in cached.complete_all(bads[:29], "test")} == {""}
    with pytest.raises(ValignError, match=r"tiny thinks in place of an answer \(\d+ of \d+ completions\).*teacher=api"):
        cached.complete_all(bads, "test")


def test_completions_of_earlier_versions_are_read_without_thoughts() -> None:
    found = visible_completion(Completion("<think>a</think>Yes.", 9, True), len)
    assert found == Completion("Yes.", 4, True)


def write_rows(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_given_rows_lose_their_thoughts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Rows by another generator may hold them, in answers of both kinds."""
    row = {"clause": HELMETS, "question": "Must I?", "rejected_kind": "verdict"}
    answers = {"answer": f"<think>{THOUGHT}</think>Yes.", "rejected": f"{THOUGHT}</think>No."}
    (found,) = read_given_rows(str(write_rows(tmp_path / "rows.jsonl", {**row, **answers})), HARBOUR)
    assert (found.answer, found.rejected) == ("Yes.", "No.")
    assert "2 answers hold thoughts of the model that wrote them" in caplog.text
    for text in (f"<think>{THOUGHT}", f"{THOUGHT}</think>"):
        path = write_rows(tmp_path / "rows.jsonl", {"clause": HELMETS, "question": "Must I?", "answer": text})
        with pytest.raises(ValignError, match=r"row 1 \('Must I\?'\) has an answer that is a thought and nothing else"):
            read_given_rows(str(path), HARBOUR)


def test_general_instructions_lose_their_thoughts(tmp_path: Path) -> None:
    path = write_rows(
        tmp_path / "r.jsonl", {"question": "Why?", "answer": f"<think>{THOUGHT}</think>So."}, {"question": "Who?"}
    )
    assert general_instructions(str(path)) == [GeneralInstruction("Why?", "So."), GeneralInstruction("Who?")]
    write_rows(path, {"question": "Why?", "answer": f"<think>{THOUGHT}"})
    with pytest.raises(ValignError, match=r"r\.jsonl, instruction 1: the answer is a thought and nothing else"):
        general_instructions(str(path))
