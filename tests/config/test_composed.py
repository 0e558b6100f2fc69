"""Every file of conf/ composes and passes the checks; what is composed names a run and loads nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from entry_point import SECONDS, Compose, Run, run_process
from omegaconf import OmegaConf

from valign.cli import main
from valign.config import checks
from valign.config.arguments import plain
from valign.config.schema import SCHEMAS, key_type, keys, limits
from valign.documents.settings import shipped_names
from valign.evaluation.metrics import METRICS

FILES = sorted(main.config_folder().rglob("*.yaml"))
OPTIONS = sorted(
    str(file.relative_to(main.config_folder()).with_suffix("")) for file in FILES if file.parent != main.config_folder()
)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_passes_the_checks(
    option: str, compose_config: Compose, own_files: dict[str, list[str]]
) -> None:
    group, _, name = option.rpartition("/")
    cfg = compose_config(f"{'+' if group == 'experiment' else ''}{group}={name}", *own_files.get(option, []))
    checks.check_config(cfg)
    assert OmegaConf.get_type(cfg) is SCHEMAS["config"]


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
        ("review", ["artifact={}"]),
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
        inside = {key.removeprefix(f"{group}.") for key in keys(SCHEMAS["config"]) if key.startswith(f"{group}.")}
        assert set(dotted(written[group])) == inside


def dotted(values: dict[str, Any]) -> Iterator[str]:
    """Yield the keys of nested mappings, each group before what is in it."""
    for key, value in values.items():
        yield key
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in dotted(value))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], {"edit": 1, "clause": 1, "base": 1}),
        (["synthesis.prompts=large"], {"teacher": 1}),
        (["synthesis.prompts=large", "synthesis.preferences.rejected.edit=2"], {"teacher": 1, "edit": 2}),
        (["+experiment=udhr_embedded"], {"clause": 1}),
        (["+experiment=udhr_embedded", "synthesis.prompts=large"], {"teacher": 1}),
        (["+experiment=udhr_mistral"], {"teacher": 1}),
        (["+experiment=scale_70b_4x8x80gb"], {"teacher": 1}),
        (["+experiment=bcg", "document.path=x.pdf", "synthesis.prompts=large"], {"teacher": 1}),
        (["+experiment=paper"], {"teacher": 1}),
    ],
)
def test_the_rejected_answers_follow_the_prompts(
    given: list[str], expected: dict[str, float], compose_config: Compose
) -> None:
    """Where prompts are for capable teachers, these write the rejected answers, unless shares are given."""
    shares = plain(compose_config(*given).synthesis.preferences.rejected)
    assert {kind: share for kind, share in shares.items() if share} == expected


def test_the_papers_settings_add_nothing_of_valigns(compose_config: Compose) -> None:
    """No fixed sentences, no claims, no top-ups, plain DPO; questions are sampled and answers greedy."""
    cfg = compose_config("+experiment=paper")
    chosen = cfg.synthesis.instructions
    fixed = ("examples_per_fact", "phrases_per_passage", "recitations_per_passage", "claims_per_passage")
    assert [chosen[key] for key in fixed] == [0, 0, 0, 0]
    assert (cfg.synthesis.preferences.claim_pairs_per_passage, cfg.synthesis.coverage.top_up_rounds) == (0, 0)
    assert (cfg.dpo.loss, cfg.dpo.beta, cfg.dpo.sft_weight) == ("sigmoid", 0.1, 0.0)
    assert (cfg.synthesis.prompts, cfg.synthesis.answers) == ("small", "write")
    assert list(cfg.recipe.stages) == ["sft", "dpo"]
    assert cfg.base_model.name == "mistral-7b-instruct"


def test_a_composed_config_prints_in_the_order_of_the_method(compose_config: Compose) -> None:
    """The file that is composed has its keys in the same order, as far as it has them."""
    order = """experiment_name seed document teacher synthesis base_model recipe adapter sft dpo trainer retrieval
        evaluation logger artifacts runs run_name run_dir dry_run""".split()
    assert list(compose_config()) == list(compose_config("+experiment=udhr")) == order
    text = (main.config_folder() / "config.yaml").read_text()
    written = [key for key in yaml.safe_load(text) if key not in ("defaults", "hydra")]
    assert written == [key for key in order if key in written]
    for group in ("synthesis", "synthesis.instructions", "synthesis.filters", "sft", "dpo"):
        assert list(OmegaConf.select(OmegaConf.create(text), group)) == list(OmegaConf.select(compose_config(), group))


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
    assert limits(SCHEMAS["config"], "evaluation.metrics")["choices"] == tuple(METRICS)


def test_keys_are_dotted_and_typed() -> None:
    found = list(keys(SCHEMAS["config"]))
    assert "dpo.beta" in found
    assert "dpo.learning_rate" in found
    assert key_type(SCHEMAS["config"], "dpo.beta") is float
    assert key_type(SCHEMAS["config"], "dpo.gamma") is None
    assert key_type(SCHEMAS["config"], "seed.x") is None


def test_a_document_is_named_after_its_file(compose_config: Compose, tmp_path: Path) -> None:
    (tmp_path / "Code-of-Conduct.md").write_text("text")
    cfg = compose_config("document=file", f"document.path={tmp_path}/Code-of-Conduct.md")
    assert cfg.document.name == cfg.experiment_name == "code-of-conduct"


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


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["-c", "job", "--resolve"]])
def test_help_and_the_printed_config_answer_at_once(arguments: list[str], tmp_path: Path) -> None:
    code, stdout, stderr, seconds = run_process(*arguments, cwd=tmp_path)
    assert (code, stderr) == (0, "")
    assert "learning_rate" in stdout
    assert seconds < SECONDS
