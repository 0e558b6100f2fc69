"""A teacher in this process: a transformers model, loaded at the first call that is not in the cache."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.core.out_of_memory import describe_out_of_memory, suggest_half
from valign.generation.requests import Completion, Request
from valign.models.chat_template import render_conversation
from valign.models.identity import model_id
from valign.models.load import load_model, load_tokenizer, prepare_model
from valign.models.precision import resolve_precision
from valign.teachers.empty_replies import KEPT, MOST_EMPTY

if TYPE_CHECKING:
    from valign.generation.generator import Generator


class LocalTeacher:
    """A causal language model that writes, computed here: on a GPU where there is one and the settings say so."""

    def __init__(
        self,
        model: str,
        precision: str = "auto",
        batch_tokens: int | None = 8192,
        group: str = "teacher",
        accelerator: str = "auto",
    ) -> None:
        """Choose the model.

        Args:
            model: What ``base_model.model`` can be: the embedded model, a folder, or a hub id.
            precision: ``auto``, ``float32`` or ``bfloat16``.
            batch_tokens: The largest number of cache positions (rows times length) in one batch; None for as many as
                a GPU's free memory holds.
            group: Where that is set in the config, for the error when memory runs out.
            accelerator: ``cpu`` computes on the CPU; ``gpu`` and ``auto`` on a GPU where there is one.
        """
        self.model = model
        self.precision = precision
        self.batch_tokens = batch_tokens
        self.group = group
        self.accelerator = accelerator
        self._generator: Generator | None = None
        self._completed = self._thoughts = 0

    @cached_property
    def path(self) -> Path | str:
        """Folder of the prepared weights, or the hub id."""
        return prepare_model(self.model)

    @cached_property
    def id(self) -> str:
        """The model's name with its weights' version; the weights are not loaded for it.

        On a GPU also with the precision there: it writes other texts than a CPU, and each keeps its own.
        """
        name = model_id(self.model, self.path)
        if self.device == "cpu":
            return name
        return f"{name} ({str(resolve_precision(self.precision, self.device)).removeprefix('torch.')} on a GPU)"

    @cached_property
    def device(self) -> str:
        """Where it computes: ``cpu`` or ``cuda``."""
        if self.accelerator == "cpu":
            return "cpu"
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._generator is not None

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests of one sampling setting and similar length."""
        return self._load().batches(requests)

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete the requests of one group.

        Raises:
            ValignError: Memory runs out, or hardly anything comes but thoughts.
        """
        return self.complete_with_progress(requests, lambda _: None)

    def complete_with_progress(
        self, requests: Sequence[Request], report: Callable[[int], object]
    ) -> list[list[Completion]]:
        """Complete the requests of one group and report the work done, counted in completions, now and then.

        Raises:
            ValignError: Memory runs out, or hardly anything comes but thoughts.
        """
        with describe_out_of_memory("the local teacher", self._remedies):
            generator = self._load()
            before = generator.thoughts_alone
            rows = generator.complete_with_progress(requests, report)
        self._count_thoughts(generator.thoughts_alone - before, sum(map(len, rows)))
        return rows

    def check_before(self, requests: Sequence[Request]) -> None:
        """Look whether the model is there and has a chat template that can be used; its weights are not loaded.

        Args:
            requests: What it is about to be asked, which is not looked at.

        Raises:
            ValignError: It is not, or has none.
        """
        _ = self._tokenizer

    def _count_thoughts(self, alone: int, completions: int) -> None:
        """Stop where half of all that comes, or more, is thoughts and nothing else.

        Args:
            alone: Completions of a group that held thoughts and nothing else.
            completions: All of that group.

        Raises:
            ValignError: That is so.
        """
        self._completed += completions
        self._thoughts += alone
        if self._thoughts >= max(MOST_EMPTY, self._completed / 2):
            raise ValignError(
                f"{self.model} thinks in place of an answer ({self._thoughts} of {self._completed} completions), "
                "although its template is rendered without thinking; choose another model, or serve it and ask it by "
                f"teacher=api, which gives it room to think; {KEPT}"
            )

    def _remedies(self) -> list[str]:
        smaller = suggest_half(f"{self.group}.batch_tokens", self.batch_tokens)
        return [smaller, f"choose a smaller model than {self.model}, or teacher=api"]

    def count_prompt_tokens(self, request: Request) -> int:
        """Count a prompt's tokens with the model's own tokenizer and chat template; the weights are not loaded."""
        return len(render_conversation(self._tokenizer, request.messages).ids)

    @cached_property
    def _tokenizer(self) -> Any:
        return load_tokenizer(self.path, False)

    def close(self) -> None:
        """Free the model's memory; a later call loads it again."""
        self._generator = None
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self) -> Generator:
        if self._generator is None:
            from valign.generation.batch_limit import batch_limit
            from valign.generation.generator import Generator

            model, tokenizer = load_model(self.path, self.precision, device=self.device)
            self._generator = Generator(model.eval(), tokenizer, self.id, batch_limit(model, self.batch_tokens))
        return self._generator
