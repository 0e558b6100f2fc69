"""What the README and docs/ say of commands, paths, keys and figures is so; ``make docs`` checks the links."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from valign.evaluation.metrics import METRICS

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS, ROOT / "slurm/README.md", *sorted(ROOT.glob("experiments/**/README.md"))]
CODE = re.compile(r"```[\s\S]*?```|`[^`\n]+`|^ {4,}\S.*$", re.MULTILINE)
GROUPS = "adapter|base_model|document|dpo|evaluation|logger|recipe|retrieval|sft|synthesis|teacher|trainer"
KEY = re.compile(rf"(?<![\w/.-])(?:{GROUPS})(?:\.[a-z_]+)+(?![\w/(])")
FILE_NAMES = {"jsonl", "md", "py", "sbatch", "url", "yaml"}


def hook(name: str) -> Any:
    """Load a module of ``docs/hooks``, none of which is part of the package."""
    spec = importlib.util.spec_from_file_location(f"docs_hooks_{name}", ROOT / f"docs/hooks/{name}.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def code(page: Path) -> list[str]:
    """Return what stands as code on a page, in blocks and in lines."""
    return CODE.findall(page.read_text(encoding="utf-8"))


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def test_copied_tables_are_those_of_their_studies() -> None:
    assert hook("figures").stale() == [], "run python docs/hooks/figures.py"


def test_a_copy_has_the_rows_and_columns_that_its_mark_names(tmp_path: Path) -> None:
    """The table with all rows named is taken, tables of parts are not."""
    (tmp_path / "study.md").write_text(
        "<!-- table runs/a part=tax -->\n| Cost | base |\n| --- | ---: |\n| NLL | 1 |\n<!-- /table -->\n"
        "<!-- table runs/a arms=base -->\n| Arm | Recall ↑ |\n| --- | ---: |\n| base | 0.0 |\n<!-- /table -->\n"
        "<!-- table runs/a -->\n| Arm | Recall ↑ | Words |\n| --- | ---: | ---: |\n| base | 0.1 | 9 |\n"
        "| SFT | 0.2 [0, 1] | 8 |\n\nn = 2\n\n<!-- /table -->\n"
    )
    page = '<!-- copy study.md runs/a rows="SFT" columns="Recall" -->\nold\n<!-- /copy -->\n'
    filled = hook("figures").filled(page, tmp_path)
    assert filled.splitlines()[1:-1] == [
        "| Arm | Recall ↑ |",
        "| --- | ---: |",
        "| SFT | 0.2 [0, 1] |",
        "",
        "n = 2",
        "",
    ]
    page = '<!-- across column="Recall" rows="base,SFT,DPO" "One: study.md runs/a" -->\n<!-- /across -->\n'
    assert "| One | 0.0 |" in hook("figures").filled(page, tmp_path)
    with pytest.raises(ValueError, match=r"no table of runs/a with the rows DPO"):
        hook("figures").filled('<!-- copy study.md runs/a rows="DPO" -->\n<!-- /copy -->\n', tmp_path)


def test_the_reference_says_what_every_key_means() -> None:
    reference = hook("config_reference")
    page = reference.page()
    for name, schema in reference.schema_module().SCHEMAS.items():
        for key in reference.keys(schema):
            before = "" if name == "config" or key.name.startswith("document.") else f"{name}."
            assert not key.kind or f'<code id="{before}{key.name}">' in page, key.name
    assert reference.undocumented() == []


def test_the_reference_reads_values_comments_and_lists_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(
        "# What it is.\nkinds:  # how\n  first: 1  # a # b\n  second: [x, y]\nlast:\n  - p\n  - q\n"
        "hydra:\n  mode: MULTIRUN\n"
    )
    read = hook("config_reference").read(tmp_path / "one.yaml")
    assert {name: (entry.value, entry.comment) for name, entry in read.items()} == {
        "kinds": ("", "how"),
        "kinds.first": ("1", "a # b"),
        "kinds.second": ("[x, y]", ""),
        "last": ("[p, q]", ""),
    }


def test_every_module_is_in_the_reference() -> None:
    text = "\n".join(hook("python_reference").pages().values())
    for file in (ROOT / "valign").rglob("*.py"):
        if not file.name.startswith("_"):
            assert f"::: {'.'.join(file.relative_to(ROOT).with_suffix('').parts)}\n" in text


def test_every_measure_is_explained() -> None:
    text = (ROOT / "docs/evaluation.md").read_text(encoding="utf-8")
    for info in METRICS.values():
        row = f"| {info.label} (`{info.name}`) |"
        assert row in text, f"docs/evaluation.md, The measures: add a row that begins with {row}"


def test_commands_experiments_and_targets_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"python -m valign\.(\w+)", text):
            assert (ROOT / f"valign/{name}.py").is_file(), f"{page}: {name}"
        for name in set(re.findall(r"\+experiment=(\w+)", text)) - {"NAME"}:
            assert (ROOT / f"conf/experiment/{name}.yaml").is_file(), f"{page}: {name}"
        for name in set(re.findall(r"`make ([a-z-]+)`", text)):
            assert name in targets, f"{page}: {name}"


def test_paths_exist() -> None:
    for page in PAGES:
        for path in re.findall(r"`((?:valign|conf|tests|experiments|slurm|docs)/[\w/.]*)`", "\n".join(code(page))):
            assert "NAME" in path or (ROOT / path).exists(), f"{page}: {path}"


def test_the_rooms_have_the_files_that_the_page_names() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| (.*) \|$", (ROOT / "docs/code.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert {room for room, _ in rows} == {init.parent.name for init in (ROOT / "valign").glob("*/__init__.py")}
    for room, text in rows:
        for name in re.findall(r"`([\w/]+\.py|\w+/)`", text):
            assert (ROOT / "valign" / room / name).exists(), f"{room}/{name}"


def test_keys_exist() -> None:
    reference = hook("config_reference")
    schemas = reference.schema_module().SCHEMAS.values()
    known = {key.name: key.kind for schema in schemas for key in reference.keys(schema)}
    for page in PAGES:
        for key in {key for text in code(page) for key in KEY.findall(text)}:
            parts = key.split(".")
            before = [known.get(".".join(parts[:i]), "") for i in range(1, len(parts))]
            inside = any(kind.startswith(("mapping", reference.SETTINGS)) for kind in before)
            assert parts[-1] in FILE_NAMES or key in known or inside, f"{page}: {key}"
