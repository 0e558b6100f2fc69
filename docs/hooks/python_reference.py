"""The reference of the Python functions: one page for each folder of the package, found by walking it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "valign"


def pages() -> dict[str, str]:
    """Return the Markdown of each page by its name, such as ``valign.training``; mkdocstrings fills it in."""
    folders = sorted(init.parent for init in (ROOT / PACKAGE).rglob("__init__.py"))
    return {name(folder): page(folder) for folder in folders}


def name(path: Path) -> str:
    """Return the dotted name of a module's file or a package's folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def page(folder: Path) -> str:
    """Return the page of one package: its docstring, then its modules."""
    own = f"::: {name(folder)}\n    options:\n      members: false\n      show_root_heading: false\n"
    modules = [name(file) for file in sorted(folder.glob("*.py")) if not file.name.startswith("_")]
    return "\n".join([f"# {name(folder)}\n", own, *(f"::: {module}\n" for module in modules)])
