"""Models with what training stages have left: to answer, to be trained on, and to be written for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.models.adapters import ADAPTER_CONFIG, load_adapter, merge_adapter
from valign.models.load import load_frozen, load_tokenizer
from valign.models.precision import resolve_precision
from valign.models.stacked_adapters import StackedAdapter, is_stackable

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_policy(
    path: Path | str,
    adapters: Sequence[Path],
    precision: str | torch.dtype,
    trust_remote_code: bool = False,
    device: str = "cpu",
    move: bool = True,
    attention: str | None = None,
    quantization: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model with what its stages trained, to answer and to be scored.

    Weights of fewer bits than float32 stay as they are, and the adapters stand beside them: added to the weights and
    rounded with them, a small update would be lost. To weights in float32 they are added.

    Args:
        path: The base model: what ``prepare_model`` returned.
        adapters: ``adapter/`` folders, in order, or ``model/`` folders (all weights trained) that replace the model.
        precision: ``auto``, ``float32`` or ``bfloat16``, or the dtype itself.
        trust_remote_code: Run code that comes with a hub model.
        device: Where it will run.
        move: Whether to put it there now (a trainer moves the model itself).
        attention: Name of its attention in transformers; None for the grouped one on a CPU, PyTorch's own on a GPU.
        quantization: ``nf4`` where the adapters were trained on weights in 4 bits; it is those that they are put on,
            written out in ``precision``.

    Raises:
        ValignError: One of the folders holds neither an adapter nor a model.
    """
    model, tokenizer, remaining = _load_start(
        path, adapters, precision, trust_remote_code, device, move, attention, quantization
    )
    if remaining and is_stackable(remaining) and not holds_updates(model.dtype):
        StackedAdapter.read(remaining).attach(model)
    elif remaining:
        model, _ = _merge(model, remaining)
    return model, tokenizer


def load_merged(
    path: Path | str,
    adapters: Sequence[Path],
    precision: str | torch.dtype,
    trust_remote_code: bool = False,
    device: str = "cpu",
    quantization: str | None = None,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, float | None]:
    """Load a model with what its stages trained added to its weights, to be written for other programs.

    Args:
        path: As in ``load_policy``, and so are the others.
        adapters: What its stages trained.
        precision: Of the weights.
        trust_remote_code: Run code that comes with a hub model.
        device: Where it will be.
        quantization: ``nf4``, or None.

    Returns:
        The model, its tokenizer, and which share of the update is left after rounding to ``precision``; None for
        adapters of experts, whose share is not known.

    Raises:
        ValignError: One of the folders holds neither an adapter nor a model.
    """
    model, tokenizer, remaining = _load_start(
        path, adapters, precision, trust_remote_code, device, True, None, quantization
    )
    model, share = _merge(model, remaining)
    return model, tokenizer, share


def _load_start(
    path: Path | str,
    adapters: Sequence[Path],
    precision: str | torch.dtype,
    trust_remote_code: bool,
    device: str,
    move: bool,
    attention: str | None,
    quantization: str | None,
) -> tuple[Any, Any, Sequence[Path]]:
    """Return the model that adapters are put on, the tokenizer, and those adapters."""
    for folder in adapters:
        if not any((folder / name).is_file() for name in (ADAPTER_CONFIG, "config.json")):
            raise ValignError(f"{folder} holds neither an adapter nor a model; train it first.")
    source, remaining = find_start(path, adapters)
    dtype = resolve_precision(precision, device) if isinstance(precision, str) else precision
    tokenizer = load_tokenizer(path, trust_remote_code)
    model = load_frozen(source, dtype, trust_remote_code, device, move, attention, quantization)
    return model, tokenizer, remaining


def _merge(model: Any, adapters: Sequence[Path]) -> tuple[Any, float | None]:
    if not adapters:
        return model, 1.0
    if is_stackable(adapters):
        return model, StackedAdapter.read(adapters).merge_into(model)
    for folder in adapters:
        model = merge_adapter(load_adapter(model, folder))
    return model, None


def holds_updates(dtype: torch.dtype) -> bool:
    """Tell whether weights of a dtype have digits enough for what training adds to them."""
    import torch

    return dtype in (torch.float32, torch.float64)


def find_start(path: Path | str, adapters: Sequence[Path]) -> tuple[Path | str, Sequence[Path]]:
    """Return the model that adapters are put on, and those adapters: the last whole model, and what came after it.

    Args:
        path: The base model.
        adapters: What its stages trained, in order: ``adapter/`` folders, or ``model/`` folders with all weights.
    """
    whole = [i for i, folder in enumerate(adapters) if not (folder / ADAPTER_CONFIG).is_file()]
    return (adapters[whole[-1]], adapters[whole[-1] + 1 :]) if whole else (path, adapters)
