"""A teacher that notes what it is asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from valign.generation.requests import Completion, Request, Sampling


class FakeTeacher:
    """Repeats the prompt with the number of the group it came in; notes each group in a list and, if given, a file."""

    id = "fake@1"

    def __init__(self, log: Path | None = None, size: int = 3, seconds: float = 0.0) -> None:
        """Choose where the groups are noted, how many requests one has, and how long it takes."""
        self.groups: list[list[str]] = []
        self.log = log
        self.size = size
        self.seconds = seconds

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests in their order."""
        return [list(range(i, min(i + self.size, len(requests)))) for i in range(0, len(requests), self.size)]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Say what was asked, and with what."""
        prompts = [request.messages[-1]["content"] for request in requests]
        if self.log is not None:
            with self.log.open("a") as file:
                file.write(" ".join(prompts) + "\n")
        time.sleep(self.seconds)
        self.groups.append(prompts)
        beside = ",".join(prompts)
        return [
            [Completion(f"{prompt}.{k} in {beside}", 4, k == 0) for k in range(request.sampling.n)]
            for prompt, request in zip(prompts, requests, strict=True)
        ]


def ask(prompt: str, n: int = 1, seed: int = 0) -> Request:
    return Request(({"role": "user", "content": prompt},), Sampling(n=n, seed=seed))


def asked(count: int) -> list[Request]:
    return [ask(f"p{i}") for i in range(count)]
