"""Settings of training: what is trained, how SFT and DPO train it, and on which devices.

The keys ``adapter``, ``sft``, ``dpo`` and ``trainer`` of the config are made from these classes; their values stand in
``conf/``. Nothing heavy is imported here, so that a config can be checked in an instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from valign.core.settings import setting

LOSSES = ("sigmoid", "robust", "ipo", "hinge", "simpo")
TOKENS = ("all", "pivotal")
ATTENTIONS = ("eager", "sdpa", "flash_attention_2")


@dataclass(frozen=True, kw_only=True)
class AdapterSettings:
    """What is trained: a low-rank adapter, or every weight.

    Attributes:
        kind: ``lora``, or ``none`` for full fine-tuning.
        rank: Rank of the update.
        alpha: The update is scaled by alpha / rank.
        dropout: On the adapter's input, in SFT; DPO trains without.
        target_modules: Layers that get an adapter: ``all-linear``, or a regular expression of module names.
    """

    kind: str = setting(choices=("lora", "none"))
    rank: int = setting(above=0)
    alpha: int = setting(above=0)
    dropout: float = setting(at_least=0, below=1)
    target_modules: str = setting()

    @property
    def is_full(self) -> bool:
        """Whether every weight is trained, without an adapter."""
        return self.kind == "none"


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What SFT and DPO have in common.

    Attributes:
        epochs: Passes over the data; of a fraction, that share of the last epoch's steps.
        learning_rate: Highest value of the schedule.
        warmup_ratio: Share of the steps in which the learning rate rises.
        batch_size: Examples a device holds at once where ``batch_tokens`` is None; a pair is one example.
        accumulate: Batches of a device in one optimizer step where ``batch_tokens`` is None.
        weight_decay: Of AdamW.
        max_grad_norm: Longer gradients are scaled down to this norm.
        max_length: Tokens of a conversation; examples with a longer one are dropped and counted.
        schedule: How the learning rate falls after the warm-up: ``linear``, ``cosine``, ``constant``.
        validation: Share of each clause's examples held out of training.
        batch_tokens: Tokens that a device holds at once, in place of ``batch_size`` examples; an optimizer step keeps
            its ``batch_size * accumulate`` examples a device. Padded rows take twice as many at most, four times where
            the answers of a pair stand apart. None for batches of ``batch_size`` examples.
    """

    epochs: float = setting(above=0)
    learning_rate: float = setting(above=0)
    warmup_ratio: float = setting(at_least=0, below=1)
    batch_size: int = setting(above=0)
    accumulate: int = setting(above=0)
    weight_decay: float = setting(at_least=0)
    max_grad_norm: float = setting(above=0)
    max_length: int = setting(above=0)
    schedule: str = setting(choices=("linear", "cosine", "constant"))
    validation: float = setting(0.0, at_least=0, below=1)
    batch_tokens: int | None = setting(None, above=0)


@dataclass(frozen=True, kw_only=True)
class SFTSettings(StageSettings):
    """Supervised fine-tuning.

    Attributes:
        replay: General instructions learned along with D_sft, as a share of it; ``fit`` gets them among its rows.
        replay_file: JSONL file with instructions to replay; None for those that valign ships.
    """

    replay: float = setting(0.0, at_least=0)
    replay_file: str | None = setting(None)


@dataclass(frozen=True, kw_only=True)
class DPOSettings(StageSettings):
    """Preference optimisation.

    Attributes:
        tokens: What the loss compares: ``all`` tokens of both answers, or of pairs with a verdict the ``pivotal``
            token, the first in which they differ, as in Phi-4's pairs of single tokens (Abdin et al., 2024,
            arXiv:2412.08905).
        loss: Name of the loss: ``sigmoid`` (DPO, cDPO), ``robust`` (rDPO), ``ipo``, ``hinge`` or ``simpo``.
        beta: Strength of the pull to the reference policy; each loss has its own scale of it.
        label_smoothing: Assumed share of pairs whose preference is wrong, with ``sigmoid`` and ``robust``.
        sft_weight: Weight of the SFT loss on the chosen answers' tokens, which is added.
        simpo_gamma: Margin of ``simpo``, which needs one; None with the other losses.
    """

    tokens: str = setting("all", choices=TOKENS)
    loss: str = setting("sigmoid", choices=LOSSES)
    beta: float = setting(above=0)
    label_smoothing: float = setting(0.0, at_least=0, below=0.5)
    sft_weight: float = setting(0.0, at_least=0)
    simpo_gamma: float | None = setting(None, at_least=0)


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """Where training runs.

    Attributes:
        accelerator: ``cpu``, ``gpu`` or ``auto``.
        devices: Processes on each machine, one for each GPU.
        num_nodes: Machines.
        strategy: ``auto``, ``ddp`` or ``deepspeed``.
        deepspeed: DeepSpeed's own settings, handed to it as they are.
        checkpoint_every: Optimizer steps between two checkpoints.
        activation_checkpointing: Whether the backward pass computes each layer again: less memory, more time.
        padding_free: Whether a batch is one row without padding; None for where its attention needs no mask.
        attention: Name of the attention in transformers, in training; None for what suits the device.
        kernels: ``liger`` for fused layers on a GPU; None for the model's own.
        threads: CPU threads; None for as many as there are cores.
        wait_seconds: How long the other processes wait for the first one.
    """

    accelerator: str = setting(choices=("cpu", "gpu", "auto"))
    devices: int = setting(at_least=1)
    num_nodes: int = setting(1, at_least=1)
    strategy: str = setting("auto", choices=("auto", "ddp", "deepspeed"))
    deepspeed: Mapping[str, Any] | None = setting(None)
    checkpoint_every: int = setting(at_least=1)
    activation_checkpointing: bool = setting(False)
    padding_free: bool | None = setting(None)
    attention: str | None = setting(None, choices=ATTENTIONS)
    kernels: str | None = setting(None, choices=("liger",))
    threads: int | None = setting(None, at_least=1)
    wait_seconds: float = setting(86400.0, above=0)

    @property
    def world_size(self) -> int:
        """Number of devices over all machines."""
        return self.devices * self.num_nodes

    @property
    def zero(self) -> Mapping[str, Any]:
        """DeepSpeed's own settings of ZeRO; none under another strategy."""
        settings = self.deepspeed if self.strategy == "deepspeed" else None
        return (settings or {}).get("zero_optimization") or {}

    @property
    def zero_stage(self) -> int:
        """What DeepSpeed shards: 0 (nothing, or no DeepSpeed), 1, 2 or 3."""
        return int(self.zero.get("stage", 0))

    @property
    def optimizer_offload(self) -> str:
        """Where DeepSpeed keeps the optimizer's states: ``none`` (on the device), ``cpu`` or ``nvme``."""
        return str((self.zero.get("offload_optimizer") or {}).get("device", "none"))

    @property
    def parameter_offload(self) -> str:
        """Where DeepSpeed keeps the shards of parameters: ``none`` (on the device), ``cpu`` or ``nvme``."""
        return str((self.zero.get("offload_param") or {}).get("device", "none"))

    @property
    def is_on_nvme(self) -> bool:
        """Whether DeepSpeed keeps anything on disk while it trains; its own checkpoints do not restore that."""
        return "nvme" in (self.optimizer_offload, self.parameter_offload)
