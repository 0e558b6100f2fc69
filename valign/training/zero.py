"""DeepSpeed ZeRO-3: a base model that is sharded while it is loaded, and its weights gathered again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.initialization import no_init_weights
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.models.attention import suitable_implementation
from valign.models.huggingface import loading_errors
from valign.models.layers import is_sharded


def load_sharded(
    path: Path | str,
    dtype: torch.dtype,
    trust_remote_code: bool,
    config: Mapping[str, Any],
    attention: str | None = None,
) -> PreTrainedModel:
    """Build a frozen model whose parameters are sharded from the start.

    No process holds more than one whole parameter at a time: the first reads it from its file and hands each process
    its part.

    Args:
        path: The model's folder or hub id.
        dtype: Of the weights.
        trust_remote_code: Run code that comes with a hub model.
        config: DeepSpeed's own settings, of stage 3; PyTorch's process group is there already.
        attention: Name of its attention in transformers; None for the grouped one on a CPU, PyTorch's own on a GPU.

    Raises:
        ValignError: The files do not name the model's parameters as the model does.
    """
    import deepspeed
    from transformers.integrations.deepspeed import prevent_arange_dtype_change

    shape = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    kind = attention or suitable_implementation(shape, "cuda" if _on_gpu() else "cpu")
    # by the config, because the argument dtype counts for nothing where the accelerator has no float16
    settings = {**config, "train_micro_batch_size_per_gpu": 1, "bf16": {"enabled": dtype == torch.bfloat16}}
    with (
        no_init_weights(),
        prevent_arange_dtype_change(),
        deepspeed.zero.Init(config_dict_or_path=settings),
    ):
        model = AutoModelForCausalLM.from_config(
            shape, dtype=dtype, attn_implementation=kind, trust_remote_code=trust_remote_code
        )
    model.tie_weights()
    first = dist.get_rank() == 0
    read = _reader(Path(fetch_weights(path))) if first else None
    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0):
            if read is not None:
                parameter.data.copy_(read(name, tuple(parameter.shape)))
    frozen: PreTrainedModel = model.requires_grad_(False).eval()
    return frozen


def _on_gpu() -> bool:
    from deepspeed.accelerator import get_accelerator

    return str(get_accelerator().device_name()).startswith("cuda")


def fetch_weights(source: Path | str) -> str:
    """Return the folder of a model's weights, which for a hub id are downloaded: the files that transformers reads.

    Args:
        source: The model's folder or hub id.

    Raises:
        ValignError: They cannot be downloaded.
    """
    if isinstance(source, Path):
        return str(source)
    from huggingface_hub import snapshot_download

    with loading_errors(source):
        folder = snapshot_download(source, allow_patterns=["*.json"])
        return str(snapshot_download(source, allow_patterns=["*.json", *(_weight_files(Path(folder)))]))


def _weight_files(folder: Path) -> list[str]:
    """Return the names of the files of weights that transformers reads; others may hold the same by other names."""
    index = folder / SAFE_WEIGHTS_INDEX_NAME
    return sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else [SAFE_WEIGHTS_NAME]


def _reader(folder: Path) -> Callable[[str, tuple[int, ...]], torch.Tensor]:
    """Return a function that reads one parameter of a model from its files."""
    files = {}
    for file in (folder / name for name in _weight_files(folder)):
        with safe_open(file, "pt") as opened:
            files.update(dict.fromkeys(opened.keys(), file))

    def read(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        if name not in files:
            raise ValignError(
                f"{folder}: no weight is called {name}, as the model's parameter is; "
                "trainer=deepspeed_zero2 reads this model as transformers does."
            )
        with safe_open(files[name], "pt") as opened:
            weight: torch.Tensor = opened.get_tensor(name)
        if tuple(weight.shape) != shape:
            raise ValignError(f"{folder}: {name} has the shape {tuple(weight.shape)} and should have {shape}.")
        return weight

    return read


def count_local_elements(parameters: Sequence[torch.nn.Parameter]) -> int:
    """Return how many numbers of some parameters this process holds."""
    return sum(int(getattr(p, "ds_tensor", p).numel()) for p in parameters)


@contextlib.contextmanager
def gather_trained_weights(model: torch.nn.Module, keep: bool) -> Iterator[dict[str, torch.Tensor] | None]:
    """Yield the trainable weights of a sharded model on the CPU where ``keep`` says so, gathered one by one.

    A model that is not sharded yields None: its own state is whole. Tied weights are one tensor under their names.
    """
    parameters = [(n, p) for n, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    if not any(is_sharded(p) for _, p in parameters):
        yield None
        return
    import deepspeed

    whole: dict[int, Any] = {}
    for _, parameter in parameters:
        if id(parameter) not in whole:
            with deepspeed.zero.GatheredParameters([parameter]):
                whole[id(parameter)] = parameter.detach().to("cpu", copy=True) if keep else None
    yield {name: whole[id(parameter)] for name, parameter in parameters} if keep else {}
