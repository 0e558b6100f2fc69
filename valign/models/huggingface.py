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
def loading_errors(path: Path | str, what: str = "model") -> Iterator[None]:
    """Turn what libraries raise about a model that they cannot load into one line.

    A folder that is damaged or a stranger's makes transformers, PEFT, safetensors and tokenizers raise nearly anything.

    Args:
        path: The model's folder or its id on the hub, or an adapter's folder.
        what: What is loaded, for the message.

    Raises:
        ValignError: It cannot be loaded, for another reason than too little memory.
    """
    try:
        yield
    except ValignError:
        raise
    except Exception as error:
        if exhausted_memory(error):
            raise
        kind = "" if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__} "
        reason = f"{kind}{first_line(error).rstrip(':')}" if str(error).strip() else type(error).__name__
        if MISMATCHED in str(error):
            reason = "its weights have other shapes than its config.json says"
        elif type(error).__name__ == "SafetensorError":
            reason = f"a file of its weights is damaged or cut off ({first_line(error)})"
        raise ValignError(f"{what} {path} cannot be loaded: {reason}") from error


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
