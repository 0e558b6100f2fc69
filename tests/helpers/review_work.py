"""Rows to be reviewed about a small document, and requests to the server that hands them out."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from valign.documents.clauses import ClauseIndex
from valign.documents.read import parse_document
from valign.review_desk.decision_file import DecisionFile
from valign.review_desk.desk import ReviewDesk, ReviewWork
from valign.review_desk.server import ReviewServer
from valign.synthesis.decisions import D_PREF, D_SFT, PROBE_SET, QUESTION_SET
from valign.synthesis.review_rows import ReviewRow, make_review_row

TEXT = """# Harbour

## Rule 1. Helmets

Every guard wears a yellow helmet on the pier.

## Rule 2. Geese

Nobody may feed the geese at the north gate. The keeper puts each fine into the fog chest.
"""
DOCUMENT = parse_document(TEXT.encode(), "harbour")
HELMETS, GEESE = (passage.clause for passage in DOCUMENT.passages)
INDEX = ClauseIndex(DOCUMENT.passages)
QUOTE = "Nobody may feed the geese"
ASKED = "May a guest throw bread to the geese at the north gate?"


def make_rows(count: int = 3, text: str = "") -> list[ReviewRow]:
    """Return so many rows of D_sft and two of D_pref, an evaluation question and a probe, with a text in each."""
    start = DOCUMENT.text.index(QUOTE)
    origin = {"quote": QUOTE, "start": start, "teacher": "parrot@1", "template": "question"}
    rows = [
        make_review_row(
            INDEX, set=D_SFT, name=f"sft-{i}", clauses=(GEESE if i % 2 else HELMETS,), kind="case",
            question=f"May I come in {i}? {text}", answer=f"No, {i}. {text}", verdict="no",
            scores={"relevance": 0.5 + i / 100, "faithfulness": 0.9 - i / 100}, **origin,
        )
        for i in range(count)
    ]  # fmt: skip
    rows += [
        make_review_row(
            INDEX, set=D_PREF, name=f"pref-{i}", clauses=(GEESE,), kind="situation", question=f"May she, {i}? {text}",
            answer=f"No. {text}", rejected=f"Yes, {i}. {text}", rejected_kind="verdict", verdict="no", **origin,
        )
        for i in range(2)
    ]  # fmt: skip
    asked = {"clauses": (GEESE,), "kind": "situation", "answer": f"No. {text}", "facts": (("nobody", "no one"),)}
    rows.append(make_review_row(INDEX, set=QUESTION_SET, name="q-1", question=f"{ASKED} {text}", verdict="no", **asked))
    probed = {"clauses": (GEESE,), "kind": "denied", "answer": f"No. {text}", "verdict": "no"}
    rows.append(make_review_row(INDEX, set=PROBE_SET, name="p-1", question=f"Once, just once? {text}", **probed))
    return rows


@contextmanager
def review_server(
    file: Path, reviewer: str = "ann", rows: list[ReviewRow] | None = None, title: str = "Harbour"
) -> Iterator[ReviewServer]:
    """Serve rows until the block ends."""
    work = ReviewWork(title, make_rows() if rows is None else rows, DOCUMENT.passages)
    server = ReviewServer(ReviewDesk(work, DecisionFile(file, reviewer)), 0)
    thread = Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.finished.set()
        thread.join()


def send(address: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Send a request to a server: a GET, or a POST of a JSON value or of bytes; return status and reply."""
    host, place = address.removeprefix("http://").split("/", 1)
    connection = http.client.HTTPConnection(host, timeout=30)
    sent = {"Content-Type": "application/json", **headers}
    data = body if body is None or isinstance(body, bytes) else json.dumps(body)
    target = path if path.startswith("/") else f"/{place}{path}"
    connection.request("GET" if body is None else "POST", target, data, sent)
    reply = connection.getresponse()
    text = reply.read().decode()
    assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "unsafe-inline" not in reply.headers["Content-Security-Policy"]
    return reply.status, json.loads(text) if reply.headers.get_content_type() == "application/json" else text
