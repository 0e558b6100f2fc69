"""The LoRA adapters of several stages as one: put beside a model's weights, or added to them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.models.adapters import ADAPTER_WEIGHTS, read_adapter_config
from valign.models.huggingface import loading_errors, quiet_transformers

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig, PeftModel
    from transformers import PreTrainedModel

MATRIX = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<half>[AB])\.weight")
BELOW = "before"  # PEFT's name of the frozen adapter under the one that is trained
OTHER_MODEL = "the adapter belongs to another model"
OTHER_SUMS = (
    *("use_dora", "use_rslora", "fan_in_fan_out", "rank_pattern", "alpha_pattern", "target_parameters"),
    *("modules_to_save", "trainable_token_indices"),
)
"""Settings of an adapter whose update is not alpha / rank * BA on each linear layer."""


@dataclass(frozen=True)
class StackedAdapter:
    """What stages have added to a model: ``sum_i s_i B_i A_i = [s_1 B_1, s_2 B_2, ...] [A_1; A_2; ...]`` a layer.

    Here s_i is alpha / rank of stage i (Hu et al., 2021, arXiv:2106.09685).

    Attributes:
        rank: Of the sum: the stages' ranks in all.
        layers: For each linear layer, by its name in the model, A (rank, in) and B (out, rank) in float32.
    """

    rank: int
    layers: Mapping[str, tuple[torch.Tensor, torch.Tensor]]

    @classmethod
    def read(cls, folders: Sequence[Path]) -> StackedAdapter:
        """Read saved adapters.

        Args:
            folders: At least one ``adapter/`` folder, in the stages' order.

        Raises:
            ValignError: A folder holds no adapter, or one that is no plain LoRA of linear layers.
        """
        import torch

        parts = [_read_matrices(folder) for folder in folders]
        rank = sum(part.rank for part in parts)
        layers: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        for name in dict.fromkeys(name for part in parts for name in part.layers):
            pairs = [part.layers.get(name) for part in parts]
            down, up = next(pair for pair in pairs if pair)
            none = [(down.new_zeros(part.rank, down.shape[1]), up.new_zeros(len(up), part.rank)) for part in parts]
            full = [pair or zeros for pair, zeros in zip(pairs, none, strict=True)]
            layers[name] = torch.cat([a for a, _ in full]), torch.cat([b for _, b in full], 1)
        return cls(rank, layers)

    def config(self) -> LoraConfig:
        """Return PEFT's config of the sum, whose scale is 1."""
        from peft import LoraConfig

        return LoraConfig(
            task_type="CAUSAL_LM", r=self.rank, lora_alpha=self.rank, lora_dropout=0.0, target_modules=list(self.layers)
        )

    def attach(self, model: PreTrainedModel) -> None:
        """Put it beside a frozen model's weights, which stay as they are.

        Its own weights are in the model's dtype, in which training computes their products too: one rounding of A and
        one of B, by a part in 512 at most in bfloat16, where a sum with the weights would lose what is smaller
        than their last digit.

        Raises:
            ValignError: The model has no such layers.
        """
        from peft import inject_adapter_in_model

        with quiet_transformers(), _other_layers():
            inject_adapter_in_model(self.config(), model, "default")
        self.fill(model, "default", model.dtype)
        model.requires_grad_(False).eval()

    def fill(self, model: Any, name: str, dtype: torch.dtype | None = None) -> None:
        """Give PEFT's layers its weights.

        Args:
            model: Has an adapter of this shape.
            name: The adapter's.
            dtype: Of the weights; None for float32.
        """
        for layer, pair in self.layers.items():
            module = model.get_submodule(layer)
            for half, matrix in zip((module.lora_A, module.lora_B), pair, strict=True):
                weight = half[name].weight
                if weight.shape != matrix.shape:
                    raise ValignError(f"{OTHER_MODEL}: {layer} has another shape.")
                weight.data = matrix.to(weight.device, dtype)

    def merge_into(self, model: PreTrainedModel) -> float:
        """Add it to a model's weights in float32, rounded once to their own dtype.

        Returns:
            Which share of the update is still there after rounding: ``<W' - W, D> / <D, D>`` over all layers, where D
            is the update and W' the new weights; 1 where nothing is lost.

        Raises:
            ValignError: The model has no such layers.
        """
        survived, whole = 0.0, 0.0
        for layer, (down, up) in self.layers.items():
            with _other_layers():
                module: Any = model.get_submodule(layer)
                weight: torch.Tensor = module.weight
            before = weight.data.float()
            update = up.to(before.device) @ down.to(before.device)
            if update.shape != before.shape:
                raise ValignError(f"{OTHER_MODEL}: {layer} has another shape.")
            weight.data = (before + update).to(weight.dtype)
            survived += float(((weight.data.float() - before) * update).double().sum())
            whole += float(update.double().square().sum())
        return survived / whole if whole else 1.0

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return its weights by the names that PEFT saves them under."""
        return {
            f"base_model.model.{layer}.lora_{half}.weight": matrix.contiguous()
            for layer, pair in self.layers.items()
            for half, matrix in zip("AB", pair, strict=True)
        }


def put_below(adapted: PreTrainedModel | PeftModel, folders: Sequence[Path]) -> None:
    """Put what earlier stages have added, frozen and in float32, under the adapter that is trained; both are active.

    Args:
        adapted: The model with the adapter that is trained.
        folders: The earlier stages' ``adapter/`` folders, in order.

    Raises:
        ValignError: The model has no adapter or no such layers, or theirs are not plain LoRA.
    """
    from peft import PeftModel

    if not isinstance(adapted, PeftModel):
        raise ValignError("an earlier stage trained an adapter; adapter.kind=none trains every weight in both stages.")
    below = StackedAdapter.read(folders)
    trained = {key for key, parameter in adapted.named_parameters() if parameter.requires_grad}
    with quiet_transformers(), _other_layers():
        adapted.add_adapter(BELOW, below.config())
    layers: Any = adapted.base_model
    layers.set_adapter([BELOW, "default"])
    below.fill(adapted.get_base_model(), BELOW)
    for key, parameter in adapted.named_parameters():
        parameter.requires_grad_(key in trained)


def is_stackable(folders: Sequence[Path]) -> bool:
    """Tell whether saved adapters are plain LoRA of linear layers, whose sum is one adapter."""
    return not any(_what_else(folder) for folder in folders)


@contextmanager
def _other_layers() -> Iterator[None]:
    """Turn the errors of a model without an adapter's layers into one line."""
    try:
        yield
    except (ValueError, AttributeError) as error:
        raise ValignError(f"{OTHER_MODEL}: {error}") from error


def _what_else(folder: Path) -> str | None:
    """Say what an adapter is that is no plain LoRA of linear layers."""
    config = read_adapter_config(folder)
    strange = [key for key in OTHER_SUMS if config.get(key)]
    return ", ".join([*strange, *(["bias"] if config.get("bias", "none") != "none" else [])]) or None


def _read_matrices(folder: Path) -> StackedAdapter:
    """Read one saved adapter, the scale in its B."""
    from safetensors.torch import load_file

    if other := _what_else(folder):
        raise ValignError(f"{folder} is no plain LoRA of linear layers ({other}).")
    config = read_adapter_config(folder)
    rank, scale = config["r"], config["lora_alpha"] / config["r"]
    halves: dict[str, dict[str, Any]] = {}
    with loading_errors(folder, "adapter"):
        weights = load_file(folder / ADAPTER_WEIGHTS)
    for key, value in weights.items():
        found = MATRIX.fullmatch(key)
        if found is None:
            raise ValignError(f"{folder}: {key} is no weight of a LoRA of linear layers.")
        halves.setdefault(found["layer"], {})[found["half"]] = value.float()
    for name, both in halves.items():
        shapes = [tuple(both[half].shape) for half in "AB" if half in both]
        if [len(shape) for shape in shapes] != [2, 2] or not shapes[0][0] == shapes[1][1] == rank:
            raise ValignError(f"adapter {folder} is damaged: {name} has matrices {shapes}, and r is {rank}.")
    return StackedAdapter(rank, {name: (both["A"], both["B"] * scale) for name, both in halves.items()})
