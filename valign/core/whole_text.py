"""Texts that a run or a stage has left, read whole."""

from __future__ import annotations

from pathlib import Path

from valign.core.errors import ValignError

LARGEST_TEXT = 1 << 30  # bytes


def describe_absence(path: Path) -> str:
    """Say why a path that is to be an ordinary file, and is not, cannot be read, as part of a sentence."""
    if path.exists():
        return "is a folder" if path.is_dir() else "is no ordinary file"
    return "is a link that leads nowhere" if path.is_symlink() else "does not exist"


def read_whole_text(path: Path) -> str:
    """Read a file in UTF-8; a device or the like, which never ends, is not read.

    Raises:
        ValignError: There is no such file, it is not UTF-8, or it is too large.
    """
    if not path.is_file():
        raise ValignError(f"{path} {describe_absence(path)}; check the path.")
    if path.stat().st_size > LARGEST_TEXT:
        raise ValignError(f"{path} is larger than {LARGEST_TEXT >> 20:,} MB, which no run writes; check the path.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValignError(f"{path} is damaged: not UTF-8 (byte {error.start}); delete it, and make it again.") from None
