"""The server of the page on which people review rows."""

from __future__ import annotations

from importlib import resources

from valign.core.local_server import LocalServer
from valign.review_desk.desk import ReviewDesk

LARGEST_DECISION = 60_000  # bytes; several texts of the greatest length


class ReviewServer(LocalServer):
    """Serves the page on which a person reviews rows, on this machine alone."""

    def __init__(self, desk: ReviewDesk, port: int) -> None:
        """Open the port.

        Args:
            desk: The rows, and the decisions about them.
            port: The port; 0 for any that is free.

        Raises:
            ValignError: The port is taken.
        """
        self.desk = desk
        reading = {"rows": desk.everything, "changes": desk.changes}
        writing = {"decide": desk.decide, "add": desk.add, "undo": desk.undo}
        super().__init__(_page(), port, reading, writing, LARGEST_DECISION)


def _page() -> str:
    """Return the page with its style and script inside."""
    files = resources.files("valign.review_desk")
    page = files.joinpath("page.html").read_text(encoding="utf-8")
    for tag in ("style", "script"):
        own = files.joinpath("page.css" if tag == "style" else "page.js").read_text(encoding="utf-8")
        page = page.replace(f"<{tag}></{tag}>", f"<{tag}>\n{own}</{tag}>")
    return page
