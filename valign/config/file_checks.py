"""Checks of the files that a config names."""

from __future__ import annotations

from pathlib import Path

from valign.core.errors import ValignError
from valign.core.whole_text import describe_absence


def check_file(key: str, value: str, suffixes: tuple[str, ...]) -> None:
    """Check that a key names a file of one of these suffixes, which begin with a dot.

    Raises:
        ValignError: It does not.
    """
    path = Path(value).expanduser()
    if path.is_dir():
        raise ValignError(f"{key}={value} is a folder; give the path of the file itself.")
    if not path.is_file():
        raise ValignError(f"{key}={value} {describe_absence(path)}; check the path (relative to {Path.cwd()}).")
    if path.suffix.lower() not in suffixes:
        raise ValignError(
            f"{key}={value}: '{path.suffix}' files are not supported; give one of: {', '.join(suffixes)}."
        )
