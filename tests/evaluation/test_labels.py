"""People judge pairs of answers: which pairs, what is kept, who may write, and how far judges agree."""

from __future__ import annotations

import http.client
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from seeded_runs import BASE, run

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Answer, Passage
from valign.evaluation.judging.agreement import agreement, agreements
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.judging.label_server import LabelServer
from valign.evaluation.judging.labels import (
    LABELS,
    Label,
    LabelFile,
    answer_hash,
    as_judgements,
    draw_tasks,
    read_labels,
)
from valign.reporting.page import render_page
from valign.reporting.study import compare_runs
from valign.reporting.write import comparison_table


def judged(scores: dict[str, float], swapped: bool = False) -> list[Judgement]:
    found = [Judgement(q, f"d/{q[0]}", "a", "b", score, 0) for q, score in scores.items()]
    return [j.swapped() for j in found] if swapped else found


def test_kappa_by_hand() -> None:
    """Of 4 pairs 3 are judged alike: (win, win) twice, (loss, loss), (win, loss).

    One says win 3/4 and loss 1/4, the other half and half: chance agrees on 3/8 + 1/8 = 1/2; kappa is 1/4 of 1/2.
    """
    one = judged({"a1": 1.0, "a2": 1.0, "b1": 1.0, "b2": 0.0})
    other = judged({"a1": 1.0, "a2": 0.75, "b1": 0.0, "b2": 0.25, "c9": 1.0}, swapped=True)
    found = agreement("one", "other", {"one": one, "other": other})
    assert found is not None
    assert (found.same, found.kappa.n) == (0.75, 4)
    assert found.kappa.mean == pytest.approx(0.5)
    assert found.kappa.low < 0.5 <= found.kappa.high
    assert found.to_json()["kappa"]["n"] == 4


def test_ties_are_an_answer_of_their_own() -> None:
    """Always a tie against win and loss: they never agree, and chance would not either."""
    found = agreement("x", "y", {"x": judged({"a1": 0.5, "b1": 0.5}), "y": judged({"a1": 1.0, "b1": 0.0})})
    assert found is not None
    assert (found.same, found.kappa.mean) == (0.0, 0.0)


def test_kappa_is_unknown_where_chance_always_agrees_and_missing_without_a_shared_pair() -> None:
    same = judged({"a1": 1.0, "b1": 1.0})
    found = agreement("x", "y", {"x": same, "y": same})
    assert found is not None
    assert found.same == 1.0
    assert math.isnan(found.kappa.mean)
    assert found.to_json()["kappa"]["mean"] is None
    assert agreements({"x": same, "y": judged({"c1": 1.0})}) == []


def said() -> dict[str, list[Answer]]:
    """Three arms of four questions; on q0 two arms say the same."""
    return {
        arm: [Answer(f"q{i}", f"d/{i}", f"Why {i}?", "So.", f"{arm if i else 'we'} say {i}", arm) for i in range(4)]
        for arm in ("base", "sft", "dpo")
    }


def test_pairs_are_blind_differ_and_come_from_all_arms_in_turn() -> None:
    passages = [Passage("d/1", ("Rules",), "Nobody may.", 0, 11)]
    drawn = draw_tasks(said(), passages, 6, "ann", 0)
    assert len({task.key for task in drawn}) == len(drawn) == 6
    assert all(task.first.answer != task.second.answer for task in drawn)
    pairs = [frozenset((task.first.arm, task.second.arm)) for task in drawn]
    assert len(set(pairs[:3])) == len(set(pairs[3:])) == 3
    shown = json.dumps([{**task.shown(), "first": "", "second": ""} for task in drawn])
    assert not [arm for arm in said() if arm in shown]
    assert "Nobody may." in shown
    assert drawn == draw_tasks(said(), passages, 6, "ann", 0) != draw_tasks(said(), passages, 6, "bob", 0)
    assert len(draw_tasks(said(), passages, 99, "ann", 0)) == 9
    with pytest.raises(ValignError, match="nothing to label"):
        draw_tasks({"base": said()["base"][:1], "sft": said()["sft"][:1]}, passages, 6, "ann", 0)


def test_each_side_comes_first_about_half_of_the_time() -> None:
    many = {arm: [Answer(f"q{i}", "d/1", "Why?", "So.", f"{arm} {i}", arm) for i in range(200)] for arm in ("a", "b")}
    first = sum(task.first.arm == "a" for task in draw_tasks(many, [], 200, "ann", 0))
    assert 70 < first < 130


def test_labels_are_kept_at_once_and_found_again(tmp_path: Path) -> None:
    drawn = draw_tasks(said(), [], 4, "ann", 0)
    file = LabelFile(tmp_path / "runs" / LABELS, "ann")
    LabelFile(tmp_path / "runs" / LABELS, "bob").add(drawn[0], "tie", 2.0)  # another server, meanwhile
    file.add(drawn[0], "first", 3.04)
    file.add(drawn[1], "second", 1.0)
    again = LabelFile(tmp_path / "runs" / LABELS, "ann")
    assert again.done(drawn) == {drawn[0].key, drawn[1].key}
    assert again.undo()
    assert again.done(drawn) == {drawn[0].key}
    assert [(label.rater, label.choice, label.seconds) for label in read_labels(file.path)] == [
        ("bob", "tie", 2.0),
        ("ann", "first", 3.0),
    ]
    assert again.undo()
    assert not again.undo()
    with pytest.raises(ValignError, match="'left' is no choice"):
        again.add(drawn[0], "left", 0)
    file.path.write_text('{"question_id": "q", "first": "a", "second": "b", "choice": "left", "rater": "ann"}\n')
    with pytest.raises(ValignError, match="'left' is no choice"):
        read_labels(file.path)


def test_labels_go_by_the_answers_words() -> None:
    """A label is one judgement, also where two arms said the same; an answer that nobody gives any more has none."""
    answers = said()
    we, dpo = answers["base"][0], answers["dpo"][1]
    labels = [
        Label("q1", answer_hash(answers["sft"][1]), answer_hash(dpo), "second", "ann"),
        Label("q1", answer_hash(dpo), answer_hash(answers["base"][1]), "tie", "bob"),
        Label("q0", answer_hash(we), "0" * 16, "first", "ann"),
    ]
    found = as_judgements(labels, answers)
    assert [(j.first, j.second, j.score) for j in found["ann"]] == [("sft", "dpo", 0.0)]
    assert [(j.first, j.second, j.score) for j in found["bob"]] == [("dpo", "base", 0.5)]
    other = [Answer("q0", "d/0", "Why 0?", "So.", "dpo alone", "dpo")]
    alike = as_judgements(
        [Label("q0", answer_hash(we), answer_hash(other[0]), "first", "ann")], {**answers, "dpo": other}
    )
    assert [(j.first, j.second, j.score) for j in alike["ann"]] == [("base", "dpo", 1.0)]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[LabelServer]:
    """An open desk of three pairs."""
    opened = LabelServer(draw_tasks(said(), [], 3, "ann", 0), LabelFile(tmp_path / LABELS, "ann"), 0)
    thread = threading.Thread(target=opened.serve)
    thread.start()
    yield opened
    opened.finished.set()
    thread.join()


def ask(desk: LabelServer, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send a request to the desk; return the status and the reply."""
    connection = http.client.HTTPConnection("127.0.0.1", desk.server.server_port, timeout=10)
    sent = {"Content-Type": "application/json", **headers}
    data = None if body is None else json.dumps(body)
    connection.request("GET" if body is None else "POST", path, data, sent)
    reply = connection.getresponse()
    text = reply.read().decode()
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    return reply.status, json.loads(text) if reply.headers.get_content_type() == "application/json" else text


def test_the_desk_hands_out_pairs_until_all_are_labelled(desk: LabelServer) -> None:
    place = "/" + desk.address.split("/", 3)[3]
    status, page = ask(desk, place)
    assert status == 200
    assert "Which answer follows the document better" in page
    state = ask(desk, place + "state")[1]
    assert (state["done"], state["total"], state["minutes"]) == (0, 3, None)
    for choice in ("first", "tie"):
        state = ask(desk, place + "choose", {"number": state["task"]["number"], "choice": choice, "seconds": 9})[1]
    assert state["done"] == 2
    assert ask(desk, place + "choose", {"number": 0, "choice": "second"})[1]["done"] == 2
    assert [label.choice for label in read_jsonl(desk.labels.path, Label)] == ["first", "tie"]
    assert ask(desk, place + "undo", {})[1]["done"] == 1
    for choice in ("tie", "second"):
        number = ask(desk, place + "state")[1]["task"]["number"]
        state = ask(desk, place + "choose", {"number": number, "choice": choice})[1]
    assert state["task"] is None
    assert desk.finished.wait(5)


def test_nobody_else_reads_or_writes(desk: LabelServer) -> None:
    """Without the address's secret, under another host's name, as a form, or with nonsense, nothing is kept."""
    place = "/" + desk.address.split("/", 3)[3]
    good = {"number": 0, "choice": "first"}
    assert ask(desk, "/state")[0] == 404
    assert ask(desk, "/guess/choose", good)[0] == 404
    assert ask(desk, place + "state", Host="evil.example")[0] == 403
    assert ask(desk, place + "choose", good, **{"Content-Type": "text/plain"})[0] == 403
    assert ask(desk, place + "choose", good, Origin="http://evil.example")[0] == 403
    assert ask(desk, place + "choose", {"number": 0, "choice": "x" * 20_000})[0] == 413
    for bad in ({"number": 77, "choice": "first"}, {"number": "x"}, {"number": 0, "choice": "left"}, [1], {}):
        assert ask(desk, place + "choose", bad)[0] == 400
    assert not desk.labels.path.exists()


def test_a_port_that_is_taken_is_one_line(desk: LabelServer) -> None:
    with pytest.raises(ValignError, match=r"port=\d+ cannot be opened .*choose another, or 0"):
        LabelServer(desk.tasks, desk.labels, desk.server.server_port)


def test_labels_are_on_the_page_beside_the_judges(tmp_path: Path) -> None:
    """Two people and the reference judge; the reference judge has no similarities here, so only the people compare."""
    folder = run(tmp_path / "runs" / "sft", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
    answers = {result.arm: result.answers for result in compare_runs([folder]).arms}
    for rater, choices in (("ann", ("first", "tie")), ("bob", ("first", "second"))):
        file = LabelFile(folder.parent / LABELS, rater)
        for task, choice in zip(draw_tasks(answers, [], 2, "same", 0), choices, strict=True):
            file.add(task, choice, 1.0)
    comparison = compare_runs([folder])
    assert "ann (a person), bob (a person): 50% of 2 pairs" in comparison_table(compare_runs([folder]))
    page = render_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Do the judges agree?" in page
    assert "ann (a person), bob (a person)" in page
