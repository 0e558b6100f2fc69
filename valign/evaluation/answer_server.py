"""Answers through OpenAI-compatible servers, such as vLLM, that serve the base model and what was trained."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from valign.core.errors import ValignError
from valign.teachers.api import ApiTeacher

GROUP = "evaluation.server"


@dataclass(frozen=True)
class AnswerServer:
    """What serves the models that are evaluated.

    Attributes:
        models: Name on the server of ``base`` and of each path of stages, such as ``sft_dpo``; None where not served.
        base_urls: Addresses up to and including ``/v1``; they share the calls.
        likelihoods: ``local`` where the metrics that need the model itself are measured in this process, or ``none``.
        asking: Key, concurrency, time limit and tries, as ``ApiTeacher`` takes them.
    """

    models: Mapping[str, str | None]
    base_urls: tuple[str, ...]
    likelihoods: str
    asking: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> AnswerServer | None:
        """Make one from the keys of ``evaluation.server``; None where no address is given."""
        if not settings or not settings["base_urls"]:
            return None
        asking = dict(settings)
        models, urls, likelihoods = (asking.pop(key) for key in ("models", "base_urls", "likelihoods"))
        return cls(models, tuple(urls), likelihoods, asking)

    @property
    def measures(self) -> bool:
        """Whether likelihoods are measured in this process."""
        return self.likelihoods == "local"

    def model(self, stages: Sequence[str]) -> str:
        """Return the name of the model that some stages have left.

        Raises:
            ValignError: It has none; the message says how to serve it.
        """
        name = model_name(stages)
        found = self.models.get(name)
        if not found:
            raise ValignError(_how_to_serve([name], "RUN"))
        return found

    def check(self, arms: Iterable[Sequence[str]], run: str) -> None:
        """Refuse arms whose models have no name, all in one line that says how to serve them.

        Args:
            arms: The stages of each arm.
            run: The run's folder, for the message.
        """
        lacking = [name for name in dict.fromkeys(model_name(stages) for stages in arms) if not self.models.get(name)]
        if lacking:
            raise ValignError(_how_to_serve(lacking, run))

    def decides(self, stages: Sequence[str]) -> dict[str, str]:
        """Return what decides an arm's result, for the hash of its stage."""
        return {"model": self.model(stages), "likelihoods": self.likelihoods}

    def teacher(self, stages: Sequence[str]) -> ApiTeacher:
        """Return the served model, not asked yet."""
        return ApiTeacher(self.model(stages), self.base_urls, group=GROUP, **self.asking)


def model_name(stages: Sequence[str]) -> str:
    """Return the key in ``evaluation.server.models`` of what some stages have left.

    >>> model_name([]), model_name(["sft", "dpo"])
    ('base', 'sft_dpo')
    """
    return "_".join(stages) or "base"


def _how_to_serve(names: Sequence[str], run: str) -> str:
    first = names[-1]
    return (
        f"{GROUP}.models has no name for {', '.join(names)}: write the weights (python -m valign.export run={run} "
        f"what=model arm={first} output=FOLDER), serve them (vllm serve FOLDER --served-model-name NAME) and add "
        f"{GROUP}.models.{first}=NAME; the same command goes on."
    )
