"""A run's folder that is not as this version writes it: damaged, another version's, or a stranger's."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valign.core.errors import ValignError, first_line

_MISFITS = (
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    IndexError,
    OverflowError,
    ZeroDivisionError,
    RecursionError,
    AssertionError,
)


@contextmanager
def describe_damage(folder: Path) -> Iterator[None]:
    """Turn what values of another shape raise, where files of runs are read and shown, into one line.

    Args:
        folder: The folder of the run or runs.

    Raises:
        ValignError: Something in it does not fit; the message says where that was noticed.
    """
    try:
        yield
    except _MISFITS as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__} {first_line(error)}, noticed in {Path(last.filename).name}, line {last.lineno}"
        raise ValignError(
            f"{folder} holds files that do not fit this version's runs ({said}); choose other runs, or make them again."
        ) from error
