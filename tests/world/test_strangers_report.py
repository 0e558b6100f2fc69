"""A stranger's run in the commands that only read: nothing outside of it is read, and what does not fit is a line."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig
from seeded_runs import BASE, run
from stored import write_data, write_run

from valign.core import whole_text
from valign.core.errors import ValignError
from valign.core.files import read_json, read_line, read_rows, write_json, write_text
from valign.core.records import Instruction
from valign.evaluation.arm_names import is_arm_name
from valign.pipeline.finished_run import context_of_run
from valign.provenance.entries import trace_entry
from valign.provenance.formats import write_portable
from valign.provenance.ledger import read_ledger
from valign.provenance.runs import chosen_data, data_of_run
from valign.reporting.study import compare_folder
from valign.reporting.write import write_report
from valign.review_desk.opening import open_server
from valign.runs.damage import describe_damage
from valign.runs.layout import CONFIG, RUN

HOSTILE = "<img src=http://evil.invalid/x onerror=alert(1)>"
ODD: list[Any] = [None, [], {}, "x", -1, 1e308, [[]], {"a": 1}, HOSTILE, "../../etc", True, float("nan")]
SCORES = "arms/sft/scores.json"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to each value in a JSON value, its own too."""
    yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ()):
        yield from places(inner, (*path, key))


def with_value(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a JSON value with another one at a path."""
    if not path:
        return new
    changed = copy.deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return changed


@pytest.mark.parametrize("name", [RUN, SCORES, "arms/sft/answers.jsonl", "arms/sft/values.jsonl"])
def test_odd_values_anywhere_are_shown_as_text_or_one_line(name: str, tmp_path: Path) -> None:
    """Each time one value of a file is another one; the page never gets an element from it."""
    folder = run(tmp_path / "run", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    file = folder / name
    is_rows = name.endswith("jsonl")
    good = read_rows(file) if is_rows else read_json(file)
    choice = random.Random(name)
    where = [path for path in places(good) if path or not is_rows]
    refused = 0
    for i in range(12):
        bad = with_value(good, choice.choice(where), choice.choice(ODD))
        write_text(file, "".join(json.dumps(row) + "\n" for row in bad) if is_rows else json.dumps(bad))
        output = tmp_path / f"{i}.html"
        try:
            write_report(folder, output)
        except ValignError as error:
            assert "\n" not in str(error) and str(tmp_path) in str(error)
            refused += 1
            continue
        assert "<img src=http://evil" not in output.read_text(encoding="utf-8")
    assert 0 < refused < 12


def test_arms_and_data_are_not_read_from_outside(tmp_path: Path) -> None:
    folder = run(tmp_path / "run", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    run(tmp_path / "other", 0, {"base": BASE})
    details = read_json(folder / RUN)
    for name in ("../../other/arms/base", "/etc", "..", ".hidden", 5):
        write_json(folder / RUN, {**details, "arms": [{"name": name, "stages": []}]})
        with pytest.raises(
            ValignError, match=r"run holds files that do not fit this version's runs \(ValueError an arm"
        ):
            compare_folder(folder)
        assert not is_arm_name(name)
    write_data(tmp_path / "store")
    stored = write_run(tmp_path / "stored", tmp_path / "store")
    assert len(data_of_run(stored).sft) == 2
    details = read_json(stored / RUN)
    for data in ("../data/00000000000000aa", "/etc", None, ["x"], 7):
        write_json(stored / RUN, {**details, "artifacts": {"data": data}})
        with pytest.raises(ValignError, match=r"stored holds files that do not fit .*data named"):
            data_of_run(stored)
        assert read_ledger(tmp_path / "store", tmp_path / "stored").runs == []
    for config in (None, {}, {"artifacts": 5}, "x"):
        write_json(stored / RUN, {**details, "config": config})
        with pytest.raises(ValignError, match="stored holds files that do not fit"):
            data_of_run(stored)


def test_what_never_ends_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(tmp_path / "run", 0, {"base": BASE})
    (folder / RUN).unlink()
    os.mkfifo(folder / RUN)
    with pytest.raises(ValignError, match=r"holds no finished run"):
        compare_folder(tmp_path)
    (folder / RUN).unlink()
    (folder / RUN).symlink_to("/dev/zero")
    for read in (read_json, read_rows):
        with pytest.raises(ValignError, match=r"run\.json is no ordinary file; check the path"):
            read(folder / RUN)
        with pytest.raises(ValignError, match=r"none\.json does not exist; check the path"):
            read(tmp_path / "none.json")
    write_text(tmp_path / "large.json", "[1, 2, 3, 4]")
    monkeypatch.setattr(whole_text, "LARGEST_TEXT", 10)
    with pytest.raises(ValignError, match=r"large\.json is larger than 0 MB, which no run writes"):
        read_json(tmp_path / "large.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ', "\udcff", '{"a": 1}\n[]', "1" * 5000])
def test_rows_that_are_none_are_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "values.jsonl").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValignError, match=r"values\.jsonl is damaged: (?:line \d|not UTF-8)"):
        read_rows(tmp_path / "values.jsonl")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", r"has a reference \(\*NAME\), which no run writes"),
        ("a: " + "[" * 200_000, "is nested too deep to be the config of a run"),
        ("a: " + "{a: " * 80, "is not the config of a run"),
        ("5\n", "is not the config of a run"),
        ("a: !!python/object/apply:os.system [touch x]\n", "is not the config of a run"),
        ("a: !!python/name:os.system\n", "is not the config of a run"),
        ("x" * (1 << 20) + ": 1\n", "is larger than 1,024 KB"),
    ],
)
def test_configs_that_no_run_writes(text: str, words: str, tmp_path: Path) -> None:
    """References could stand for any number of values, and tags for objects."""
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ValignError, match=words) as caught:
        context_of_run(tmp_path)
    assert len(str(caught.value)) < 500


def test_a_config_that_is_no_file(tmp_path: Path, compose_config: Callable[..., DictConfig]) -> None:
    (tmp_path / CONFIG).symlink_to("/dev/zero")
    with pytest.raises(ValignError, match="is no ordinary file"):
        context_of_run(tmp_path)


def test_a_trace_shows_hostile_texts_as_text(tmp_path: Path) -> None:
    write_data(tmp_path / "store")
    folder = write_run(tmp_path / "runs", tmp_path / "store")
    details = read_json(folder / RUN)
    details["document"] |= {"title": f"\x1b]0;{HOSTILE}\x07"}
    details["config"]["document"]["path"] = "/dev/zero"
    write_json(folder / RUN, details)
    shown = trace_entry(read_ledger(tmp_path / "store", tmp_path / "runs"), "own-1")
    assert "\x1b" not in shown and "Nobody may." in shown
    details["document"]["name"] = ["x"]
    write_json(folder / RUN, details)
    assert read_ledger(tmp_path / "store", tmp_path / "runs").runs == []


def test_damage_names_where_it_was_noticed() -> None:
    with (
        pytest.raises(
            ValignError, match=r"^a holds files .*\(KeyError 'x', noticed in test_strangers_report\.py, line"
        ),
        describe_damage(Path("a")),
    ):
        raise KeyError("x")
    with pytest.raises(ValignError, match=r"^plain$"), describe_damage(Path("a")):
        raise ValignError("plain")


def test_rows_of_another_shape_are_named() -> None:
    """What a row of the data set holds is checked as it is read, so that no filter, page or table stumbles over it."""
    row = {"example_id": "1", "clauses": ["c"], "kind": "k", "question": "Q?", "answer": "A."}
    origin = {"quote": "", "start": 0, "end": 0, "template": "", "template_hash": "", "teacher": ""}
    for change, said in (
        ({"filters": {"rank": "x"}}, "'filters' must be a JSON object of numbers, not dict"),
        ({"filters": [1]}, "'filters' must be a JSON object of numbers, not list"),
        ({"filters": {"rank": 10**400}}, "'filters' must be a JSON object of numbers"),
        ({"provenance": {**origin, "end": 10**400}}, "'end' must be a whole number, not one of more than 64 bits"),
        ({"provenance": {**origin, "sampling": []}}, "'sampling' must be a JSON object, not list"),
    ):
        line = json.dumps({**row, "provenance": origin, **change})
        with pytest.raises(ValignError, match=said):
            read_line(line, Instruction, "sft.jsonl, line 1")
    with pytest.raises(ValignError, match=r"line 1: not a JSON object on one line \(Exceeds the limit \(4300 digits\)"):
        read_line('{"example_id": ' + "1" * 5000 + "}", Instruction, "sft.jsonl, line 1")


@pytest.mark.parametrize("name", ["manifest.json", "funnel.json", "source.json", "sft.jsonl", "preferences.jsonl"])
def test_odd_values_in_a_data_set_are_one_line(name: str, tmp_path: Path) -> None:
    """In the review, the export and the trace of a data set that comes from a stranger or another version."""
    data = write_data(tmp_path / "store")
    is_rows = name.endswith("jsonl")
    good = read_rows(data / name) if is_rows else read_json(data / name)
    choice = random.Random(name)
    where = [path for path in places(good) if path or not is_rows]
    refused = 0
    for i in range(15):
        bad = with_value(good, choice.choice(where), choice.choice([*ODD, 10**400]))
        write_text(data / name, "".join(json.dumps(row) + "\n" for row in bad) if is_rows else json.dumps(bad))
        for use in (_review, _export, _trace):
            try:
                use(tmp_path / "store", data, tmp_path / f"out{i}")
            except ValignError as error:
                assert "\n" not in str(error) and str(tmp_path) in str(error)
                refused += 1
    assert 0 < refused < 45


def _review(store: Path, data: Path, output: Path) -> None:
    server = open_server(chosen_data(None, str(data)), str(output.with_suffix(".jsonl")), "ann", 0)
    server.server.server_close()
    json.dumps(server.desk.everything({}))


def _export(store: Path, data: Path, output: Path) -> None:
    write_portable(chosen_data(None, str(data)), output, "other")


def _trace(store: Path, data: Path, output: Path) -> None:
    ledger = read_ledger(store, store / "none")
    with describe_damage(store):
        trace_entry(ledger, next(iter(ledger.examples)))
