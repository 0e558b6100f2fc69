"""From the folders of some runs to one comparison."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.config.earlier_versions import with_new_names
from valign.core.errors import ValignError
from valign.core.files import from_dict, read_json, read_jsonl, read_rows
from valign.core.records import Answer, Document, Instruction, Passage, Preference
from valign.core.store import digest, is_complete, is_digest
from valign.evaluation.arm_names import is_arm_name, sort_scores
from valign.evaluation.judging.answer_labels import ANSWER_LABELS, AnswerLabel
from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.judgement import Judgement
from valign.evaluation.judging.labels import LABELS, Given, Label, read_choices
from valign.evaluation.judging.policy_judgement import read_policy_judgements
from valign.models.terms import BaseModel
from valign.reporting.comparison import BASE, ArmResult, Comparison
from valign.reporting.seeds import pool_seeds
from valign.runs.damage import describe_damage
from valign.runs.layout import JUDGEMENTS, POLICY, POLICY_ANSWERS, RUN, run_folders
from valign.synthesis.dataset import PREFERENCES, SFT
from valign.synthesis.held_out_clauses import exposure

log = logging.getLogger(__name__)

_SEED_IN_NAME = re.compile(r"\+seed--?\d+")
_NOT_THE_EXPERIMENT = ("seed", "recipe", "run_name", "run_dir", "runs", "artifacts", "logger")
_SHOWN_COUNTS = ("sft", "preference", "facts", "review")
_WITHOUT_EFFECT = (("base_model", "recommended"), ("sft", "batch_tokens"), ("dpo", "batch_tokens"))


def compare_folder(runs: Path) -> Comparison:
    """Put the arms of all runs in a folder side by side, as ``compare_runs`` does.

    Raises:
        ValignError: There are none, they are about different documents or questions, or their files are damaged.
    """
    with describe_damage(runs):
        return compare_runs(run_folders(runs))


def compare_runs(folders: Sequence[Path], given: Sequence[Mapping[str, Any]] | None = None) -> Comparison:
    """Put the arms of some runs side by side; an arm that several runs have is shown once.

    Runs that differ by their seed alone (and by what they train) are put together: scores are over all seeds, answers
    and everything else of the lowest.

    Args:
        folders: The runs' folders.
        given: What is to stand in their ``run.json``, where it is not there yet.

    Raises:
        ValignError: The runs are about different documents or questions.
    """
    noted = [read_json(folder / RUN) for folder in folders] if given is None else given
    details: list[dict[str, Any]] = [{**d, "config": with_new_names(d["config"])} for d in noted]
    hashes = {d["document"]["sha256"] for d in details}
    if len(hashes) > 1:
        raise ValignError("these runs are about different documents; give the runs of one experiment.")
    names: dict[tuple[Path, str], str] = {}
    arms = _arms(folders, details, names)
    shown = [detail for folder, detail in zip(folders, details, strict=True) if any(f == folder for f, _ in names)]
    merged: dict[str, dict[str, Any]] = {"curves": {}, "timings": {}, "artifacts": {}}
    for detail in shown:
        for name, values in merged.items():
            for key, value in detail[name].items():
                values.setdefault(key, value)
    first = shown[0]
    written = next((detail for detail in shown if detail["funnel"]), first)
    noted_in = next(str(folder / RUN) for folder, detail in zip(folders, details, strict=True) if detail is first)
    judge = next((detail["judge"] for detail in shown if detail.get("judge")), None)
    judged = [f for f, d in zip(folders, details, strict=True) if d in shown and judge and d.get("judge") == judge]
    order = [scores["arm"] for scores in sort_scores([a.scores for a in arms.values()])]
    return Comparison(
        first["document"]["title"],
        first["experiment"],
        first["document"]["sha256"],
        [from_dict(Passage, p, noted_in) for p in first["passages"]],
        [arms[name] for name in order],
        funnel={k: v for k, v in (written["funnel"] or {}).items() if k in _SHOWN_COUNTS} or None,
        leak=written["leak"],
        curves=merged["curves"],
        timings=merged["timings"],
        artifacts=merged["artifacts"],
        work=_work(shown),
        examples=_examples(shown),
        config=first["config"],
        judge=None if judge is None else from_dict(Judge, judge, noted_in),
        judgements=_judgements(judged, names),
        labels=_labels(folders, LABELS, Label),
        answer_labels=_labels(folders, ANSWER_LABELS, AnswerLabel),
        document_name=first["document"].get("name", ""),
        base_model=from_dict(BaseModel, first["base_model"]) if first.get("base_model") else None,
        results=_results(folders, details, names),
    )


def _results(
    folders: Sequence[Path], details: Sequence[Mapping[str, Any]], names: Mapping[tuple[Path, str], str]
) -> tuple[str, ...]:
    """Return the arm for which each run was started: the last that was trained, without looking anything up."""
    found = []
    for folder, detail in zip(folders, details, strict=True):
        arms = detail["arms"]
        trained = [arm for arm in arms if arm.get("stages")]
        plain = [arm for arm in trained if not arm.get("retrieval")]
        last = (plain or trained or arms)[-1]["name"]
        found += [names[folder, last]] if (folder, last) in names else []
    return tuple(dict.fromkeys(found))


def _arms(
    folders: Sequence[Path], details: Sequence[Mapping[str, Any]], names: dict[tuple[Path, str], str]
) -> dict[str, ArmResult]:
    """Read the arms of some runs; runs that differ by their seed (and recipe) alone are put together.

    ``names`` gets the name of each arm of the runs whose answers are shown, by the run's folder and the arm's own name.
    """
    kinds: dict[str, dict[int, list[tuple[Path, Mapping[str, Any]]]]] = {}
    for folder, detail in zip(folders, details, strict=True):
        settings = _experiment(detail["config"])
        seed = int(detail["config"].get("seed", 0))
        kinds.setdefault(digest(settings), {}).setdefault(seed, []).append((folder, detail))
    found: dict[str, ArmResult] = {}
    for kind in kinds.values():
        by_seed: dict[str, dict[int, ArmResult]] = {}
        for seed, runs in sorted(kind.items()):
            arms: dict[str, ArmResult] = found if len(kind) == 1 else {}
            for folder, detail in runs:
                new = _add(arms, _read_arms(folder, detail), folder)
                if seed == min(kind):
                    names.update({(folder, arm): name for arm, name in new.items()})
            for name, result in arms.items():
                by_seed.setdefault(name, {})[seed] = result
        if len(kind) > 1:
            first, detail = kind[min(kind)][0]
            settings = detail["config"].get("evaluation", {})
            samples, metrics = int(settings.get("bootstrap", 2000)), settings.get("metrics")
            new = _add(found, pool_seeds(by_seed, samples, _exposure(detail, by_seed), metrics), first)
            shown = {folder for folder, _ in kind[min(kind)]}
            names.update({key: new.get(name, name) for key, name in names.items() if key[0] in shown})
    return _name_the_first(found, names)


def _experiment(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings in which runs of one experiment agree."""
    found = {key: value for key, value in config.items() if key not in _NOT_THE_EXPERIMENT}
    for group, key in _WITHOUT_EFFECT:
        found[group] = {name: value for name, value in (found.get(group) or {}).items() if name != key}
    return found


def _read_arms(folder: Path, detail: Mapping[str, Any]) -> list[ArmResult]:
    found = []
    for arm in detail["arms"]:
        if not is_arm_name(arm["name"]):
            raise ValueError(f"an arm named {arm['name']!r}")
        place, stages = folder / "arms" / arm["name"], tuple(arm.get("stages", ()))
        answers = read_jsonl(place / "answers.jsonl", Answer)
        data = detail["artifacts"].get("data", "") if stages else ""
        values = read_rows(place / "values.jsonl")
        judged = read_policy_judgements(place / POLICY) if (place / POLICY).is_file() else []
        probed = read_jsonl(place / POLICY_ANSWERS, Answer) if (place / POLICY_ANSWERS).is_file() else []
        named = arm["name"], read_json(place / "scores.json"), answers, values, stages, data, judged
        found.append(ArmResult(*named, probed=probed))
    return found


def _exposure(detail: Mapping[str, Any], by_seed: Mapping[str, Mapping[int, ArmResult]]) -> dict[str, str]:
    held_out = detail["config"].get("synthesis", {}).get("hold_out_clauses") or ()
    passages = tuple(from_dict(Passage, p, RUN) for p in detail["passages"])
    named = detail["document"]
    document = Document(named.get("name", ""), named["title"], "", named["sha256"], passages)
    asked = {str(row["clause"]) for results in by_seed.values() for r in results.values() for row in r.values}
    return exposure(document, held_out, asked)


def _store(detail: Mapping[str, Any]) -> Path:
    return Path(detail["config"]["artifacts"]).expanduser()


def _work(details: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what the manifests of some runs' stages count; those that are not in the store any more are left out."""
    found: dict[str, dict[str, Any]] = {}
    for detail in details:
        for key, name in detail["artifacts"].items():
            for manifest in _store(detail).glob(f"*/{name}/manifest.json") if is_digest(name) else ():
                if is_complete(manifest.parent):
                    found.setdefault(key, read_json(manifest)["counts"])
    return found


def _examples(details: Sequence[Mapping[str, Any]]) -> dict[str, list[Instruction | Preference]]:
    """Read the data that some runs trained on; what is no longer in the store, or of another version, is left out."""
    found: dict[str, list[Instruction | Preference]] = {}
    for detail in details:
        name = detail["artifacts"].get("data", "")
        if is_digest(name) and name not in found and (folder := _store(detail) / "data" / name).joinpath(SFT).is_file():
            try:
                pairs = read_jsonl(folder / PREFERENCES, Preference)
                found[name] = [*read_jsonl(folder / SFT, Instruction), *pairs]
            except ValignError as error:
                log.warning("the page shows no training examples: %s", error)
    return found


def _labels(folders: Sequence[Path], name: str, kind: type[Given]) -> list[Given]:
    """Read what people said of some runs' answers, from files of one name.

    ``valign.label`` writes to the folder that it was given: a run's own, its study's, or that of all studies.
    """
    whole = [folder.absolute() for folder in folders]
    places = dict.fromkeys(place for folder in whole for place in (*folder.parents[1::-1], folder))
    return [label for place in places for label in read_choices(place / name, kind)]


def _judgements(folders: Sequence[Path], names: Mapping[tuple[Path, str], str]) -> list[Judgement]:
    """Read what models judged in some runs, each pair of answers once, under the names that the comparison uses."""
    found: dict[tuple[str, str, str], Judgement] = {}
    for folder in folders:
        if (folder / JUDGEMENTS).is_file():
            for j in (Judgement(**row) for row in read_rows(folder / JUDGEMENTS)):
                named = replace(j, first=names[folder, j.first], second=names[folder, j.second])
                found.setdefault((j.question_id, named.first, named.second), named)
    return list(found.values())


def _add(arms: dict[str, ArmResult], results: Sequence[ArmResult], folder: Path) -> dict[str, str]:
    """Put a run's arms beside the others and return their names there, under which their differences are then found."""
    new = {result.arm: _add_one(arms, result, folder) for result in results}
    for result in results:
        kept = arms[new[result.arm]]
        if kept.answers is result.answers:
            versus = {new.get(other, other): table for other, table in kept.scores.get("versus", {}).items()}
            arms[kept.arm] = replace(kept, scores={**kept.scores, "versus": versus})
    return new


def _add_one(arms: dict[str, ArmResult], result: ArmResult, folder: Path) -> str:
    """Put an arm beside the others and return its name there; the same arm with other answers gets the run's name."""
    known = arms.get(result.arm)
    if known is None:
        arms[result.arm] = result
    elif not _same_answers(known, result):
        name = f"{result.arm} ({_settings(folder) or folder.name})"
        if name in arms and not _same_answers(arms[name], result):
            name = f"{result.arm} ({folder.name})"
        arms[name] = replace(result, arm=name, scores={**result.scores, "arm": name})
        return name
    else:
        more = len(result.scores.get("versus", {})) > len(known.scores.get("versus", {}))
        arms[result.arm] = _with_policy(result, known) if more else _with_policy(known, result)
    return str(result.arm)


def _with_policy(kept: ArmResult, other: ArmResult) -> ArmResult:
    """Return an arm with what a policy judge says of it in another run that gave the same answers, if it has none."""
    if kept.policy or not other.policy:
        return kept
    return replace(kept, policy=other.policy, scores={**kept.scores, "policy": other.scores.get("policy", {})})


def _same_answers(one: ArmResult, other: ArmResult) -> bool:
    return [a.answer for a in one.answers] == [a.answer for a in other.answers]


def _settings(folder: Path) -> str:
    """Return what a run's folder says was set, without recipe and seed; nothing where that is nothing."""
    return _SEED_IN_NAME.sub("", folder.name).partition("+")[2]


def _name_the_first(found: dict[str, ArmResult], names: dict[tuple[Path, str], str]) -> dict[str, ArmResult]:
    """Name the settings of an arm's first run too, where others stand beside it and it has some of its own.

    Base keeps its name, by which all others are compared with it.
    """
    new = {name: name for name in found}
    for name in found.keys() - {BASE}:
        settings = {_settings(folder) for (folder, _), shown in names.items() if shown == name}
        if len(settings) == 1 and settings != {""} and any(other.startswith(f"{name} (") for other in found):
            new[name] = f"{name} ({settings.pop()})"
    names.update({key: new[name] for key, name in names.items()})
    renamed = {}
    for name, result in found.items():
        versus = {new.get(other, other): table for other, table in result.scores.get("versus", {}).items()}
        scores = {**result.scores, "arm": new[name], "versus": versus}
        renamed[new[name]] = replace(result, arm=new[name], scores=scores)
    return renamed
