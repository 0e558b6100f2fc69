"""A teacher that answers from a recording, and how one is made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import append_text
from valign.core.store import file_digest
from valign.core.whole_text import describe_absence
from valign.generation.requests import Completion, Request
from valign.teachers.batch import take_results
from valign.teachers.batch_results import BatchResults, is_result_line, read_results
from valign.teachers.cache import request_key
from valign.teachers.protocol import Job

GROUP_SIZE = 16
WORDS_SHOWN = 12


class ReplayTeacher:
    """Answers requests from a recording."""

    def __init__(self, recording: Path, name: str = "replay") -> None:
        """Choose the recording.

        Args:
            recording: JSONL file; each line has ``messages``, ``openings``, ``sampling`` and ``completions`` (a list of
                ``text``, ``tokens``, ``finished``). Of equal requests the last one counts. Or the results of a batch.
            name: First part of the id; for results of a batch the model's name, if they do not have it themselves.

        Raises:
            ValignError: The file is missing or a line of it is not such a record.
        """
        if not recording.is_file():
            raise ValignError(
                f"teacher.recording={recording} {describe_absence(recording)}; give the path of a recording (.jsonl)."
            )
        self.recording = recording
        self.name = name

    @cached_property
    def id(self) -> str:
        """Name and the first 8 hex digits of the recording's SHA-256."""
        return f"{self.name}@{file_digest(self.recording)[:8]}"

    @cached_property
    def completions(self) -> dict[str, list[Completion]]:
        """The recorded completions by request."""
        found: dict[str, list[Completion]] = {}
        if self.results.replies:
            return found
        with self.recording.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    key, row = _parse(line, f"{self.recording}, line {number}")
                    found[key] = row
        return found

    @cached_property
    def results(self) -> BatchResults:
        """The recording as results of a batch; empty where it is another one."""
        with self.recording.open(encoding="utf-8", errors="replace") as file:
            is_batch = is_result_line(file.readline())
        return read_results([self.recording]) if is_batch else BatchResults()

    def _find(self, request: Request) -> list[Completion] | None:
        """Return what was recorded of a request."""
        if not self.results.replies:
            return self.completions.get(_key(request.to_dict()))
        for model in self._models:
            job = Job(request_key(model, request), request, tuple(range(request.sampling.n)))
            found, lacking = take_results(job, self.results)
            if not lacking:
                row = {number: c for result in found for number, c in result.completions.items()}
                return [row[number] for number in job.missing]
        return None

    @cached_property
    def _models(self) -> list[str]:
        """The names under which a batch may have been asked for."""
        named = (reply.get("model") for reply in self.results.replies.values())
        return list(dict.fromkeys([self.name, *(name for name in named if name)]))

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order."""
        return [list(range(i, min(i + GROUP_SIZE, len(requests)))) for i in range(0, len(requests), GROUP_SIZE)]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return what was recorded.

        Raises:
            ValignError: A request was not recorded.
        """
        rows = []
        more = ", give the batch's model (teacher.model=NAME)" if self.results.replies else ""
        for request in requests:
            row = self._find(request)
            if row is None:
                raise ValignError(
                    f'{self.recording} has no completion for the prompt "{_first_words(request)}" with these sampling '
                    f"settings; record it again with the present prompts and settings{more}, or choose teacher=local."
                )
            rows.append(row)
        return rows


def record(path: Path, requests: Sequence[Request], completions: Sequence[Sequence[Completion]]) -> None:
    """Append requests and their completions, for example those of a cached teacher, to a recording."""
    pairs = zip(requests, completions, strict=True)
    lines = [{**request.to_dict(), "completions": [asdict(c) for c in row]} for request, row in pairs]
    append_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def _parse(line: str, where: str) -> tuple[str, list[Completion]]:
    """Return a line's request, as a key, and its completions."""
    try:
        data = json.loads(line)
        row = [Completion(**item) for item in data["completions"]]
        key = _key(data)
        expected = data["sampling"]["n"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValignError(f"{where}: not a recorded call ({error}); mend or delete the line.") from None
    if len(row) != expected:
        raise ValignError(f"{where}: {len(row)} completions instead of {expected}; mend or delete the line.")
    return key, row


def _key(request: dict[str, Any]) -> str:
    return json.dumps([request["messages"], request["openings"], request["sampling"]], sort_keys=True)


def _first_words(request: Request) -> str:
    words = request.messages[-1]["content"].split()
    return " ".join(words[:WORDS_SHOWN]) + (" ..." if len(words) > WORDS_SHOWN else "")
