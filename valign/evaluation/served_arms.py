"""The arms of a run behind one vLLM: the base model, and what was trained as LoRA modules beside it, unmerged."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from valign.core.errors import ValignError
from valign.models.load import load_tokenizer
from valign.models.lora_folder import adapted_modules, write_lora
from valign.models.policy import find_start
from valign.models.stacked_adapters import is_stackable
from valign.models.template_traits import end_tokens
from valign.serving.served_model import ServedModel
from valign.serving.settings import VllmSettings
from valign.serving.vllm import SERVED, Serving, VllmServer

ENGINE = "evaluation.vllm"


@dataclass(frozen=True)
class ServedBase:
    """The model that is served, and how.

    Attributes:
        path: What ``prepare_model`` returned.
        dtype: Of its weights, as vLLM calls it.
        trust_remote_code: Whether code that comes with it may be run.
    """

    path: Path | str
    dtype: str
    trust_remote_code: bool = False

    def options(self) -> list[str]:
        """Return the arguments of ``vllm serve`` that follow from it."""
        trusted = ["--trust-remote-code"] if self.trust_remote_code else []
        return ["--dtype", self.dtype, "--tokenizer", str(self.path), *trusted]

    def ends(self, tokenizer: Any) -> list[int]:
        """Return the tokens that end an answer, those of the model's generation settings among them."""
        from transformers import GenerationConfig

        try:
            settings = GenerationConfig.from_pretrained(self.path)
        except OSError:  # it has none
            settings = None
        return end_tokens(SimpleNamespace(generation_config=settings), tokenizer)


@dataclass
class ServedArms:
    """The models of all arms, served when they are asked: one server for each set of whole weights.

    Attributes:
        settings: How vLLM is started.
        base: The base model.
        folder: Where the servers' logs go, and the adapters while they are served.
        name: Of the logs.
        group: Where the settings stand in the config.
    """

    settings: VllmSettings
    base: ServedBase
    folder: Path
    name: str = "answers"
    group: str = ENGINE
    _planned: dict[tuple[Path, ...], tuple[VllmServer, str]] = field(default_factory=dict)
    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def plan(self, arms: Sequence[Sequence[Path]]) -> None:
        """Say which models are going to be asked, so that one server has them all; nothing is started.

        Args:
            arms: For each arm the folders that its stages have left, in order; none for the base model.

        Raises:
            ValignError: vLLM cannot serve what was trained.
        """
        self.close()
        by_model: dict[str, dict[tuple[Path, ...], Sequence[Path]]] = {}
        for weights in arms:
            start, adapters = find_start(self.base.path, weights)
            by_model.setdefault(str(start), {})[tuple(weights)] = adapters
        for number, (model, served) in enumerate(by_model.items()):
            names, modules, rank = dict.fromkeys(served, SERVED), dict[str, Path](), 0
            for weights, adapters in served.items():
                if adapters:
                    name = names[weights] = "-".join([SERVED, *(folder.parent.name for folder in adapters)])
                    modules[name], own = self._write(adapters, name)
                    rank = max(rank, own)
            log = self.folder / (f"{self.name}-{number}.log" if number else f"{self.name}.log")
            targets = sorted({name for folder in modules.values() for name in adapted_modules(folder)})
            serving = Serving(model, modules, rank, targets, self.base.options())
            server = VllmServer(self.settings, serving, self.group, log)
            server.require_servable()
            self._planned |= {weights: (server, name) for weights, name in names.items()}

    def model(self, weights: Sequence[Path], id: str) -> ServedModel:
        """Return a model that was planned.

        Args:
            weights: What its stages have left.
            id: By which its completions are kept.
        """
        if tuple(weights) not in self._planned:
            self.plan([*self._planned, weights])
        server, name = self._planned[tuple(weights)]
        return ServedModel(server, name, id, self._tokenizer, self.base.ends)

    def close(self) -> None:
        """End the servers, and delete the adapters that were written for them."""
        for server, _ in self._planned.values():
            server.end()
        self._planned.clear()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    def _tokenizer(self) -> Any:
        return load_tokenizer(self.base.path, self.base.trust_remote_code)

    def _write(self, adapters: Sequence[Path], name: str) -> tuple[Path, int]:
        """Write the adapters of some stages as one, and return its folder and rank."""
        if not is_stackable(adapters):
            raise ValignError(
                f"{adapters[-1]} is no plain LoRA of linear layers, which is what vLLM serves beside a model; "
                "set evaluation.engine=local."
            )
        if self._scratch is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._scratch = tempfile.TemporaryDirectory(prefix="adapters-", dir=self.folder)
        folder = Path(self._scratch.name) / name
        folder.mkdir()
        return folder, write_lora(folder, adapters, {"base_model_name_or_path": None})
