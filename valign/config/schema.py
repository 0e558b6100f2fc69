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

from valign.core.settings import setting as core_setting
from valign.core.settings import type_hints, without_none
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings

STAGES = ("sft", "dpo")
RETRIEVERS = ("bm25", "embedding", "oracle", "document")
EXTRACT = ("rules", "teacher")
WRITTEN = ("conflict", "comparison", "silent")
PRECISIONS = ("auto", "float32", "bfloat16")
JUDGES = ("reference", "local", "api")
LIKELIHOODS = ("none", "local")
EXPORTED = ("data", "model", "adapter")
MODELS = ("base", "sft", "dpo", "sft_dpo")
METRICS = (
    "follows_document",
    "follows_original",
    "fact_recall",
    "verdict_accuracy",
    "verdict_preference",
    "similarity",
    "rouge_l",
    "bertscore",
    "reference_nll",
    "faithfulness",
    "right_clause",
    "contradiction",
    "refusal",
    "length",
    "repetition",
)


def setting(default: Any = MISSING, **limits: Any) -> Any:
    """Declare a key of the config alone; without a default, the YAML files have to set it."""
    return core_setting(default, **limits)


@cache
def config_of(settings: Any) -> Any:
    """Return the config's twin of a room's frozen settings: the same keys, types and limits, to be merged by Hydra.

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


if TYPE_CHECKING:  # the same keys; mypy sees no types in what is made at run time
    AdapterConfig = AdapterSettings
    TrainerConfig = TrainerSettings
    SFTConfig = SFTSettings
    DPOConfig = DPOSettings
else:
    AdapterConfig = config_of(AdapterSettings)
    TrainerConfig = config_of(TrainerSettings)
    SFTConfig = config_of(SFTSettings)
    DPOConfig = config_of(DPOSettings)


@dataclass
class DocumentConfig:
    """What to align to; see ``conf/document/``."""

    name: str = MISSING
    path: str | None = MISSING
    title: str | None = None
    questions: str | None = None
    max_words: int = setting(160, at_least=20)


@dataclass
class TeacherConfig:
    """Who writes the training data; see ``conf/teacher/``."""

    kind: str = setting(choices=("local", "replay", "api"))
    model: str = MISSING
    precision: str = setting("auto", choices=PRECISIONS)
    batch_tokens: int = setting(8192, above=0)
    recording: str | None = None
    base_urls: list[str] = field(default_factory=list)
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = setting(64, above=0)
    timeout: float = setting(120.0, above=0)
    max_retries: int = setting(8, at_least=0)
    price_in: float | None = setting(None, at_least=0)
    price_out: float | None = setting(None, at_least=0)
    max_cost: float | None = setting(None, above=0)
    max_tokens: int | None = setting(None, above=0)
    share: str | None = None


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
class KindsConfig:
    """Weights of the kinds of question; see ``synthesis.kinds`` in ``conf/config.yaml``."""

    question: float = setting(at_least=0)
    factual: float = setting(at_least=0)
    everyday: float = setting(at_least=0)
    edge: float = setting(at_least=0)
    conflict: float = setting(at_least=0)
    comparison: float = setting(at_least=0)
    silent: float = setting(at_least=0)


@dataclass
class RejectedConfig:
    """Shares of the kinds of rejected answer; see ``synthesis.rejected`` in ``conf/config.yaml``."""

    contradiction: float = setting(at_least=0)
    edit: float = setting(at_least=0)
    clause: float = setting(at_least=0)
    base: float = setting(at_least=0)


@dataclass
class SynthesisConfig:
    """How much the teacher writes and what the filters let pass; see ``conf/config.yaml``."""

    questions_per_passage: int = setting(at_least=0)
    kinds: KindsConfig = field(default_factory=KindsConfig)
    personas: list[str] = MISSING
    lengths: list[str] = MISSING
    examples_per_fact: int = setting(at_least=0)
    extract: str = setting(choices=EXTRACT)
    cite: bool = MISSING
    templates: str | None = MISSING
    question_teacher: TeacherConfig | None = MISSING
    phrases_per_passage: int = setting(at_least=0)
    recitations_per_passage: int = setting(at_least=0, at_most=3)
    claims_per_passage: int = setting(at_least=0)
    claim_pairs_per_passage: int = setting(at_least=0)
    scenarios_per_passage: int = setting(at_least=0)
    held_out_per_passage: int = setting(at_least=1)
    rejected: RejectedConfig = field(default_factory=RejectedConfig)
    answers: str = setting(choices=("quote", "write"))
    max_quote_words: int = setting(at_least=5)
    openings: list[str] = MISSING
    scenario_openings: list[str] = MISSING
    temperature: float = setting(at_least=0)
    top_p: float = setting(above=0, at_most=1)
    max_new_tokens: int = setting(above=0)
    min_relevance: float = setting(at_least=-1, at_most=1)
    max_rank: int = setting(at_least=1)
    min_faithfulness: float = setting(at_least=-1, at_most=1)
    max_duplicate: float = setting(above=0, at_most=1)
    max_overlap: float = setting(above=0, at_most=1)
    max_evaluation: float = setting(above=0, at_most=1)
    max_wording: float = setting(above=0, at_most=1)
    min_language: float = setting(at_least=0, at_most=1)
    max_repetition: float = setting(at_least=0, at_most=1)
    faithfulness: str = setting(choices=("embedding", "judge", "nli"))
    faithfulness_model: str | None = MISSING
    min_instructions: int = setting(at_least=0)
    min_preferences: int = setting(at_least=0)
    min_questions: int = setting(at_least=0)
    top_up_rounds: int = setting(at_least=0)
    waive_coverage: bool = MISSING
    hold_out_clauses: list[str] = MISSING


@dataclass
class RetrievalConfig:
    """How RAG finds passages; see ``conf/config.yaml``."""

    kind: str = setting(choices=("bm25", "embedding"))
    top_k: int = setting(above=0)


@dataclass
class ServedConfig:
    """Names on the server of the base model and of what was trained; see ``conf/evaluation/``."""

    base: str | None = None
    sft: str | None = None
    dpo: str | None = None
    sft_dpo: str | None = None


@dataclass
class ServerConfig:
    """A server through which the arms answer; see ``conf/evaluation/``."""

    base_urls: list[str] = field(default_factory=list)
    models: ServedConfig = field(default_factory=ServedConfig)
    likelihoods: str = setting("none", choices=LIKELIHOODS)
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = setting(64, above=0)
    timeout: float = setting(120.0, above=0)
    max_retries: int = setting(8, at_least=0)


@dataclass
class TaxConfig:
    """The check of general ability and its limits; see ``conf/evaluation/``."""

    measure: bool = MISSING
    max_new_tokens: int = setting(above=0)
    max_nll_increase: float = setting(at_least=0)
    max_accuracy_drop: float = setting(at_least=0, at_most=1)


@dataclass
class EvaluationConfig:
    """Questions, generation and metrics; see ``conf/evaluation/``."""

    questions: str | None = None
    max_new_tokens: int = setting(above=0)
    batch_tokens: int = setting(above=0)
    bootstrap: int = setting(at_least=100)
    judge: str | None = setting(None, choices=JUDGES)
    judge_tie: float = setting(0.02, at_least=0, at_most=2)
    judge_model: TeacherConfig | None = None
    probes: str | None = None
    tax: TaxConfig = field(default_factory=TaxConfig)
    metrics: list[str] = field(default=MISSING, metadata={"choices": METRICS})
    server: ServerConfig = field(default_factory=ServerConfig)


@dataclass
class LoggerConfig:
    """Where curves and scores are logged; see ``conf/logger/``."""

    kind: str = setting(choices=("wandb", "csv", "none"))
    project: str = "valign"
    mode: str = setting("auto", choices=("auto", "offline", "online", "disabled"))
    entity: str | None = None


@dataclass
class TrainConfig:
    """Everything that ``valign.train`` and ``valign.synthesize`` read; see ``conf/config.yaml``."""

    experiment_name: str = MISSING
    seed: int = setting(at_least=0)
    artifacts: str = MISSING
    runs: str = MISSING
    run_name: str = MISSING
    run_dir: str = MISSING
    budget_only: bool = False
    document: DocumentConfig = field(default_factory=DocumentConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    base_model: BaseModelConfig = field(default_factory=BaseModelConfig)
    recipe: RecipeConfig = field(default_factory=RecipeConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    sft: SFTConfig = field(default_factory=SFTConfig)
    dpo: DPOConfig = field(default_factory=DPOConfig)
    retrieval: RetrievalConfig = field(default_factory=RetrievalConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)


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
    for group in groups:
        schema = type_hints(schema)[group]
    return next(dict(f.metadata) for f in dataclasses.fields(schema) if f.name == name)
