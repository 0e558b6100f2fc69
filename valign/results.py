"""Run folders: what a run leaves for a reader, and the comparison of the runs in a folder."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.errors import ValignError
from valign.records import Answer, Passage, Question, from_dict, read_jsonl, to_dict
from valign.store import digest, read_json, write_json

if TYPE_CHECKING:
    from valign.judging import Judgement
    from valign.pipeline import Arm, Pipeline
    from valign.reporting.comparison import Comparison

log = logging.getLogger(__name__)

RUN = "run.json"
PAGE = "report.html"
COMPARISON = "comparison.json"
VALIDATION = "validation.json"


def score_arms(pipeline: Pipeline, arms: Sequence[Arm], questions: Sequence[Question] | None, folder: Path) -> None:
    """Evaluate arms and write ``arms/<arm>/{answers,values}.jsonl`` and ``scores.json`` to a folder.

    Each arm is compared with base, and with the arm before it, on the same questions. Where a model judges pairs of
    answers, what it said is in ``judgements.jsonl``.
    """
    from valign.evaluation.scores import difference, score_arm
    from valign.pipeline import JUDGEMENTS, write_scores

    _warn_of_size(pipeline)
    pipeline.check_room(arms, questions)
    samples = int(pipeline.config.evaluation.bootstrap)
    measured: list[tuple[str, list[dict[str, Any]]]] = []
    folders: list[Path] = []
    for arm in arms:
        answers = pipeline.evaluate(arm, questions)
        values = read_rows(answers / "values.jsonl")
        base = measured[0][1] if measured else None
        scores = score_arm(arm.name, values, base, samples)
        if len(measured) > 1:
            other, theirs = measured[-1]
            scores["versus"][other] = difference(arm.name, values, theirs, samples)
        write_scores(folder / "arms" / arm.name, scores, answers)
        measured.append((arm.name, values))
        folders.append(answers)
    (folder / JUDGEMENTS).unlink(missing_ok=True)
    judged = pipeline.judgements([arm.name for arm in arms], folders)
    if judged is not None:
        text = (judged / JUDGEMENTS).read_text(encoding="utf-8")
        (folder / JUDGEMENTS).write_text(text, encoding="utf-8")


def _warn_of_size(pipeline: Pipeline) -> None:
    """Warn where the base model is larger than a device, before anything is computed."""
    from valign.training.strategies import device_of

    if device_of(str(pipeline.config.trainer.accelerator)) != "cuda":
        return
    import torch
    from transformers import AutoConfig

    from valign.models import resolve_precision
    from valign.training.memory import too_large_to_answer

    settings = pipeline.config.base_model
    shape = AutoConfig.from_pretrained(pipeline.model[0], trust_remote_code=settings.trust_remote_code).to_dict()
    stored = resolve_precision(settings.precision, "cuda").itemsize
    line = too_large_to_answer(shape, stored, torch.cuda.get_device_properties(0).total_memory)
    if line:
        log.warning(line)


def write_run(pipeline: Pipeline, folder: Path, arms: Sequence[Arm], state: str, config: Mapping[str, Any]) -> None:
    """Write what belongs to the run as a whole: its own arm's scores on top, ``run.json`` and the page."""
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
    write_page([folder], folder / PAGE)


def complete(folder: Path, state: str) -> bool:
    """Tell whether a run's folder holds the result of this very config and these inputs."""
    file = folder / RUN
    return file.is_file() and (folder / PAGE).is_file() and read_json(file).get("state") == state


def state_of(pipeline: Pipeline, config: Mapping[str, Any]) -> str:
    """Return a hash of everything that decides a run's result, without loading a model."""
    from valign.store import code_digest

    document = pipeline.document
    given = [to_dict(q) for q in pipeline.given_questions or []]
    return digest([config, document.sha256, [to_dict(p) for p in document.passages], given, code_digest(".")])


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
    """Return the run folders in a folder (or the folder itself, where it is one).

    Raises:
        ValignError: There is none.
    """
    if not runs.is_dir():
        raise ValignError(f"{runs} is not a folder; give the folder of a run or of several, as in runs=runs/udhr.")
    found = [runs] if (runs / RUN).is_file() else sorted(file.parent for file in runs.rglob(RUN))
    if not found:
        raise ValignError(f"{runs} holds no finished run; run python -m valign.train +experiment=udhr first.")
    return found


def run_folder(folder: Path) -> Path:
    """Return the one run folder that a folder is, or holds.

    Raises:
        ValignError: There is none, or there are several.
    """
    found = [f for f in run_folders(folder) if "evaluations" not in f.relative_to(folder).parts]
    if len(found) != 1:
        raise ValignError(f"{folder} holds {len(found)} runs; give the folder of one, such as run=runs/udhr/sft_dpo.")
    return found[0]


def compare(folders: Sequence[Path]) -> Comparison:
    """Put the arms of some runs side by side; an arm that several runs have is shown once.

    Raises:
        ValignError: The runs are about different documents or questions.
    """
    from valign.evaluation.scores import sort_scores
    from valign.reporting import ArmResult, Comparison

    details = [read_json(folder / RUN) for folder in folders]
    hashes = {d["document"]["sha256"] for d in details}
    if len(hashes) > 1:
        raise ValignError("these runs are about different documents; give the runs of one experiment.")
    arms: dict[str, ArmResult] = {}
    names: dict[tuple[Path, str], str] = {}
    merged: dict[str, dict[str, Any]] = {"curves": {}, "timings": {}, "artifacts": {}}
    for folder, detail in zip(folders, details, strict=True):
        for arm in detail["arms"]:
            place = folder / "arms" / arm["name"]
            result = ArmResult(
                arm["name"],
                read_json(place / "scores.json"),
                read_jsonl(place / "answers.jsonl", Answer),
                read_rows(place / "values.jsonl"),
            )
            names[folder, arm["name"]] = _add(arms, result, folder)
        for name, values in merged.items():
            for key, value in detail[name].items():
                values.setdefault(key, value)
    first = details[0]
    judge = next((detail["judge"] for detail in details if detail.get("judge")), None)
    judged = [folder for folder, detail in zip(folders, details, strict=True) if judge and detail.get("judge") == judge]
    order = [scores["arm"] for scores in sort_scores([a.scores for a in arms.values()])]
    return Comparison(
        first["document"]["title"],
        first["experiment"],
        first["document"]["sha256"],
        [from_dict(Passage, p) for p in first["passages"]],
        [arms[name] for name in order],
        funnel={k: v for k, v in first["funnel"].items() if k in ("sft", "preference", "facts")},
        leak=first["leak"],
        curves=merged["curves"],
        timings=merged["timings"],
        artifacts=merged["artifacts"],
        config=first["config"],
        judge=judge,
        judgements=_judgements(judged, names),
    )


def _judgements(folders: Sequence[Path], names: Mapping[tuple[Path, str], str]) -> list[Judgement]:
    """Read what models judged in some runs, each pair of answers once, under the names that the comparison uses."""
    from valign.judging import Judgement
    from valign.pipeline import JUDGEMENTS

    found: dict[tuple[str, str, str], Judgement] = {}
    for folder in folders:
        if (folder / JUDGEMENTS).is_file():
            for j in (Judgement(**row) for row in read_rows(folder / JUDGEMENTS)):
                named = replace(j, first=names[folder, j.first], second=names[folder, j.second])
                found.setdefault((j.question_id, named.first, named.second), named)
    return list(found.values())


def _add(arms: dict[str, Any], result: Any, folder: Path) -> str:
    """Put an arm beside the others and return its name there; the same arm with other answers gets the run's name."""
    known = arms.get(result.arm)
    if known is None:
        arms[result.arm] = result
    elif [a.answer for a in known.answers] != [a.answer for a in result.answers]:
        name = f"{result.arm} ({folder.name})"
        arms[name] = replace(result, arm=name, scores={**result.scores, "arm": name})
        return name
    elif len(result.scores.get("versus", {})) > len(known.scores.get("versus", {})):
        arms[result.arm] = result
    return str(result.arm)


def write_page(folders: Sequence[Path], output: Path) -> Path:
    """Write the comparison page of some runs, its leading charts as a picture, and ``comparison.json`` beside it."""
    from valign.reporting import render, render_picture
    from valign.reporting.summary import summary

    comparison = compare(folders)
    page = render(comparison, output)
    render_picture(comparison, output.with_suffix(".svg"))
    write_json(output.with_name(COMPARISON), summary(comparison))
    return page


def table(folders: Sequence[Path], *, markdown: bool = False) -> str:
    """Return the comparison table of some runs, for a terminal or as Markdown."""
    from valign.evaluation.scores import markdown_table, terminal_table
    from valign.reporting.differences import differences, sentences
    from valign.reporting.lookup import lookups
    from valign.reporting.wins import win_lines

    comparison = compare(folders)
    scores = [arm.scores for arm in comparison.arms]
    remarks = [*sentences(differences(comparison)), *(row.sentence for row in lookups(comparison))]
    remarks += win_lines(comparison)
    shown = "".join(f"\n{remark}\n" for remark in remarks)
    return (markdown_table(scores) if markdown else terminal_table(scores)) + shown


def write_tables(folders: Sequence[Path], output: Path) -> None:
    """Write the comparison of some runs beside its page as ``table.md``, ``table.csv`` and ``table.tex``."""
    from valign.reporting.exports import csv_table, latex_table

    comparison = compare(folders)
    output.with_name("table.md").write_text(table(folders, markdown=True) + "\n", encoding="utf-8")
    output.with_name("table.csv").write_text(csv_table(comparison), encoding="utf-8")
    output.with_name("table.tex").write_text(latex_table(comparison), encoding="utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file of plain objects."""
    import json

    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
