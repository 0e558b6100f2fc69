"""Run folders: what a run leaves for a reader."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.errors import ValignError
from valign.records import Answer, Question, read_jsonl, to_dict, write_jsonl
from valign.store import digest, file_digest, read_json, write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from valign.pipeline import Pipeline
    from valign.recipes import Arm

log = logging.getLogger(__name__)

RUN = "run.json"
ARTIFACTS = "artifacts.json"
PAGE = "report.html"
JUDGEMENTS = "judgements.jsonl"
VALIDATION = "validation.json"
PROBED = "probes.jsonl"
SEED_IN_NAME = re.compile(r"\+seed--?\d+")


def score_arms(pipeline: Pipeline, arms: Sequence[Arm], questions: Sequence[Question] | None, folder: Path) -> None:
    """Evaluate arms and write ``arms/<arm>/{answers,values}.jsonl`` and ``scores.json`` to a folder.

    Each arm is compared with base, and with the arm before it, on the same questions. Where a model judges pairs of
    answers, what it said is in ``judgements.jsonl``.
    """
    from valign.evaluation.scores import difference, score_arm
    from valign.probes.scores import probe_scores

    asked = pipeline.probe_questions
    pipeline.check_room(arms, questions)
    if pipeline.server:
        pipeline.server.check([arm.stages for arm in arms], str(pipeline.config.run_dir))
    samples = int(pipeline.config.evaluation.bootstrap)
    exposure = pipeline.exposure(questions)
    measured: list[tuple[str, list[dict[str, Any]]]] = []
    folders: list[Path] = []
    for arm in arms:
        answers = pipeline.evaluate(arm, questions)
        values = read_rows(answers / "values.jsonl")
        base = measured[0][1] if measured else None
        scores = score_arm(arm.name, values, base, samples, exposure)
        if len(measured) > 1:
            other, theirs = measured[-1]
            scores["versus"][other] = difference(arm.name, values, theirs, samples)
        if pipeline.server:
            scores["server"] = pipeline.server.decides(arm.stages)
        if asked:
            probed = read_jsonl(pipeline.evaluate(arm, asked, "probes") / "answers.jsonl", Answer)
            scores["probes"] = probe_scores(probed, pipeline.embedder, samples)
            write_jsonl(folder / "arms" / arm.name / PROBED, probed)
        if not arm.retrieval and pipeline.measures_tax:
            scores["tax"] = _tax(pipeline, arm, samples)
        write_scores(folder / "arms" / arm.name, scores, answers)
        measured.append((arm.name, values))
        folders.append(answers)
    (folder / JUDGEMENTS).unlink(missing_ok=True)
    judged = pipeline.judgements([arm.name for arm in arms], folders)
    if judged is not None:
        text = (judged / JUDGEMENTS).read_text(encoding="utf-8")
        (folder / JUDGEMENTS).write_text(text, encoding="utf-8")


def train_first(pipeline: Pipeline, arms: Sequence[Arm], folder: Path) -> None:
    """Train everything before a server is asked, and note it in the run's folder: it has to be exported and served."""
    pipeline.check_room(arms)
    pipeline.adapters(arms[-1].stages)
    write_json(folder / ARTIFACTS, pipeline.hashes)


def trained_run(folder: Path) -> Pipeline:
    """Return the pipeline of a run that has trained, also where its answers are not there yet.

    Raises:
        ValignError: The folder is not that of such a run.
    """
    from omegaconf import DictConfig, OmegaConf

    from valign.pipeline import Pipeline, pinned_by

    if not (folder / ARTIFACTS).is_file() or not (folder / "config.yaml").is_file():
        raise ValignError(f"{folder} is not the folder of a run that has trained; give one such as runs/udhr/sft_dpo.")
    config = OmegaConf.load(folder / "config.yaml")
    assert isinstance(config, DictConfig)
    return Pipeline(config, pinned=pinned_by({"artifacts": read_json(folder / ARTIFACTS)}))


def _tax(pipeline: Pipeline, arm: Arm, samples: int) -> dict[str, Any]:
    """Return what an arm's training cost in general ability, and which limits that crosses."""
    from valign.tax.scores import tax_scores

    settings = pipeline.config.evaluation.tax
    limits = {
        "general_nll_increase": float(settings.max_nll_increase),
        "everyday_drop": float(settings.max_accuracy_drop),
    }
    base = read_rows(pipeline.tax(()) / "values.jsonl")
    own = read_rows(pipeline.tax(arm.stages) / "values.jsonl") if arm.stages else base
    return tax_scores(own, base, limits, samples)


def warn_of_size(pipeline: Pipeline, stages: Sequence[str]) -> None:
    """Warn, before anything is computed, where a training or the answers are estimated not to fit on a device.

    Args:
        pipeline: The run's.
        stages: What is to be trained; nothing where a finished run is evaluated.
    """
    from valign.training.strategies import device_of

    if device_of(str(pipeline.config.trainer.accelerator)) != "cuda":
        return
    import torch
    from omegaconf import OmegaConf

    from valign.arguments import plain
    from valign.models import resolve_precision, shape_of
    from valign.training.memory import estimate_for, too_large_to_answer, too_much

    c = pipeline.config
    shape = shape_of(pipeline.model[0], c.base_model.trust_remote_code).to_dict()
    stored = resolve_precision(c.base_model.precision, "cuda").itemsize
    available = torch.cuda.get_device_properties(0).total_memory
    for stage in stages:
        needed = estimate_for(
            shape,
            adapter=c.adapter,
            settings=c[stage],
            trainer=plain(c.trainer),
            stored_bytes=stored,
            pairs=stage == "dpo",
            quantized=OmegaConf.select(c, "base_model.quantization") is not None,
        )
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        line = needed and too_much(needed, available, host, int(c.trainer.devices))
        if line:
            log.warning("%s: %s", stage, line)
    elsewhere = pipeline.server is not None and not pipeline.server.measures
    line = None if elsewhere else too_large_to_answer(shape, stored, available)
    if line:
        log.warning(line)


def write_run(pipeline: Pipeline, folder: Path, arms: Sequence[Arm], state: str, config: Mapping[str, Any]) -> None:
    """Write what belongs to the run as a whole: its own arm's scores on top, and ``run.json``."""
    own = folder / "arms" / arms[-1].name
    for name in ("scores.json", "answers.jsonl", "values.jsonl"):
        (folder / name).write_text((own / name).read_text(encoding="utf-8"), encoding="utf-8")
    document = pipeline.document
    details = {
        "state": state,
        "experiment": pipeline.config.experiment_name,
        "arms": [to_dict(a) for a in arms],
        "document": {"title": document.title, "name": document.name, "sha256": document.sha256},
        "passages": [to_dict(p) for p in document.passages],
        "judge": pipeline.judge,
        "funnel": pipeline.funnel(),
        "leak": pipeline.leak(),
        "curves": curves(pipeline),
        "timings": pipeline.timings,
        "artifacts": pipeline.hashes,
        "config": dict(config),
    }
    write_json(folder / RUN, details)


def complete(folder: Path, state: str) -> bool:
    """Tell whether a run's folder holds the result of this very config and these inputs."""
    file = folder / RUN
    return file.is_file() and (folder / PAGE).is_file() and read_json(file).get("state") == state


def state_of(pipeline: Pipeline, config: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides a run's result, without loading a model."""
    from valign.store import code_digest

    document = pipeline.document
    given = [to_dict(q) for q in (*(pipeline.given_questions or []), *pipeline.probe_questions)]
    files = [[path.name, file_digest(path)] for path in _read_besides(pipeline.config)]
    return digest([config, document.sha256, [to_dict(p) for p in document.passages], given, files, code_digest(".")])


def _read_besides(config: DictConfig) -> list[Path]:
    """Return the files that a config names and a run reads, besides document and questions."""
    from omegaconf import OmegaConf

    named = (config.sft.replay_file, OmegaConf.select(config, "teacher.recording"))
    folder = config.synthesis.templates
    own = sorted(Path(folder).expanduser().glob("*.txt")) if folder else []
    return [*(Path(name).expanduser() for name in named if name), *own]


def curves(pipeline: Pipeline) -> dict[str, list[tuple[int, float]]]:
    """Return the training curves of the run's own stages, by ``stage/quantity``."""
    from valign.pipeline import curves_by_step

    found: dict[str, list[tuple[int, float]]] = {}
    for key, name in pipeline.hashes.items():
        stage = key.rpartition("_")[2]
        if "/" in key or stage not in ("sft", "dpo"):
            continue
        for step, values in curves_by_step(pipeline.artifacts / stage / name):
            for quantity, value in values.items():
                found.setdefault(f"{stage}/{quantity}", []).append((step, value))
    return found


def write_validation(pipeline: Pipeline, folder: Path, stages: Sequence[str]) -> None:
    """Note what the last stage's held-out examples gave, where some were held out.

    A stage's error is its loss; in DPO it is the share of pairs that the rewards have the wrong way round, by which
    settings with another beta, or another loss, can be compared.
    """
    (folder / VALIDATION).unlink(missing_ok=True)
    if not stages:
        return
    counts = read_json(pipeline.artifacts / stages[-1] / pipeline.hashes["_".join(stages)] / "manifest.json")["counts"]
    found = {name: value for name, value in counts.items() if name.startswith("validation_")}
    if found:
        wrong = 1 - found["validation_accuracy"] if stages[-1] == "dpo" else found["validation_loss"]
        write_json(folder / VALIDATION, {"stage": stages[-1], "error": wrong, **found})


def validation_error(folder: Path) -> float | None:
    """Return a run's error on its held-out training examples; None where none were held out."""
    noted = folder / VALIDATION
    return float(read_json(noted)["error"]) if noted.is_file() else None


def run_folders(runs: Path) -> list[Path]:
    """Return the run folders in a folder (or the folder itself, where it is one), numbers in their names by size.

    Raises:
        ValignError: There is none.
    """
    if not runs.is_dir():
        raise ValignError(f"{runs} is not a folder; give the folder of a run or of several, as in runs=runs/udhr.")
    found = [runs] if (runs / RUN).is_file() else sorted((file.parent for file in runs.rglob(RUN)), key=_by_number)
    if not found:
        raise ValignError(f"{runs} holds no finished run; run python -m valign.train +experiment=udhr first.")
    return found


def _by_number(path: Path) -> list[tuple[list[str | float], str]]:
    """Return what puts ``rank-9`` before ``rank-16``, and 0.25 before 0.5: a folder's text and numbers in turn."""
    split = {part: re.split(r"(\d+(?:\.\d+)?)", part) for part in path.parts}
    return [([float(text) if i % 2 else text for i, text in enumerate(split[part])], part) for part in path.parts]


def run_folder(folder: Path) -> Path:
    """Return the one run folder that a folder is, or holds.

    Raises:
        ValignError: There is none, or there are several.
    """
    found = [f for f in run_folders(folder) if "evaluations" not in f.relative_to(folder).parts]
    if len(found) != 1:
        raise ValignError(f"{folder} holds {len(found)} runs; give the folder of one, such as run=runs/udhr/sft_dpo.")
    return found[0]


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file of plain objects."""
    import json

    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def write_scores(folder: Path, scores: dict[str, Any], answers: Path) -> None:
    """Put an arm's scores and answers into a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "scores.json", scores)
    for name in ("answers.jsonl", "values.jsonl"):
        text = (answers / name).read_text(encoding="utf-8")
        (folder / name).write_text(text, encoding="utf-8")
