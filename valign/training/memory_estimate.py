"""How much memory a training takes on each device, estimated from shapes before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from valign.core.out_of_memory import suggest_half
from valign.training.plan import MOST_PADDED
from valign.training.settings import AdapterSettings, DPOSettings, StageSettings, TrainerSettings

GIB = 2**30
MASTER_BYTES, MOMENT_BYTES = 4, 8  # of a trained weight: itself, and AdamW's two moments, in float32
# of a token in a layer, for each number of its hidden state: counted, see tests/training/test_activation_bytes.py
ACTIVATION_BYTES = 48  # with an adapter, in bfloat16
FULL_BYTES = 60  # where every weight is trained, in float32 with products in bfloat16
DROPOUT_BYTES = 18  # more, where dropout gives each matrix its own input and a mask of a byte
INPUT_BYTES = 2  # of which so many are the layer's input
BUCKET = 500_000_000  # numbers that DeepSpeed reduces at once, where nothing else is set
CONTEXT_BYTES = 1.5 * GIB  # CUDA, NCCL and cuBLAS keep that much for themselves
NF4_BYTES = 0.516  # of a number in 4 bits, with its part of the doubly quantised scales (QLoRA, section 3)
WORKING_LAYERS = 2  # ZeRO-3 gathers the layer that is computed, and the next one


@dataclass(frozen=True)
class DecoderShape:
    """What the memory of a decoder depends on.

    Attributes:
        hidden: Width of the hidden state.
        layers: Number of layers.
        feed_forward: Width of the feed-forward layer, which is gated.
        vocabulary: Number of tokens.
        queries: Width of all queries.
        keys: Width of all keys, and of all values.
        tied: Whether the output layer is the embedding.
    """

    hidden: int
    layers: int
    feed_forward: int
    vocabulary: int
    queries: int
    keys: int
    tied: bool

    @property
    def linear(self) -> list[tuple[int, int]]:
        """Input and output width of a layer's matrices."""
        attention = [(self.hidden, self.queries), (self.queries, self.hidden), *[(self.hidden, self.keys)] * 2]
        return [*attention, *[(self.hidden, self.feed_forward)] * 2, (self.feed_forward, self.hidden)]

    @property
    def layer(self) -> int:
        """Parameters of a layer, its two norms included."""
        return sum(a * b for a, b in self.linear) + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Parameters of the model."""
        return self.layers * self.layer + self.vocabulary * self.hidden * (1 if self.tied else 2) + self.hidden

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter on every matrix of every layer."""
        return self.layers * sum(rank * (a + b) for a, b in self.linear)


def decoder_shape(config: Mapping[str, Any]) -> DecoderShape | None:
    """Return the shape that a model's ``config.json`` tells, or None where it is not a Llama-like decoder."""
    needed = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size", "num_attention_heads")
    if any(not isinstance(config.get(key), int) for key in needed):
        return None
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    size = config.get("head_dim") or hidden // heads
    groups = config.get("num_key_value_heads") or heads
    layers, feed_forward, vocabulary = (config[key] for key in needed[1:4])
    tied = bool(config.get("tie_word_embeddings", False))
    return DecoderShape(hidden, layers, feed_forward, vocabulary, heads * size, groups * size, tied)


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes on one device, by what they hold, and what is kept in the machine's main memory for it.

    Attributes:
        weights: The base model's share, and the layers that ZeRO-3 has gathered.
        trained: Trained weights, their gradients and AdamW's moments.
        activations: What the backward pass needs of the forward pass.
        context: What the libraries keep, and DeepSpeed's buffers of gradients.
        host: Bytes of main memory, for what is offloaded there.
    """

    weights: float
    trained: float
    activations: float
    context: float
    host: float

    @property
    def device(self) -> float:
        """Bytes on the device in all."""
        return self.weights + self.trained + self.activations + self.context

    def describe(self) -> str:
        """Return the sum and its parts in words."""
        parts = ("weights", "trained", "activations", "context", "host")
        w, t, a, c, h = (getattr(self, name) / GIB for name in parts)
        host = f", and {h:.1f} GiB of main memory" if h else ""
        total = self.device / GIB
        return (
            f"{total:.1f} GiB a device: weights {w:.1f}, trained {t:.1f}, activations {a:.1f}, libraries {c:.1f}{host}"
        )


def estimate_memory(
    shape: DecoderShape,
    *,
    rank: int | None,
    stored_bytes: int,
    tokens: int,
    world: int = 1,
    stage: int = 0,
    recomputed: bool = False,
    offload_optimizer: bool = False,
    offload_parameters: bool = False,
    quantized: bool = False,
    has_dropout: bool = False,
    buffered: int = 0,
    computed_bytes: int = 2,
    copied_bytes: int = 0,
) -> MemoryEstimate:
    """Estimate the memory of a training step.

    ZeRO-1 shards AdamW's moments and the master weights over the devices, ZeRO-2 the gradients too, and ZeRO-3 every
    parameter, the frozen ones included. Without an adapter the trained weights are the stored ones, in float32.

    Args:
        shape: Of the base model.
        rank: Of the LoRA adapter; None trains every weight.
        stored_bytes: Of one of the base model's numbers.
        tokens: In the largest batch of a device: rows times positions.
        world: Number of devices.
        stage: Of ZeRO; 0 for none.
        recomputed: Whether only what enters each layer is kept, and one layer at a time computed again.
        offload_optimizer: Whether moments and master weights are kept in main memory or on NVMe.
        offload_parameters: Whether the shards of parameters do (ZeRO-3).
        quantized: Whether the layers' matrices are kept in 4 bits, under an adapter.
        has_dropout: Whether dropout is on an adapter's inputs.
        buffered: Numbers in DeepSpeed's buffers of gradients.
        computed_bytes: Of a number in matrix products.
        copied_bytes: Of the copy of a weight that autocast makes for them, where it does.
    """
    trained = shape.parameters if rank is None else shape.adapter(rank)
    frozen = 0 if rank is None else shape.parameters * stored_bytes
    if quantized:
        frozen -= round(shape.layers * sum(a * b for a, b in shape.linear) * (stored_bytes - NF4_BYTES))
    divide = [world if stage >= least else 1 for least in (1, 2, 3)]
    optimizer = trained * (MOMENT_BYTES + (MASTER_BYTES if stage else 0)) / divide[0]
    gradients = trained * MASTER_BYTES / divide[1]
    held = (frozen + trained * MASTER_BYTES) / divide[2]
    working = WORKING_LAYERS * shape.layer * stored_bytes if stage == 3 else 0
    each = FULL_BYTES if rank is None else ACTIVATION_BYTES + (DROPOUT_BYTES if has_dropout else 0)
    layers = each * (1 if recomputed else shape.layers) + (INPUT_BYTES * shape.layers if recomputed else 0)
    host = (optimizer if offload_optimizer else 0) + (held if offload_parameters else 0)
    return MemoryEstimate(
        weights=(0 if offload_parameters else held) + working + shape.parameters * copied_bytes,
        trained=gradients + (0 if offload_optimizer else optimizer),
        activations=layers * (computed_bytes / 2) * shape.hidden * tokens,
        context=CONTEXT_BYTES + buffered * computed_bytes,
        host=host,
    )


def estimate_stage(
    config: Mapping[str, Any],
    adapter: AdapterSettings,
    settings: StageSettings,
    trainer: TrainerSettings,
    *,
    stored_bytes: int,
    quantized: bool = False,
) -> MemoryEstimate | None:
    """Estimate a stage's training from its settings; None where the model's shape is not known.

    A row of DPO holds two answers, which makes it up to twice as long; it is computed without dropout.

    Args:
        config: The model's ``config.json``.
        adapter: What is trained.
        settings: How: those of SFT or of DPO.
        trainer: On which devices.
        stored_bytes: Of one of the base model's numbers.
        quantized: Whether the layers' matrices are kept in 4 bits, under an adapter.
    """
    shape = decoder_shape(config)
    if shape is None:
        return None
    longest = settings.max_length * (2 if (is_dpo := isinstance(settings, DPOSettings)) else 1)
    filled = (settings.batch_tokens or 0) * (MOST_PADDED if trainer.padding_free is False else 1)
    found = estimate_memory(
        shape,
        rank=None if adapter.is_full else adapter.rank,
        stored_bytes=4 if adapter.is_full else stored_bytes,
        tokens=max(filled, longest) if settings.batch_tokens else settings.batch_size * longest,
        world=trainer.world_size,
        stage=trainer.zero_stage,
        recomputed=trainer.activation_checkpointing,
        offload_optimizer=trainer.optimizer_offload != "none",
        offload_parameters=trainer.parameter_offload != "none",
        quantized=quantized,
        has_dropout=not (is_dpo or adapter.is_full) and adapter.dropout > 0,
        buffered=_buffered(trainer),
        computed_bytes=stored_bytes,
        copied_bytes=stored_bytes if adapter.is_full and stored_bytes < 4 and not trainer.zero_stage else 0,
    )
    return replace(found, host=0) if trainer.is_on_nvme else found


def _buffered(trainer: TrainerSettings) -> int:
    """Return how many numbers DeepSpeed's buffers of gradients hold: ZeRO-1 and 2 fill one while another is reduced."""
    size = int(trainer.zero.get("reduce_bucket_size", BUCKET)) if trainer.zero_stage else 0
    return size * (2 if trainer.zero_stage < 3 and trainer.zero.get("overlap_comm") else 1)


def training_warning(
    needed: MemoryEstimate, available: float, host: float | None = None, devices: int = 1
) -> str | None:
    """Return a line that says what to do where a device, or the machine's main memory, has less than is needed.

    Args:
        needed: The estimate, for one device.
        available: Bytes of the device.
        host: Bytes of the machine's main memory; None where they are not known.
        devices: Devices of the machine, each of which offloads its part.
    """
    if host is not None and needed.host * devices > host:
        return (
            f"this may not fit: an estimated {needed.host * devices / GIB:.1f} GiB of main memory for what "
            f"{devices} device{'s' if devices > 1 else ''} offload; the machine has {host / GIB:.1f} GiB. Offload "
            "less, take more machines, or choose trainer=deepspeed_zero3_nvme."
        )
    if needed.device <= available:
        return None
    return (
        f"this may not fit: an estimated {needed.describe()}; the device has {available / GIB:.1f} GiB. Lower "
        "batch_tokens (where it is null batch_size, and raise accumulate) or max_length, set "
        "trainer.activation_checkpointing=true, or choose trainer=deepspeed_zero3 or trainer=deepspeed_zero3_offload."
    )


def memory_remedies(
    stage: str, adapter: AdapterSettings, settings: StageSettings, trainer: TrainerSettings, on_gpu: bool
) -> list[str]:
    """Return what lowers the memory of a training that ran out of it, what leaves the result as it is first.

    Args:
        stage: ``sft`` or ``dpo``, the group of the keys that are named.
        adapter: What was trained.
        settings: How.
        trainer: On which devices.
        on_gpu: Whether it ran on a GPU.
    """
    found = []
    size, accumulation = settings.batch_size, settings.accumulate
    if settings.batch_tokens:
        found.append(f"{suggest_half(f'{stage}.batch_tokens', settings.batch_tokens)}, which is the same step")
    elif size > 1:
        smaller = size // 2 if size % 2 == 0 else 1
        found.append(
            f"lower {stage}.batch_size={size} to {smaller} and raise {stage}.accumulate={accumulation} to "
            f"{accumulation * size // smaller}, which is the same step"
        )
    found.append(suggest_half(f"{stage}.max_length", settings.max_length))
    if not trainer.activation_checkpointing:
        found.append("set trainer.activation_checkpointing=true, which computes layers twice")
    if adapter.is_full:
        found.append("train an adapter instead of every weight, adapter.kind=lora")
    if on_gpu and not (trainer.zero_stage == 3 and trainer.zero.get("offload_param")):
        found.append(f"choose trainer={'deepspeed_zero3_offload' if trainer.zero_stage == 3 else 'deepspeed_zero3'}")
    return found


def answering_warning(config: Mapping[str, Any], stored_bytes: int, available: float) -> str | None:
    """Return a line where the whole model is larger than a device, as it must not be to answer; or None.

    Args:
        config: The model's ``config.json``.
        stored_bytes: Of one of the model's numbers.
        available: Bytes of the device.
    """
    shape = decoder_shape(config)
    needed = shape.parameters * stored_bytes + CONTEXT_BYTES if shape else 0
    if needed <= available:
        return None
    return (
        f"the evaluation may not fit: every process answers with the whole model, an estimated {needed / GIB:.1f} GiB, "
        f"and the device has {available / GIB:.1f} GiB. Training alone can be sharded; evaluate on larger devices, "
        "with base_model.precision=bfloat16, with trainer.accelerator=cpu, or through a server (evaluation.server)."
    )
