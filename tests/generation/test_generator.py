"""Generation with the tiny model: what a request gets depends on itself alone, not on what it is batched with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from valign.generation.decoding_batch import pad_left
from valign.generation.generator import Generator, sample_tokens
from valign.generation.requests import Completion, Request, Sampling
from valign.models.chat_template import render_conversation
from valign.models.load import load_model, prepare_model

PROMPTS = ("Hi?", "May I feed the geese in the park after dark?", "Who opens the gate?", "Why", "How long is it kept?")


@pytest.fixture(scope="module")
def generator() -> Generator:
    model, tokenizer = load_model(prepare_model("tiny"), "float32")
    return Generator(model, tokenizer, "tiny@1")


def ask(prompt: str, openings: tuple[str, ...] = (), **settings: Any) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(**{"max_new_tokens": 12, **settings}), openings)


class Counting:
    """A model that notes the number of rows of each forward pass, and may end one row at a step."""

    def __init__(self, model: Any, end: tuple[int, int, int] | None = None) -> None:
        """Wrap a model; ``end`` is step, row and token id whose logit is raised there."""
        self.model, self.end, self.rows = model, end, list[int]()

    def __getattr__(self, name: str) -> Any:
        """Return what the model has by this name."""
        return getattr(self.model, name)

    def __call__(self, ids: torch.Tensor, **options: Any) -> Any:
        """Run the model."""
        out = self.model(ids, **options)
        if self.end and len(self.rows) == self.end[0]:
            out.logits[self.end[1], -1, self.end[2]] = 1e4
        self.rows.append(len(ids))
        return out


def naive(generator: Generator, prompt: str, steps: int) -> list[int]:
    """Decode greedily without cache, padding or batch."""
    ids = list(render_conversation(generator.tokenizer, [{"role": "user", "content": prompt}]).ids)
    new: list[int] = []
    with torch.inference_mode():
        while len(new) < steps and (not new or new[-1] != generator.tokenizer.eos_token_id):
            new.append(int(generator.model(torch.tensor([ids + new])).logits[0, -1].argmax()))
    return new


def test_the_batch_does_not_change_greedy_output(generator: Generator) -> None:
    """Prompts of five lengths at once, each alone, and a plain loop without cache give the same."""
    together = [row[0] for row in generator.complete([ask(p) for p in PROMPTS])]
    alone = [generator.complete([ask(p)])[0][0] for p in PROMPTS]
    decoded: Any = generator.tokenizer.decode
    plain = [decoded(naive(generator, p, 12), skip_special_tokens=True).strip() for p in PROMPTS]
    assert together == alone
    assert [c.text for c in together] == plain


def test_samples_begin_with_their_openings(generator: Generator) -> None:
    """An opening counts among the new tokens: the tiny tokenizer has one token a byte."""
    openings = ("Who", "What happens", "")
    rows = generator.complete([ask(p, openings, n=3, temperature=1.0, max_new_tokens=16) for p in PROMPTS[:2]])
    assert [len(row) for row in rows] == [3, 3]
    for row in rows:
        assert all(c.text.startswith(opening) for c, opening in zip(row, openings, strict=True))
        assert all(c.tokens <= 16 for c in row)


def test_a_long_opening_is_cut_at_the_length(generator: Generator) -> None:
    assert generator.complete([ask("Hi?", ("What happens",), max_new_tokens=4)])[0] == [Completion("What", 4, False)]


def test_seeds_draw_the_same_whatever_the_batch(generator: Generator) -> None:
    drawn = [ask(p, n=2, temperature=0.9, top_p=0.95, seed=i) for i, p in enumerate(PROMPTS)]
    together = generator.complete(drawn)
    assert together == [generator.complete([request])[0] for request in drawn]
    assert together == generator.complete(drawn)
    other = generator.complete([ask(p, n=2, temperature=0.9, top_p=0.95, seed=9) for p in PROMPTS])
    assert other != together
    assert all(row[0] != row[1] for row in together)


def test_a_finished_row_leaves_the_batch(generator: Generator) -> None:
    """Row 1 of three ends with its third token: three passes with three rows, then two rows up to the sixth token.

    The rows that stay say what they say without it.
    """
    requests = [ask(p, max_new_tokens=6) for p in PROMPTS[:3]]
    expected = generator.complete(requests)
    eos = int(generator.tokenizer.eos_token_id)
    model: Any = Counting(generator.model, (2, 1, eos))
    rows = Generator(model, generator.tokenizer, "tiny@1").complete(requests)
    assert model.rows == [3, 3, 3, 2, 2, 2]
    assert (rows[1][0].tokens, rows[1][0].finished) == (3, True)
    assert [rows[0], rows[2]] == [expected[0], expected[2]]
    assert not expected[0][0].finished


def test_the_end_token_stops_the_loop(generator: Generator) -> None:
    """A first token that ends every row leaves an empty text and no second pass."""
    eos = int(generator.tokenizer.eos_token_id)
    model: Any = Counting(generator.model, (0, 0, eos))
    rows = Generator(model, generator.tokenizer, "tiny@1").complete([ask("Hi?")])
    assert rows == [[Completion("", 1, True)]]
    assert model.rows == [1]


def test_batches_hold_one_setting_and_a_bounded_number_of_positions(generator: Generator) -> None:
    """Every request is in one group; rows times (longest prompt + new tokens) stays within ``batch_tokens``."""
    small = Generator(generator.model, generator.tokenizer, "tiny@1", batch_tokens=400)
    requests = [ask(p, n=n) for p in PROMPTS for n in (1, 2)] + [ask(PROMPTS[0], n=2, seed=5)]
    groups = small.batches(requests)
    assert sorted(i for group in groups for i in group) == list(range(len(requests)))
    lengths = [len(render_conversation(small.tokenizer, r.messages).ids) for r in requests]
    for group in groups:
        (n,) = {requests[i].sampling.n for i in group}
        positions = len(group) * n * (max(lengths[i] for i in group) + 12)
        assert positions <= 400 or len(group) == 1
    assert len(groups) < len(requests)
    assert small.batches([]) == []


def test_choose_by_hand() -> None:
    """Probabilities 0.5, 0.3, 0.2; with top-p 0.7 the nucleus is the first two, scaled to 0.625 and 0.375.

    Uniform 0.6 < 0.625 takes the first and 0.7 the second; with top-p 1 the bounds are 0.5 and 0.8.
    """
    logits = torch.tensor([0.5, 0.3, 0.2]).log().repeat(2, 1)
    uniform = torch.tensor([0.6, 0.7])
    assert sample_tokens(logits, 1.0, 0.7, uniform).tolist() == [0, 1]
    assert sample_tokens(logits, 1.0, 1.0, torch.tensor([0.49, 0.81])).tolist() == [0, 2]
    assert sample_tokens(logits, 0.0, 0.7, uniform).tolist() == [0, 0]
    assert sample_tokens(logits, 1.0, 0.01, torch.tensor([0.99, 0.0])).tolist() == [0, 0]


def test_pad_left_by_hand() -> None:
    ids, mask = pad_left([[1, 2, 3], [4]], 9)
    assert ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_prepared_tiny_model_is_found_again(tmp_path: Path) -> None:
    first = prepare_model("tiny", tmp_path)
    assert prepare_model("tiny", tmp_path) == first
    assert [f.name for f in tmp_path.iterdir() if f.is_dir()] == [Path(first).name]


def test_a_batch_tells_how_far_it_is(generator: Generator) -> None:
    """Two rows of four tokens: after two steps half of each, which is one completion; the last step tells nothing.

    A row that has ended counts whole: of two rows of three tokens, one ends at the first.
    """
    told: list[int] = []
    generator.complete_with_progress([ask("Hi?", n=2, max_new_tokens=4)], told.append)
    assert told == [0, 1, 0]
    told.clear()
    end = int(generator.tokenizer.eos_token_id)
    counting = Counting(generator.model, (0, 1, end))
    generator_ending = Generator(counting, generator.tokenizer, "tiny@1")  # type: ignore[arg-type]
    vars(generator_ending)["shares_prefix"] = False
    generator_ending.complete_with_progress([ask("Hi?", max_new_tokens=3), ask("Why", max_new_tokens=3)], told.append)
    assert told == [1, 0]
