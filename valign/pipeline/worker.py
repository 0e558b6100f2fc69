"""One process of a run: its part of training, answering and measuring, which the first process orders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from valign.config.arguments import plain
from valign.core.errors import ValignError
from valign.core.files import from_dict, read_jsonl
from valign.core.out_of_memory import explained, halved
from valign.core.records import Answer, Document, Instruction, Preference, Question
from valign.core.settings import make_settings
from valign.distributed.devices import own_device
from valign.distributed.ranks import Ranks
from valign.documents.read import read_document
from valign.documents.shipped import shipped_document, shipped_names
from valign.evaluation.answer_server import AnswerServer
from valign.evaluation.answering import answer_questions
from valign.models.identity import model_id
from valign.models.load import load_policy, prepare_model
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings
from valign.training.stage import Stage

if TYPE_CHECKING:
    from valign.evaluation.likelihoods import Likelihoods
    from valign.runs.tracking import RunLogger

ANSWERS = "completions.sqlite"


@dataclass
class Process:
    """What every process of a run needs and does.

    Attributes:
        config: The composed config of ``valign.train``.
        logger: Receives the training curves; None for none.
        ranks: The run's processes.
    """

    config: DictConfig
    logger: RunLogger | None = None
    ranks: Ranks = field(default_factory=Ranks)

    @cached_property
    def document(self) -> Document:
        """The document, read and split."""
        doc = self.config.document
        if doc.path is None:
            if doc.name not in shipped_names():
                raise ValignError(f"document.path is missing: add document.path=/path/to/{doc.name}.pdf")
            return shipped_document(doc.name, doc.max_words)
        return read_document(Path(doc.path).expanduser(), doc.name, doc.title, doc.max_words)

    @cached_property
    def model(self) -> tuple[Path | str, str]:
        """The base model's folder or hub id, and its id with the weights' version."""
        name = self.config.base_model.model
        path = prepare_model(name)
        return path, model_id(name, path)

    @property
    def system_prompt(self) -> str | None:
        """What stands before every conversation with the base model, if anything."""
        prompt: str | None = self.config.base_model.system_prompt
        return prompt

    @property
    def weights_as(self) -> dict[str, str]:
        """How the base model's weights are kept; full precision is not named, so that hashes stay as they are."""
        base = self.config.base_model
        quantization = base.get("quantization")  # runs of earlier versions have no such key
        return {"precision": base.precision} | ({"quantization": quantization} if quantization else {})

    @cached_property
    def server(self) -> AnswerServer | None:
        """The server through which the arms answer; None where they answer in this process."""
        settings = OmegaConf.select(self.config, "evaluation.server")  # runs of earlier versions have no such key
        return AnswerServer.of(None if settings is None else plain(settings))

    def train_part(self, name: str, folder: str, rows: str, replay: str, before: Sequence[str]) -> dict[str, Any]:
        """Do this process's part of a training; the counts come from the first."""
        from valign.training.fit import fit

        c = self.config
        kind: Any = SFTSettings if name == "sft" else DPOSettings
        stage = Stage(
            folder=Path(folder),
            model=self.model[0],
            adapter=make_settings(AdapterSettings, plain(c.adapter)),
            settings=make_settings(kind, plain(c[name])),
            trainer=make_settings(TrainerSettings, plain(c.trainer)),
            seed=c.seed,
            initial=[Path(path) for path in before],
            system_prompt=self.system_prompt,
            trust_remote_code=c.base_model.trust_remote_code,
            logger=self.logger,
            ranks=self.ranks,
            **self.weights_as,
        )
        row: Any = Instruction if name == "sft" else Preference
        return fit(stage, [read for file in (rows, replay) if file for read in read_jsonl(Path(file), row)])

    def follow(self) -> None:
        """Do what the first process orders, until it ends; nothing is decided, asked or written here."""
        for name, arguments in self.ranks.orders():
            if name == "train":
                self.train_part(**arguments)
            elif name == "tax":
                self.tax_part(**arguments)
            else:
                asked = [from_dict(Question, row) for row in arguments.pop("questions")]
                self.answer_part(**arguments, questions=asked)

    def tax_part(self, name: str, folder: str, weights: Sequence[str]) -> dict[str, Any]:
        """Do this process's part of measuring the tax; the counts come from the first."""
        from valign.evaluation.tax.measure import measure

        evaluation = self.config.evaluation
        with explained(f"measuring the tax of {name}", self._answering_remedies):
            return measure(
                Path(folder),
                [Path(path) for path in weights],
                self._policy,
                label=name,
                max_new_tokens=evaluation.tax.max_new_tokens,
                batch_tokens=evaluation.batch_tokens,
                system=self.system_prompt,
                ranks=self.ranks,
            )

    def _policy(self, weights: Sequence[Path]) -> tuple[Any, Any]:
        """Load the model of some trained stages, and the tokenizer, on this process's device."""
        base = self.config.base_model
        device = own_device(self.config.trainer.accelerator, self.ranks)
        quantization = base.get("quantization")
        return load_policy(
            self.model[0], weights, base.precision, base.trust_remote_code, device, quantization=quantization
        )

    def answer_part(
        self,
        arm: str,
        folder: str,
        weights: Sequence[str],
        questions: Sequence[Question],
        retrieved: Sequence[Sequence[int]],
        measure_only: bool = False,
    ) -> tuple[list[Answer], Likelihoods]:
        """Do this process's part of an evaluation; in the first, the result is that of all.

        With ``measure_only`` there are no answers, because a server gives them.
        """
        c = self.config
        from valign.evaluation.likelihoods import likelihoods
        from valign.generation.generator import Generator

        shown = [[self.document.passages[i] for i in found] for found in retrieved]
        common: dict[str, Any] = {"arm": arm, "system": self.system_prompt, "ranks": self.ranks}
        longest = c.evaluation.max_new_tokens
        with explained(f"answering as {arm}", self._answering_remedies):
            model, tokenizer = self._policy([Path(p) for p in weights])
            generator = Generator(model, tokenizer, f"{arm}@{Path(folder).name}", c.evaluation.batch_tokens)
            answers = []
            if not measure_only:
                answers = answer_questions(
                    generator, questions, shown, cache=Path(folder) / ANSWERS, max_new_tokens=longest, **common
                )
            return answers, likelihoods(generator, questions, shown, **common)

    def _answering_remedies(self) -> list[str]:
        """Say which settings lower the memory that answering takes."""
        c = self.config
        found = [halved(f"evaluation.{key}", c.evaluation[key]) for key in ("batch_tokens", "max_new_tokens")]
        if c.base_model.precision == "float32":
            found.append("set base_model.precision=bfloat16")
        return found
