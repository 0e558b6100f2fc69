"""Folders that others read: they appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valign.core.disk import describe_disk_errors, flush_folder, partial_path
from valign.core.errors import ValignError


@contextmanager
def write_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder; it takes the place of ``folder`` when the block ends well, and goes when it fails.

    Each writer has a partial folder of its own; what a killed one left goes with a later write.

    Args:
        folder: The folder to write; one that is there already is replaced.

    Yields:
        The folder to fill.

    Raises:
        ValignError: The disk is full or read-only.
    """
    with describe_disk_errors(folder):
        partial = partial_path(folder)
        try:
            partial.mkdir(parents=True)
            yield partial
            flush_folder(partial)
            if folder.is_dir() and any(folder.iterdir()):
                shutil.rmtree(folder)
            os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """Give an empty folder; it becomes ``output`` when the block ends well, and goes when it fails.

    Args:
        output: The value of the key ``output``; not there yet, or empty. A link to a folder stays a link.

    Yields:
        The folder to fill.

    Raises:
        ValignError: ``output`` is there and not empty, or cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValignError(f"output={output} is there already and not an empty folder; choose another one.")
    target = output.resolve() if output.is_symlink() else output
    partial = partial_path(target)
    try:
        with describe_disk_errors(f"output={output}"):
            partial.mkdir(parents=True)
            yield partial
            flush_folder(partial)
            os.replace(partial, target)
    except OSError as error:
        raise ValignError(f"output={output} cannot be written ({error.strerror}); choose another folder.") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
