"""The server of the review: who may ask, what it keeps and when, several reviewers, and an end by kill -9."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from review_work import ASKED, GEESE, HELMETS, make_rows, review_server, send

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.review_desk.decision_file import DecisionFile
from valign.review_desk.server import ReviewServer
from valign.synthesis.decisions import Decision, read_review

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "review.jsonl"


@pytest.fixture
def desk(file: Path) -> Iterator[ReviewServer]:
    """Three rows of D_sft, two pairs, a question and a probe, reviewed by ann."""
    with review_server(file) as server:
        yield server


def first(desk: ReviewServer, set: str = "D_sft") -> str:
    """Return the key of the first row of a set."""
    return next(key for key, row in desk.desk.rows.items() if row.set == set)


def test_the_page_gets_every_row_with_its_clause_and_the_decisions(desk: ReviewServer, file: Path) -> None:
    status, page = send(desk.address, "")
    assert status == 200
    assert "<script>\n" in page and "<style>\n" in page and "http" not in page
    found = send(desk.address, "rows")[1]
    assert {row["set"] for row in found["rows"]} == {"D_sft", "D_pref", "questions", "probes"}
    assert found["clauses"][GEESE][0]["heading"] == "Harbour > Rule 2. Geese"
    assert (found["reviewer"], found["stale"], found["since"], found["states"]) == ("ann", 0, 0, {})
    key = first(desk)
    state = send(desk.address, "decide", {"action": "keep", "key": key})[1]["states"][key]
    assert (state["action"], state["reviewer"], state["readers"]) == ("keep", "ann", ["ann"])
    assert send(desk.address, "rows")[1]["states"][key] == state
    assert send(desk.address, "changes?since=1")[1] == {"since": 1, "states": {}}
    assert read_review(file).states[key].action == "keep"


def test_an_edit_keeps_what_differs_and_can_be_taken_back(desk: ReviewServer, file: Path) -> None:
    key = first(desk, "D_pref")
    row = desk.desk.rows[key]
    same = {"question": row.question, "answer": row.answer, "rejected_kind": "verdict", "verdict": "no"}
    given = {"action": "edit", "key": key, "change": {**same, "rejected": " Yes, twice. "}}
    state = send(desk.address, "decide", given)[1]["states"][key]
    assert (state["action"], state["change"]) == ("edit", {"rejected": "Yes, twice."})
    again = {"action": "edit", "key": key, "seen": state["last"], "change": {**same, "rejected": row.rejected}}
    state = send(desk.address, "decide", again)[1]["states"][key]
    assert (state["action"], state["change"]) == ("keep", {})
    assert send(desk.address, "undo", {})[1]["states"][key]["action"] == "edit"
    assert send(desk.address, "undo", {})[1]["states"][key] is None
    assert send(desk.address, "undo", {})[1]["key"] == ""
    assert [line.action for line in read_jsonl(file, Decision)] == ["edit", "edit", "undo", "undo"]


def test_a_row_is_added_edited_and_dropped_again(desk: ReviewServer) -> None:
    new = {"question": "Who feeds the ducks?", "answer": "Nobody.", "verdict": None}
    reply = send(desk.address, "add", {"set": "D_sft", "clause": HELMETS, "change": new})[1]
    key = reply["key"]
    state = reply["states"][key]
    assert (state["row"]["clauses"], state["row"]["teacher"]) == ([HELMETS], "added by ann")
    assert send(desk.address, "add", {"set": "D_sft", "clause": HELMETS, "change": new}) == (
        400,
        "this row is there already.",
    )
    edit = {"action": "edit", "key": key, "seen": state["last"], "change": {**new, "answer": "No one."}}
    state = send(desk.address, "decide", edit)[1]["states"][key]
    assert (state["action"], state["change"]["answer"]) == ("add", "No one.")
    gone = {"action": "drop", "key": key, "seen": state["last"]}
    assert send(desk.address, "decide", gone)[1]["states"][key]["action"] == "drop"


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("decide", {"action": "burn", "key": ""}, "'burn' is no action"),
        ("decide", {"action": "keep"}, "'key' is missing"),
        ("decide", {"action": "keep", "key": "0" * 16}, "there is no such row"),
        ("decide", {"action": "keep", "key": ["x"]}, "unhashable"),
        ("decide", {"action": "keep", "key": "", "since": "many"}, "since is not a whole number; reload the page"),
        ("decide", {"action": "edit", "key": "", "change": []}, "'change' must be a JSON object"),
        ("decide", {"action": "edit", "key": "", "change": {"answer": ""}}, "answer is empty"),
        ("decide", {"action": "edit", "key": "", "change": {"facts": []}}, "'facts' cannot be changed in D_sft"),
        ("decide", {"action": "edit", "key": "", "change": {"answer": "No.<|im_end|>"}}, "a control token"),
        ("decide", {"action": "edit", "key": "", "change": {"question": f"I ask: {ASKED}"}}, "may not give away"),
        ("add", {"set": "facts", "clause": "x", "change": {}}, "'facts' takes no new rows"),
        ("add", {"set": "D_sft", "clause": "harbour/rule-9", "change": {}}, "no clause 'harbour/rule-9'"),
        ("add", {"set": "D_sft", "clause": GEESE, "change": {"question": "Why?"}}, "answer is missing"),
        ("add", {"set": "D_pref", "clause": GEESE, "change": {"question": "Why?", "answer": "So."}}, "rejected is"),
        ("decide", [1], "a JSON object is expected"),
        ("decide", b'{"action": "ke', "not whole JSON"),
        ("decide", b"\xff", "not whole JSON"),
        ("decide", b"[" * 50_000, "not whole JSON"),
        ("decide", b'{"action": "\\ud83d"}', "not whole JSON"),
    ],
)
def test_bad_bodies_are_refused_in_one_line(desk: ReviewServer, file: Path, path: str, body: object, said: str) -> None:
    if isinstance(body, dict) and body.get("key") == "" and body["action"] != "burn":
        body = {**body, "key": first(desk)}
    status, text = send(desk.address, path, body)
    assert (status, "\n" in text) == (400, False)
    assert said in text
    assert not file.exists()


def test_nobody_else_reads_or_writes(desk: ReviewServer, file: Path) -> None:
    """Under another host's name, from another origin, without the address's secret, as a form, or oversized."""
    good = {"action": "keep", "key": first(desk)}
    port = desk.server.server_port
    for headers in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{port}"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://127.0.0.1:{port}"},
        {"Origin": f"http://127.0.0.1:{port + 1}"},
    ):
        for path, body in (("", None), ("rows", None), ("decide", good), ("undo", {})):
            assert send(desk.address, path, body, **headers) == (403, "other host or origin"), headers
    assert send(desk.address, "decide", good, **{"Content-Type": "text/plain"})[0] == 403
    assert send(desk.address, "/rows")[0] == send(desk.address, "/guess/decide", good)[0] == 404
    assert send(desk.address, "../rows")[0] == send(desk.address, "page.js")[0] == 404
    assert send(desk.address, "decide", b"x" * 60_001)[0] == 413
    assert send(desk.address, "decide", b"x" * 3_000_000)[0] == 413
    assert not file.exists()
    assert desk.server.server_address[0] == "127.0.0.1"
    own = {"Host": f"localhost:{port}", "Origin": f"http://localhost:{port}"}
    assert send(desk.address, "decide", good, **own)[0] == 200
    with socket.create_connection(("127.0.0.1", port)) as other:
        other.sendall(b"POST / HTTP/1.0\r\nContent-Length: -1\r\n\r\n")
        assert other.recv(100).startswith(b"HTTP/1.0 403")


def test_a_browser_that_does_not_wait_is_no_trouble(desk: ReviewServer, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed when a page is closed in the middle, and the next one is served."""
    port, place = desk.server.server_port, desk.address.split("/", 3)[3]
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", port)) as closed:
            closed.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            closed.sendall(f"GET /{place}rows HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(f"POST /{place}decide HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9\r\n".encode())
    assert send(desk.address, "rows")[0] == 200
    assert capfd.readouterr().err == ""


def test_two_reviewers_at_once_see_each_other_and_lose_nothing(file: Path) -> None:
    """Each decides about every row, at the same time, over servers of their own."""
    rows = make_rows(30)
    with review_server(file, "ann", rows) as ann, review_server(file, "bob", rows) as bob:

        def review(desk: ReviewServer) -> None:
            for key in desk.desk.rows:
                seen = send(desk.address, "rows")[1]["states"].get(key)
                reply = send(
                    desk.address, "decide", {"action": "keep", "key": key, "seen": seen["last"] if seen else ""}
                )
                while reply[0] == 409:
                    seen = send(desk.address, "rows")[1]["states"][key]
                    reply = send(desk.address, "decide", {"action": "keep", "key": key, "seen": seen["last"]})
                assert reply[0] == 200

        threads = [Thread(target=review, args=(desk,)) for desk in (ann, bob)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        states = send(ann.address, "changes?since=0")[1]["states"]
        assert all(sorted(state["readers"]) == ["ann", "bob"] for state in states.values())
        lines = read_jsonl(file, Decision)
        assert len(lines) == 2 * len(rows) and len({line.id for line in lines}) == len(lines)
        assert sorted(line.at for line in lines) == [line.at for line in lines]
        last = [line.key for line in lines if line.reviewer == "bob"][-1]
        assert send(bob.address, "undo", {})[1]["key"] == last
        assert ann.desk.progress()[:2] == (len(rows), len(rows))


def test_who_decides_on_what_another_changed_meanwhile_is_told(file: Path) -> None:
    rows = make_rows(1)
    with review_server(file, "ann", rows) as ann, review_server(file, "bob", rows) as bob:
        key = rows[0].key
        assert send(bob.address, "decide", {"action": "edit", "key": key, "change": {"answer": "Nine."}})[0] == 200
        status, said = send(ann.address, "decide", {"action": "drop", "key": key, "seen": ""})
        assert (status, said) == (409, "bob decided about this row meanwhile; look at it once more.")
        last = send(ann.address, "changes?since=0")[1]["states"][key]["last"]
        assert send(ann.address, "decide", {"action": "drop", "key": key, "seen": last})[0] == 200


KILLED = """
import sys
from pathlib import Path
from review_work import DOCUMENT, make_rows
from valign.review_desk.decision_file import DecisionFile
from valign.review_desk.desk import ReviewDesk, ReviewWork
from valign.review_desk.server import ReviewServer
work = ReviewWork("Harbour", make_rows(), DOCUMENT.passages)
desk = ReviewServer(ReviewDesk(work, DecisionFile(Path(sys.argv[1]), "ann")), 0)
print(desk.address, flush=True)
desk.serve()
"""


def test_kill_9_loses_no_decision_that_was_shown_as_made(file: Path) -> None:
    """Twice the server is killed right after a reply; what half a line a power cut left goes with the next one."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'helpers'}"}
    keys = [row.key for row in make_rows()]
    for turn in range(2):
        started = [sys.executable, "-c", KILLED, str(file)]
        with subprocess.Popen(started, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            for key in keys[2 * turn : 2 * turn + 2]:
                assert send(address, "decide", {"action": "drop", "key": key})[0] == 200
            process.send_signal(signal.SIGKILL)
        assert set(read_review(file).states) == set(keys[: 2 * turn + 2])
        with file.open("ab") as left:
            left.write(b'{"action": "keep", "key": "')
    with review_server(file) as desk:
        assert desk.desk.progress() == (len(keys), 4, 0)
        assert send(desk.address, "decide", {"action": "keep", "key": keys[4]})[0] == 200
    assert len(read_jsonl(file, Decision)) == 5


def test_a_file_mended_by_hand_is_read_again_and_a_missing_line_end_is_added(file: Path) -> None:
    key, other = (row.key for row in make_rows()[:2])
    with review_server(file) as desk:
        send(desk.address, "decide", {"action": "drop", "key": key})
        send(desk.address, "decide", {"action": "drop", "key": other})
        file.write_text(file.read_text().splitlines()[0])
        assert set(send(desk.address, "rows")[1]["states"]) == {key}
        assert send(desk.address, "decide", {"action": "keep", "key": other})[0] == 200
        assert [line.key for line in read_jsonl(file, Decision)] == [key, other]


def test_a_clock_that_is_set_back_changes_no_order(file: Path) -> None:
    """A decision is later than all that are there, so that the last one made counts."""
    key = make_rows()[0].key
    file.parent.mkdir()
    late = {"action": "drop", "key": key, "reviewer": "bob", "at": "2999-01-01T00:00:00.000000+00:00", "id": "x"}
    file.write_text(json.dumps(late) + "\n")
    decisions = DecisionFile(file, "ann")
    assert decisions.add("keep", key, "D_sft", GEESE).at == "2999-01-01T00:00:00.000001+00:00"
    assert decisions.states()[key].action == "keep"


def test_decisions_about_other_rows_are_said(file: Path) -> None:
    with review_server(file, rows=make_rows(4)) as desk:
        for key in list(desk.desk.rows)[:3]:
            send(desk.address, "decide", {"action": "keep", "key": key})
    with review_server(file, rows=make_rows(4, "otherwise")) as desk:
        assert desk.desk.progress() == (8, 0, 3)
        assert send(desk.address, "rows")[1]["stale"] == 3


def test_a_port_that_is_taken_and_a_name_that_is_none_are_one_line(desk: ReviewServer, file: Path) -> None:
    with pytest.raises(ValignError, match=r"port=\d+ cannot be opened .*choose another, or 0"):
        ReviewServer(desk.desk, desk.server.server_port)
    with pytest.raises(ValignError, match="is no name"):
        DecisionFile(file, "")


def test_odd_addresses_and_many_slow_clients(desk: ReviewServer, file: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """An address that cannot be taken apart is not here; clients that never finish keep nobody waiting."""
    port, place = desk.server.server_port, desk.address.split("/", 3)[3]
    with socket.create_connection(("127.0.0.1", port)) as odd:
        odd.sendall(f"GET http://[/{place}rows HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        assert odd.recv(100).startswith(b"HTTP/1.0 404")
    began = time.monotonic()
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(60)]
    for client in slow:
        client.sendall(b"POST /")
    assert send(desk.address, "rows")[0] == 200
    assert time.monotonic() - began < 10
    for client in slow:
        client.close()
    file.mkdir(parents=True)
    status, said = send(desk.address, "decide", {"action": "keep", "key": first(desk)})
    assert (status, "\n" in said) == (400, False) and "Is a directory" in said
    file.rmdir()
    assert capfd.readouterr().err == ""
