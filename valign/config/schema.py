"""The schemas behind ``conf/``: what each entry point reads, from the settings of the rooms.

A room says in its ``settings.py`` what it can be told: keys, types and limits. The values, and what they mean, are in
``conf/``. To add a key, add a field to a room's settings and a commented line to the YAML file of its group.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, cast, get_args, get_origin

from omegaconf import MISSING

from valign.core.settings import setting, type_hints, without_none
from valign.documents.settings import DocumentSettings
from valign.evaluation.settings import ENGINES, EvaluationSettings, ServerSettings
from valign.models.settings import BaseModelSettings
from valign.retrieval.settings import RETRIEVERS, RetrievalSettings
from valign.runs.settings import LoggerSettings
from valign.serving.settings import VllmSettings
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.settings import TeacherSettings
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings

STAGES = ("sft", "dpo")
EXPORTED = ("data", "model", "adapter")
LABEL_TASKS = ("pairs", "policy")
MODELS = ("base", "sft", "dpo", "sft_dpo")


@dataclass(frozen=True, kw_only=True)
class RecipeSettings:
    """Which stages are trained, and whether and how the last arm looks passages up."""

    name: str
    stages: tuple[str, ...] = setting(choices=STAGES)
    retrieval: bool
    retriever: str | None = setting(None, choices=RETRIEVERS)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Everything that ``valign.train`` and ``valign.synthesize`` read, in the order of the method.

    A composed config prints in this order; ``conf/config.yaml`` has it, too.
    """

    experiment_name: str
    seed: int = setting(at_least=0)
    document: DocumentSettings
    teacher: TeacherSettings
    synthesis: SynthesisSettings
    base_model: BaseModelSettings
    recipe: RecipeSettings
    adapter: AdapterSettings
    sft: SFTSettings
    dpo: DPOSettings
    trainer: TrainerSettings
    retrieval: RetrievalSettings
    evaluation: EvaluationSettings
    logger: LoggerSettings
    artifacts: str
    runs: str
    run_name: str
    run_dir: str
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """What ``valign.evaluate`` changes of a run's evaluation; ``engine`` null leaves it as it was."""

    engine: str | None = setting(None, choices=ENGINES)
    vllm: VllmSettings
    server: ServerSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """What ``valign.evaluate`` reads."""

    run: str
    questions: str | None = None
    policy_probes: str | None = None
    output: str | None = None
    trust: bool = False
    evaluation: ScoringSettings


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """What ``valign.report`` reads."""

    runs: str
    output: str | None = None


@dataclass(frozen=True, kw_only=True)
class ChatSettings:
    """What ``valign.chat`` reads."""

    runs: str
    trust: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """What ``valign.label`` reads."""

    runs: str
    rater: str
    task: str = setting("pairs", choices=LABEL_TASKS)
    pairs: int = setting(above=0)
    answers: int = setting(60, above=0)
    seed: int
    port: int = setting(at_least=0, below=65536)


@dataclass(frozen=True, kw_only=True)
class ReviewSettings:
    """What ``valign.review`` reads."""

    run: str | None = None
    artifact: str | None = None
    reviewer: str
    file: str | None = None
    port: int = setting(at_least=0, below=65536)


@dataclass(frozen=True, kw_only=True)
class ClausesSettings:
    """What ``valign.clauses`` reads."""

    document: DocumentSettings


@dataclass(frozen=True, kw_only=True)
class TraceSettings:
    """What ``valign.trace`` reads."""

    id: str | None = None
    clause: str | None = None
    artifacts: str
    runs: str


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What ``valign.export`` reads."""

    run: str | None = None
    artifact: str | None = None
    what: str = setting("data", choices=EXPORTED)
    arm: str | None = setting(None, choices=MODELS)
    trust: bool = False
    output: str
    license: str


@cache
def config_of(settings: Any) -> Any:
    """Return the config's twin of frozen settings: the same keys, types and limits, to be merged by Hydra.

    OmegaConf does not merge into a frozen dataclass, and has no tuple that a list could replace. A field without a
    default has to be set by the YAML files.
    """
    fields = []
    for each in dataclasses.fields(settings):
        hint, options = _config_type(type_hints(settings)[each.name]), dict[str, Any](metadata=each.metadata)
        if dataclasses.is_dataclass(hint):
            options["default_factory"] = hint
        elif isinstance(each.default, tuple):
            options["default_factory"] = partial(list, each.default)
        elif each.default_factory is not dataclasses.MISSING:
            options["default_factory"] = each.default_factory
        else:
            options["default"] = MISSING if each.default is dataclasses.MISSING else each.default
        fields.append((each.name, hint, field(**options)))
    name = settings.__name__.replace("Settings", "Config")
    twin = dataclasses.make_dataclass(name, fields, namespace={"__doc__": settings.__doc__})
    twin.__module__ = __name__
    globals()[name] = twin  # where a job on a cluster finds the types of its pickled config
    return twin


def _config_type(hint: Any) -> Any:
    kind: Any = without_none(hint)
    optional = kind is not hint
    if dataclasses.is_dataclass(kind):
        kind = config_of(cast(Hashable, kind))
    elif get_origin(kind) is tuple:
        kind = types.GenericAlias(list, get_args(kind)[:1])
    elif get_origin(kind) is Mapping:
        kind = types.GenericAlias(dict, get_args(kind))
    return kind | None if optional else kind


SCHEMAS: dict[str, type] = {
    "config": config_of(RunSettings),
    "evaluate": config_of(EvaluateSettings),
    "report": config_of(ReportSettings),
    "chat": config_of(ChatSettings),
    "label": config_of(LabelSettings),
    "review": config_of(ReviewSettings),
    "clauses": config_of(ClausesSettings),
    "trace": config_of(TraceSettings),
    "export": config_of(ExportSettings),
}
"""The schema of each file of ``conf/`` that an entry point composes."""


def keys(schema: type) -> Iterator[str]:
    """Yield the schema's keys in dotted form, each group before what is in it."""
    for name, hint in type_hints(schema).items():
        yield name
        if dataclasses.is_dataclass(hint):
            yield from (f"{name}.{key}" for key in keys(cast(type, hint)))


def key_type(schema: type, key: str) -> Any:
    """Return the type of a dotted key, or None where the schema has no such key."""
    hint: Any = schema
    for part in key.split("."):
        hint = type_hints(cast(type, hint)).get(part) if dataclasses.is_dataclass(hint) else None
    return hint


def limits(schema: type, key: str) -> dict[str, Any]:
    """Return what ``setting`` declared for a dotted key."""
    *groups, name = key.split(".")
    for part in groups:
        schema = type_hints(schema)[part]
    return next(dict(f.metadata) for f in dataclasses.fields(schema) if f.name == name)
