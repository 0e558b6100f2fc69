"""The server of the page on which a person labels answers, one by one or in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from statistics import median
from typing import Any

from valign.core.local_server import LocalServer
from valign.evaluation.judging.labels import LabelFile, ShownTask


class LabelServer(LocalServer):
    """Serves the page on which a person labels answers, one by one or in pairs, on this machine alone."""

    def __init__(self, tasks: Sequence[ShownTask], labels: LabelFile, port: int) -> None:
        """Open the port.

        Args:
            tasks: What is to be labelled.
            labels: Where labels are kept.
            port: The port; 0 for any that is free.

        Raises:
            ValignError: The port is taken.
        """
        self.tasks = tasks
        self.labels = labels
        page = resources.files("valign.evaluation.judging").joinpath("label.html").read_text(encoding="utf-8")
        super().__init__(page, port, {"state": self._state}, {"choose": self._choose, "undo": self._undo})

    def serve(self) -> None:
        """Answer until every pair is done, or the user interrupts."""
        if not self.state()["task"]:
            self.finished.set()
        super().serve()

    def state(self) -> dict[str, Any]:
        """Return the next pair that is not labelled, and how far the rater is."""
        done = self.labels.done(self.tasks)
        open_ = [i for i, task in enumerate(self.tasks) if task.key not in done]
        times = [label.seconds for label in self.labels.labels if label.rater == self.labels.rater and label.seconds]
        minutes = None if len(times) < 3 else max(1, round(median(times) * len(open_) / 60))
        task = {"number": open_[0], **self.tasks[open_[0]].shown()} if open_ else None
        return {"task": task, "done": len(done), "total": len(self.tasks), "minutes": minutes}

    def _state(self, _: Mapping[str, str]) -> dict[str, Any]:
        return self.state()

    def _choose(self, given: dict[str, Any]) -> dict[str, Any]:
        """Take a choice; with the last one the work is finished."""
        task = self.tasks[int(given["number"])]
        if task.key not in self.labels.done(self.tasks):
            self.labels.add(task, str(given["choice"]), float(given.get("seconds") or 0))
        state = self.state()
        if state["task"] is None:
            self.finished.set()
        return state

    def _undo(self, _: dict[str, Any]) -> dict[str, Any]:
        """Take the last choice back."""
        self.labels.undo()
        return self.state()
