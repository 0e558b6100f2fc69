"""What a stage's hash covers: every file that decides what is in its folder, found by following the imports."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import valign
from valign.core.store import code_digest, source_files
from valign.pipeline.artifacts import NOT_DECIDING, STAGE_CODE, StageCode, code_of

ROOT = Path(valign.__file__).parent


def imported(node: ast.AST, root: Path) -> set[str]:
    """Return the files below ``root`` that imports in some code name; type hints alone do not count."""
    found = set()
    for statement in _statements(node):
        if not isinstance(statement, ast.ImportFrom) or not statement.module or statement.level:
            continue
        package, _, rest = statement.module.partition(".")
        if package != root.name:
            continue
        for name in (f"{rest}.{alias.name}".strip(".") for alias in statement.names):
            paths = (f"{name.replace('.', '/')}.py", f"{name.rpartition('.')[0].replace('.', '/')}.py")
            found |= (
                {next(path for path in paths if (root / path).is_file())}
                if any((root / path).is_file() for path in paths)
                else set()
            )
    return found


def _statements(node: ast.AST) -> list[ast.AST]:
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return []
    return [node, *(found for child in ast.iter_child_nodes(node) for found in _statements(child))]


def used_by(entry: str, root: Path) -> set[str]:
    """Return the files that a function uses: its own, those it imports, and those whose names it or a helper says."""
    path, _, function = entry.partition(":")
    tree = ast.parse((root / path).read_text(encoding="utf-8"))
    defined = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    todo, seen = [function], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in defined:
            seen.add(name)
            continue
        seen.add(name)
        todo += [node.id for node in ast.walk(defined[name]) if isinstance(node, ast.Name)]
    assert function in defined, f"{path} has no function {function}"
    found = {path}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in seen]
            found |= imported(node, root) if node.names else set()
    for name in seen & set(defined):
        found |= imported(defined[name], root)
    return found


def covered(path: str, parts: tuple[str, ...] | dict[str, str]) -> bool:
    return any(path == part or path.startswith(f"{part}/") for part in parts)


def is_part(path: str, code: StageCode) -> bool:
    return covered(path, code.parts) and not covered(path, code.without)


def reached(code: StageCode, root: Path, not_deciding: dict[str, str]) -> set[str]:
    """Return the files that a stage's entry reaches; what an excepted file imports is not followed."""
    entries = {entry.partition(":")[0] for entry in code.entry}
    todo = [path for entry in code.entry for path in used_by(entry, root)]
    seen: set[str] = set()
    while todo:
        path = todo.pop()
        if path in seen or (covered(path, not_deciding) and not is_part(path, code)):
            continue
        seen.add(path)
        if path not in entries:
            todo += imported(ast.parse((root / path).read_text(encoding="utf-8")), root)
    return seen


def lacking(code: StageCode, root: Path, not_deciding: dict[str, str]) -> list[str]:
    """Return the files that a stage's code reaches and neither its parts nor the exceptions name."""
    return sorted(path for path in reached(code, root, not_deciding) if not is_part(path, code))


@pytest.mark.parametrize("name", STAGE_CODE)
def test_a_stage_names_all_that_it_reaches(name: str) -> None:
    assert lacking(STAGE_CODE[name], ROOT, NOT_DECIDING) == []


@pytest.mark.parametrize("name", STAGE_CODE)
def test_every_part_is_there_and_is_reached(name: str) -> None:
    code = STAGE_CODE[name]
    assert len(code_of(name)) == 16
    found = reached(code, ROOT, NOT_DECIDING)
    assert [part for part in code.parts if not any(covered(path, (part,)) for path in found)] == []
    assert [part for part in code.without if part in found or not source_files(ROOT, part)] == []


def test_every_exception_is_there() -> None:
    assert all(source_files(ROOT, part) for part in NOT_DECIDING)


def test_the_walk_follows_imports_in_functions_and_leaves_hints_out(tmp_path: Path) -> None:
    """``entry.go`` uses a, which imports b in a function; c is imported for a hint, d for another function."""
    root = tmp_path / "house"
    root.mkdir()
    texts = {
        "entry.py": "from house.a import one\nfrom house.d import two\ndef go():\n    return help()\n"
        "def help():\n    return one()\ndef other():\n    return two()\n",
        "a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from house.c import C\n"
        "def one():\n    from house import b\n    return b\n",
        "b.py": "", "c.py": "class C: ...\n", "d.py": "def two(): ...\n",
    }  # fmt: skip
    for name, text in texts.items():
        (root / name).write_text(text)
    code = StageCode(("entry.py:go",), ("entry.py", "a.py"))
    assert lacking(code, root, {}) == ["b.py"]
    assert lacking(StageCode(code.entry, (*code.parts, "b.py")), root, {}) == []


def test_a_part_that_is_gone_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.py is not a source file"):
        code_digest("synthesis", "gone.py")
    with pytest.raises(FileNotFoundError, match="gone is not a source file"):
        code_digest("gone")
    assert code_digest("synthesis") != code_digest("synthesis", without=("synthesis/budget.py",))
