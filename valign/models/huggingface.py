"""What transformers says while it loads a model: less noise, and its errors in one line."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from valign.core.errors import ValignError, first_line
from valign.core.out_of_memory import exhausted_memory

MISMATCHED = "ignore_mismatched_sizes"


@contextlib.contextmanager
def loading_errors(path: Path | str) -> Iterator[None]:
    """Turn what transformers says about a model it cannot load into one line; a lack of memory stays as it is.

    Raises:
        ValignError: Anything is wrong with the model's files, or a package is missing that reads them.
    """
    try:
        yield
    except ValignError:
        raise
    except Exception as error:  # its readers raise what they like, and so do those of other formats behind it
        if exhausted_memory(error):
            raise
        reason = first_line(error).rstrip(":")
        if MISMATCHED in str(error):
            reason = "its weights have other shapes than its config.json says"
        elif type(error).__name__ == "SafetensorError":
            reason = f"a file of its weights is damaged or cut off ({reason})"
        raise ValignError(f"model {path} cannot be loaded: {reason}") from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' progress bars, notes and warnings."""
    from transformers.utils import logging as hf_logging

    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()
