"""Names, resolvers and checks of the config: what comes before anything is loaded.

The keys and their types stand in ``valign/schema.py``, the values in ``conf/``.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from valign.core.errors import ValignError
from valign.documents.read import SUFFIXES
from valign.documents.shipped import shipped_names
from valign.schema import (
    SCHEMAS,
    STAGES,
    WRITTEN,
    ClausesConfig,
    ExportConfig,
    TraceConfig,
    TrainConfig,
    key_type,
    keys,
    limits,
)
from valign.teachers.servers import without_login
from valign.training.preference import PreferenceLoss

NOT_IN_RUN_NAME = (
    "artifacts",
    "budget_only",
    "experiment",
    "experiment_name",
    "hydra",
    "logger",
    "recipe",
    "run_dir",
    "run_name",
    "runs",
)
HOW_THE_TEACHER_IS_ASKED = (
    "base_urls",
    "api_key_env",
    "concurrency",
    "timeout",
    "max_retries",
    "price_in",
    "price_out",
    "max_cost",
    "max_tokens",
    "share",
)
ASKED = ("teacher", "synthesis.question_teacher", "evaluation.judge_model", "evaluation.server")
SERVED = "evaluation.server.models"
EMBEDDED = ("embedded:smollm2-135m",)
NEEDS = {
    "document.path": "document={choice} needs your own copy of the document: add document.path=/path/to/file.pdf",
    "base_model.model": "base_model={choice} needs a model: add base_model.model=owner/name or a folder's path",
    "teacher.model": "teacher={choice} needs the model's name on the server: add teacher.model=owner/name",
    "evaluation.judge_model.model": "evaluation={choice} needs the judge: add evaluation.judge_model.model=NAME",
    "teacher.recording": "teacher={choice} needs its recording: add teacher.recording=/path/to/file.jsonl",
    "output": "usage: python -m valign.export run=runs/udhr/sft_dpo output=FOLDER",
    "run": "usage: python -m valign.evaluate run=runs/udhr/sft_dpo [questions=FILE.jsonl] [output=FOLDER]",
    "runs": "usage: python -m valign.{choice} runs=runs/udhr",
}
LIMITS: dict[str, tuple[str, Callable[[float, float], bool]]] = {
    "above": ("above", operator.gt),
    "at_least": ("of at least", operator.ge),
    "below": ("below", operator.lt),
    "at_most": ("of at most", operator.le),
}


def register() -> None:
    """Make the schemas and the resolvers of ``conf/`` known to Hydra; doing it again changes nothing."""
    for name, schema in SCHEMAS.items():
        ConfigStore.instance().store(name=f"{name}_schema", node=schema)
    OmegaConf.register_new_resolver("valign.run_name", run_name, replace=True)
    OmegaConf.register_new_resolver("valign.stem", lambda path: _slug(Path(path).stem.lower()), replace=True)


def run_name(recipe: str, experiment: str, document: str) -> str:
    """Name a run by its recipe and by what else was set on the command line, in alphabetical order.

    Args:
        recipe: The recipe's name, the first part.
        experiment: The experiment's name, which is the folder that the run's folder lies in.
        document: The document's name; where the experiment has it too, the choice of document is not repeated.

    Returns:
        For example ``sft_dpo+seed-1+sft.epochs-3``; no character in it has to be quoted for Hydra or a shell.
    """
    parts = []
    for override in OverridesParser.create().parse_overrides(task_overrides()):
        key = override.key_or_group
        group = key.partition(".")[0]
        unnamed = group in NOT_IN_RUN_NAME or (key == "document" and experiment == document)
        unnamed = unnamed or key.startswith(SERVED)
        unnamed = unnamed or any(key == f"{asked}.{how}" for asked in ASKED for how in HOW_THE_TEACHER_IS_ASKED)
        if not unnamed:
            parts.append(f"{'no-' if override.is_delete() else ''}{key}-{_slug(override.get_value_element_as_str())}")
    name = "+".join([recipe, *sorted(parts)])
    return name if len(name) <= 200 else f"{name[:180]}-{_digest(name)}"


def task_overrides() -> list[str]:
    """Return the settings of the command line (of this job in a multirun), without Hydra's own."""
    if not HydraConfig.initialized():
        return []
    return cast(list[str], OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False))


def shareable(cfg: DictConfig) -> DictConfig:
    """Return a resolved copy of a config that may be written to files: no login is left in any teacher's URLs."""
    copy = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    assert isinstance(copy, DictConfig)
    for key in ASKED:
        teacher = OmegaConf.select(copy, key)
        if teacher is not None and teacher.get("base_urls"):
            teacher.base_urls = [without_login(url) for url in teacher.base_urls]
    return copy


def _slug(text: str) -> str:
    """Keep letters, digits, ``.``, ``_`` and ``-``; where others were there, a digest tells two texts apart."""
    if re.fullmatch(r"[\w.-]+", text, re.ASCII):
        return text
    words = re.sub(r"[^\w.-]+", "-", text.rpartition("/")[2], flags=re.ASCII).strip("-")
    return f"{words[:40]}-{_digest(text)}".lstrip("-")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def unknown_key(key: str, known: Iterable[str]) -> str:
    """Say that there is no such key, and which one is nearest: in the same group, or of the same name in another."""
    options = [*known, "experiment"]
    group, _, name = key.rpartition(".")
    same = [option for option in options if option.rpartition(".")[2] == name]
    hint = f" (did you mean {' or '.join(same)}?)" if same else nearest(key, options)
    if not hint and (siblings := [option for option in options if group and option.rpartition(".")[0] == group]):
        hint = f" ({group} has: {', '.join(option.rpartition('.')[2] for option in siblings)})"
    return f"unknown key '{key}'{hint}; --cfg job shows every key."


def missing(key: str) -> ValignError:
    """Return the error for a key that has to be given and was not."""
    text = NEEDS.get(key, f"add {key}=...")
    if HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
        text = text.format(choice=choices.get(key.partition(".")[0], HydraConfig.get().job.config_name))
    else:
        text = text.rpartition(": ")[2]
    return ValignError(f"{key} is missing: {text}")


def check(cfg: DictConfig) -> None:
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
    if schema is TrainConfig:
        _check_document(cfg)
        _check_models(cfg)
        _check_synthesis(cfg)
        _check_training(cfg)
        for key in ("runs", "artifacts"):
            if Path(cfg[key]).expanduser().exists() and not Path(cfg[key]).expanduser().is_dir():
                raise ValignError(f"{key}={cfg[key]} is a file, not a folder; name a folder, which is made if need be.")
    elif schema is ClausesConfig:
        _check_document(cfg)
    elif schema is TraceConfig:
        _check_one_of(cfg, "id", "clause", "python -m valign.trace id=sft-0123456789ab, or clause=udhr/article-14/2")
    elif schema is ExportConfig:
        _check_one_of(cfg, "run", "artifact", "python -m valign.export run=runs/udhr/sft_dpo output=FOLDER")
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
                raise ValignError(unknown_key(key, known))
        for key in known:
            if key.rpartition(".")[0] == group and key not in present:
                raise ValignError(f"{key} was removed; leave out ~{key}, every setting is needed.")


def _check_value(key: str, value: Any, limits: dict[str, Any]) -> None:
    if value is None:
        return
    choices: Sequence[str] = limits.get("choices", ())
    for item in value if isinstance(value, Sequence) and not isinstance(value, str) else [value]:
        if choices and item not in choices:
            near = nearest(str(item), choices)
            raise ValignError(f"{key}={item} is unknown{near}; choose from: {', '.join(choices)}.")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValignError(f"{key}={value} is out of range: give a finite number.")
    for name, (words, holds) in LIMITS.items():
        if name in limits and not holds(value, limits[name]):
            raise ValignError(f"{key}={value} is out of range: give a value {words} {limits[name]}.")


def nearest(word: str, options: Iterable[str]) -> str:
    """Return `` (did you mean '...'?)`` for the option that is spelt most like a word, or nothing."""
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""


def _check_document(cfg: DictConfig) -> None:
    document = cfg.document
    if document.path is None and document.name not in shipped_names():
        names = ", ".join(shipped_names())
        raise ValignError(f"document.name={document.name} needs document.path=FILE; shipped without one: {names}.")
    if document.path is not None:
        _check_file("document.path", document.path, tuple(f".{suffix}" for suffix in SUFFIXES))
        if document.questions == "shipped":
            raise ValignError(
                f"document.path={document.path} is not the shipped {document.name}, which the shipped questions are "
                "about; add document=file, and document.questions=FILE.jsonl for questions of your own."
            )
    for key in ("document.questions", "evaluation.questions", "evaluation.probes", "sft.replay_file"):
        value = OmegaConf.select(cfg, key)
        if value is not None and value != "shipped":
            _check_file(key, value, (".jsonl",))


def _check_file(key: str, value: str, suffixes: tuple[str, ...]) -> None:
    path = Path(value).expanduser()
    if path.is_dir():
        raise ValignError(f"{key}={value} is a folder; give the path of the file itself.")
    if not path.is_file():
        raise ValignError(f"{key}={value} does not exist; check the path (relative to {Path.cwd()}).")
    if path.suffix.lower() not in suffixes:
        raise ValignError(
            f"{key}={value}: '{path.suffix}' files are not supported; give one of: {', '.join(suffixes)}."
        )


def _check_models(cfg: DictConfig) -> None:
    _check_model("base_model.model", cfg.base_model.model)
    _check_teacher("teacher", cfg.teacher)
    if cfg.synthesis.question_teacher is not None:
        _check_teacher("synthesis.question_teacher", cfg.synthesis.question_teacher)
    _check_judge(cfg.evaluation)
    _check_server(cfg.evaluation.server)


def _check_judge(evaluation: DictConfig) -> None:
    """Check that a judge which is a model has one, of its own kind."""
    kind, model = evaluation.judge, evaluation.judge_model
    if kind in ("local", "api"):
        if model is None or model.kind != kind:
            raise ValignError(
                f"evaluation.judge={kind} needs its model: choose evaluation=judge_{kind} and add "
                "evaluation.judge_model.model=..."
            )
        _check_teacher("evaluation.judge_model", model)


def _check_teacher(key: str, teacher: DictConfig) -> None:
    shared = re.fullmatch(r"(\d+)/(\d+)", teacher.share or "0/1")
    if shared is None or int(shared[1]) >= int(shared[2]):
        raise ValignError(f"{key}.share={teacher.share}: write k/n, with k from 0 to n - 1, as in {key}.share=0/8.")
    if teacher.kind == "local":
        _check_model(f"{key}.model", teacher.model)
    elif teacher.kind == "replay":
        if teacher.recording is None:
            raise missing(f"{key}.recording")
        _check_file(f"{key}.recording", teacher.recording, (".jsonl",))
    else:
        if not teacher.base_urls:
            raise ValignError(f"{key}=api needs a server: add {key}.base_urls=[http://localhost:8000/v1].")
        _check_urls(key, teacher.base_urls)
        if teacher.max_cost is not None and None in (teacher.price_in, teacher.price_out):
            raise ValignError(
                f"{key}.max_cost={teacher.max_cost} needs prices: add {key}.price_in=... and "
                f"{key}.price_out=... (per million tokens)."
            )


def _check_urls(key: str, urls: Iterable[str]) -> None:
    for url in urls:
        if not re.match(r"https?://[^/\s]", url):
            raise ValignError(
                f"{key}.base_urls: {without_login(url)!r} is not a URL; write it like http://localhost:8000/v1."
            )


def _check_server(server: DictConfig) -> None:
    """Check the server through which the arms answer, where there is one."""
    key = "evaluation.server"
    _check_urls(key, server.base_urls)
    named = next((name for name in server.models if server.models[name] is not None), None)
    if named is not None and not server.base_urls:
        raise ValignError(
            f"{key}.models.{named} needs the server's address: add {key}.base_urls=[http://localhost:8000/v1]."
        )


def _check_weights(cfg: DictConfig) -> None:
    """Check what is exported: weights are those of a run."""
    if cfg.what == "data" and cfg.arm is not None:
        raise ValignError(f"arm={cfg.arm} goes with what=model or what=adapter; the data have no arm.")
    if cfg.what != "data" and cfg.run is None:
        raise ValignError(f"what={cfg.what} needs the folder of a run: give run=runs/udhr/sft_dpo.")


def _check_synthesis(cfg: DictConfig) -> None:
    synthesis = cfg.synthesis
    if not any(synthesis.rejected.values()):
        raise ValignError("synthesis.rejected: every share is 0; give one a share, as in synthesis.rejected.edit=1.")
    if synthesis.faithfulness == "nli" and not synthesis.faithfulness_model:
        raise ValignError("synthesis.faithfulness=nli needs a model: add synthesis.faithfulness_model=FOLDER.")
    kinds = {name: synthesis.kinds[name] for name in synthesis.kinds}
    if not sum(kinds.values()):
        raise ValignError("synthesis.kinds gives no kind a weight; add synthesis.kinds.question=1.")
    written = [name for name in WRITTEN if kinds[name]]
    if written and synthesis.answers != "write":
        raise ValignError(
            f"synthesis.kinds.{written[0]} needs answers of a large teacher: add synthesis.answers=write, or "
            f"synthesis.kinds.{written[0]}=0."
        )
    if synthesis.templates is not None and not Path(synthesis.templates).expanduser().is_dir():
        raise ValignError(f"synthesis.templates={synthesis.templates} is not a folder; give one with your templates.")


def _check_model(key: str, model: str) -> None:
    if model.startswith("embedded:") and model not in EMBEDDED:
        near = nearest(model, EMBEDDED)
        raise ValignError(f"{key}={model} is not shipped{near}; choose from: {', '.join(EMBEDDED)}.")
    path = Path(model).expanduser()
    if model.startswith((".", "/", "~")) and not path.is_dir():
        wrong = (
            "is a file; give the model's folder" if path.exists() else "does not exist; check the path of the folder"
        )
        raise ValignError(f"{key}={model} {wrong}.")


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
    dpo = cfg.dpo
    PreferenceLoss(dpo.loss, dpo.beta, dpo.label_smoothing, dpo.simpo_gamma)


def _check_quantization(cfg: DictConfig, setting: str) -> None:
    """Refuse what weights in 4 bits cannot be trained with: no gradient reaches them, and DeepSpeed shards none."""
    if cfg.trainer.accelerator == "cpu":
        raise ValignError(f"{setting} needs a GPU to train on: choose trainer=gpu, or leave it out.")
    if cfg.adapter.kind == "none":
        raise ValignError(f"{setting} trains an adapter, never the weights in 4 bits: set adapter.kind=lora.")
    if cfg.trainer.strategy == "deepspeed":
        raise ValignError(
            f"{setting} does not go with DeepSpeed, which cannot shard weights in 4 bits: choose trainer=gpu, for "
            "several GPUs with trainer.strategy=ddp."
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
        _check_file("questions", cfg.questions, (".jsonl",))
    if cfg.get("evaluation") is not None:
        _check_server(cfg.evaluation.server)
