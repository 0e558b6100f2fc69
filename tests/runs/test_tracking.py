"""Loggers: offline W&B runs that are read back from disk, CSV files, masks and modes; no network."""

from __future__ import annotations

import csv
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from valign.core.errors import ValignError
from valign.core.records import Answer
from valign.runs import tracking
from valign.runs.summaries import flat_scores, mask_secrets
from valign.runs.tracking import (
    closing_logger,
    ignore_lost_logger,
    log_answers,
    log_config,
    log_scores,
    make_logger,
)
from valign.runs.wandb_mode import logged_in, wandb_mode

KEY = "0123456789abcdef0123456789abcdef01234567"
SCORES: dict[str, Any] = {
    "arm": "sft",
    "n": 2,
    "metrics": {"fact_recall": {"mean": 0.5, "ci95": [0.25, 0.75], "n": 2}},
    "by_clause": {"d/1": {"n": 2, "fact_recall": 0.5}},
    "versus": {"base": {"fact_recall": {"mean": 0.375, "ci95": [0.125, 0.625], "n": 2}}},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nobody is logged in, and the home folder is an empty one."""
    folder = tmp_path / "home"
    folder.mkdir()
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MPLCONFIGDIR", str(Path.home() / ".cache" / "matplotlib"))  # its fonts are listed only once
    monkeypatch.setenv("HOME", str(folder))
    return folder


def arguments(folder: Path, kind: str = "wandb", **changes: Any) -> dict[str, Any]:
    given = {"project": "valign", "mode": "auto", "entity": None, "name": "sft", "group": "study", "job_type": "sft"}
    return {"kind": kind, **given, "folder": folder, **changes}


def answer(question: str, arm: str) -> Answer:
    return Answer(question, "d/1", "May I?", "No.", f"{arm} says no", arm, retrieved=("d/1", "d/2"))


def read_back(folder: Path) -> list[dict[str, Any]]:
    """Return the records of each W&B run in a folder, in the order of their start."""
    files = sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda file: file.stat().st_mtime_ns)
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json"]
    outputs = [subprocess.run([*command, str(f)], capture_output=True, text=True, check=True).stdout for f in files]
    runs = []
    for output in outputs:
        run: dict[str, Any] = {"config": {}, "summary": {}, "history": []}
        for record in map(json.loads, output.splitlines()):
            if record["type"] == "run":
                run["run"] = record["run"]
            if record["type"] == "config":
                run["config"].update(record["config"]["update"])
            if record["type"] == "summary":
                run["summary"].update(record["summary"].get("update", {}))
            if record["type"] == "history":
                run["history"].append(record["history"]["item"])
            if record["type"] == "exit":
                run["exit"] = record["exit"].get("exit_code", 0)
        runs.append(run)
    return runs


@pytest.mark.slow
def test_wandb_run_offline(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """One run with a curve of two points, scores, answers and a config, read back from its file; nothing is said."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + KEY)
    folder = tmp_path / "runs" / "sft"
    with closing_logger(make_logger(**arguments(folder, mode="offline"))) as logger:
        assert logger
        log_config(logger, {"seed": 1, "teacher": {"api_key_env": "OPENAI_API_KEY", "api_key": "sk-" + KEY}})
        logger.log_metrics({"loss": 2.0}, step=1)
        logger.log_metrics({"loss": 1.0}, step=2)
        log_scores(logger, SCORES)
        log_answers(logger, [answer("q1", "base"), answer("q2", "base"), answer("q1", "sft")], limit=2)
    (run,) = read_back(folder)
    assert [run["run"][key] for key in ("project", "run_group", "job_type", "display_name")] == [
        "valign",
        "study",
        "sft",
        "sft",
    ]
    assert [item["loss"] for item in run["history"] if "loss" in item] == [2.0, 1.0]
    assert run["summary"]["scores/sft/fact_recall"] == 0.5
    assert run["summary"]["scores/sft/fact_recall/minus_base/low"] == 0.125
    assert run["exit"] == 0
    (file,) = folder.glob("wandb/offline-run-*/files/media/table/*.json")
    table = json.loads(file.read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert [(row["question_id"], row["arm"], row["retrieved"]) for row in rows] == [
        ("q1", "base", "d/1, d/2"),
        ("q1", "sft", "d/1, d/2"),
    ]
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert not [file for file in written if KEY.encode() in file.read_bytes()]
    assert run["config"] == {"seed": 1, "teacher": {"api_key_env": "OPENAI_API_KEY", "api_key": "***"}}
    assert {file.suffix for file in home.rglob("*") if file.is_file()} <= {".log"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_each_run_is_closed_also_after_an_error(tmp_path: Path) -> None:
    """The first of two runs in one process fails; the second is another run, and the first keeps its exit code."""
    with pytest.raises(RuntimeError, match="boom"), closing_logger(make_logger(**arguments(tmp_path / "a"))):
        raise RuntimeError("boom")
    assert wandb.run is None
    with closing_logger(make_logger(**arguments(tmp_path / "b"))) as logger:
        assert logger
        logger.log_metrics({"loss": 3.0}, step=1)
    assert wandb.run is None
    (first,), (second,) = read_back(tmp_path / "a"), read_back(tmp_path / "b")
    assert (first["exit"], second["exit"]) == (1, 0)
    assert first["history"] == []
    assert first["run"]["run_id"] != second["run"]["run_id"]


@pytest.mark.slow
def test_restarted_run_keeps_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same folder, also by another name, is the same run; the environment is left as it was."""
    before = os.environ.get("WANDB_DATA_DIR")
    monkeypatch.chdir(tmp_path)
    for folder in (tmp_path / "a", Path("a")):
        with closing_logger(make_logger(**arguments(folder))) as logger:
            assert logger
            logger.log_metrics({"loss": 1.0}, step=1)
    assert {file.stem for file in (tmp_path / "a").glob("wandb/offline-run-*/run-*.wandb")} == {
        f"run-{read_back(tmp_path / 'a')[0]['run']['run_id']}"
    }
    assert "WANDB_MODE" not in os.environ
    assert os.environ.get("WANDB_DATA_DIR") == before


def test_csv_logger_keeps_the_curve_of_an_earlier_start(tmp_path: Path) -> None:
    for loss in (2.0, 1.0):
        with closing_logger(make_logger(**arguments(tmp_path, "csv"))) as logger:
            assert logger
            log_config(logger, {"seed": 1, "token": "abc"})
            logger.log_metrics({"loss": loss}, step=1)
            log_scores(logger, SCORES)
            log_answers(logger, [answer("q1", "base")])
    files = sorted(tmp_path.glob("csv/version_*/metrics.csv"))
    assert [next(csv.DictReader(file.open()))["loss"] for file in files] == ["2.0", "1.0"]
    assert "abc" not in (tmp_path / "csv" / "version_0" / "hparams.yaml").read_text()


@pytest.mark.parametrize("changes", [{"kind": "none"}, {"mode": "disabled"}])
def test_no_logger_is_false_and_logs_nothing(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Lightning takes False for no logger; None would bring its default one."""
    with closing_logger(make_logger(**arguments(tmp_path / "a", **changes))) as logger:
        log_config(logger, {"seed": 1})
        log_scores(logger, SCORES)
        log_answers(logger, [answer("q1", "base")])
    assert logger is False
    assert not list((tmp_path / "a").rglob("*.*"))


def test_mode_auto_is_offline_unless_logged_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A netrc entry for another host is no login; the environment's mode goes before the login."""
    assert (logged_in(), wandb_mode("auto")) == (False, "offline")
    (home / ".netrc").write_text(f"machine example.com login user password {KEY}\n")
    assert (logged_in(), wandb_mode("auto")) == (False, "offline")
    (home / ".netrc").write_text(f"machine api.wandb.ai login user password {KEY}\n")
    assert (logged_in(), wandb_mode("auto")) == (True, "online")
    assert wandb_mode("offline") == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.com:8443")
    wandb.teardown()  # it remembers the server
    assert wandb_mode("auto") == "offline"
    (home / ".netrc").write_text(f"machine wandb.example.com:8443 login user password {KEY}\n")
    assert wandb_mode("auto") == "online"
    wandb.teardown()
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert wandb_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert (wandb_mode("auto"), wandb_mode("online")) == ("disabled", "online")


@pytest.mark.slow
def test_server_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """With mode auto the run goes on offline and says so; a user who asked for online gets a message."""
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(tracking, "SECONDS_TO_START", 1.0)
    wandb.teardown()  # it remembers another server
    with closing_logger(make_logger(**arguments(tmp_path / "a"))) as logger:
        assert logger
        logger.log_metrics({"loss": 1.0}, step=1)
    assert "going on offline" in capfd.readouterr().out
    (run,) = read_back(tmp_path / "a")
    assert [item["loss"] for item in run["history"]] == [1.0]
    with pytest.raises(ValignError, match=r"cannot start a run .*logger\.mode=offline"):
        make_logger(**arguments(tmp_path / "b", mode="online"))
    wandb.teardown()
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and KEY.encode() in file.read_bytes()]


def test_broken_netrc_is_a_warning(home: Path) -> None:
    (home / ".netrc").write_text("machine\n")
    with pytest.warns(UserWarning, match="not logged in"):
        assert not logged_in()


def test_impossible_modes_are_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValignError, match=r"nobody is logged in: .*logger\.mode=offline"):
        make_logger(**arguments(tmp_path, mode="online"))
    monkeypatch.setenv("WANDB_MODE", "sometimes")
    with pytest.raises(ValignError, match="'sometimes' is unknown; set WANDB_MODE"):
        make_logger(**arguments(tmp_path))
    with pytest.raises(ValignError, match="choose from: wandb, csv, none"):
        make_logger(**arguments(tmp_path, "paper"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ValignError, match="file is not writable"):
        make_logger(**arguments(tmp_path / "file", "csv"))


def test_secrets_are_masked_and_their_names_are_not() -> None:
    given = {
        "api_key": "sk-1",
        "teacher": {"api_key_env": "OPENAI_API_KEY", "batch_tokens": 8192, "hf_token": "hf_1", "apikey": "x"},
        "max_new_tokens": 160,
        "password": None,
        "client-secret": ["a", "b"],
        "base_urls": ["https://me:pw@host/v1", "http://localhost:8000/v1"],
        "tokenizer": "fast",
    }
    assert mask_secrets(given) == {
        "api_key": "***",
        "teacher": {"api_key_env": "OPENAI_API_KEY", "batch_tokens": 8192, "hf_token": "***", "apikey": "***"},
        "max_new_tokens": 160,
        "password": None,
        "client-secret": ["***", "***"],
        "base_urls": ["https://***@host/v1", "http://localhost:8000/v1"],
        "tokenizer": "fast",
    }


def test_flat_scores() -> None:
    assert flat_scores(SCORES) == {
        "scores/sft/n": 2,
        "scores/sft/fact_recall": 0.5,
        "scores/sft/fact_recall/low": 0.25,
        "scores/sft/fact_recall/high": 0.75,
        "scores/sft/fact_recall/minus_base": 0.375,
        "scores/sft/fact_recall/minus_base/low": 0.125,
        "scores/sft/fact_recall/minus_base/high": 0.625,
    }


def signalled(*numbers: signal.Signals) -> None:
    """Send signals to W&B's own process, as SLURM does to all processes of a job."""
    mine = subprocess.run(["pgrep", "-P", str(os.getpid()), "wandb-core"], capture_output=True, text=True, check=True)
    for number in numbers:
        os.kill(int(mine.stdout), number)


@pytest.mark.slow
def test_a_run_outlasts_the_signals_before_a_time_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger: Any = make_logger(**arguments(tmp_path, mode="offline"))
    with closing_logger(logger), ignore_lost_logger("scores", "never said"):
        signalled(signal.SIGUSR1, signal.SIGUSR2)
        time.sleep(1)
        log_scores(logger, SCORES)
    assert [record.message for record in caplog.records if record.name == "valign.runs.tracking"] == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


@pytest.mark.slow
def test_a_run_ends_with_its_own_error_where_a_signal_has_ended_wandb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """SIGTERM reaches all processes of a job; the exit code stays that of the signal, and the next run has a logger."""
    logger: Any = make_logger(**arguments(tmp_path / "a", mode="offline"))
    with pytest.raises(SystemExit) as ended, closing_logger(logger):
        signalled(signal.SIGTERM)
        time.sleep(1)
        with ignore_lost_logger("scores", "they are in a file"):
            for _ in range(5):  # a broken connection shows at the second use
                log_scores(logger, SCORES)
        raise SystemExit(75)
    assert ended.value.code == 75
    said = [record.message for record in caplog.records if record.name == "valign.runs.tracking"]
    assert [re.sub(r"\(.*\)", "(...)", line) for line in said] == [
        "scores: the logger is gone (...); they are in a file",
        "W&B: the logger is gone (...); what it lacks is in the run's folder",
    ]
    with closing_logger(make_logger(**arguments(tmp_path / "b", mode="offline"))) as logger:
        log_scores(logger, SCORES)
    assert len(list((tmp_path / "b").glob("wandb/offline-run-*/*.wandb"))) == 1


def test_other_errors_are_not_taken_for_a_logger_that_is_gone() -> None:
    with pytest.raises(ValueError, match="mine"), ignore_lost_logger("scores", "never said"):
        raise ValueError("mine")


def test_each_way_in_which_wandb_says_that_its_process_is_gone_is_known(caplog: pytest.LogCaptureFixture) -> None:
    """Which one is raised depends on the moment in which the process ends."""
    mailbox = importlib.import_module("wandb.sdk.mailbox.mailbox")
    handle = importlib.import_module("wandb.sdk.mailbox.mailbox_handle")
    errors = [mailbox.MailboxClosedError(), handle.HandleAbandonedError(), ConnectionResetError("lost")]
    for error in errors:
        with ignore_lost_logger("scores", "they are in a file"):
            raise error
    assert [record.message.endswith("they are in a file") for record in caplog.records] == [True] * 3


class Unfinished:
    """A W&B run that cannot be ended, for a reason that has nothing to do with its process."""

    settings = SimpleNamespace(root_dir="runs")

    def finish(self, exit_code: int) -> None:
        """Fail."""
        raise RuntimeError("not now")


def test_no_error_of_the_logger_takes_the_place_of_the_runs_own(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("valign.runs.tracking._wandb_run", lambda logger: Unfinished())
    with pytest.raises(SystemExit) as ended, closing_logger(False):
        raise SystemExit(75)
    assert ended.value.code == 75
    assert "W&B: its run cannot be ended (not now)" in caplog.text
    with pytest.raises(RuntimeError, match="not now"), closing_logger(False):
        pass
