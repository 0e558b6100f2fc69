"""Every mistake on the command line or in a file is one line that names it and the remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from entry_point import ROOT, SECONDS, Run, run_process


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["sft.epoch=1"], ["sft.epoch", "sft.epochs"]),
        (["learning_rate=1"], ["learning_rate", "sft.learning_rate or dpo.learning_rate"]),
        (["documnet=udhr"], ["documnet", "'document'"]),
        (["+foo=1"], ["unknown key 'foo'", "--cfg job"]),
        (["sft.epochs=abc"], ["sft.epochs=abc", "a number"]),
        (["recipe.stages=sft"], ["recipe.stages=sft", "a list, such as [a,b]"]),
        (
            ["recipe=sfft"],
            [
                "recipe=sfft",
                "did you mean 'sft'",
                "base, dpo, in_context, rag, rag_bm25, ",
            ],
        ),
        (["-m", "recipe=base,sfft"], ["recipe=sfft", "did you mean 'sft'"]),
        (["-m", "hydra/sweeper=optuna"], ["hydra/sweeper=optuna needs the extra sweep: pip install -e '.[sweep]'"]),
        (["+experiment=udrh"], ["+experiment=udrh", "did you mean 'udhr'"]),
        (["experiment=udhr"], ["write +experiment=udhr"]),
        (["+recipe=sft"], ["recipe is chosen twice", "without a plus sign"]),
        (["recipe=sft,dpo"], ["recipe=sft,dpo", "add -m"]),
        (["recipe=5"], ["Config group override must be a string"]),
        (["foo"], ["'foo'", "key=value"]),
        (["policy.md"], ["'policy.md'", "document=file document.path=policy.md"]),
        (["a=["], ["'a=['", "brackets"]),
        (["+experiment=bcg"], ["document=bcg needs your own copy", "add document.path=/path/to/file"]),
        (["-m", "document=file", "seed=1,2"], ["document.path is missing", "add document.path=/path/to/file"]),
        (["document.path=nowhere.txt"], ["document.path=nowhere.txt does not exist"]),
        (["run_name=${nothing}"], ["run_name", "'nothing' not found"]),
        (["--epochs=3"], ["unknown option --epochs=3", "dashes: sft.epochs=value or dpo.epochs=value."]),
        (
            ["seed=1", "-m", "recipe=sft"],
            ["recipe=sft stands behind an option", "put options such as -m before or behind"],
        ),
        (["--config-name=nowhere"], ["'nowhere'", "check the name"]),
        (["experiment_name=mistake"], ["the passage is empty; add text."]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_on_stderr(arguments: list[str], expected: list[str], run_cli: Run) -> None:
    code, _, stderr = run_cli(*arguments)
    assert code == 2
    assert len(stderr.splitlines()) == 1, stderr
    assert all(part in stderr for part in expected), stderr


LONG = "/tmp/" + 300 * "x"


@pytest.mark.parametrize("end", [".md", "/a.md"])
@pytest.mark.parametrize(
    "key", ["document.path", "document.questions", "synthesis.templates", "base_model.model", "runs", "artifacts"]
)
def test_a_path_that_is_too_long_is_a_mistake(key: str, end: str, run_cli: Run) -> None:
    end = end.replace(".md", ".jsonl") if key == "document.questions" else end
    code, _, stderr = run_cli(f"{key}={LONG}{end}")
    assert code == 2
    assert stderr.startswith(f"error: {LONG}") and len(stderr.splitlines()) == 1
    assert "cannot be opened (File name too long); check the path: a name has at most 255 bytes" in stderr


def test_so_is_one_of_a_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "valign.report", f"runs={tmp_path / LONG[5:]}"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: {tmp_path / LONG[5:]} cannot be opened (File name too long); check the path: a name has at most 255 "
        "bytes, and all of it 4,095.\n"
    )


def test_requests_that_wait_for_a_batch_are_no_mistake(run_cli: Run) -> None:
    """Several lines on stdout and code 4; the other jobs of a multirun still run."""
    lines = ["batch: 3 completions are still to be written", "next: run it", "then: the same command again"]
    code, stdout, stderr = run_cli("experiment_name=batch")
    assert (code, stderr) == (4, "")
    assert stdout.splitlines() == lines
    code, stdout, _ = run_cli("-m", "experiment_name=batch,other", "run_name=x")
    assert code == 4
    assert all(line in stdout.splitlines() for line in lines) and "ran runs/other/x" in stdout


def test_a_mistake_is_answered_at_once(tmp_path: Path) -> None:
    code, stdout, stderr, seconds = run_process("sft.epoch=1", cwd=tmp_path)
    assert (code, stdout, len(stderr.splitlines())) == (2, "", 1)
    assert seconds < SECONDS


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path, run_cli: Run) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nsft:\n  epoch: 3\n")
    (tmp_path / "experiment" / "torn.yaml").write_text("# @package _global_\nsft: [\n")
    code, _, stderr = run_cli("--config-dir", ".", "+experiment=mine")
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert "experiment/mine.yaml: unknown key 'sft.epoch' (did you mean 'sft.epochs'?)" in stderr
    code, _, stderr = run_cli("--config-dir", ".", "+experiment=torn")
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert "torn.yaml" in stderr


@pytest.mark.parametrize("entry", ["evaluate", "report", "chat", "label"])
def test_the_small_entry_points_show_their_usage(entry: str, run_cli: Run) -> None:
    key = "run" if entry == "evaluate" else "runs"
    for arguments, wrong in ([], f"{key} is missing"), ([f"{key}=nowhere"], f"{key}=nowhere does not exist"):
        code, _, stderr = run_cli(*arguments, entry=entry)
        assert (code, len(stderr.splitlines())) == (2, 1), stderr
        assert wrong in stderr
        assert f"usage: python -m valign.{entry} {key}=runs/udhr" in stderr


@pytest.mark.parametrize(
    ("entry", "arguments", "expected"),
    [
        ("trace", [], "id and clause are missing; give one of them: python -m valign.trace id=sft-"),
        ("trace", ["id=sft-1", "clause=udhr/preamble"], "id and clause exclude each other; give one of them"),
        ("trace", ["claus=udhr"], "unknown key 'claus' (did you mean 'clause'?)"),
        (
            "export",
            ["run=runs/udhr"],
            "output is missing: usage: python -m valign.export run=runs/udhr/sft_dpo output=",
        ),
        ("export", ["output=x"], "run and artifact are missing; give one of them: python -m valign.export run="),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_the_ledgers_entry_points_say_what_they_need(
    entry: str, arguments: list[str], expected: str, run_cli: Run
) -> None:
    code, _, stderr = run_cli(*arguments, entry=entry)
    assert (code, len(stderr.splitlines())) == (2, 1), stderr
    assert expected in stderr


def test_an_interrupt_is_one_line(tmp_path: Path) -> None:
    code, _, stderr, _ = run_process("experiment_name=interrupt", cwd=tmp_path)
    assert code == 130
    assert len(stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "last"), [("bug", "RuntimeError: a bug"), ("wrong-key", "omegaconf.errors.ConfigAttributeError")]
)
def test_a_bug_keeps_its_traceback_in_a_multirun_too(name: str, last: str, run_cli: Run) -> None:
    for arguments in [f"experiment_name={name}"], ["-m", f"experiment_name={name}", "recipe=sft,dpo"]:
        code, _, stderr = run_cli(*arguments)
        assert code == 1
        assert "Traceback" in stderr
        assert last in stderr
        assert "dummy_entry.py" in stderr


@pytest.mark.slow
def test_a_mistake_in_one_job_of_a_multirun_leaves_the_others(run_cli: Run) -> None:
    code, stdout, stderr = run_cli("-m", "sft.epochs=-1,1")
    assert code == 2
    assert stderr.splitlines() == [
        "error: sft.epochs=-1.0 is out of range: give a value above 0. [job: sft.epochs=-1]",
    ]
    assert "ran runs/udhr/sft_dpo+sft.epochs-1 " in stdout


@pytest.mark.slow
def test_a_signal_in_one_job_of_a_multirun_ends_all(tmp_path: Path) -> None:
    code, stdout, stderr, _ = run_process("-m", "experiment_name=signal,other", cwd=tmp_path)
    assert code == 75
    assert "#0" in stdout and "#1" not in stdout
    assert stderr == "error: SIGTERM: saved step 3 of 9. [job: experiment_name=signal]\n"
