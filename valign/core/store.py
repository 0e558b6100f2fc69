"""Artifacts: the output folders of stages, each named by a hash of its config and inputs, built once and shared."""

from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from valign.core.disk import describe_disk_errors, flush_folder, locked
from valign.core.errors import ValignError
from valign.core.files import read_json, write_json

MANIFEST = "manifest.json"
LIBRARIES = ("torch", "transformers", "peft", "pytorch-lightning", "datasets", "sentence-transformers")


def digest(value: Any) -> str:
    """Return the first 16 hex digits of the SHA-256 of a JSON value in canonical form."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def file_digest(path: Path) -> str:
    """Return the first 16 hex digits of the SHA-256 of a file's bytes."""
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()[:16]


def code_digest(*parts: str, without: Sequence[str] = ()) -> str:
    """Return a hash of the package's own source files, so that other code builds its artifacts anew.

    Args:
        *parts: Folders or files below ``valign/``, for example ``synthesis`` or ``core/text.py``.
        without: Folders or files below ``valign/`` that are left out of these parts.

    Raises:
        FileNotFoundError: A part is not there, or is a folder without source files.
    """
    root = Path(__file__).resolve().parents[1]
    files = {file for part in parts for file in source_files(root, part)}
    for part in without:
        files -= set(source_files(root, part))
    return digest(sorted(f"{file.relative_to(root)} {file_digest(file)}" for file in files))


def source_files(root: Path, part: str) -> list[Path]:
    """Return the source files that a part of a package stands for: itself, or all below it.

    Raises:
        FileNotFoundError: There are none.
    """
    place = root / part
    found = [place] if place.is_file() else sorted(place.rglob("*.py"))
    if not found:
        raise FileNotFoundError(f"{place} is not a source file or a folder of them.")
    return found


def is_digest(name: object) -> bool:
    """Tell whether a name is one that ``digest`` gives, and so one of a stage's folder."""
    return isinstance(name, str) and re.fullmatch(r"[0-9a-f]{16}", name) is not None


def is_complete(folder: Path) -> bool:
    """Tell whether an artifact is complete: its manifest is there and whole, which is written last."""
    try:
        return isinstance(read_json(folder / MANIFEST), dict)
    except (ValignError, OSError):
        return False


def build_artifact(
    root: Path,
    name: str,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    build: Callable[[Path], Mapping[str, Any] | None],
    say: Callable[[str], None] = print,
) -> Path:
    """Return the folder of a stage's output, and build it first where it is not complete.

    Of several processes that need the same output, one builds it and the others wait, on a file lock. A build that was
    killed leaves its folder without a manifest; the next one continues in it, so ``build`` must cope with what is
    there.

    Args:
        root: The artifact store.
        name: The stage, for example ``sft``; the folder is ``root/name/<hash>``.
        config: Settings that determine the output (JSON values).
        inputs: Hashes of what goes in, by name.
        build: Fills the folder it is given and returns counts for the manifest.
        say: Receives one line about what happens.

    Raises:
        ValignError: The store is not writable, or the disk is full; what is complete in it stays.
    """
    key = digest({"stage": name, "config": config, "inputs": inputs})
    folder = root / name / key
    if is_complete(folder):
        say(f"{name}: {folder} (already there)")
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValignError(f"artifacts={root} is not writable ({error.strerror}); choose another folder.") from None
    waiting = partial(say, f"{name}: another process builds {folder}; waiting for it")
    with locked(folder.with_name(f"{key}.lock"), waiting):
        if is_complete(folder):
            return folder
        say(f"{name}: building {folder}")
        started = time.monotonic()
        with describe_disk_errors(folder):
            counts = build(folder)
            flush_folder(folder)  # before the manifest says that all is there
        write_json(folder / MANIFEST, _manifest(name, config, inputs, counts, time.monotonic() - started))
        say(f"{name}: done in {time.monotonic() - started:.0f} s")
    return folder


def _manifest(
    name: str, config: Mapping[str, Any], inputs: Mapping[str, str], counts: Mapping[str, Any] | None, seconds: float
) -> dict[str, Any]:
    """Describe how an artifact was built."""
    return {
        "stage": name,
        "config": config,
        "inputs": inputs,
        "counts": counts or {},
        "seconds": round(seconds, 1),
        "host": platform.node(),
        "python": platform.python_version(),
        "versions": {library: _version(library) for library in LIBRARIES},
        "git": _git_revision(),
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _git_revision() -> str | None:
    """Return the commit of the checkout this package runs from, with ``+`` where it has changes."""
    here = Path(__file__).resolve().parents[1]
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty=+", "--exclude=*"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
