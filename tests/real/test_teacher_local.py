"""The local teacher with the embedded weights: grounded answers, the same ones again, and nothing loaded for a hit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valign.generation.requests import Request, Sampling
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher

pytestmark = pytest.mark.real

PASSAGE = "Lost things are kept at the ferry office for nine days. After that they are given to the school."


@pytest.fixture(scope="module")
def teacher() -> Iterator[LocalTeacher]:
    local = LocalTeacher("embedded:smollm2-135m", precision="float32", batch_tokens=512)
    yield local
    local.close()


def ask(question: str, openings: tuple[str, ...] = (), **settings: float) -> Request:
    prompt = f"{PASSAGE}\n\nAnswer in one short sentence: {question}"
    sampling = Sampling(max_new_tokens=16, n=max(1, len(openings)), **settings)  # type: ignore[arg-type]
    return Request(({"role": "user", "content": prompt},), sampling, openings)


REQUESTS = [
    ask("How many days are lost things kept?"),
    ask("Who is given the things in the end?"),
    ask("What is this about?", ("The", "It is"), temperature=0.9, top_p=0.95),
]


def test_answers_from_the_passage_and_from_the_cache(teacher: LocalTeacher, tmp_path: Path) -> None:
    """The greedy answers name the facts; the sampled ones begin as asked; a second teacher loads nothing."""
    assert re.fullmatch(r"smollm2-135m@[0-9a-f]{12}", teacher.id)
    assert not teacher.loaded
    cached = CachedTeacher(teacher, tmp_path / "cache.sqlite")
    rows = cached.complete_all(REQUESTS, "test")
    assert teacher.loaded
    assert "nine" in rows[0][0].text.lower()
    assert "school" in rows[1][0].text.lower()
    assert [completion.text.split()[0] for completion in rows[2]] == ["The", "It"]
    assert all(0 < completion.tokens <= 16 for row in rows for completion in row)

    idle = LocalTeacher("embedded:smollm2-135m", precision="float32")
    second = CachedTeacher(idle, tmp_path / "cache.sqlite")
    assert second.complete_all(REQUESTS, "test") == rows
    assert (second.calls, second.hits, idle.loaded) == (0, 3, False)


def test_run_that_stopped_midway_gets_the_same_completions(teacher: LocalTeacher, tmp_path: Path) -> None:
    """Stopped before the second group: the next run computes the groups that are left, and all texts are equal."""
    whole = CachedTeacher(teacher, tmp_path / "whole.sqlite").complete_all(REQUESTS, "test")
    complete = teacher.complete_with_progress
    calls = 0

    def stop_at_the_second(requests: list[Request], tell: Callable[[int], object]) -> object:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return complete(requests, tell)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "complete_with_progress", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            CachedTeacher(teacher, tmp_path / "cut.sqlite").complete_all(REQUESTS, "test")
    again = CachedTeacher(teacher, tmp_path / "cut.sqlite")
    assert again.complete_all(REQUESTS, "test") == whole
    assert 0 < again.calls < len(REQUESTS)


def test_closed_teacher_loads_again(teacher: LocalTeacher) -> None:
    before = teacher.complete(REQUESTS[:1])
    teacher.close()
    assert not teacher.loaded
    assert teacher.complete(REQUESTS[:1]) == before
