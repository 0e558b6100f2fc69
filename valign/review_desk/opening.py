"""A data set laid out for its review: where it lies, its rows, and the file of decisions about them."""

from __future__ import annotations

from valign.core.errors import ValignError
from valign.core.text import one_line, typed
from valign.review_desk.decision_file import DecisionFile, decision_file
from valign.review_desk.desk import ReviewDesk, ReviewWork
from valign.review_desk.server import ReviewServer
from valign.runs.damage import describe_damage
from valign.synthesis.dataset import DECISIONS, DataSet
from valign.synthesis.review_rows import data_rows

UNNAMED = "me"  # the reviewer where the command names none


def open_server(data: DataSet, file: str | None, reviewer: str, port: int) -> ReviewServer:
    """Open the page on which a data set is reviewed.

    Args:
        data: The data set.
        file: Where decisions are kept; None leaves the choice to the data.
        reviewer: Who reviews.
        port: The page's port; 0 for any that is free.

    Raises:
        ValignError: The data lack their source or are damaged, the reviewer has no name, or the file cannot be read.
    """
    with describe_damage(data.folder):
        rows = data_rows(data)
        if data.source is None:
            raise ValignError(f"{data.folder} does not say what it was written from; have the data made again.")
        noted = str(data.funnel.get("review", {}).get("file", ""))
        path = decision_file(data.folder, noted, file, DECISIONS)
        work = ReviewWork(one_line(data.source.title), rows, data.source.passages)
        desk = ReviewDesk(work, DecisionFile(path, reviewer))
    return ReviewServer(desk, port)


def opening_lines(server: ReviewServer) -> list[str]:
    """Say what is to be read, and where the page is."""
    desk = server.desk
    rows, read, stale = desk.progress()
    lines = [f"{rows} rows of {desk.work.title}, {read} of them read; you are {desk.file.reviewer}."]
    if desk.file.reviewer == UNNAMED:
        lines.append("the report will say who read the data: stop, and give your name, such as reviewer=ann.")
    if stale:
        lines.append(f"{stale} earlier decisions do not apply: their row or its clause is another now.")
    return [*lines, f"open {server.address} in a browser on this machine; Ctrl-C stops, and the same command goes on."]


def closing_lines(desk: ReviewDesk) -> list[str]:
    """Say how far the review is, and how it is applied."""
    rows, read, _ = desk.progress()
    if not desk.file.path.is_file():
        return ["nothing was decided."]
    return [
        f"{read} of {rows} rows read; decisions: {desk.file.path}",
        f"apply them: the command that made the data, with {typed('synthesis.review', str(desk.file.path))}",
    ]
