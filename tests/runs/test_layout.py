"""Run folders are found, and what is not one run is refused where one is wanted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig
from run_folders import judged_run

from valign.core.errors import ValignError
from valign.core.files import write_jsonl
from valign.evaluation.judging.labels import LABELS, Label
from valign.pipeline.context import Context
from valign.pipeline.run import state_of
from valign.reporting.study import compare_runs
from valign.runs.layout import RUN, run_folder, run_folders


def test_one_run_is_wanted(tmp_path: Path) -> None:
    """A folder that holds one is taken for it, and evaluations inside a run are no runs of their own."""
    for name in ("a", "a/evaluations/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / RUN).write_text("{}")
    assert run_folder(tmp_path) == run_folder(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RUN).write_text("{}")
    with pytest.raises(ValignError, match=r"holds 2 runs; give the folder of one"):
        run_folder(tmp_path)


def test_runs_stand_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    """Another evaluation of a run, inside its folder, is none of them."""
    names = [
        "sft+rate-0.25",
        "sft+rate-0.5",
        "sft+rate-4",
        "sft+rate-9",
        "sft+rate-18",
        "sft_dpo",
    ]
    for name in ("sft_dpo/evaluations/own", *reversed(names)):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / RUN).write_text("{}")
    assert [str(folder.relative_to(tmp_path)) for folder in run_folders(tmp_path)] == names


@pytest.mark.parametrize("place", [".", "rules", "rules/sft"])
def test_labels_are_found_in_each_folder_that_can_be_labelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """A run, its study, or all studies: whatever valign.label was given."""
    judged_run(tmp_path / "rules" / "sft", {"base": "One.", "sft": "Two."}, None)
    label = Label("q1", "a" * 16, "b" * 16, "tie", "ann")
    write_jsonl(tmp_path / place / LABELS, [label])
    monkeypatch.chdir(tmp_path / "rules")
    assert compare_runs([Path("sft")]).labels == [label]


def test_a_run_is_another_when_a_file_that_it_names_changes(
    tmp_path: Path, compose_config: Callable[..., DictConfig]
) -> None:
    """Templates and a recording count by their words, as the general instructions do."""
    (tmp_path / "question.txt").write_text("one")
    for name in ("replay.jsonl", "recording.jsonl"):
        (tmp_path / name).write_text("")
    named = {"sft.replay_file": "replay.jsonl", "teacher.recording": "recording.jsonl", "synthesis.templates": ""}
    config = compose_config(*(f"{key}={tmp_path / name}" for key, name in named.items()))
    states = {state_of(Context.of(config))}
    for name in ("question.txt", "replay.jsonl", "recording.jsonl"):
        (tmp_path / name).write_text("another")
        states.add(state_of(Context.of(config)))
    assert len(states) == 4


def test_what_a_judge_said_in_several_runs_is_put_together(tmp_path: Path) -> None:
    """Base said one thing twice, SFT two, so the second gets its run's name; another judge is left out.

    A run without a judge does not decide.
    """
    runs = [
        judged_run(tmp_path / "0", {"base": "No."}, None),
        judged_run(tmp_path / "a", {"base": "No.", "sft": "Yes."}, "judge"),
        judged_run(tmp_path / "b", {"base": "No.", "sft": "Maybe.", "dpo": "Yes!"}, "judge"),
        judged_run(tmp_path / "c", {"base": "No.", "rag": "Yes?"}, "another"),
    ]
    comparison = compare_runs(runs)
    assert [(j.first, j.second) for j in comparison.judgements] == [
        ("sft", "base"),
        ("sft (b)", "base"),
        ("dpo", "base"),
    ]
    assert comparison.wins is not None
    assert comparison.wins.pairs["sft (b)", "base"].rate.mean == 1.0
