"""Results of batches: files in the OpenAI Batch format, in any order, in part, with lines that failed or are broken."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.whole_text import describe_absence
from valign.teachers.faults import redact, server_words
from valign.teachers.refusals import REFUSALS
from valign.teachers.replies import read_all_choices
from valign.teachers.usage import plausible_count

REQUESTS_PREFIX = "requests-"


@dataclass(frozen=True)
class FailedResult:
    """What a result says instead of a completion.

    Attributes:
        status: The HTTP status, where there is one.
        text: A message.
        is_empty: Whether it is a reply, and one without a text.
    """

    status: int | None
    text: str
    is_empty: bool = False


@dataclass
class BatchResults:
    """What was read from files of results.

    Attributes:
        replies: Chat completions by custom id; of several, the first counts.
        failed: What went wrong, by custom id, where there is no reply.
        duplicates: Further replies to the same request.
        unreadable: Where the lines are that hold no result: file and number.
        thought: The most tokens of a reply that was cut off while its model thought, or after it; 0 where none was.
    """

    replies: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, FailedResult] = field(default_factory=dict)
    duplicates: int = 0
    unreadable: list[str] = field(default_factory=list)
    thought: int = 0

    def add(self, line: bytes, where: str) -> None:
        """Take a line of a file of results."""
        try:
            data = json.loads(line)
            name = data["custom_id"]
            if not isinstance(name, str) or not {"response", "error", "text"} & set(data):
                raise ValueError("no result")
        except (ValueError, TypeError, KeyError, RecursionError):
            self.unreadable.append(where)
            return
        reply, thought = _reply(data)
        self.thought = max(self.thought, thought)
        if isinstance(reply, FailedResult):
            self.failed[name] = reply
        elif name in self.replies:
            self.duplicates += 1
        else:
            self.replies[name] = reply

    def settle(self) -> None:
        """Forget the failures of requests that have a reply, too."""
        self.failed = {name: fault for name, fault in self.failed.items() if name not in self.replies}

    def refusals(self) -> list[str]:
        """Return what was said of requests that were refused (400 or 422), each once."""
        said = (fault.text for fault in self.failed.values() if fault.status in REFUSALS)
        return list(dict.fromkeys(said))

    def empty(self) -> int:
        """Return how many requests brought nothing but replies without a text."""
        return sum(fault.is_empty for fault in self.failed.values())


def find_results(place: Path) -> list[Path]:
    """Return the files of results in a folder, or the file itself; files of requests are left out.

    Raises:
        ValignError: There is no such place.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise ValignError(
            f"teacher.results={place} {describe_absence(place)}; give a file of results (.jsonl), or a folder of them."
        )
    return sorted(path for path in place.glob("*.jsonl") if not path.name.startswith((REQUESTS_PREFIX, ".")))


def read_results(files: Iterable[Path]) -> BatchResults:
    """Read files of results.

    Raises:
        ValignError: A file cannot be read, or is one of requests.
    """
    found = BatchResults()
    for path in files:
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if not line.strip():
                        continue
                    if number == 1 and _is_request(line):
                        raise ValignError(f"{path} holds requests, not results; give what the batch made of them.")
                    found.add(line, f"{path}, line {number}")
        except OSError as error:
            raise ValignError(f"{path} cannot be read ({error.strerror}); check teacher.results.") from None
    found.settle()
    return found


def is_result_line(line: str) -> bool:
    """Tell whether a line is meant as a result of a batch, and not as a recorded call."""
    return line.lstrip().startswith("{") and '"custom_id"' in line


def _is_request(line: bytes) -> bool:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(data, dict) and {"custom_id", "method", "body"} <= set(data) and "response" not in data


def _reply(data: dict[str, Any]) -> tuple[dict[str, Any] | FailedResult, int]:
    """Return a line's chat completion, with what is read of it alone, or what went wrong.

    Returns:
        The completion, and its tokens where it was cut off while its model thought, or after it; else 0.
    """
    if "text" in data:  # written by hand
        found = data["text"] if isinstance(data["text"], list) else [data["text"]]
        texts = [json.dumps(text, ensure_ascii=False) if isinstance(text, dict) else text for text in found]
        body: Any = {"choices": [{"message": {"content": text}, "finish_reason": "stop"} for text in texts]}
        status: Any = 200
    else:
        response = data.get("response")
        response = response if isinstance(response, dict) else {}
        body, status = response.get("body"), response.get("status_code")
    status = status if isinstance(status, int) else None
    error = data.get("error") or (body.get("error") if isinstance(body, dict) else None)
    if error or (status or 200) >= 300:
        return FailedResult(status, _message(error or body)), 0
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices or not all(map(_is_choice, choices)):
        return FailedResult(status, "no completion"), 0
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    read = read_all_choices(choices, usage)
    thought = 0
    if any(choice.has_thoughts and choice.is_cut for choice in read):
        thought = max(1, (plausible_count(usage.get("completion_tokens")) or 0) // len(read))
    if not any(choice.text for choice in read):
        return FailedResult(None, "thoughts and no answer" if thought else "no text", is_empty=True), thought
    kept = [
        {
            "index": choice.get("index"),
            "message": {"content": one.text},
            "finish_reason": "length" if one.is_cut else one.end,
        }
        for choice, one in zip(choices, read, strict=True)
    ]
    reply = {"choices": kept, "usage": usage}
    return ({**reply, "model": body["model"]} if isinstance(body.get("model"), str) else reply), thought


def _is_choice(choice: Any) -> bool:
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return False
    content = choice["message"].get("content")
    is_list = isinstance(content, list) and all(isinstance(part, str | dict) for part in content)
    return isinstance(choice.get("index"), int | None) and (is_list or isinstance(content, str | dict | None))


def _message(error: Any) -> str:
    """Return an error object's message as one line."""
    try:
        return redact(server_words(error), ()) or "no message"
    except RecursionError:
        return "no message"


def failure_lines(failed: Iterable[FailedResult]) -> str:
    """Return what went wrong, most frequent first: ``3 with status 500 (overloaded), 1 (batch_expired)``."""
    kinds: dict[int | None, list[str]] = {}
    for fault in failed:
        kinds.setdefault(fault.status, []).append(fault.text)
    parts = []
    for status, texts in sorted(kinds.items(), key=lambda item: (-len(item[1]), str(item[0]))):
        common = Counter(texts).most_common(1)[0][0]
        parts.append(f"{len(texts)} {f'with status {status} ' if status else ''}({common})")
    return ", ".join(parts)
