"""Adapters: added to a model, saved, loaded and merged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.models.huggingface import loading_errors, quiet_transformers

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def add_adapter(
    model: PreTrainedModel,
    kind: str,
    rank: int,
    alpha: int,
    dropout: float,
    target_modules: str,
    seed: int,
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

    Raises:
        ValignError: No module matches ``target_modules``.
    """
    if kind == "none":
        return model.float().requires_grad_(True)
    import torch
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM", r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=target_modules
    )
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            adapted = get_peft_model(model, config, autocast_adapter_dtype=False)
        except ValueError as error:
            raise ValignError(f"adapter.target_modules={target_modules}: {error}") from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted


def keep_input_dtype(adapted: torch.nn.Module) -> None:
    """Let adapters take their layers' input as it is, where autocast gives a product its dtype all the same.

    PEFT would convert every input to the adapter's float32, and autocast back to bfloat16: the same numbers, in more
    memory and time.
    """
    for module in adapted.modules():
        if hasattr(module, "cast_input_dtype_enabled"):
            vars(module)["cast_input_dtype_enabled"] = False


def save_adapter(model: PeftModel, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write the adapter's config and weights (safetensors) to a folder; ``state`` has them where it is sharded."""
    config = model.peft_config["default"]
    config.base_model_name_or_path = None
    model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state, selected_adapters=["default"])


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """Return the config of a saved adapter, of the sort that training writes.

    Raises:
        ValignError: The folder holds no adapter, it is damaged, or it is no LoRA. The config may be a stranger's, and
            others of PEFT's kinds load tokenizers, models and modules that it names.
    """
    file = folder / ADAPTER_CONFIG
    if not file.is_file():
        raise ValignError(f"{folder} holds no adapter (adapter_config.json); train it first.")
    config = read_json(file)
    if not isinstance(config, dict) or config.get("peft_type", "LORA") != "LORA" or config.get("megatron_config"):
        raise ValignError(
            f"{file} is not the config of a LoRA adapter, the one kind that valign trains; train it again."
        )
    numbers = {name: config.get(name) for name in ("r", "lora_alpha")}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int if name == "r" else int | float) or value < 1:
            raise ValignError(f"{file} is damaged: {name}={value!r} is no number of 1 or more; train it again.")
    return config


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """Put a saved adapter on a model, frozen and in float32.

    Raises:
        ValignError: The folder holds no adapter, or it is damaged or belongs to another model.
    """
    from peft import PeftModel

    read_adapter_config(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ValignError(f"{folder} holds no {ADAPTER_WEIGHTS}; train it again.")
    with loading_errors(folder, "adapter"), quiet_transformers():
        adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=False, autocast_adapter_dtype=True)
    return adapted.eval()


def merge_adapter(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """Return a plain model with the adapter in its weights: W + alpha / rank * BA in float32, then in W's dtype."""
    from peft import PeftModel

    if not isinstance(model, PeftModel):
        return model
    return model.merge_and_unload().requires_grad_(False).eval()


def save_model(model: PreTrainedModel, folder: Path, state: dict[str, torch.Tensor] | None = None) -> None:
    """Write a whole model as safetensors; ``state`` has its weights where the model is sharded."""
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=state)
