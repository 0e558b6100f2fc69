"""Names, resolvers and checks of the config: what comes before anything is loaded.

Hydra has checked keys and types by then, which stand in ``valign/config/schema.py``. Here come limits, files, and
settings that do not go together.
"""

from __future__ import annotations

import dataclasses
import math
import operator
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from valign.config.file_checks import check_file
from valign.config.messages import NEEDS, did_you_mean, missing, unknown_key
from valign.config.model_checks import check_engine, check_models, check_server
from valign.config.schema import (
    SCHEMAS,
    STAGES,
    key_type,
    keys,
    limits,
)
from valign.core.errors import ValignError
from valign.core.settings import make_settings
from valign.documents.settings import SUFFIXES, shipped_names
from valign.synthesis.settings import WRITTEN_KINDS
from valign.training.preference import PreferenceLoss
from valign.training.settings import DPOSettings

LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("above", operator.gt),
    "at_least": ("of at least", operator.ge),
    "below": ("below", operator.lt),
    "at_most": ("of at most", operator.le),
}
ONE_OF = {
    "trace": ("id", "clause", "python -m valign.trace id=sft-0123456789ab, or clause=udhr/article-14/2"),
    "export": ("run", "artifact", "python -m valign.export run=runs/udhr/sft_dpo output=FOLDER"),
    "review": ("run", "artifact", "python -m valign.review run=runs/udhr/sft_dpo reviewer=NAME"),
}
"""Of two keys of an entry point one has to be given, and how the command looks then."""


def check_config(cfg: DictConfig) -> None:
    """Check a composed config without loading anything.

    Args:
        cfg: The config of an entry point, as composed by Hydra from ``conf/``.

    Raises:
        ValignError: A value is missing or out of range, a file is not there, or two settings exclude each other.
    """
    schema = cast(type, OmegaConf.get_type(cfg))
    _check_keys(cfg, schema)
    absent = sorted(OmegaConf.missing_keys(cfg))
    if absent:
        raise missing(next((key for key in absent if key in NEEDS), absent[0]))
    for key in keys(schema):
        _check_value(key, OmegaConf.select(cfg, key), limits(schema, key))
    if schema is SCHEMAS["config"]:
        _check_document(cfg)
        check_models(cfg)
        _check_synthesis(cfg)
        _check_training(cfg)
        if not cfg.evaluation.metrics:
            raise ValignError(
                "evaluation.metrics=[] shows nothing; write for example evaluation.metrics=[fact_recall]."
            )
        for key in ("experiment_name", "run_name"):
            if not str(cfg[key]).strip("./ ") or ".." in Path(cfg[key]).parts:
                raise ValignError(f"{key}={cfg[key]} leads out of the folder of runs; give a name, as in {key}=a.")
        for key in ("runs", "artifacts"):
            if Path(cfg[key]).expanduser().exists() and not Path(cfg[key]).expanduser().is_dir():
                raise ValignError(f"{key}={cfg[key]} is a file, not a folder; name a folder, which is made if need be.")
    elif schema is SCHEMAS["clauses"]:
        _check_document(cfg)
    elif either := next((either for name, either in ONE_OF.items() if schema is SCHEMAS[name]), None):
        _check_one_of(cfg, *either)
        if schema is SCHEMAS["export"]:
            _check_weights(cfg)
    else:
        _check_folders(cfg)


def _check_keys(cfg: DictConfig, schema: type) -> None:
    """Refuse keys that were added with ``+`` or removed with ``~``."""
    known = list(keys(schema))
    groups = {"", *(key for key in known if dataclasses.is_dataclass(key_type(schema, key)))}
    for group in sorted(groups):
        node = OmegaConf.select(cfg, group) if group else cfg
        prefix = f"{group}." if group else ""
        present = [f"{prefix}{key!s}" for key in node]
        for key in present:
            if key not in known:
                value = OmegaConf.select(cfg, key)
                raise ValignError(unknown_key(key, known, None if OmegaConf.is_config(value) else str(value)))
        for key in known:
            if key.rpartition(".")[0] == group and key not in present:
                raise ValignError(f"{key} was removed; leave out ~{key}, every setting is needed.")


def _check_value(key: str, value: Any, limits: dict[str, Any]) -> None:
    if value is None:
        return
    choices: Sequence[str] = limits.get("choices", ())
    for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if NOT_UTF_8.search(str(item)):
            shown = str(item).encode(errors="backslashreplace").decode()
            raise ValignError(f"{key}={shown} is not UTF-8; rename the file or folder, or type the value again.")
        if choices and item not in choices:
            near = did_you_mean(str(item), choices)
            raise ValignError(f"{key}={item} is unknown{near}; choose from: {', '.join(choices)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValignError(f"{key}={value} is out of range: give a finite number.")
    for name, (words, holds) in LIMITS.items():
        if name in limits and not holds(value, limits[name]):
            raise ValignError(f"{key}={value} is out of range: give a value {words} {limits[name]}.")


NOT_UTF_8 = re.compile("[\ud800-\udfff]")  # what a byte of a file name becomes that is no UTF-8
POLICY_PROBES_KEY = "evaluation.policy_probes.questions"


def _check_document(cfg: DictConfig) -> None:
    document = cfg.document
    if document.path is None and document.name not in shipped_names():
        names = ", ".join(shipped_names())
        raise ValignError(f"document.name={document.name} needs document.path=FILE; shipped without one: {names}.")
    if document.path is not None:
        check_file("document.path", document.path, tuple(f".{suffix}" for suffix in SUFFIXES))
        if document.questions == "shipped":
            raise ValignError(
                f"document.path={document.path} is not the shipped {document.name}, which the shipped questions are "
                "about; add document=file, and document.questions=FILE.jsonl for questions of your own."
            )
    questions = ("document.questions", "evaluation.questions", "evaluation.probes", POLICY_PROBES_KEY)
    for key in (*questions, "sft.replay_file", "synthesis.rows", "synthesis.review"):
        value = OmegaConf.select(cfg, key)
        if value is not None and value != "shipped" and (key, value) != (POLICY_PROBES_KEY, "made"):
            check_file(key, value, (".jsonl",))


def _check_weights(cfg: DictConfig) -> None:
    """Check what is exported: weights are those of a run."""
    if cfg.what == "data" and cfg.arm is not None:
        raise ValignError(f"arm={cfg.arm} goes with what=model or what=adapter; the data have no arm.")
    if cfg.what != "data" and cfg.run is None:
        raise ValignError(f"what={cfg.what} needs the folder of a run: give run=runs/udhr/sft_dpo.")


def _check_synthesis(cfg: DictConfig) -> None:
    synthesis = cfg.synthesis
    key = "synthesis.preferences.rejected"
    if not any(synthesis.preferences.rejected.values()):
        raise ValignError(f"{key}: every share is 0; give one a share, as in {key}.edit=1.")
    key = "synthesis.filters.faithfulness"
    if synthesis.filters.faithfulness == "nli" and not synthesis.filters.faithfulness_model:
        raise ValignError(f"{key}=nli needs a model: add {key}_model=FOLDER.")
    key, kinds = "synthesis.instructions.kinds", synthesis.instructions.kinds
    if not sum(kinds.values()):
        raise ValignError(f"{key} gives no kind a weight; add {key}.question=1.")
    written = [name for name in WRITTEN_KINDS if kinds[name]]
    if written and synthesis.answers != "write":
        raise ValignError(
            f"{key}.{written[0]} needs answers of a large teacher: add synthesis.answers=write, or "
            f"{key}.{written[0]}=0."
        )
    if cfg.teacher.kind == "none":
        _check_without_teacher(cfg)
    if synthesis.templates is not None and not Path(synthesis.templates).expanduser().is_dir():
        raise ValignError(f"synthesis.templates={synthesis.templates} is not a folder; give one with your templates.")


def _check_without_teacher(cfg: DictConfig) -> None:
    """Check that nothing has to be asked of a teacher where there is none."""
    if cfg.synthesis.filters.faithfulness == "judge":
        raise ValignError("teacher=none judges no answers: set synthesis.filters.faithfulness=embedding or nli.")
    if cfg.synthesis.filters.relevance == "judge":
        raise ValignError("teacher=none judges no questions: set synthesis.filters.relevance=embedding.")
    if cfg.document.questions is None and cfg.evaluation.questions is None and cfg.synthesis.question_teacher is None:
        raise ValignError(
            "teacher=none makes no evaluation questions: add document.questions=FILE.jsonl, or a teacher for them "
            "alone, as in +teacher@synthesis.question_teacher=local."
        )


def _check_training(cfg: DictConfig) -> None:
    stages = list(cfg.recipe.stages)
    if stages != [stage for stage in STAGES if stage in stages]:
        raise ValignError(f"recipe.stages={stages}: each stage once and in this order: [{', '.join(STAGES)}].")
    if cfg.recipe.retriever is not None and not cfg.recipe.retrieval:
        raise ValignError(f"recipe.retriever={cfg.recipe.retriever} shows passages: add recipe.retrieval=true.")
    trainer = cfg.trainer
    if trainer.strategy == "deepspeed" and not trainer.deepspeed:
        raise ValignError("trainer.strategy=deepspeed needs its settings: choose trainer=deepspeed_zero2 or _zero3.")
    if trainer.strategy == "deepspeed" and trainer.accelerator == "cpu" and os.environ.get("DS_ACCELERATOR") != "cpu":
        raise ValignError("trainer.strategy=deepspeed needs GPUs: choose trainer=cpu, or trainer.accelerator=gpu.")
    if trainer.attention == "flash_attention_2" and trainer.accelerator == "cpu":
        raise ValignError("trainer.attention=flash_attention_2 needs a GPU: choose trainer=gpu, or leave it out.")
    if trainer.kernels and trainer.accelerator == "cpu":
        raise ValignError(f"trainer.kernels={trainer.kernels} needs a GPU: choose trainer=gpu, or leave it out.")
    if cfg.base_model.quantization and stages:
        _check_quantization(cfg, f"base_model.quantization={cfg.base_model.quantization}")
    dpo = cast(dict[str, Any], OmegaConf.to_container(cfg.dpo, resolve=True))
    PreferenceLoss(make_settings(DPOSettings, dpo))


def _check_quantization(cfg: DictConfig, setting: str) -> None:
    """Refuse what weights in 4 bits cannot be trained with: no gradient reaches them, and DeepSpeed shards none."""
    if cfg.trainer.accelerator == "cpu":
        raise ValignError(f"{setting} needs a GPU to train on: choose trainer=gpu, or leave it out.")
    if cfg.adapter.kind == "none":
        raise ValignError(f"{setting} trains an adapter, never the weights in 4 bits: set adapter.kind=lora.")
    if cfg.trainer.strategy == "deepspeed":
        raise ValignError(
            f"{setting} does not go with DeepSpeed, which cannot shard weights in 4 bits: choose trainer=gpu, for "
            "several GPUs trainer=ddp."
        )


def _check_one_of(cfg: DictConfig, first: str, second: str, usage: str) -> None:
    """Check that one of two keys is given, and not both."""
    if (cfg[first] is None) == (cfg[second] is None):
        wrong = "are missing" if cfg[first] is None else "exclude each other"
        raise ValignError(f"{first} and {second} {wrong}; give one of them: {usage}.")


def _check_folders(cfg: DictConfig) -> None:
    """Check the folder, and the file of questions, that the smaller entry points are given."""
    for key in ("run", "runs"):
        value = cfg.get(key)
        if value is not None and not Path(value).expanduser().is_dir():
            wrong = "is a file, not a folder" if Path(value).expanduser().exists() else "does not exist"
            raise ValignError(f"{key}={value} {wrong}; {NEEDS[key].format(choice=HydraConfig.get().job.config_name)}")
    if cfg.get("questions") is not None:
        check_file("questions", cfg.questions, (".jsonl",))
    if cfg.get("policy_probes") not in (None, "shipped"):
        check_file("policy_probes", cfg.policy_probes, (".jsonl",))
    if cfg.get("evaluation") is not None:
        check_server(cfg.evaluation.server)
        check_engine(cfg.evaluation)
