"""The rules of the house, read off the code: directions of imports, no circles, sizes, and what is private stays so.

Nothing is imported here; every check parses the files below ``valign/``. Each check returns its offences, and is itself
tested on a small made-up package in which there is one.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "valign"
DOORS = frozenset("train synthesize evaluate report chat label review trace export clauses".split())
ROOMS = (
    "cli",
    "pipeline",
    "reporting",
    "review_desk",
    "provenance",
    "config",
    "synthesis",
    "evaluation",
    "teachers",
    "training",
    "serving",
    "generation",
    "retrieval",
    "models",
    "documents",
    "distributed",
    "runs",
    "core",
)  # top to bottom: a room imports from those behind it
SLOW = frozenset(
    "bitsandbytes datasets deepspeed liger_kernel lightning matplotlib openai peft pytorch_lightning scipy "
    "sentence_transformers sklearn torch transformers wandb".split()
)
HEAVY = SLOW | frozenset("aiohttp bm25s datasketch gguf httpx2 numpy rouge_score safetensors".split())
EXTRA = frozenset("bitsandbytes deepspeed liger_kernel openai aiohttp".split())  # in an extra, so often not installed
FILE_LINES, CLASS_LINES, FUNCTION_LINES = 300, 150, 60


@dataclass(frozen=True)
class Import:
    """One import of a module of the package.

    Attributes:
        source: The importing module.
        target: The imported one.
        line: Where.
        is_late: Whether it stands inside a function or is for type hints alone, so that importing the source does not
            import the target.
    """

    source: str
    target: str
    line: int
    is_late: bool


@dataclass
class Package:
    """A package's modules by their dotted names, parsed."""

    root: Path
    paths: dict[str, Path] = field(default_factory=dict)
    trees: dict[str, ast.Module] = field(default_factory=dict)
    imports: list[Import] = field(default_factory=list)
    libraries: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        """Parse every file."""
        for path in sorted((self.root / PACKAGE).rglob("*.py")):
            name = ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")
            self.paths[name], self.trees[name] = path, ast.parse(path.read_text(encoding="utf-8"))
        for name, tree in self.trees.items():
            for node, is_late in _imports(tree):
                for target in self.targets(name, node):
                    if target in self.trees:
                        self.imports.append(Import(name, target, node.lineno, is_late))
                    elif not is_late:
                        self.libraries[name].add(target.partition(".")[0])

    def targets(self, name: str, node: ast.Import | ast.ImportFrom) -> list[str]:
        """Return the modules that a statement imports."""
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        base = node.module or ""
        if node.level:
            parts = name.split(".") if self.paths[name].name == "__init__.py" else name.split(".")[:-1]
            base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
        return [full if (full := f"{base}.{alias.name}") in self.trees else base for alias in node.names]

    def heavy(self) -> dict[str, set[str]]:
        """Return the heavy libraries that come with each module when it is imported, directly or through others."""
        found = {name: self.libraries[name] & HEAVY for name in self.trees}
        more = True
        while more:
            more = False
            for one in self.imports:
                if not one.is_late and not found[one.target] <= found[one.source]:
                    found[one.source] |= found[one.target]
                    more = True
        return found

    def where(self, found: Import) -> str:
        """Return the file and line of an import."""
        return f"{self.paths[found.source].relative_to(self.root)}:{found.line}"


def _imports(tree: ast.Module) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield every import statement, and whether it is late: in a function, or below ``if TYPE_CHECKING``."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, is_late = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, is_late
        is_late = is_late or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_late = is_late or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
        stack.extend((child, is_late) for child in ast.iter_child_nodes(node))


def _room(module: str) -> str | None:
    """Return the room of a module; None for what lies at the package's root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else None


def _is_door(module: str) -> bool:
    return module.count(".") == 1 and module.rpartition(".")[2] in DOORS


def circles(package: Package) -> list[str]:
    """Return the groups of files of which each imports, perhaps through others, every other one."""
    edges: dict[str, set[str]] = defaultdict(set)
    for found in package.imports:
        if found.target != found.source:
            edges[found.source].add(found.target)
    reached = {name: _reach(name, edges) for name in package.trees}
    groups = {frozenset(m for m in reached[n] if n in reached[m]) for n in package.trees if n in reached[n]}
    return sorted(" <-> ".join(sorted(group)) for group in groups)


def _reach(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """Return the modules that can be reached from one, itself only over a circle."""
    found: set[str] = set()
    todo = list(edges.get(start, ()))
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo.extend(edges.get(module, ()))
    return found


def upward(package: Package) -> list[str]:
    """Return the imports that go up, from a room to one above it or from anything to a door."""
    found = []
    for one in package.imports:
        source, target = _room(one.source), _room(one.target)
        if _is_door(one.target):
            found.append(f"{package.where(one)}: {one.target} is a door, which nothing imports")
        elif source and target and ROOMS.index(target) < ROOMS.index(source):
            found.append(f"{package.where(one)}: {source} is below {target}, and imports {one.target}")
    return sorted(found)


def late(package: Package) -> list[str]:
    """Return the imports of files of ours that should stand at the top of a file.

    Inside a function, or for type hints alone, a file imports one that brings a heavy library which it does not bring
    itself. A file that brings a slow one anyway imports everything at the top, but for what needs an extra. Doors,
    which have to answer at once, import where they like.
    """
    heavy = package.heavy()
    found = []
    for one in package.imports:
        if not one.is_late or _is_door(one.source):
            continue
        if (heavy[one.target] - heavy[one.source]) & EXTRA:
            continue
        if heavy[one.source] & SLOW:
            found.append(f"{package.where(one)}: imports {one.target} late, and is slow itself")
        elif heavy[one.target] <= heavy[one.source]:
            found.append(f"{package.where(one)}: imports {one.target} late, which makes it no heavier")
    return sorted(found)


def homeless(package: Package) -> list[str]:
    """Return the modules at the package's root that are no doors, and the folders there that are no rooms."""
    top = {".".join(name.split(".")[:2]) for name in package.trees if "." in name}
    return sorted(name for name in top if not _is_door(name) and name.rpartition(".")[2] not in ROOMS)


def long(package: Package) -> dict[str, int]:
    """Return the files, classes and functions that have more lines than they may have, with their numbers of lines."""
    found = {}
    for name, tree in package.trees.items():
        file = str(package.paths[name].relative_to(package.root))
        lines = len(package.paths[name].read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found[file] = lines
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > (CLASS_LINES if isinstance(node, ast.ClassDef) else FUNCTION_LINES):
                    found[f"{file} {node.name}"] = lines
    return found


def private(package: Package) -> set[str]:
    """Return the private names that a file takes from another one, by import or as a module's attribute."""
    found = set()
    for name, tree in package.trees.items():
        file = package.paths[name].relative_to(package.root)
        modules: dict[str, str] = {}
        for node, _ in _imports(tree):
            targets = package.targets(name, node)
            for alias, target in zip(node.names, targets, strict=True):
                if target not in package.trees:
                    continue
                short = target.rpartition(".")[2]
                if isinstance(node, ast.Import) or alias.name == short:
                    modules[alias.asname or alias.name] = target
                elif _is_private(alias.name):
                    found.add(f"{file}: {target}.{alias.name}")
        for part in ast.walk(tree):
            if isinstance(part, ast.Attribute) and _is_private(part.attr) and ast.unparse(part.value) in modules:
                found.add(f"{file}: {modules[ast.unparse(part.value)]}.{part.attr}")
    return found


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def shared_names(package: Package) -> dict[str, list[str]]:
    """Return the public functions, classes and constants that several files define, and these files."""
    found: dict[str, set[str]] = defaultdict(set)
    for module, tree in package.trees.items():
        for node in [] if _is_door(module) else tree.body:
            names = [node.name] if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
            for name in names:
                if not _is_private(name) and name != "log":
                    found[name].add(module)
    return {name: sorted(modules) for name, modules in found.items() if len(modules) > 1}


@pytest.fixture(scope="module")
def package() -> Package:
    """The package itself."""
    return Package(ROOT)


def test_no_two_files_import_each_other(package: Package) -> None:
    """Neither at the top, nor inside a function, nor for a type hint, nor over a detour."""
    assert circles(package) == []


def test_imports_go_down(package: Package) -> None:
    assert upward(package) == []


def test_imports_stand_at_the_top_unless_they_keep_a_light_file_light(package: Package) -> None:
    assert late(package) == []


def test_only_doors_lie_at_the_root(package: Package) -> None:
    assert homeless(package) == []
    assert {name.rpartition(".")[2] for name in package.trees if _is_door(name)} == DOORS
    assert {room for name in package.trees if (room := _room(name))} == set(ROOMS)


def test_files_classes_and_functions_are_short(package: Package) -> None:
    assert long(package) == {}


def test_private_names_stay_in_their_file(package: Package) -> None:
    assert private(package) == set()


def test_a_public_name_has_one_meaning(package: Package) -> None:
    assert shared_names(package) == {}


def make(root: Path, files: Mapping[str, str]) -> Package:
    """Write a package and parse it; files are given by their paths below it without the suffix."""
    for name, text in files.items():
        path = root / PACKAGE / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (root / PACKAGE / "__init__.py").touch()
    return Package(root)


@pytest.mark.parametrize(
    "back",
    [
        "from valign.core import a",
        "from valign.core.a import x",
        "import valign.core.a",
        "from .a import x",
        "from . import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from valign.core.a import X",
        "def f():\n    from valign.core.a import x",
    ],
)
def test_a_circle_is_found(back: str, tmp_path: Path) -> None:
    """Of two files; of three; and none where one imports the other only."""
    two = make(tmp_path / "two", {"core/a": "import os\nfrom valign.core.b import y", "core/b": back})
    assert circles(two) == ["valign.core.a <-> valign.core.b"]
    over = {"core/a": "from valign.core import c", "core/b": back, "core/c": "import valign.core.b"}
    assert circles(make(tmp_path / "three", over)) == ["valign.core.a <-> valign.core.b <-> valign.core.c"]
    assert circles(make(tmp_path / "none", {"core/a": "", "core/b": back})) == []


@pytest.mark.parametrize("indent", ["", "def f():\n    "])
def test_an_import_that_goes_up_is_found(indent: str, tmp_path: Path) -> None:
    """From core to runs, and of a door; down it is allowed, and within a room, and from a door."""
    files = {
        "core/a": f"{indent}from valign.runs.b import y",
        "runs/b": "from valign.core import c",
        "core/c": "from valign.core import d",
        "core/d": "",
        "train": "from valign.core import d",
        "report": f"{indent}from valign.train import main",
    }
    line = indent.count("\n") + 1
    assert upward(make(tmp_path, files)) == [
        f"valign/core/a.py:{line}: core is below runs, and imports valign.runs.b",
        f"valign/report.py:{line}: valign.train is a door, which nothing imports",
    ]


def test_a_late_import_that_makes_a_file_no_lighter_is_found(tmp_path: Path) -> None:
    """``arrays`` is heavy, ``model`` slow through ``tensors``; ``lazy`` stays light, as it should."""
    hint = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    "
    files = {
        "core/tensors": "try:\n    import torch.nn as nn\nexcept ImportError:\n    raise",
        "core/arrays": "import numpy as np\ndef f():\n    from valign.core.tensors import x",
        "core/model": "from valign.core.tensors import x\ndef f():\n    from valign.core.arrays import y",
        "core/plain": "import json",
        "core/lazy": "def f():\n    import torch\n    from valign.core import model",
        "core/hints": f"{hint}from valign.core.tensors import X",
        "core/typed": f"{hint}from valign.core.lazy import X",
        "core/user": "class A:\n    async def f(self):\n        from valign.core.lazy import f",
        "core/sharded": "import torch, deepspeed",
        "core/strategy": "import torch\ndef f():\n    from valign.core.sharded import x",
        "core/twice": "import numpy\ndef f():\n    from valign.core.arrays import x",
        "train": "def main():\n    from valign.core.plain import y",
    }
    found = make(tmp_path, files)
    heavy = {name: libraries for name, libraries in found.heavy().items() if libraries}
    assert heavy.pop("valign.core.arrays") == heavy.pop("valign.core.twice") == {"numpy"}
    assert heavy.pop("valign.core.sharded") == {"torch", "deepspeed"}
    assert heavy == {name: {"torch"} for name in ("valign.core.tensors", "valign.core.model", "valign.core.strategy")}
    assert late(found) == [
        "valign/core/model.py:3: imports valign.core.arrays late, and is slow itself",
        "valign/core/twice.py:3: imports valign.core.arrays late, which makes it no heavier",
        "valign/core/typed.py:3: imports valign.core.lazy late, which makes it no heavier",
        "valign/core/user.py:3: imports valign.core.lazy late, which makes it no heavier",
    ]


def test_a_module_outside_the_rooms_is_found(tmp_path: Path) -> None:
    files = {"train": "", "helpers": "", "core/a": "", "attic/__init__": "", "cellar/b": ""}
    assert homeless(make(tmp_path, files)) == ["valign.attic", "valign.cellar", "valign.helpers"]


def test_what_is_too_long_is_found(tmp_path: Path) -> None:
    """A line more than there may be; not where it is just as many."""
    function = "def f():\n" + "    x = 1\n" * FUNCTION_LINES
    method = "    def m(self):\n" + "        x = 1\n" * (FUNCTION_LINES - 1)
    fits = "class A:\n" + method * (CLASS_LINES // FUNCTION_LINES)
    fits += "    x = 1\n" * (CLASS_LINES - fits.count("\n"))
    files = {
        "core/file": "x = 1\n" * (FILE_LINES + 1),
        "core/parts": function + "class B:\n" + "    x = 1\n" * CLASS_LINES,
        "core/fits": fits + "x = 1\n" * (FILE_LINES - fits.count("\n")),
    }
    assert long(make(tmp_path, files)) == {
        "valign/core/file.py": FILE_LINES + 1,
        "valign/core/parts.py B": CLASS_LINES + 1,
        "valign/core/parts.py f": FUNCTION_LINES + 1,
    }


def test_a_private_name_of_another_file_is_found(tmp_path: Path) -> None:
    """By import, and as an attribute of a module; names with two underlines, and those of other packages, are not."""
    files = {
        "core/a": "_x = 1\n__version__ = '1'",
        "core/b": "from valign.core.a import _x, __version__\nfrom os import _exit",
        "core/c": "from valign.core import a\na._x, a.__version__, self._x",
        "core/d": "def f():\n    import valign.core.a\n    valign.core.a._x",
    }
    assert private(make(tmp_path, files)) == {
        "valign/core/b.py: valign.core.a._x",
        "valign/core/c.py: valign.core.a._x",
        "valign/core/d.py: valign.core.a._x",
    }


def test_a_name_of_two_files_is_found(tmp_path: Path) -> None:
    files = {
        "core/a": "log = 1\nX, _Y = 1, 2\ndef f(): ...\nclass A:\n    def f(self): ...",
        "core/b": "log = 2\nX: int = 3\n_Y = 4\ndef f(): ...",
        "train": "def f(): ...",
    }
    assert shared_names(make(tmp_path, files)) == {
        "X": ["valign.core.a", "valign.core.b"],
        "f": ["valign.core.a", "valign.core.b"],
    }
