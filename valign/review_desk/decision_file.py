"""The file of decisions, to which several people's servers add lines at once."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from valign.core.disk import describe_disk_errors, locked
from valign.core.errors import ValignError
from valign.core.files import append_text, to_dict
from valign.synthesis.decisions import UNDO, Decision, RowState, check_reviewer, parse_decisions, settle


class DecisionFile:
    """Decisions on disk, each written, and flushed to the disk, before anybody is told that it was made.

    Attributes:
        path: The JSONL file.
        reviewer: Whose decisions are added and undone; those of others stay.
        decisions: All that are there, in the file's order.
    """

    def __init__(self, path: Path, reviewer: str) -> None:
        """Read what is there.

        Args:
            path: The file, which need not be there yet.
            reviewer: Who decides.

        Raises:
            ValignError: The name is none, or a line of the file is no decision.
        """
        self.path = path
        self.reviewer = check_reviewer(reviewer)
        self.decisions: list[Decision] = []
        self._read = 0  # bytes of the file that ``decisions`` stands for
        self.refresh()

    def refresh(self) -> None:
        """Read what others have added since."""
        if not self.path.is_file():
            self.decisions, self._read = [], 0
            return
        if self.path.stat().st_size < self._read:  # somebody mended the file by hand
            self.decisions, self._read = [], 0
        with self.path.open("rb") as file:
            file.seek(self._read)
            found, taken = parse_decisions(file.read(), self.path, len(self.decisions))
        self.decisions += found
        self._read += taken

    def states(self) -> dict[str, RowState]:
        """Return what all decisions come to, by the row's key."""
        return settle(self.decisions)

    def add(self, action: str, key: str, set: str, clause: str, change: dict[str, Any] | None = None) -> Decision:
        """Keep a decision of the reviewer about a row; the arguments are the fields of ``Decision``."""
        with self._latest():
            return self._append(Decision(action, key, self.reviewer, self._now(), _name(), set, clause, change or {}))

    def undo(self) -> Decision | None:
        """Take the reviewer's last decision back; return it, or None where there is none."""
        with self._latest():
            undone = {one.of for one in self.decisions if one.action == UNDO}
            own = [one for one in self.decisions if one.reviewer == self.reviewer and one.action != UNDO]
            last = max((one for one in own if one.id not in undone), key=lambda one: one.at, default=None)
            if last is not None:
                line = Decision(UNDO, last.key, self.reviewer, self._now(), _name(), last.set, last.clause, of=last.id)
                self._append(line)
            return last

    def _append(self, decision: Decision) -> Decision:
        lead = self._mend_end()
        fields = {name: value for name, value in to_dict(decision).items() if value not in ("", {})}
        append_text(self.path, lead + json.dumps(fields, ensure_ascii=False) + "\n", is_durable=True)
        self.refresh()
        return decision

    def _mend_end(self) -> str:
        """Cut off what a power cut left of a line that nobody was told of; return the line end that is missing."""
        if not self.path.is_file():
            return ""
        with describe_disk_errors(self.path), self.path.open("rb+") as file:
            if file.seek(0, os.SEEK_END) > self._read:
                file.truncate(self._read)
            if not self._read:
                return ""
            file.seek(self._read - 1)
            return "" if file.read(1) == b"\n" else "\n"

    def _now(self) -> str:
        """Return the time, later than that of any decision that is there, also where a clock was set back."""
        now = datetime.now(UTC)
        latest = max((one.at for one in self.decisions), default="")
        try:
            after = datetime.fromisoformat(latest) + timedelta(microseconds=1)
            now = max(now, after if after.tzinfo else after.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            pass  # none yet, or written by hand in another form
        return now.isoformat(timespec="microseconds")

    @contextmanager
    def _latest(self) -> Iterator[None]:
        """Hold the file's lock, with the decisions as they are on disk; one server at a time does so."""
        with locked(self.path.with_name(f"{self.path.name}.lock"), lambda: None):
            self.refresh()
            yield


def decision_file(folder: Path, noted: str, given: str | None, name: str) -> Path:
    """Return where decisions about a data set are kept.

    Args:
        folder: The data's folder.
        noted: The file with which the data were built; empty where there was none.
        given: The key ``file`` of the command; None leaves the choice to the data.
        name: Name of the file beside the data.

    Raises:
        ValignError: The file with which the data were built is no more.
    """
    if given:
        return Path(given).expanduser()
    if noted and not Path(noted).is_file():
        raise ValignError(
            f"{noted}, with whose decisions {folder} was built, is not there; start from the folder that the data were "
            "made from, or say where decisions are kept: file=FILE."
        )
    return Path(noted) if noted else folder / name


def _name() -> str:
    return secrets.token_hex(8)
