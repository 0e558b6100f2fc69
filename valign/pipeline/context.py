"""What is known of a run before its first stage: settings, document, questions, model and teachers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from valign.config.arguments import plain
from valign.config.earlier_versions import today
from valign.config.run_identity import strip_logins
from valign.config.schema import RunSettings
from valign.core.files import read_jsonl
from valign.core.records import Document, Question
from valign.core.settings import make_settings
from valign.distributed.ranks import Ranks
from valign.documents.choice import chosen_document
from valign.documents.shipped import shipped_questions
from valign.evaluation.answer_server import AnswerServer
from valign.evaluation.probes.items import read_probes
from valign.evaluation.questions import check_questions
from valign.evaluation.served_arms import ServedArms
from valign.models.identity import model_id
from valign.models.load import prepare_model
from valign.pipeline.base_teacher import is_base_teacher, make_base_teacher, make_served_arms
from valign.pipeline.recipes import Arm, recipe_arms
from valign.retrieval.embedder import SentenceEmbedder
from valign.runs.layout import SERVERS
from valign.synthesis.candidates import Candidate
from valign.synthesis.decisions import ReviewFile, read_review
from valign.synthesis.given_rows import read_given_rows
from valign.teachers.factory import make_teacher
from valign.teachers.protocol import Teacher

CACHE = "completions.sqlite"


@dataclass(frozen=True, eq=False)
class Context:
    """What every process of a run knows, read once from its config and never changed.

    Nothing is read from disk, loaded or asked before it is wanted; what was read is kept.

    Attributes:
        settings: The config as plain settings.
        ranks: The run's processes.
        output: The folder of another evaluation of a finished run; None for the run's own folder.
    """

    settings: RunSettings
    ranks: Ranks = field(default_factory=Ranks)
    output: Path | None = None

    @classmethod
    def of(cls, config: DictConfig, ranks: Ranks | None = None) -> Context:
        """Read a config: one that was just composed, or the ``config.yaml`` of a run, of an earlier version too."""
        return cls(make_settings(RunSettings, plain(today(config))), ranks or Ranks())

    @cached_property
    def noted(self) -> dict[str, Any]:
        """The settings as they are written to files and loggers: no login is left in a URL."""
        return plain(strip_logins(OmegaConf.create(asdict(self.settings))))

    @property
    def store(self) -> Path:
        """The folder of all artifacts."""
        return Path(self.settings.artifacts).expanduser()

    @property
    def cache(self) -> Path:
        """The file of all teachers' completions."""
        return self.store / CACHE

    @property
    def run_folder(self) -> Path:
        """The run's own folder."""
        return Path(self.settings.run_dir).expanduser()

    @property
    def logs(self) -> Path:
        """The folder of the logs of servers that this run starts."""
        return (self.output or self.run_folder) / SERVERS

    @property
    def arms(self) -> list[Arm]:
        """The arms that the recipe compares."""
        recipe = self.settings.recipe
        return recipe_arms(recipe.stages, recipe.retrieval, recipe.retriever)

    @cached_property
    def document(self) -> Document:
        """The document, read and split.

        Raises:
            ValignError: It needs a path, or cannot be read.
        """
        return chosen_document(self.settings.document)

    @cached_property
    def given_questions(self) -> list[Question] | None:
        """The evaluation questions that the config names; None where they are to be made.

        Raises:
            ValignError: The file cannot be read, or does not fit the document.
        """
        where = self.settings.evaluation.questions or self.settings.document.questions
        if where is None:
            return None
        if where == "shipped":
            questions = shipped_questions(self.document.name)
        else:
            questions = read_jsonl(Path(where).expanduser(), Question)
        check_questions(questions, where, self.document)
        return questions

    @cached_property
    def given_rows(self) -> list[Candidate]:
        """The rows for D_sft and D_pref that the config names; none where it names none.

        Raises:
            ValignError: The file cannot be read, or does not fit the document.
        """
        return read_given_rows(where, self.document) if (where := self.settings.synthesis.rows) else []

    @cached_property
    def review(self) -> ReviewFile | None:
        """What people decided about the rows; None where the config names no file.

        Raises:
            ValignError: The file cannot be read.
        """
        where = self.settings.synthesis.review
        return read_review(Path(where).expanduser()) if where else None

    @cached_property
    def probe_questions(self) -> list[Question]:
        """The questions of the probes that the config names; none where it names none."""
        where = self.settings.evaluation.probes
        return [q for probe in read_probes(where, self.document) for q in probe.questions] if where else []

    @cached_property
    def model_path(self) -> Path | str:
        """The base model's folder, made ready for transformers, or its id on the hub."""
        return prepare_model(self.settings.base_model.model)

    @cached_property
    def model_id(self) -> str:
        """The base model's name with the version of its weights."""
        return model_id(self.settings.base_model.model, self.model_path)

    @property
    def stored_as(self) -> dict[str, str]:
        """How the base model's weights are kept, for hashes; full precision is not named in them."""
        base = self.settings.base_model
        return {"precision": base.precision, **({"quantization": base.quantization} if base.quantization else {})}

    @cached_property
    def embedder(self) -> SentenceEmbedder:
        """The sentence embedder of filters, retrieval and metrics."""
        return SentenceEmbedder()

    @cached_property
    def teacher(self) -> Teacher:
        """The teacher."""
        return make_teacher(self.settings.teacher, "teacher", self.settings.trainer.accelerator, self.logs)

    @cached_property
    def base_teacher(self) -> Teacher:
        """The base model as a teacher, which is the teacher itself where both are one model on this machine."""
        if is_base_teacher(self.settings):
            return self.teacher
        return make_base_teacher(self.settings, self.model_path, self.model_id, self.logs, self.served_arms)

    @cached_property
    def question_teacher(self) -> Teacher | None:
        """Who writes the evaluation questions, where that is another than the teacher."""
        chosen, accelerator = self.settings.synthesis.question_teacher, self.settings.trainer.accelerator
        return make_teacher(chosen, "synthesis.question_teacher", accelerator, self.logs) if chosen else None

    @cached_property
    def server(self) -> AnswerServer | None:
        """The server through which the arms answer; None where they answer in this process."""
        return AnswerServer.of(self.settings.evaluation.server)

    @cached_property
    def served_arms(self) -> ServedArms | None:
        """The arms' models behind a vLLM that this run starts; None where this process, or another server, answers."""
        return make_served_arms(self.settings, lambda: self.model_path, self.logs)
