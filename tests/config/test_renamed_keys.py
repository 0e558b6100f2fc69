"""A key of an earlier version is answered with its new name, wherever it was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from entry_point import Run

from valign.config.messages import RENAMED, new_name, unknown_key
from valign.config.schema import SCHEMAS, key_type, keys

OLD = ("synthesis.questions_per_passage", "synthesis.instructions.questions_per_passage")


@pytest.mark.parametrize(("old", "new"), RENAMED.items(), ids=RENAMED)
def test_every_renamed_key_is_gone_and_has_one_of_today(old: str, new: str, run_cli: Run) -> None:
    assert key_type(SCHEMAS["config"], old) is None
    assert new in keys(SCHEMAS["config"])
    code, _, stderr = run_cli(f"{old}=8")
    assert (code, stderr) == (2, f"error: {old} is now {new}; write {new}=8.\n")


def test_no_two_keys_became_one() -> None:
    assert len(set(RENAMED.values())) == len(RENAMED)


def test_names_by_hand() -> None:
    """A key in a renamed group goes with its group; a key that only begins like a renamed one does not."""
    assert new_name("synthesis.rejected.edit") == "synthesis.preferences.rejected.edit"
    assert new_name("synthesis.kindsmen") is None
    assert new_name("sft.epochs") is None
    old, new = OLD
    assert unknown_key(old, ()) == f"{old} is now {new}; write {new}."


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        (["synthesis.kinds.edge=1"], "synthesis.instructions.kinds.edge=1"),
        (["synthesis.kinds={edge:1}"], "synthesis.instructions.kinds={edge:1}"),
        (["synthesis.openings=['Who may',What]"], "synthesis.instructions.openings=['Who may',What]"),
        (["+synthesis.max_rank=3"], "synthesis.filters.max_rank=3"),
        (["++synthesis.max_rank=3"], "synthesis.filters.max_rank=3"),
        (["+synthesis.rejected.edit=3"], "synthesis.preferences.rejected"),
        (["~synthesis.max_rank"], "synthesis.filters.max_rank"),
        (["-m", "synthesis.max_rank=1,2"], "synthesis.filters.max_rank=1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_command_line(arguments: list[str], written: str, run_cli: Run) -> None:
    code, _, stderr = run_cli(*arguments)
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert stderr.endswith(f"; write {written}.\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "synthesis:\n  questions_per_passage: 8\n",
            f"error: conf/experiment/mine.yaml: {OLD[0]} is now {OLD[1]}; write {OLD[1]}.\n",
        ),
        (
            "hydra:\n  mode: MULTIRUN\n  sweeper:\n    params:\n      synthesis.questions_per_passage: 4,8\n",
            f"error: {OLD[0]} is now {OLD[1]}; write {OLD[1]}=4.\n",
        ),
    ],
    ids=["key", "sweep"],
)
def test_a_file(text: str, message: str, tmp_path: Path, run_cli: Run) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(f"# @package _global_\n{text}")
    code, _, stderr = run_cli("--config-dir", ".", "+experiment=mine")
    assert (code, stderr) == (2, message)
