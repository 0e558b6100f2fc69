"""The dummy entry point, in this process or in one of its own, and files without which some options are incomplete."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import dummy_entry
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from valign.cli import main

Compose = Callable[..., DictConfig]
Run = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[2]
STUB_VLLM = Path(__file__).with_name("stub_vllm.py")
SECONDS = 20  # two are promised; a test machine may be busy


def run_process(*arguments: str, cwd: Path) -> tuple[int, str, str, float]:
    """Run the dummy entry point in a process of its own; return exit code, stdout, stderr and seconds."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("HYDRA_FULL_ERROR", None)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, dummy_entry.__file__, *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr, time.monotonic() - started


@contextlib.contextmanager
def logging_restored() -> Iterator[None]:
    """Undo what Hydra does to the loggers that its configs name."""
    loggers = [logging.getLogger(), logging.getLogger("valign")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers


@pytest.fixture
def own_files(tmp_path: Path) -> dict[str, list[str]]:
    """The overrides without which an option of ``conf/`` is incomplete."""
    document, recording = tmp_path / "My policy.md", tmp_path / "calls.jsonl"
    document.write_text("# 1 Respect\n\nBe kind.\n")
    recording.write_text("")
    own = [f"document.path='{document}'"]
    return {
        "document/bcg": own,
        "document/file": own,
        "experiment/bcg": own,
        "teacher/api": ["teacher.model=owner/name"],
        "teacher/replay": [f"teacher.recording={recording}"],
        "base_model/hub": ["base_model.model=owner/name"],
        "evaluation/judge_api": ["evaluation.judge_model.model=owner/name"],
        "teacher/batch": ["teacher.model=owner/name"],
        "evaluation/policy_api": ["evaluation.policy_judge.model=owner/name"],
        "evaluation/policy_batch": ["evaluation.policy_judge.model=owner/name"],
        "evaluation/judge_batch": ["evaluation.judge_model.model=owner/name"],
        "teacher/vllm": [f"teacher.vllm.command={STUB_VLLM}"],
        "evaluation/judge_vllm": [f"evaluation.judge_model.vllm.command={STUB_VLLM}"],
        "evaluation/policy_vllm": [f"evaluation.policy_judge.vllm.command={STUB_VLLM}"],
    }


@pytest.fixture
def run_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs the dummy entry point in ``tmp_path``; returns exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")

    def run(*arguments: str, entry: str = "config") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [dummy_entry.__file__, *arguments])
        GlobalHydra.instance().clear()
        with logging_restored():
            try:
                main.main_with(dummy_entry.main, entry)
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            except Exception:
                traceback.print_exc()
                code = 1
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
