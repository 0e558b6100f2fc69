"""Recordings: written behind a cache, replayed, and what is said when they do not fit; and the factory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from counting_teacher import FakeTeacher, ask
from recorder import Recorder

from valign.core.errors import ValignError
from valign.generation.requests import Completion, Request, Sampling
from valign.teachers.cache import CachedTeacher
from valign.teachers.factory import make_teacher
from valign.teachers.local import LocalTeacher
from valign.teachers.replay import ReplayTeacher, record
from valign.teachers.settings import TeacherSettings


def test_recording_is_replayed(tmp_path: Path) -> None:
    """A recorder behind a cache writes each call once; the replay gives the same texts under its own id."""
    path = tmp_path / "recordings" / "calls.jsonl"
    requests = [ask("a", 2), Request(ask("b").messages, Sampling(), ("Yes",)), ask("a", 2)]
    rows = CachedTeacher(Recorder(FakeTeacher(), path), tmp_path / "cache.sqlite").complete_all(requests, "test")
    assert len(path.read_text().splitlines()) == 2
    assert json.loads(path.read_text().splitlines()[1]) == {
        "messages": [{"role": "user", "content": "b"}],
        "sampling": {"max_new_tokens": 64, "temperature": 0.0, "top_p": 1.0, "n": 1, "seed": 0},
        "openings": ["Yes"],
        "completions": [{"text": "b.0 in a,b", "tokens": 4, "finished": True}],
    }
    replay = ReplayTeacher(path)
    assert CachedTeacher(replay, tmp_path / "other.sqlite").complete_all(requests, "test") == rows
    before = replay.id
    record(path, [ask("c")], [[Completion("c", 1, True)]])
    assert before.startswith("replay@")
    assert ReplayTeacher(path).id != before
    assert ReplayTeacher(path).complete([ask("c")]) == [[Completion("c", 1, True)]]


def test_replay_names_what_was_not_recorded(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    record(path, [ask("Who are you?")], [[Completion("I", 1, True)]])
    with pytest.raises(ValignError, match=r'"What does the third article say about .* every one \.\.\."'):
        ReplayTeacher(path).complete(
            [ask("What does the third article say about the rights that every one of us has?")]
        )
    with pytest.raises(ValignError, match="record it again"):
        ReplayTeacher(path).complete([ask("Who are you?", seed=1)])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not a recorded call"),
        ('{"messages": [], "openings": [], "sampling": {"n": 1}}', "line 2: not a recorded call .'completions'"),
        ('{"messages": [], "openings": [], "sampling": {"n": 2}, "completions": []}', "line 2: 0 completions instead"),
        ("[1]", "line 2: not a recorded call"),
    ],
)
def test_broken_recording_is_a_message(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "calls.jsonl"
    record(path, [ask("a")], [[Completion("a", 1, True)]])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(ValignError, match=message):
        ReplayTeacher(path).complete([ask("a")])


def test_factory_checks_what_it_is_given(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match="needs its recording"):
        make_teacher(TeacherSettings(kind="replay", model="replay"))
    with pytest.raises(ValignError, match="is a folder"):
        make_teacher(TeacherSettings(kind="replay", model="replay", recording=str(tmp_path)))
    with pytest.raises(ValignError, match=r"nowhere\.jsonl does not exist"):
        make_teacher(TeacherSettings(kind="replay", model="replay", recording=str(tmp_path / "nowhere.jsonl")))
    with pytest.raises(ValignError, match="choose from: local, vllm, replay, api"):
        make_teacher(TeacherSettings(kind="oracle", model="x"))
    local = make_teacher(TeacherSettings(kind="local", model="some/model", precision="float32", batch_tokens=128))
    assert isinstance(local, LocalTeacher)
    assert (local.model, local.precision, local.batch_tokens, local.loaded) == ("some/model", "float32", 128, False)
