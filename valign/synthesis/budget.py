"""What the teacher's calls would take: a dry pass of the synthesis in which no teacher is asked."""

from __future__ import annotations

import logging
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from valign.core.progress import duration
from valign.core.records import Document, Question
from valign.generation.requests import Request
from valign.synthesis.build import synthesize
from valign.synthesis.candidates import Candidate
from valign.synthesis.placeholders import UNWRITTEN, make_placeholder
from valign.synthesis.reply_forms import CASES, CONTRASTS
from valign.synthesis.settings import FilterSettings, SynthesisSettings
from valign.teachers.cache import request_key
from valign.teachers.calls import split_calls
from valign.teachers.completion_store import Completions, CompletionStore, Spent
from valign.teachers.protocol import Job
from valign.teachers.usage import cost, estimate_prompt_tokens

EVERYTHING = FilterSettings(
    min_relevance=-2.0,
    max_rank=1_000_000,
    min_faithfulness=-2.0,
    max_duplicate=2.0,
    max_overlap=2.0,
    max_evaluation=2.0,
    max_wording=2.0,
)
ASSUMED_SHARE = 0.5
STRUCTURED = (CASES.label, CONTRASTS.label)
DIMENSIONS = 64


@dataclass
class BudgetStep:
    """What one step of the synthesis asks the teacher for, at once or in turns, and does not find in the cache.

    Attributes:
        label: What is written.
        estimated: Whether its prompts depend on completions that are not there yet.
        cached: Completions that are in the cache.
        calls: Calls to make.
        completions: Completions that these ask for.
        prompt: Their prompts' tokens.
        most: The most tokens that the completions can have.
    """

    label: str
    estimated: bool
    cached: int = 0
    calls: int = 0
    completions: int = 0
    prompt: int = 0
    most: int = 0


@dataclass(frozen=True)
class Budget:
    """The steps of a dry pass, and what is known of the teacher's calls so far.

    Attributes:
        steps: In their order.
        spent: What the teacher's calls in the cache have taken.
        at_once: Calls under way at once.
        price_in: Price of a million prompt tokens.
        price_out: Price of a million completion tokens.
        rounds: How often clauses that turn out short are asked about again, which is not counted.
    """

    steps: tuple[BudgetStep, ...]
    spent: Spent
    at_once: int = 1
    price_in: float | None = None
    price_out: float | None = None
    rounds: int = 0

    def expected(self, step: BudgetStep) -> int:
        """Return the completions' expected tokens: as many as so far on average, else half of the most."""
        if self.spent.completions:
            return min(step.most, round(step.completions * self.spent.completion_tokens / self.spent.completions))
        return round(step.most * ASSUMED_SHARE)

    @property
    def expected_seconds(self) -> float | None:
        """The expected time, from the seconds that a token took so far; None where no call was timed."""
        if not self.spent.completion_tokens or not self.spent.seconds:
            return None
        tokens = sum(self.expected(step) for step in self.steps)
        return tokens * self.spent.seconds / self.spent.completion_tokens / self.at_once

    def cost_range(self) -> tuple[float, float] | None:
        """Return the expected and the highest cost; None without prices."""
        prompt = sum(step.prompt for step in self.steps)
        sums = (sum(self.expected(step) for step in self.steps), sum(step.most for step in self.steps))
        low, high = (cost(prompt, completion, self.price_in, self.price_out) for completion in sums)
        return None if low is None or high is None else (low, high)


class DryTeacher:
    """Answers from the cache or, where there is nothing, with placeholders that every filter lets pass; counts."""

    def __init__(
        self,
        name: str,
        store: CompletionStore | None,
        tokens: Callable[[Request], int] | None = None,
    ) -> None:
        """Choose whom it stands for.

        Args:
            name: The teacher's id.
            store: What the teacher has completed so far, if that is kept.
            tokens: Counts a prompt's tokens where one call does a whole request; by default they are estimated, and
                requests are divided into calls as for a server.
        """
        self.id = name
        self.pending, self.is_batch = 0, False
        self.store = store
        self.tokens = tokens
        self.steps: list[BudgetStep] = []

    def complete_all(self, requests: Sequence[Request], label: str) -> list[Completions]:
        """Return a row for each request and note what is not in the cache."""
        step = next((step for step in self.steps if step.label == label), None)
        if step is None:
            self.steps.append(step := BudgetStep(label, False))
        step.estimated |= any(UNWRITTEN in request.messages[-1]["content"] for request in requests)
        by_key = {request_key(self.id, request): request for request in requests}
        known = self.store.read(list(by_key)) if self.store else {}
        parts = self.store.read_parts([key for key in by_key if key not in known]) if self.store else {}
        for key, request in by_key.items():
            there = range(request.sampling.n) if key in known else parts.get(key, {})
            missing = tuple(k for k in range(request.sampling.n) if k not in there)
            step.cached += request.sampling.n - len(missing)
            if missing:
                self._note(step, Job(key, request, missing))
                known[key] = [make_placeholder(request, k) for k in range(request.sampling.n)]
        return [known[request_key(self.id, request)] for request in requests]

    def _note(self, step: BudgetStep, job: Job) -> None:
        step.completions += len(job.missing)
        step.most += len(job.missing) * job.request.sampling.max_new_tokens
        if self.tokens is not None:
            step.calls += 1
            step.prompt += self.tokens(job.request)
            return
        for call in split_calls(job):
            step.calls += 1
            step.prompt += estimate_prompt_tokens(call.messages)


class WordEmbedder:
    """Embeds a text as its hashed words; as the dry pass keeps every candidate, their meaning does not matter."""

    id = "words"

    def __init__(self) -> None:
        self._cache: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str], /) -> np.ndarray:
        """Return one unit row for each text."""
        for text in texts:
            if text not in self._cache:
                row = np.full(DIMENSIONS, 1e-6, np.float32)
                for word in re.findall(r"\w+", text.lower()):
                    row[zlib.crc32(word.encode()) % DIMENSIONS] += 1
                self._cache[text] = row / np.linalg.norm(row)
        return np.stack([self._cache[text] for text in texts]) if texts else np.zeros((0, DIMENSIONS), np.float32)


def dry_pass(
    document: Document,
    held_out: Sequence[Question] | None,
    settings: SynthesisSettings,
    seed: int,
    system_prompt: str | None,
    teacher: DryTeacher,
    base: DryTeacher,
    given: Sequence[Candidate] = (),
    asking: DryTeacher | None = None,
) -> None:
    """Run the synthesis with dry teachers, which note what they are asked for, step by step.

    Clauses that are short although every candidate is kept are asked about again, as they would be. Nothing is said
    about the data's quality, and no clause that stays short is an error.

    Args:
        document: The document.
        held_out: Evaluation questions; None where they are to be made.
        settings: What is written, and how much; the filters' thresholds are set aside.
        seed: The run's seed.
        system_prompt: The one under which the base model answers.
        teacher: Stands for the teacher.
        base: Stands for the base model; the same object where that is the teacher.
        given: Given rows, all of them taken as kept.
        asking: Stands for the teacher of the evaluation questions; None where that is the same.
    """
    stand_ins: dict[str, Any] = {"teacher": teacher, "base": base, "question_teacher": asking}
    with TemporaryDirectory() as folder, _without_warnings("valign.synthesis"):
        synthesize(
            Path(folder),
            document,
            held_out,
            **stand_ins,
            embedder=WordEmbedder(),
            settings=_dry(settings),
            seed=seed,
            system_prompt=system_prompt,
            given=given,
            audited=False,
        )


def _dry(settings: SynthesisSettings) -> SynthesisSettings:
    """Return settings under which every candidate passes, no model is loaded and no lack is an error.

    As many evaluation questions are asked for at once as a clause has to have.
    """
    asked, least = settings.evaluation_questions.per_passage, settings.coverage.min_questions
    judge = "judge" if settings.filters.faithfulness == "judge" else "embedding"
    waived = (*settings.filters.waive, "grounding", "contrast")  # the other filters have thresholds
    second_look, shown = settings.filters.relevance, settings.filters.relevance_clauses
    return replace(
        settings,
        evaluation_questions=replace(settings.evaluation_questions, per_passage=max(asked, least)),
        filters=replace(EVERYTHING, faithfulness=judge, relevance=second_look, relevance_clauses=shown, waive=waived),
        coverage=replace(settings.coverage, min_questions=0, waive=True),
    )


@contextmanager
def _without_warnings(name: str) -> Iterator[None]:
    log = logging.getLogger(name)
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def budget_table(budget: Budget, group: str = "teacher") -> str:
    """Return the budget as text: a line for each step, the sums, time, cost, and what the figures rest on.

    Args:
        budget: The budget.
        group: Where the settings of the model that is asked stand in the config.
    """
    lines = [_line("", "calls", "texts", "in cache", "tokens in", "tokens out", "at most")]
    rows = [(s.calls, s.completions, s.cached, s.prompt, budget.expected(s), s.most) for s in budget.steps]
    sums = [sum(column) for column in zip(*rows, strict=True)]
    lines += [
        _line(f"{s.label} *" if s.estimated else s.label, *row) for s, row in zip(budget.steps, rows, strict=True)
    ]
    lines.append(_line("all", *sums))
    seconds, money = budget.expected_seconds, budget.cost_range()
    if not any(s.calls for s in budget.steps):
        lines.append("nothing to ask for: every call is in the cache")
        return "\n".join(lines)
    lines.append(f"time: {'unknown, no call of this model has been timed' if seconds is None else _about(seconds)}")
    lines.append(
        f"cost: unknown, set {group}.price_in and {group}.price_out"
        if money is None
        else f"cost: {money[0]:.2f} expected, {money[1]:.2f} at most"
    )
    measured = f"the mean of {budget.spent.completions} so far" if budget.spent.completions else "half of the most"
    lines.append(f"expected tokens of a text: {measured}; a call may ask for several texts, and the cache counts texts")
    if any(step.estimated for step in budget.steps):
        lines.append("* estimate: these prompts hold completions still to be written, all of them taken as kept")
    if budget.rounds:
        again = "once more" if budget.rounds == 1 else f"up to {budget.rounds} times more"
        lines.append(f"not counted: clauses of which the filters leave too little are asked about {again}")
    if any(step.label in STRUCTURED for step in budget.steps):
        lines.append("not counted: second tries for items of structured replies that are missing or unfit")
    return "\n".join(lines)


def _line(label: str, *cells: str | int) -> str:
    texts = [cell if isinstance(cell, str) else f"{cell:,}" for cell in cells]
    return f"{label:28}" + "".join(f"{text:>12}" for text in texts)


def _about(seconds: float) -> str:
    return f"about {duration(seconds)}, from the calls timed so far"
