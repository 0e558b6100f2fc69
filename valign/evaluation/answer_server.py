"""Answers through OpenAI-compatible servers, such as vLLM, that serve the base model and what was trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from valign.core.errors import ValignError
from valign.core.text import typed
from valign.evaluation.settings import ServerSettings
from valign.teachers.api import ApiTeacher

_GROUP = "evaluation.server"


@dataclass(frozen=True)
class AnswerServer:
    """What serves the models that are evaluated.

    Attributes:
        settings: Its addresses, the models' names, and how it is asked.
    """

    settings: ServerSettings

    @classmethod
    def of(cls, settings: ServerSettings) -> AnswerServer | None:
        """Make one; None where no address is given."""
        return cls(settings) if settings.base_urls else None

    @property
    def measures_likelihoods(self) -> bool:
        """Whether likelihoods are measured in this process."""
        return self.settings.likelihoods == "local"

    def model(self, stages: Sequence[str]) -> str:
        """Return the name on the server of the model that some training stages have left.

        Raises:
            ValignError: It has none; the message says how to serve it.
        """
        found = self._served(stages)
        if not found:
            raise ValignError(_how_to_serve([model_name(stages)], "RUN"))
        return found

    def check(self, arms: Iterable[Sequence[str]], run: str) -> None:
        """Refuse arms whose models have no name, all in one line that says how to serve them.

        Args:
            arms: The training stages of each arm.
            run: The run's folder, for the message.

        Raises:
            ValignError: An arm's model has no name.
        """
        lacking = [model_name(stages) for stages in arms if not self._served(stages)]
        if lacking:
            raise ValignError(_how_to_serve(list(dict.fromkeys(lacking)), run))

    def describe(self, stages: Sequence[str]) -> dict[str, str]:
        """Return what about the server decides an arm's result: its model, and whether likelihoods are measured."""
        return {"model": self.model(stages), "likelihoods": self.settings.likelihoods}

    def teacher(self, stages: Sequence[str]) -> ApiTeacher:
        """Return the served model, not asked yet."""
        s = self.settings
        asking = (s.base_urls, s.api_key_env, s.concurrency, s.timeout, s.max_retries)
        return ApiTeacher(
            self.model(stages), *asking, group=_GROUP, thinking_tokens=s.thinking_tokens, is_measured=True
        )

    def _served(self, stages: Sequence[str]) -> str | None:
        name: str | None = getattr(self.settings.models, model_name(stages))
        return name


def model_name(stages: Sequence[str]) -> str:
    """Return the key in ``evaluation.server.models`` of what some training stages have left.

    >>> model_name([]), model_name(["sft", "dpo"])
    ('base', 'sft_dpo')
    """
    return "_".join(stages) or "base"


def _how_to_serve(names: Sequence[str], run: str) -> str:
    first, given = names[-1], typed("run", run)
    return (
        f"{_GROUP}.models has no name for {', '.join(names)}: write the weights (python -m valign.export {given} "
        f"what=model arm={first} output=FOLDER), serve them (vllm serve FOLDER --served-model-name NAME) and add "
        f"{_GROUP}.models.{first}=NAME; the same command goes on."
    )
