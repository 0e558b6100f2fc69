"""MkDocs hook: the pages of the site that are not written in ``docs/``.

``README.md`` is the first page, the pages of ``experiments/`` and ``slurm/`` keep their paths, and the references are
made from ``conf/``, the schema and the docstrings. Links work in the repository and on the site: ``../experiments/`` of
a page in ``docs/`` becomes ``experiments/``, and ``docs/`` of the README is dropped.
"""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import Any

import config_reference
import figures
import python_reference
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
OUT_OF_DOCS = re.compile(r"(\]\()\.\./(?=(?:experiments|slurm)/)")
INTO_DOCS = re.compile(r"(\]\()docs/")


def contents() -> dict[str, str | Path]:
    """Return what each added file of the site holds: its text, or the path of a picture."""
    text: dict[str, str | Path] = {"index.md": INTO_DOCS.sub(r"\1", read("README.md"))}
    pages = ["experiments/README.md", "slurm/README.md"]
    pages += sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("experiments/*/README.md"))
    for page in pages:
        text[page] = read(page).replace("](../../docs/", "](../../").replace("](../docs/", "](../")
    for picture in sorted(ROOT.glob("experiments/*/*.svg")):
        text[str(picture.relative_to(ROOT))] = picture
    text["reference/config.md"] = config_reference.page()
    for name, page in python_reference.pages().items():
        text[f"reference/python/{name}.md"] = page
    return text


def read(path: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def expanded(entries: list[Any], pages: list[str]) -> list[Any]:
    """Return navigation entries with each pattern replaced by the pages that it stands for."""
    result: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            result.append({k: expanded(v, pages) if isinstance(v, list) else v for k, v in entry.items()})
        else:
            result += fnmatch.filter(pages, entry) if "*" in entry else [entry]
    return result


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Stop where a copied table is stale; fill the patterns of the navigation."""
    if stale := figures.stale():
        raise PluginError(f"stale tables in {', '.join(stale)}: run python docs/hooks/figures.py")
    config.nav = expanded(config.nav or [], list(contents()))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures that are not in ``docs/``."""
    for path, content in contents().items():
        if isinstance(content, Path):
            files.append(File.generated(config, path, abs_src_path=str(content)))
        else:
            files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links out of ``docs/`` into links on the site."""
    if page.file.generated_by is None:
        return OUT_OF_DOCS.sub(r"\1", markdown).replace("](../README.md", "](index.md")
    return markdown
