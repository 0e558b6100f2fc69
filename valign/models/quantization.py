"""The base model in 4 bits while an adapter is trained on it (QLoRA; Dettmers et al., 2023, arXiv:2305.14314).

Its weights are then those rounded to 4-bit NormalFloat, and an adapter fits those alone. So everything that is
compared, the base model included, has these weights: in 4 bits in training, and written out again for answering.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError

if TYPE_CHECKING:
    import torch

NF4 = "nf4"


def quantized_loading(quantization: str | None, dtype: torch.dtype, device: str) -> dict[str, Any]:
    """Return additional arguments of transformers' ``from_pretrained``, with which it quantises while it loads.

    Linear layers except the output layer are kept in 4 bits, in blocks whose scales are quantised too.

    Args:
        quantization: ``nf4``, or None for nothing.
        dtype: Of the other weights, and of matrix products.
        device: Where the model will be, and is from the start.

    Raises:
        ValignError: The package bitsandbytes is missing.
    """
    if quantization is None:
        return {}
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ValignError("base_model.quantization=nf4 needs bitsandbytes: pip install -e '.[gpu]', in a checkout.")
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type=NF4, bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    return {"quantization_config": config, "device_map": {"": device}}
