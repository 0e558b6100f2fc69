"""Batches: what is written, what is read, and that nothing is asked twice."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig

from valign.config.checks import check_config
from valign.core.errors import LimitReached, Pending, ValignError
from valign.generation.requests import Completion, Request, Sampling, call_seed
from valign.teachers.batch import BatchTeacher, custom_id
from valign.teachers.batch_round import split_lines, stop_if_pending
from valign.teachers.cache import CachedTeacher, request_key
from valign.teachers.completion_store import CompletionStore
from valign.teachers.factory import make_teacher
from valign.teachers.pending import is_pending
from valign.teachers.replay import ReplayTeacher
from valign.teachers.settings import TeacherSettings
from valign.teachers.usage import Meter

ROOT = Path(__file__).resolve().parents[2]


def ask(prompt: str, openings: tuple[str, ...] = (), **settings: Any) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(**settings), openings)


class Place:
    """A folder of requests and results, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batch = folder / "batch"

    def round(
        self, requests: Sequence[Request], name: str = "aaaaaaaa", meter: Meter | None = None, per_file: int = 50_000
    ) -> str:
        """Ask in a process's place: return what is to be done next, nothing where all is there."""
        cached = CachedTeacher(BatchTeacher("m", self.batch, None, meter, per_file), self.folder / "c.sqlite")
        self.rows = cached.complete_all(requests, "test")
        self.cached = cached
        try:
            stop_if_pending([cached], name)
        except Pending as stop:
            return stop.lines
        return ""

    def asked(self, name: str = "aaaaaaaa") -> list[dict[str, Any]]:
        """Return the lines of a file of requests."""
        return [json.loads(line) for line in (self.batch / f"requests-m-{name}.jsonl").read_text().splitlines()]

    def reply(self, file: str, *lines: Any) -> None:
        """Write a file of results."""
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (self.batch / file).write_text("\n".join(texts))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def said(name: str, *texts: str, finish: str = "stop") -> dict[str, Any]:
    """Return a result as vLLM and hosted endpoints write it."""
    choices = [{"index": k, "message": {"content": text}, "finish_reason": finish} for k, text in enumerate(texts)]
    usage = {"prompt_tokens": 5, "completion_tokens": 7}
    body = {"model": "m-2026", "choices": choices, "usage": usage}
    return {"custom_id": name, "response": {"status_code": 200, "body": body}, "error": None}


def failed(name: str, status: int, message: str) -> dict[str, Any]:
    return {"custom_id": name, "response": {"status_code": status, "body": {"error": {"message": message}}}}


def test_requests_are_lines_of_the_batch_format(place: Place) -> None:
    """Completions with one opening are one request; its id is that of the cache's key and the first of them."""
    request = ask("a", ("Who", "Why", "Who"), n=3, temperature=0.7, top_p=0.9, max_new_tokens=5, seed=3)
    told = place.round([request, ask("b")])
    key = request_key("m", request)
    body = {"model": "m", "max_tokens": 5, "temperature": 0.7, "top_p": 0.9}
    turns = [[{"role": "user", "content": f'a\n\nBegin with the words: "{word}"'}] for word in ("Who", "Why")]
    first, second, third = place.asked()
    assert first == {
        "custom_id": f"{key[:40]}-0",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {**body, "messages": turns[0], "seed": call_seed(3, 0), "n": 2},
    }
    assert (second["custom_id"], second["body"]["messages"]) == (f"{key[:40]}-1", turns[1])
    assert "n" not in second["body"] and second["body"]["seed"] == call_seed(3, 1)
    assert third["custom_id"] == custom_id(request_key("m", ask("b")), 0)
    assert all(len(line["custom_id"]) <= 64 for line in place.asked())
    assert all(is_pending(completion.text) and not completion.finished for row in place.rows for completion in row)
    assert "batch: 4 completions of m are still to be written" in told
    assert f"next: vllm run-batch -i {place.batch}/requests-m-aaaaaaaa.jsonl" in told


def test_without_results_the_same_file_is_written_again(place: Place) -> None:
    place.round([ask(f"p{i}") for i in range(5)])
    file = place.batch / "requests-m-aaaaaaaa.jsonl"
    before = file.read_bytes()
    place.round([ask(f"p{i}") for i in range(5)])
    assert file.read_bytes() == before
    assert [path.name for path in place.batch.glob("*.jsonl")] == [file.name]


def test_results_come_in_any_order_in_part_and_broken(place: Place) -> None:
    """Of six requests two have results, one of them twice; three failed in three ways; one line is cut short."""
    requests = [ask(f"p{i}") for i in range(6)]
    place.round(requests)
    names = [line["custom_id"] for line in place.asked()]
    place.reply(
        "b.jsonl",
        said(names[3], "three", finish="length"),
        failed(names[0], 500, "overloaded"),
        {"custom_id": names[1], "response": None, "error": {"code": "batch_expired", "message": "too late"}},
        said("ffff-0", "of nobody"),
        said(names[3], "another three"),
        '{"custom_id": "' + names[4][:5],
    )
    place.reply("a.jsonl", said(names[5], "five"), {**said(names[2]), "response": {"status_code": 200, "body": {}}})
    told = place.round(requests)
    assert [line["custom_id"] for line in place.asked()] == [names[i] for i in (0, 1, 2, 4)]
    assert place.rows[3] == [Completion("three", 7, False)] and place.rows[5] == [Completion("five", 7, True)]
    notes = told.splitlines()[-1]
    assert notes.startswith("results so far: 3 results read; 3 failed and are asked for again: ")
    assert "1 with status 500 (overloaded)" in notes and "1 (too late)" in notes
    assert "1 with status 200 (no completion)" in notes
    assert f"1 unreadable, first {place.batch}/b.jsonl, line 6" in notes
    assert notes.endswith("1 duplicates; 1 that this run does not ask for")
    place.reply("c.jsonl", *(said(names[i], f"late {i}") for i in (0, 1, 2, 4)))
    assert place.round(requests) == ""
    assert [row[0].text for row in place.rows] == ["late 0", "late 1", "late 2", "three", "late 4", "five"]
    assert list(place.batch.glob("requests-*")) == []
    spent = CompletionStore(place.folder / "c.sqlite").spent_by("m")
    assert (spent.calls, spent.prompt_tokens, spent.completion_tokens) == (6, 30, 42)


def test_failures_of_vllm_are_understood(place: Place) -> None:
    """As vLLM 0.32 writes them where its engine has died: an error inside an error, and no body."""
    place.round([ask("a")])
    error = {"error": {"message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500}}
    response = {"status_code": 500, "request_id": "vllm-batch-b4", "body": None}
    row = {"id": "vllm-bb", "custom_id": place.asked()[0]["custom_id"], "response": response, "error": error}
    place.reply("r.jsonl", row)
    assert "1 failed and are asked for again: 1 with status 500 (EngineCore encountered an issue)" in place.round(
        [ask("a")]
    )


def test_results_may_go_once_they_were_read(place: Place) -> None:
    place.round([ask("a"), ask("b")])
    place.reply("r.jsonl", said(place.asked()[0]["custom_id"], "A"))
    place.round([ask("a"), ask("b")])
    (place.batch / "r.jsonl").unlink()
    place.round([ask("a"), ask("b")])
    assert [line["body"]["messages"][0]["content"] for line in place.asked()] == ["b"]


def test_too_few_completions_of_a_request_are_asked_for_one_by_one(place: Place) -> None:
    """Of three the endpoint brings one; a request for the others has the seed of each, and no ``n``."""
    request = ask("a", n=3)
    place.round([request])
    place.reply("r1.jsonl", said(place.asked()[0]["custom_id"], "first"))
    place.round([request])
    rest = place.asked()
    assert [line["custom_id"].rpartition("-")[2] for line in rest] == ["1", "2"]
    assert [line["body"].get("n", line["body"]["seed"]) for line in rest] == [call_seed(0, 1), call_seed(0, 2)]
    before = (place.batch / "requests-m-aaaaaaaa.jsonl").read_bytes()
    place.round([request])
    assert (place.batch / "requests-m-aaaaaaaa.jsonl").read_bytes() == before
    place.reply("r2.jsonl", *(said(line["custom_id"], line["custom_id"][-1]) for line in rest))
    assert place.round([request]) == ""
    assert [completion.text for completion in place.rows[0]] == ["first", "1", "2"]


def test_one_opening_that_lacks_its_completions_does_not_divide_another(place: Place) -> None:
    """The request for the second opening is still under way: it is written again as it was."""
    request = ask("a", ("X", "Y", "X", "Y"), n=4)
    place.round([request])
    first, second = place.asked()
    place.reply("r.jsonl", said(first["custom_id"], "X1", "X2"))
    place.round([request])
    assert place.asked() == [second]


@pytest.mark.parametrize(
    ("message", "changed"),
    [
        ("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", "max_completion_tokens"),
        ("response_format is not supported", "response_format"),
        ("n must be 1", "n"),
    ],
)
def test_refused_parameters_are_written_otherwise(place: Place, message: str, changed: str) -> None:
    request = replace(ask("a", n=2), schema={"type": "object"})
    place.round([request])
    (before,) = place.asked()
    assert {"max_tokens", "response_format", "n"} <= set(before["body"])
    place.reply("r.jsonl", failed(before["custom_id"], 400, message))
    place.round([request])
    after = place.asked()
    assert ("n" in after[0]["body"], len(after)) == ((False, 2) if changed == "n" else (True, 1))
    assert ("max_completion_tokens" in after[0]["body"]) == (changed == "max_completion_tokens")
    assert ("response_format" in after[0]["body"]) == (changed != "response_format")


def test_a_batch_and_an_api_teacher_have_the_same_completions(place: Place) -> None:
    """Both go by the model's name: what is in the cache is not asked for again, whoever brought it."""
    settings = TeacherSettings(kind="batch", model="m", requests=str(place.batch), price_in=4.0, price_out=8.0)
    batch, api = (make_teacher(replace(settings, kind=kind, base_urls=("http://x/v1",))) for kind in ("batch", "api"))
    assert isinstance(batch, BatchTeacher) and batch.id == api.id == "m"
    assert (batch.meter.price_in, batch.meter.price_out) == (2.0, 4.0)
    CompletionStore(place.folder / "c.sqlite").write({request_key("m", ask("a")): [Completion("by api", 1, True)]})
    assert place.round([ask("a")]) == ""
    assert place.rows == [[Completion("by api", 1, True)]] and not place.batch.exists()
    place.round([ask("b")])
    place.reply("r.jsonl", said(place.asked()[0]["custom_id"], "by batch"))
    place.round([ask("b")])
    assert CachedTeacher(api, place.folder / "c.sqlite").complete_all([ask("b")], "test")[0][0].text == "by batch"


def test_what_is_made_from_a_completion_that_is_not_there_is_not_asked(place: Place) -> None:
    cached = CachedTeacher(BatchTeacher("m", place.batch), place.folder / "c.sqlite")
    ((first,),) = cached.complete_all([ask("a")], "first")
    cached.complete_all([ask(f"Is this right? {first.text}"), ask("b")], "second")
    with pytest.raises(Pending):
        stop_if_pending([cached], "aaaaaaaa")
    assert [line["body"]["messages"][0]["content"] for line in place.asked()] == ["a", "b"]
    assert first.text not in (place.batch / "requests-m-aaaaaaaa.jsonl").read_text()


def test_large_rounds_are_several_files(place: Place) -> None:
    """Five lines in twos are three files; when one is left, the other two go."""
    told = place.round([ask(f"p{i}") for i in range(5)], per_file=2)
    names = [f"requests-m-aaaaaaaa{part}.jsonl" for part in ("", "-2", "-3")]
    files = [place.batch / name for name in names]
    assert [len(file.read_text().splitlines()) for file in files] == [2, 2, 1]
    assert told.count("next: vllm run-batch") == 3
    ids = [json.loads(line)["custom_id"] for file in files for line in file.read_text().splitlines()]
    place.reply("r.jsonl", *(said(name, "x") for name in ids[:4]))
    place.round([ask(f"p{i}") for i in range(5)])
    assert sorted(path.name for path in place.batch.glob("requests-*")) == [names[0]]


def test_files_are_divided_by_lines_and_by_bytes() -> None:
    """Lines of 3, 3, 9 and 1 bytes with their ends 4, 4, 10 and 2: with room for 8 bytes the long one is alone."""
    lines = ["aaa", "bbb", "c" * 9, "d"]
    assert list(split_lines(lines, 10, 8)) == [["aaa", "bbb"], ["c" * 9], ["d"]]
    assert list(split_lines(lines, 3, 100)) == [lines[:3], lines[3:]]
    assert list(split_lines(["ä" * 3], 3, 6)) == [["äää"]]
    assert list(split_lines([], 3, 6)) == []


def test_what_another_run_has_asked_for_is_left_to_it(place: Place) -> None:
    """Two seeds in one folder ask some of the same: that stands in one file, and the other run says which."""
    place.round([ask("a"), ask("b")])
    told = place.round([ask("b"), ask("c")], "bbbbbbbb")
    assert [line["body"]["messages"][0]["content"] for line in place.asked("bbbbbbbb")] == ["c"]
    assert told.startswith("batch: 2 completions of m are still to be written\n")
    assert f"requests: 1 stand in {place.batch}/requests-m-aaaaaaaa.jsonl, which another run wrote" in told
    assert [line.split()[4].rpartition("-")[2] for line in told.splitlines() if line.startswith("next: ")] == [
        "bbbbbbbb.jsonl",
        "aaaaaaaa.jsonl",
    ]
    told = place.round([ask("b")], "cccccccc")
    assert not (place.batch / "requests-m-cccccccc.jsonl").exists() and "requests-m-aaaaaaaa.jsonl" in told
    (place.batch / "requests-m-aaaaaaaa.jsonl").unlink()
    place.round([ask("b")], "cccccccc")
    assert len(place.asked("cccccccc")) == 1


RUN = """
import sys
from pathlib import Path
from tests.teachers.test_batch import *
place = Place(Path(sys.argv[1]))
for turn in range(12):
    assert place.round([ask(f"p{i}") for i in range(60)] + [ask(sys.argv[2])], sys.argv[2])
"""


def test_two_processes_write_no_request_twice(place: Place) -> None:
    command = [sys.executable, "-c", RUN, str(place.folder)]
    path = f"{ROOT}:{ROOT / 'tests/helpers'}"
    runs = [subprocess.Popen([*command, name], cwd=ROOT, env={"PYTHONPATH": path}) for name in ("first", "second")]
    assert [run.wait(timeout=60) for run in runs] == [0, 0]
    found = [line["custom_id"] for name in ("first", "second") for line in place.asked(name)]
    assert len(found) == len(set(found)) == 62


def test_a_limit_stops_before_a_file_is_written(place: Place) -> None:
    """Ten requests of at most 5 + 64 tokens are 690."""
    requests = [ask(f"p{i}") for i in range(10)]
    with pytest.raises(LimitReached, match=r"teacher\.max_tokens=600 is reached") as caught:
        place.round(requests, meter=Meter(max_tokens=600))
    assert caught.value.exit_code == 3 and not list(place.batch.glob("requests-*"))
    told = place.round(requests, meter=Meter(1e4, 1e4, max_tokens=700))
    assert "10 requests, about 50 prompt tokens, at most 640 completion tokens" in told
    assert "cost: at most 6.90, at the price of a batch" in told


def test_results_are_a_recording(place: Place) -> None:
    """The results name the model that they were asked of, or ``teacher.model`` does."""
    requests = [ask("a", n=2), ask("b")]
    place.round(requests)
    first, second = (line["custom_id"] for line in place.asked())
    place.reply("r.jsonl", said(first, "A", "B"), failed(second, 500, "no"))
    replay = ReplayTeacher(place.batch / "r.jsonl", "m")
    assert [completion.text for completion in replay.complete(requests[:1])[0]] == ["A", "B"]
    with pytest.raises(ValignError, match=r'"b" .*record it again .*teacher\.model=NAME'):
        replay.complete(requests)
    with pytest.raises(ValignError, match=r"teacher\.model=NAME"):
        ReplayTeacher(place.batch / "r.jsonl").complete(requests[:1])
    text = (place.batch / "r.jsonl").read_text().replace("m-2026", "m")
    (place.batch / "r.jsonl").write_text(text)
    assert ReplayTeacher(place.batch / "r.jsonl").complete(requests[:1])[0][1].text == "B"


def test_results_can_be_written_by_hand(place: Place) -> None:
    place.round([ask("a", n=2), ask("b")])
    first, second = (line["custom_id"] for line in place.asked())
    place.reply("hand.jsonl", {"custom_id": first, "text": ["A", "B"]}, {"custom_id": second, "text": {"C": 1}})
    assert place.round([ask("a", n=2), ask("b")]) == ""
    assert [completion.text for row in place.rows for completion in row] == ["A", "B", '{"C": 1}']


HOSTILE = [
    "[1, 2]",
    "null",
    "\x00\xff",
    "[" * 100_000,
    '{"custom_id": 7, "response": {}}',
    '{"custom_id": "NAME"}',
    '{"custom_id": "NAME", "response": "no"}',
    '{"custom_id": "NAME", "response": {"status_code": "x", "body": {"choices": [3]}}}',
    '{"custom_id": "NAME", "response": {"status_code": 200, "body": {"choices": [{"message": {"content": 5}}]}}}',
    '{"custom_id": "NAME", "error": {"message": {"message": {"message": null}}}}',
]


@pytest.mark.parametrize("line", HOSTILE)
def test_hostile_lines_are_counted_and_nothing_more(place: Place, line: str) -> None:
    place.round([ask("a")])
    (request,) = place.asked()
    (place.batch / "r.jsonl").write_bytes(line.replace("NAME", request["custom_id"]).encode("latin-1") + b"\n")
    told = place.round([ask("a")])
    assert place.asked() == [request]
    assert "1 unreadable" in told or "1 failed and are asked for again" in told


def test_odd_figures_and_halves_of_characters_do_no_harm(place: Place) -> None:
    place.round([ask("a")])
    line = said(place.asked()[0]["custom_id"], "half \ud83d of one")
    line["response"]["body"]["usage"] = {"prompt_tokens": -4, "completion_tokens": 10**30}
    place.reply("r.jsonl", line)
    assert place.round([ask("a")]) == ""
    assert place.rows == [[Completion("half ? of one", 4, True)]]


def test_requests_in_place_of_results_are_a_message(place: Place) -> None:
    place.round([ask("a")])
    teacher = BatchTeacher("m", place.batch, place.batch / "requests-m-aaaaaaaa.jsonl")
    with pytest.raises(ValignError, match="holds requests, not results"):
        CachedTeacher(teacher, place.folder / "c.sqlite").complete_all([ask("a")], "test")
    gone = BatchTeacher("m", place.batch, place.batch / "gone")
    with pytest.raises(ValignError, match=r"teacher\.results=.*gone does not exist"):
        CachedTeacher(gone, place.folder / "c.sqlite").complete_all([ask("a")], "test")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["teacher.share=0/2"], r"teacher\.share=0/2: a batch is not divided"),
        (["teacher.results=gone.jsonl"], r"teacher\.results=gone\.jsonl does not exist; leave it out"),
        (["teacher.requests=pyproject.toml"], "is a file; name a folder"),
        (["teacher.max_cost=1"], r"teacher\.max_cost=1.* needs prices"),
        (["teacher.batch_discount=0"], r"teacher\.batch_discount=0.* out of range"),
        (["evaluation.judge=batch"], "evaluation=judge_batch"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    settings: list[str], message: str, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(ValignError, match=message):
        check_config(compose_config("teacher=batch", "teacher.model=m", *settings))
