"""Every file of conf/ composes and passes the checks, and every mistake is one line that names it and the remedy."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import logging
import os
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import dummy_entry
import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from valign.cli import main
from valign.config import checks
from valign.config.schema import METRICS as CONFIGURABLE_METRICS
from valign.config.schema import SCHEMAS, TrainConfig, key_type, keys
from valign.core.errors import ValignError
from valign.documents.shipped import shipped_names
from valign.evaluation.metrics import METRICS

Compose = Callable[..., DictConfig]
Run = Callable[..., tuple[int, str, str]]
COMPOSED: dict[tuple[str, ...], DictConfig] = {}
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(main.config_folder().rglob("*.yaml"))
OPTIONS = sorted(
    str(file.relative_to(main.config_folder()).with_suffix("")) for file in FILES if file.parent != main.config_folder()
)
SECONDS = 20  # two are promised; a test machine may be busy


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
    }


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


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_passes_the_checks(
    option: str, compose_config: Compose, own_files: dict[str, list[str]]
) -> None:
    group, _, name = option.rpartition("/")
    cfg = compose_config(f"{'+' if group == 'experiment' else ''}{group}={name}", *own_files.get(option, []))
    checks.check_config(cfg)
    assert OmegaConf.get_type(cfg) is TrainConfig


def test_every_group_of_the_design_has_its_options() -> None:
    for option in ("experiment/udhr_mistral", "trainer/deepspeed_zero3", "recipe/sft_dpo_rag", "teacher/api"):
        assert option in OPTIONS
    assert {f"document/{name}" for name in shipped_names()} <= set(OPTIONS)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("evaluate", ["run={}"]),
        ("report", ["runs={}"]),
        ("chat", ["runs={}"]),
        ("label", ["runs={}"]),
        ("trace", ["clause=udhr/article-14/2"]),
        ("export", ["run={}", "output={}"]),
    ],
)
def test_the_small_configs_compose(name: str, given: list[str], compose_config: Compose, tmp_path: Path) -> None:
    cfg = compose_config(*(setting.format(tmp_path) for setting in given), name=name)
    checks.check_config(cfg)
    assert OmegaConf.get_type(cfg) is SCHEMAS[name]


def test_every_schema_key_has_a_value_in_conf(compose_config: Compose) -> None:
    assert OmegaConf.missing_keys(compose_config()) == set()
    written = yaml.safe_load((main.config_folder() / "config.yaml").read_text())
    for group in ("synthesis", "adapter", "sft", "dpo", "retrieval"):
        fields = {field.name for field in dataclasses.fields(key_type(TrainConfig, group))}
        assert set(written[group]) == fields


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_key_has_a_comment_and_every_experiment_its_command(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# ")
    if file.parent.name == "experiment":
        assert any(re.match(r"# python -m valign\.train .*\+experiment=" + file.stem, line) for line in lines[:4])
    for line in lines:
        if re.match(r"\s*\w+: *[^ |]", line) and "app_name" not in line:
            assert "  # " in line, line


def test_the_metrics_are_those_of_the_evaluation() -> None:
    assert set(CONFIGURABLE_METRICS) == set(METRICS)


def test_keys_are_dotted_and_typed() -> None:
    found = list(keys(TrainConfig))
    assert "dpo.beta" in found
    assert "dpo.learning_rate" in found
    assert key_type(TrainConfig, "dpo.beta") is float
    assert key_type(TrainConfig, "dpo.gamma") is None
    assert key_type(TrainConfig, "seed.x") is None


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["document.path=nowhere.txt"], r"document\.path=nowhere\.txt does not exist; check the path"),
        ([f"runs={__file__}"], r"runs=.*test_config\.py is a file, not a folder"),
        ([f"artifacts={__file__}"], r"artifacts=.*test_config\.py is a file, not a folder"),
        (
            [f"document.path={ROOT / 'valign/documents/data/conduct.md'}"],
            r"conduct\.md is not the shipped udhr, .*; add document=file",
        ),
        (["document.path=/"], r"document\.path=/ is a folder; give the path of the file"),
        ([f"document.path={__file__}"], r"'\.py' files are not supported; give one of: \.txt, \.md"),
        (["document.name=magna-carta"], r"document\.name=magna-carta needs document\.path=FILE"),
        (["evaluation.questions=nowhere.jsonl"], r"evaluation\.questions=nowhere\.jsonl does not exist"),
        (["evaluation.probes=nowhere.jsonl"], r"evaluation\.probes=nowhere\.jsonl does not exist"),
        (
            [f"synthesis.rejected.{kind}=0" for kind in ("edit", "clause", "base")],
            r"synthesis\.rejected: every share is 0",
        ),
        (["synthesis.rejected.edit=-1"], r"synthesis\.rejected\.edit=-1\.0 is out of range"),
        (["synthesis.faithfulness=nli"], r"faithfulness=nli needs a model: add synthesis\.faithfulness_model=FOLDER"),
        (["recipe.stages=[dpo,sft]"], r"recipe\.stages.*in this order: \[sft, dpo\]"),
        (["recipe.stages=[sft,sft]"], r"recipe\.stages.*each stage once"),
        (["recipe.stages=[stf]"], r"recipe\.stages=stf is unknown \(did you mean 'sft'\?\)"),
        (["teacher=api", "teacher.model=m", "teacher.base_urls=[]"], r"add teacher\.base_urls="),
        (["teacher=api", "teacher.model=m", "teacher.base_urls=['localhost:8000']"], r"is not a URL"),
        (["teacher.kind=replay"], r"teacher\.recording is missing: add teacher\.recording="),
        (["teacher=replay", "teacher.recording=nowhere.jsonl"], r"teacher\.recording=nowhere\.jsonl does not exist"),
        (["base_model.model=./nowhere"], r"base_model\.model=\./nowhere does not exist"),
        (["base_model.model=embedded:smollm"], r"did you mean 'embedded:smollm2-135m'"),
        (["sft.epochs=0"], r"sft\.epochs=0\.0 is out of range: give a value above 0"),
        (["sft.learning_rate=nan"], r"sft\.learning_rate=nan is out of range"),
        (["adapter.rank=0"], r"adapter\.rank=0 is out of range"),
        (["dpo.beta=-1"], r"dpo\.beta=-1\.0 is out of range"),
        (["dpo.label_smoothing=0.5"], r"dpo\.label_smoothing=0\.5 is out of range: give a value below 0\.5"),
        (["dpo.loss=hinged"], r"dpo\.loss=hinged is unknown \(did you mean 'hinge'\?\)"),
        (["dpo.loss=simpo"], r"dpo\.loss=simpo needs its margin: add dpo\.simpo_gamma=0\.5"),
        (["dpo.loss=ipo", "dpo.label_smoothing=0.1"], r"dpo\.loss=ipo has no label smoothing"),
        (["retrieval.kind=embeding"], r"retrieval\.kind=embeding is unknown \(did you mean 'embedding'\?\)"),
        (["evaluation.metrics=[rouge]"], r"evaluation\.metrics=rouge is unknown \(did you mean 'rouge_l'\?\)"),
        (["evaluation.judge=api"], r"evaluation\.judge=api needs its model: choose evaluation=judge_api and add"),
        (["evaluation.judge=referee"], r"evaluation\.judge=referee is unknown \(did you mean 'reference'\?\)"),
        (["evaluation=judge_api"], r"evaluation\.judge_model\.model is missing: add evaluation\.judge_model\.model="),
        (
            ["evaluation=judge_api", "evaluation.judge_model.model=m", "evaluation.judge_model.base_urls=[]"],
            r"add evaluation\.judge_model\.base_urls=",
        ),
        (["recipe.retriever=bm25"], r"recipe\.retriever=bm25 shows passages: add recipe\.retrieval=true"),
        (["recipe=rag", "recipe.retriever=oracel"], r"recipe\.retriever=oracel is unknown \(did you mean 'oracle'\?\)"),
        (["trainer=gpu", "trainer.devices=0"], r"trainer\.devices=0 is out of range: give a value of at least 1"),
        (["trainer.strategy=deepspeed"], r"choose trainer=deepspeed_zero2"),
        (["trainer.attention=flash"], r"trainer\.attention=flash is unknown"),
        (["trainer.attention=flash_attention_2"], r"attention=flash_attention_2 needs a GPU: choose trainer=gpu"),
        (["trainer.kernels=liger"], r"trainer\.kernels=liger needs a GPU: choose trainer=gpu"),
        (["base_model.quantization=nf4"], r"quantization=nf4 needs a GPU to train on: choose trainer=gpu"),
        (["base_model.quantization=nf4", "trainer=gpu", "adapter.kind=none"], r"nf4 trains an adapter.*kind=lora"),
        (["base_model.quantization=nf4", "trainer=deepspeed_zero3"], r"does not go with DeepSpeed.*strategy=ddp"),
        (["base_model.quantization=int4", "trainer=gpu"], r"base_model\.quantization=int4 is unknown"),
        (["+sft.epoch=3"], r"unknown key 'sft\.epoch' \(did you mean 'sft\.epochs'\?\)"),
        (["~dpo"], r"dpo was removed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_check_names_the_key_and_the_remedy(overrides: list[str], message: str, compose_config: Compose) -> None:
    """Values are set in a copy of one composed config, as composing takes long; what is no dotted key composes anew."""
    composing = tuple(o for o in overrides if not re.match(r"[a-z_]+\.[a-z_.]+=", o))
    if composing not in COMPOSED:
        COMPOSED[composing] = compose_config(*composing)
    cfg = copy.deepcopy(COMPOSED[composing])
    for override in OverridesParser.create().parse_overrides([o for o in overrides if o not in composing]):
        OmegaConf.update(cfg, override.key_or_group, override.value())
    with pytest.raises(ValignError, match=message):
        checks.check_config(cfg)


def test_options_for_a_gpu_compose(compose_config: Compose) -> None:
    """Adapters on 4 bits on one GPU or several, with fused kernels; the base model alone is answered on a CPU too."""
    quantized = "base_model.quantization=nf4"
    checks.check_config(compose_config(quantized, "trainer=gpu", "trainer.kernels=liger", "trainer.padding_free=true"))
    checks.check_config(compose_config(quantized, "trainer=gpu", "trainer.devices=4", "trainer.strategy=ddp"))
    checks.check_config(compose_config(quantized, "recipe=base"))


def test_questions_of_a_shipped_document_do_not_go_with_a_file(
    compose_config: Compose, own_files: dict[str, list[str]]
) -> None:
    with pytest.raises(ValignError, match=r"add document=file, and document\.questions=FILE\.jsonl"):
        checks.check_config(compose_config(*own_files["document/file"]))


def test_a_document_is_named_after_its_file(compose_config: Compose, tmp_path: Path) -> None:
    (tmp_path / "Code-of-Conduct.md").write_text("text")
    cfg = compose_config("document=file", f"document.path={tmp_path}/Code-of-Conduct.md")
    assert cfg.document.name == cfg.experiment_name == "code-of-conduct"


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


def test_a_run_imports_nothing_heavy_and_leaves_no_files(tmp_path: Path) -> None:
    code, stdout, stderr, seconds = run_process("+experiment=udhr", "seed=3", cwd=tmp_path)
    assert (code, stderr) == (0, "")
    assert stdout == "ran runs/udhr/sft_dpo+seed-3 heavy: []\n"
    assert list(tmp_path.iterdir()) == []
    assert seconds < SECONDS


@pytest.mark.slow
def test_the_ablation_is_five_jobs_and_as_many_run_folders(tmp_path: Path, run_cli: Run) -> None:
    code, stdout, stderr = run_cli("-m", "+experiment=udhr_ablation", "logger=csv")
    assert (code, stderr) == (0, "")
    folders = re.findall(r"^ran (\S+)", stdout, re.MULTILINE)
    assert folders == [f"runs/udhr_ablation/{recipe}" for recipe in ("base", "rag", "sft", "dpo", "sft_dpo")]
    assert "HYDRA" not in stdout
    assert len(stdout.splitlines()) == 11
    assert [str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*.*")] == ["runs/udhr_ablation/multirun.yaml"]


@pytest.mark.parametrize(
    ("arguments", "folder"),
    [
        (["seed=1", "sft.epochs=3"], "runs/udhr/sft_dpo+seed-1+sft.epochs-3"),
        (["sft.epochs=3", "seed=1", "logger=none", "logger.project=p"], "runs/udhr/sft_dpo+seed-1+sft.epochs-3"),
        (["document=saltmarsh", "recipe=rag", "runs=out"], "out/saltmarsh/rag"),
        (["+experiment=udhr", "document=saltmarsh"], "runs/udhr/sft_dpo+document-saltmarsh"),
        (["teacher.model=${base_model.name}"], r"runs/udhr/sft_dpo\+teacher.model-base_model.name-[0-9a-f]{6}"),
    ],
)
def test_a_run_is_named_by_what_was_set(arguments: list[str], folder: str, run_cli: Run) -> None:
    code, stdout, stderr = run_cli(*arguments)
    assert (code, stderr) == (0, "")
    found = stdout.split()[1]
    assert found == folder or re.fullmatch(folder, found)
    assert re.fullmatch(r"[\w./+-]+", found)
