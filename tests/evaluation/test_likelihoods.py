"""Arms with the tiny model: likelihoods against a naive computation, and what stands in the prompt."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from valign.core.errors import ValignError
from valign.core.records import Message, Passage, Question
from valign.distributed.place import Place
from valign.distributed.ranks import Ranks
from valign.evaluation.answering import answer_questions, conversation
from valign.evaluation.context_check import check_context_length
from valign.evaluation.likelihoods import measure_likelihoods
from valign.generation.generator import Generator
from valign.generation.requests import Completion, Request
from valign.models.chat_template import render_conversation
from valign.models.load import context_length, load_model, prepare_model
from valign.models.logprobs import logits_of
from valign.pipeline.recipes import Arm, recipe_arms

FOG = Passage("d/1", ("Code", "Section 1. Fog"), "The horn sounds {twice} in fog.", 0, 31)
OIL = Passage("d/2", ("Code",), "Oil is kept below.", 31, 49)
QUESTIONS = [
    Question("q1", "d/1", "Does the horn sound?", "Yes. It sounds twice.", (("twice",),), "yes"),
    Question("q2", "d/2", "Is oil kept on deck, where everyone can see it?", "No.", (), "no"),
    Question("q3", "d/2", "Where?", "Below."),
]


@pytest.fixture(scope="module")
def generator() -> Generator:
    model, tokenizer = load_model(prepare_model("tiny"), "float32")
    return Generator(model, tokenizer, "tiny@1")


def test_words_are_compared_by_more_digits_than_bfloat16_has() -> None:
    """Logits of 16 and 16.03 are both 16 in bfloat16, whose next number is 16.125."""
    head = torch.nn.Linear(2, 3, bias=False, dtype=torch.bfloat16)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[16.0, 0.0], [16.0, 0.03125], [1.0, 0.0]]))
    hidden = torch.ones(1, 2, dtype=torch.bfloat16)
    assert head(hidden)[0, :2].tolist() == [16.0, 16.0]
    assert logits_of(head, hidden, [0, 1]).tolist() == [[16.0, 16.03125]]
    hooked = torch.nn.Sequential(head)
    assert logits_of(hooked, hidden, [2, 0]).tolist() == [[1.0, 16.0]]


class Echo:
    """A generator that answers with its prompt and counts the requests."""

    id = "echo@1"

    def __init__(self) -> None:
        """Nothing was asked."""
        self.requests: list[Request] = []

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group all requests."""
        return [list(range(len(requests)))]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Answer with the last turn."""
        self.requests += requests
        return [[Completion(r.messages[-1]["content"], 7, True)] for r in requests]


def naive(generator: Generator, question: Question, shown: Sequence[Passage], system: str | None) -> tuple[float, bool]:
    """Compute one row with all logits: nats per token of the reference, and whether Yes is likelier than No."""
    prompt = conversation(question.question, shown, system)
    row = render_conversation(generator.tokenizer, (*prompt, {"role": "assistant", "content": question.reference}))
    with torch.inference_mode():
        logps = generator.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
    places = [i for i, on in enumerate(row.mask) if on]
    nll = -sum(float(logps[i - 1, row.ids[i]]) for i in places) / len(places)
    yes, no = (generator.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("Yes", "No"))
    return nll, bool(logps[places[0] - 1, yes] > logps[places[0] - 1, no])


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_likelihoods_equal_the_naive_computation(generator: Generator, rows: int, system: str | None) -> None:
    """Whatever is batched together; one question is shown a passage."""
    shown = [[FOG, OIL], [], []]
    found = measure_likelihoods(generator, QUESTIONS, shown, arm="x", system=system, rows=rows)
    expected = [naive(generator, q, p, system) for q, p in zip(QUESTIONS, shown, strict=True)]
    assert found.reference_nll == pytest.approx([nll for nll, _ in expected], abs=1e-5)
    assert found.verdict_preference == [float(expected[0][1]), float(not expected[1][1]), None]


@pytest.mark.parametrize("rows", [1, 16])
def test_likelihoods_behind_a_long_beginning_are_the_same(
    generator: Generator, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The passages, which all prompts begin with, are computed once, and then each batch's rest."""
    monkeypatch.setattr("valign.evaluation.likelihoods.SHORTEST_PREFIX", 20)
    shown = [[FOG, OIL]] * len(QUESTIONS)
    seen: list[int] = []
    decoder = generator.model.get_decoder()
    handle = decoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    found = measure_likelihoods(generator, QUESTIONS, shown, arm="x", rows=rows)
    handle.remove()
    expected = [naive(generator, q, p, None) for q, p in zip(QUESTIONS, shown, strict=True)]
    assert found.reference_nll == pytest.approx([nll for nll, _ in expected], abs=1e-5)
    assert found.verdict_preference == [float(expected[0][1]), float(not expected[1][1]), None]
    assert len(seen) == 1 + (1 if rows == 16 else len(QUESTIONS))
    assert seen[0] > len(generator.tokenizer(FOG.text + OIL.text)["input_ids"]) > 20


def test_retrieved_passages_are_in_the_prompt() -> None:
    """By hand: the passage with its topic, braces as they are, then the question."""
    (turn,) = conversation("Does the {question} horn sound?", [FOG, OIL])
    assert turn["content"] == (
        "Rules:\n- Fog. The horn sounds {twice} in fog.\n- Oil is kept below.\n\n"
        "Question: Does the {question} horn sound?\nAnswer by these rules."
    )


def test_without_passages_the_question_stands_alone_behind_the_system_prompt() -> None:
    assert conversation("Why?") == ({"role": "user", "content": "Why?"},)
    assert conversation("Why?", system="Be brief.") == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
    )


def test_answers_carry_the_question_and_what_was_shown_and_are_cached(tmp_path: Path) -> None:
    echo: Any = Echo()
    shown = [[FOG], [OIL, FOG], []]
    ask = partial(answer_questions, echo, QUESTIONS, shown, arm="rag", cache=tmp_path / "c.sqlite", max_new_tokens=9)
    answers = ask()
    assert [a.retrieved for a in answers] == [("d/1",), ("d/2", "d/1"), ()]
    assert FOG.text in answers[0].answer
    assert answers[2].answer == "Where?"
    for answer, question in zip(answers, QUESTIONS, strict=True):
        copied = ("question_id", "clause", "question", "reference", "facts", "verdict", "kind")
        assert all(getattr(answer, name) == getattr(question, name) for name in copied)
    assert {(a.arm, a.tokens, a.finished) for a in answers} == {("rag", 7, True)}
    assert {(r.sampling.max_new_tokens, r.sampling.temperature) for r in echo.requests} == {(9, 0.0)}
    assert ask() == answers
    assert len(echo.requests) == 3


@pytest.mark.parametrize(
    ("stages", "retrieval", "names"),
    [
        ((), False, ["base"]),
        ((), True, ["base", "rag"]),
        (("dpo",), False, ["base", "dpo"]),
        (("sft", "dpo"), False, ["base", "sft", "sft_dpo"]),
        (("sft", "dpo"), True, ["base", "sft", "sft_dpo", "sft_dpo_rag"]),
    ],
)
def test_a_recipe_compares_every_step_on_its_way(stages: tuple[str, ...], retrieval: bool, names: list[str]) -> None:
    arms = recipe_arms(stages, retrieval)
    assert [arm.name for arm in arms] == names
    assert [arm.retrieval for arm in arms] == [name.endswith("rag") for name in names]


@pytest.mark.parametrize(
    ("stages", "retriever", "name"),
    [
        ((), "document", "in_context"),
        ((), "bm25", "rag_bm25"),
        (("sft", "dpo"), "oracle", "sft_dpo_rag_oracle"),
        (("sft",), "document", "sft_in_context"),
    ],
)
def test_an_arm_is_named_after_its_retriever(stages: tuple[str, ...], retriever: str, name: str) -> None:
    assert recipe_arms(stages, True, retriever)[-1] == Arm(name, stages, True, retriever)


def test_a_document_beyond_the_context_is_refused_by_the_tokens_that_it_lacks(generator: Generator) -> None:
    """The prompt is one token a byte, and with it go 9 tokens of an answer, or a reference that is longer than 9."""
    asked = [QUESTIONS[2], Question("q4", "d/2", "Where is it?", "Below.")]
    longest = len(render_conversation(generator.tokenizer, conversation("Where is it?", [FOG, OIL])).ids)
    common: dict[str, Any] = {"arm": "in_context", "max_new_tokens": 9}
    room = partial(check_context_length, generator.tokenizer, asked, [FOG, OIL], **common)
    assert room(context=longest + 9) == room(context=None) == longest + 9
    with pytest.raises(ValignError, match=rf"takes {longest + 9:,} tokens, 3 more than the model's context of"):
        room(context=longest + 6)
    long = [Question("q5", "d/2", "Where is it?", "Below, " * 9)]
    answered = render_conversation(
        generator.tokenizer, (*conversation("Where is it?", [FOG, OIL]), said("Below, " * 9))
    )
    assert check_context_length(generator.tokenizer, long, [FOG, OIL], context=None, **common) == len(answered.ids)


def said(text: str) -> Message:
    return {"role": "assistant", "content": text}


def test_the_context_is_read_from_the_config() -> None:
    assert context_length(prepare_model("tiny")) == 8192


class Threads(Ranks):
    """Two ranks in threads of this process, which meet at a barrier and pass JSON as the real ones do."""

    meeting = threading.Barrier(2, timeout=60)
    table: ClassVar[dict[int, str]] = {}

    def gather(self, value: Any) -> list[Any]:
        """Return both values in the first."""
        self.table[self.rank] = json.dumps(value)
        self.meeting.wait()
        parts = [json.loads(self.table[rank]) for rank in (0, 1)] if self.is_first else []
        self.meeting.wait()
        return parts

    def broadcast(self, make: Callable[[], Any]) -> Any:
        """Return the first's value in both."""
        if self.is_first:
            self.table[0] = json.dumps(make())
        self.meeting.wait()
        value = json.loads(self.table[0])
        self.meeting.wait()
        return value


def test_two_ranks_answer_and_measure_as_one_does(generator: Generator, tmp_path: Path) -> None:
    """Five batches, one in each of which a request that occurs twice; the first rank has everything in order."""
    asked = [
        Question(f"q{i}", "d/1", f"May{' I' * (i % 4)} sound it?", "Yes." * (1 + i % 3), (), "yes") for i in range(9)
    ]
    small = Generator(generator.model, generator.tokenizer, "tiny@1", batch_tokens=100)
    common: dict[str, Any] = {"questions": asked, "retrieved": [[]] * len(asked), "arm": "x"}
    alone = answer_questions(small, **common, cache=tmp_path / "alone.sqlite", max_new_tokens=4)
    measured = measure_likelihoods(small, **common, rows=2)
    asked_of: dict[int, Any] = {}

    def work(rank: int) -> None:
        ranks = Threads(Place(rank, 2))
        answers = answer_questions(small, **common, cache=tmp_path / "pair.sqlite", max_new_tokens=4, ranks=ranks)
        asked_of[rank] = (answers, measure_likelihoods(small, **common, rows=2, ranks=ranks))

    workers = [threading.Thread(target=work, args=(rank,)) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert asked_of[0] == (alone, measured)
    assert asked_of[1][0] == []
