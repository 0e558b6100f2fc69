"""The schemas behind ``conf/``: the keys, their types and their limits.

The values, and what they mean, stand in ``conf/``. To add a key, add a field here and a commented line there. Fields
without a default have to be set by the YAML files.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from omegaconf import MISSING

from valign.core.settings import group, type_hints, without_none
from valign.core.settings import setting as core_setting
from valign.evaluation.settings import EvaluationSettings, ServerSettings
from valign.models.settings import PRECISIONS
from valign.retrieval.settings import RetrievalSettings
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.settings import TeacherSettings
from valign.training.preference import LOSSES

STAGES = ("sft", "dpo")
RETRIEVERS = ("bm25", "embedding", "oracle", "document")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")
EXPORTED = ("data", "model", "adapter")
MODELS = ("base", "sft", "dpo", "sft_dpo")


def setting(default: Any = MISSING, **limits: Any) -> Any:
    """Declare a key of the config alone; without a default, the YAML files have to set it."""
    return core_setting(default, **limits)


@cache
def config_of(settings: Any, **more: Any) -> Any:
    """Return the config's twin of a room's frozen settings: the same keys, types and limits, to be merged by Hydra.

    OmegaConf does not merge into a frozen dataclass, and has no tuple that a list could replace. A field without a
    default has to be set by the YAML files.

    Args:
        settings: The frozen dataclass.
        **more: Types of keys that the config alone has, before the first group; the YAML files have to set them.
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
    first_group = next((i for i, (_, hint, _) in enumerate(fields) if dataclasses.is_dataclass(hint)), len(fields))
    fields[first_group:first_group] = [(key, hint, field(default=MISSING)) for key, hint in more.items()]
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


if TYPE_CHECKING:
    TeacherConfig = TeacherSettings
    RetrievalConfig = RetrievalSettings
    EvaluationConfig = EvaluationSettings
    ServerConfig = ServerSettings
else:
    TeacherConfig = config_of(TeacherSettings)
    RetrievalConfig = config_of(RetrievalSettings)
    EvaluationConfig = config_of(EvaluationSettings)
    ServerConfig = config_of(ServerSettings)


@dataclass
class DocumentConfig:
    """What to align to; see ``conf/document/``."""

    name: str = MISSING
    path: str | None = MISSING
    title: str | None = None
    questions: str | None = None
    max_words: int = setting(160, at_least=20)


@dataclass
class BaseModelConfig:
    """What is aligned; see ``conf/base_model/``."""

    name: str = MISSING
    model: str = MISSING
    precision: str = setting("auto", choices=PRECISIONS)
    quantization: str | None = setting(None, choices=("nf4",))
    trust_remote_code: bool = False
    system_prompt: str | None = None


@dataclass
class RecipeConfig:
    """Which stages and which inference; see ``conf/recipe/``."""

    name: str = MISSING
    stages: list[str] = field(default=MISSING, metadata={"choices": STAGES})
    retrieval: bool = MISSING
    retriever: str | None = setting(None, choices=RETRIEVERS)


@dataclass
class TrainerConfig:
    """Where training runs; see ``conf/trainer/``."""

    accelerator: str = setting(choices=("cpu", "gpu", "auto"))
    devices: int = setting(at_least=1)
    num_nodes: int = setting(1, at_least=1)
    strategy: str = setting("auto", choices=("auto", "ddp", "deepspeed"))
    deepspeed: dict[str, Any] | None = None
    checkpoint_every: int = setting(at_least=1)
    activation_checkpointing: bool = False
    padding_free: bool | None = None
    attention: str | None = setting(None, choices=ATTENTIONS)
    kernels: str | None = setting(None, choices=("liger",))
    threads: int | None = setting(None, at_least=1)
    wait_seconds: float = setting(86400.0, above=0)


if TYPE_CHECKING:
    SynthesisConfig = SynthesisSettings
else:
    SynthesisConfig = config_of(SynthesisSettings, question_teacher=TeacherConfig | None)


@dataclass
class AdapterConfig:
    """What is trained: a low-rank adapter or every weight; see ``conf/config.yaml``."""

    kind: str = setting(choices=("lora", "none"))
    rank: int = setting(above=0)
    alpha: int = setting(above=0)
    dropout: float = setting(at_least=0, below=1)
    target_modules: str = MISSING


@dataclass
class StageConfig:
    """What SFT and DPO have in common; see ``conf/config.yaml``."""

    epochs: float = setting(above=0)
    learning_rate: float = setting(above=0)
    warmup_ratio: float = setting(at_least=0, below=1)
    batch_size: int = setting(above=0)
    accumulate: int = setting(above=0)
    weight_decay: float = setting(at_least=0)
    max_grad_norm: float = setting(above=0)
    max_length: int = setting(above=0)
    schedule: str = setting(choices=("linear", "cosine", "constant"))
    validation: float = setting(at_least=0, below=1)


@dataclass
class SFTConfig(StageConfig):
    """Supervised fine-tuning; see ``conf/config.yaml``."""

    replay: float = setting(at_least=0)
    replay_file: str | None = None


@dataclass
class DPOConfig(StageConfig):
    """Preference optimisation; see ``conf/config.yaml``."""

    loss: str = setting(choices=LOSSES)
    beta: float = setting(above=0)
    label_smoothing: float = setting(at_least=0, below=0.5)
    sft_weight: float = setting(at_least=0)
    simpo_gamma: float | None = setting(at_least=0)


@dataclass
class LoggerConfig:
    """Where curves and scores are logged; see ``conf/logger/``."""

    kind: str = setting(choices=("wandb", "csv", "none"))
    project: str = "valign"
    mode: str = setting("auto", choices=("auto", "offline", "online", "disabled"))
    entity: str | None = None


@dataclass
class TrainConfig:
    """Everything that ``valign.train`` and ``valign.synthesize`` read, in the order of the method.

    A composed config prints in this order; ``conf/config.yaml`` has it, too.
    """

    experiment_name: str = MISSING
    seed: int = setting(at_least=0)
    document: DocumentConfig = field(default_factory=DocumentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    synthesis: SynthesisConfig = group(SynthesisConfig)
    base_model: BaseModelConfig = field(default_factory=BaseModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    dpo: DPOConfig = field(default_factory=DPOConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    artifacts: str = MISSING
    runs: str = MISSING
    run_name: str = MISSING
    run_dir: str = MISSING
    dry_run: bool = False


@dataclass
class ScoringConfig:
    """What ``valign.evaluate`` changes of a run's evaluation; see ``conf/evaluate.yaml``."""

    server: ServerConfig = field(default_factory=ServerConfig)


@dataclass
class EvaluateConfig:
    """What ``valign.evaluate`` reads; see ``conf/evaluate.yaml``."""

    run: str = MISSING
    questions: str | None = None
    output: str | None = None
    evaluation: ScoringConfig = field(default_factory=ScoringConfig)


@dataclass
class ReportConfig:
    """What ``valign.report`` reads; see ``conf/report.yaml``."""

    runs: str = MISSING
    output: str | None = None


@dataclass
class ChatConfig:
    """What ``valign.chat`` reads; see ``conf/chat.yaml``."""

    runs: str = MISSING


@dataclass
class LabelConfig:
    """What ``valign.label`` reads; see ``conf/label.yaml``."""

    runs: str = MISSING
    rater: str = MISSING
    pairs: int = setting(above=0)
    seed: int = MISSING
    port: int = setting(at_least=0, below=65536)


@dataclass
class ClausesConfig:
    """What ``valign.clauses`` reads; see ``conf/clauses.yaml``."""

    document: DocumentConfig = field(default_factory=DocumentConfig)


@dataclass
class TraceConfig:
    """What ``valign.trace`` reads; see ``conf/trace.yaml``."""

    id: str | None = None
    clause: str | None = None
    artifacts: str = MISSING
    runs: str = MISSING


@dataclass
class ExportConfig:
    """What ``valign.export`` reads; see ``conf/export.yaml``."""

    run: str | None = None
    artifact: str | None = None
    what: str = setting("data", choices=EXPORTED)
    arm: str | None = setting(None, choices=MODELS)
    output: str = MISSING
    license: str = MISSING


SCHEMAS: dict[str, type] = {
    "config": TrainConfig,
    "evaluate": EvaluateConfig,
    "report": ReportConfig,
    "chat": ChatConfig,
    "label": LabelConfig,
    "clauses": ClausesConfig,
    "trace": TraceConfig,
    "export": ExportConfig,
}


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
