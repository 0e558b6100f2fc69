"""The API teacher against ``transformers serve`` with the embedded weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_server import serving

from valign.core.errors import ValignError
from valign.generation.requests import Request, Sampling
from valign.models.load import prepare_model
from valign.teachers.api import ApiTeacher
from valign.teachers.cache import CachedTeacher

pytestmark = [pytest.mark.real, pytest.mark.slow]
pytest.importorskip("uvicorn")
pytest.importorskip("fastapi")

MODEL = "embedded:smollm2-135m"
PASSAGE = "Lost things are kept at the ferry office for nine days. After that they are given to the school."


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A running server's address."""
    with serving(str(prepare_model(MODEL))) as found:
        yield found


def ask(question: str, **settings: float) -> Request:
    prompt = f"{PASSAGE}\n\nAnswer in one short sentence: {question}"
    return Request(({"role": "user", "content": prompt},), Sampling(max_new_tokens=16, **settings))  # type: ignore[arg-type]


def test_answers_from_a_real_server(url: str, tmp_path: Path) -> None:
    """The greedy answers name the facts; two completions of one request come; a second run asks nothing."""
    teacher = ApiTeacher(str(prepare_model(MODEL)), [url], concurrency=2)
    requests = [
        ask("How many days are lost things kept?"),
        ask("Who is given the things in the end?"),
        ask("What is this about?", n=2, temperature=0.9),
    ]
    cached = CachedTeacher(teacher, tmp_path / "c.sqlite")
    rows = cached.complete_all(requests, "test")
    assert re.search("nine", rows[0][0].text, re.I)
    assert re.search("school", rows[1][0].text, re.I)
    assert [len(row) for row in rows] == [1, 1, 2]
    assert all(0 < completion.tokens <= 16 for row in rows for completion in row)
    spent = cached.store.spent_by(teacher.id)
    assert spent.completions == 4
    assert spent.prompt_tokens > 100
    again = CachedTeacher(teacher, tmp_path / "c.sqlite")
    assert again.complete_all(requests, "test") == rows
    assert again.calls == 0


def test_unknown_model_is_one_line(url: str) -> None:
    with pytest.raises(ValignError, match=r"model no/such-model\) answered with status") as caught:
        ApiTeacher("no/such-model", [url], max_retries=0).complete([ask("Who?")])
    assert "\n" not in str(caught.value)
