"""Lightning's DeepSpeed strategy for valign: also on CPU ranks, and with checkpoints that any number of ranks reads.

Only imported where DeepSpeed is asked for.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

import deepspeed
import deepspeed.comm.comm
import torch
from deepspeed.accelerator import get_accelerator
from deepspeed.utils import (
    safe_get_full_fp32_param,
    safe_get_full_optimizer_state,
    safe_set_full_fp32_param,
    safe_set_full_optimizer_state,
    safe_set_local_fp32_param,
    safe_set_local_optimizer_state,
)
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy

from valign.core.errors import ValignError
from valign.models.layers import is_sharded

MOMENTS = ("exp_avg", "exp_avg_sq")
DEEPSPEED_LOGGERS = ("DeepSpeed", "deepspeed")


class ShardedStrategy(DeepSpeedStrategy):
    """DeepSpeed with its own checkpoints, to which each rank writes its part.

    It runs on GPUs, and on CPU ranks for tests, where DS_ACCELERATOR=cpu asks for them.

    Lightning refuses anything but CUDA. On the CPU accelerator the devices get an index, which the parent class reads,
    and only the refusal is skipped; everything else is DeepSpeedStrategy's own.
    """

    def setup_environment(self) -> None:
        """Make the process group, and let DeepSpeed log errors alone."""
        for name in DEEPSPEED_LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        if not isinstance(self.accelerator, CPUAccelerator):
            super().setup_environment()
            return
        # no compiled shared-memory operations for CPU ranks; gloo does what tests need
        sys.modules["deepspeed.comm.torch"].build_shm_op = lambda: None  # type: ignore[attr-defined]
        count = len(self.parallel_devices or [])
        self.parallel_devices = [torch.device("cpu", i) for i in range(count)]
        DDPStrategy.setup_environment(self)

    def backward(self, closure_loss: torch.Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Run the backward pass of a loss that Lightning has divided by the number of accumulated batches already.

        DeepSpeed would divide by it again. AdamW hides that, but clipping sees gradients that are too short.
        """
        return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)

    def optimizer_step(self, optimizer: Any, closure: Any, model: Any = None, **kwargs: Any) -> Any:
        """Make a step, which DeepSpeed would silently leave out where a gradient is not finite.

        ZeRO-2 and 3 leave no gradient to be looked at before.

        Raises:
            ValignError: A gradient is not finite.
        """
        made = super().optimizer_step(optimizer, closure, model, **kwargs)
        engine: Any = self.deepspeed_engine
        if getattr(engine.optimizer, "overflow", False):
            raise ValignError(
                f"a gradient of optimizer step {engine.global_steps} is not finite; lower the learning rate, or set "
                "base_model.precision=float32."
            )
        return made


class ConsolidatedStrategy(ShardedStrategy):
    """Writes checkpoints as a single process does: the first rank writes the trainable weights and AdamW's moments.

    So training goes on on any number of ranks, under any stage of ZeRO or none. DeepSpeed's own checkpoints have a part
    from each rank, which only as many ranks can read.
    """

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Weights are restored before DeepSpeed divides them."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """The optimizer's states are in the checkpoint."""
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the trainable weights in float32, on the first rank."""
        weights = {name: self._to_main_memory(safe_get_full_fp32_param(p)) for name, p in self._trainable()}
        return weights if self.is_global_zero else {}

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        """Return what torch's AdamW over the trainable weights would, on the first rank."""
        inner = optimizer.optimizer
        steps = {float(state["step"]) for state in inner.state.values()}
        states = {}
        for i, (_, parameter) in enumerate(self._trainable()):
            moments = {key: self._to_main_memory(safe_get_full_optimizer_state(parameter, key)) for key in MOMENTS}
            states[i] = {"step": torch.tensor(max(steps)), **moments}
        groups = [{**inner.param_groups[0], "params": list(states)}]
        return {"state": states, "param_groups": groups} if self.is_global_zero else {}

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        """Write one file."""
        DDPStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Read the file on every rank."""
        return dict(DDPStrategy.load_checkpoint(self, checkpoint_path, weights_only))

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Put the trainable weights into the model, which DeepSpeed's engine does not hold yet.

        A model that was sharded from the start gets them one by one.
        """
        trained = self._trainable()
        if not any(is_sharded(parameter) for _, parameter in trained):
            DDPStrategy.load_model_state_dict(self, checkpoint, strict)
            return
        for name, parameter in trained:
            with deepspeed.zero.GatheredParameters([parameter], modifier_rank=0), torch.no_grad():
                if self.is_global_zero or not is_sharded(parameter):
                    parameter.copy_(checkpoint["state_dict"][name])

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Give each rank its part of the moments, and of the float32 copies of weights that are trained in bfloat16."""
        (saved,) = checkpoint["optimizer_states"]
        (optimizer,) = self.optimizers
        inner: Any = optimizer.optimizer  # type: ignore[attr-defined]
        for group in inner.param_groups:
            group.update({key: value for key, value in saved["param_groups"][0].items() if key != "params"})
        self._make_states(optimizer, inner, float(saved["state"][0]["step"]))
        for i, (name, parameter) in enumerate(self._trainable()):
            _scatter(parameter, None, checkpoint["state_dict"][name])
            for key in MOMENTS:
                _scatter(parameter, key, saved["state"][i][key])

    def _make_states(self, optimizer: Any, inner: torch.optim.Optimizer, step: float) -> None:
        """Make AdamW's states of this rank's flat partitions, which it would only make at its first step."""
        sharded = hasattr(optimizer, "fp32_partitioned_groups_flat")
        flat = optimizer.fp32_partitioned_groups_flat if sharded else optimizer.single_partition_of_fp32_groups
        fused = inner.param_groups[0].get("fused")
        for i, partition in enumerate(flat):
            on_disk = sharded and optimizer._swappable_optimizer_subgroup(i)
            if on_disk:
                optimizer._optimizer_states_and_gradient_swap_in(i)
            steps = torch.full((), step, device=partition.device if fused else "cpu")
            inner.state[partition] = {"step": steps, **{key: torch.zeros_like(partition) for key in MOMENTS}}
            if on_disk:
                optimizer._optimizer_states_and_gradient_swap_out(i)
        if not sharded:
            for parameters, partition in zip(optimizer.bit16_groups, flat, strict=True):
                deepspeed.utils.lazy_init_hp_params_optimizer_state(parameters, partition, inner.state)

    def _trainable(self) -> list[tuple[str, torch.nn.Parameter]]:
        assert self.lightning_module is not None
        return [(name, p) for name, p in self.lightning_module.named_parameters() if p.requires_grad]

    def _to_main_memory(self, value: torch.Tensor) -> torch.Tensor | None:
        """Return a gathered value's copy in main memory, on the first rank."""
        return value.detach().to("cpu", copy=True) if self.is_global_zero else None


def can_use_nvme() -> bool:
    """Tell whether DeepSpeed can compile its asynchronous file access, which needs libaio and a C++ compiler."""
    builder = get_accelerator().create_op_builder("AsyncIOBuilder")
    return builder is not None and bool(builder.is_compatible())


def _scatter(parameter: torch.nn.Parameter, key: str | None, value: torch.Tensor) -> None:
    """Write this rank's part of a whole value: of one of the optimizer's states, or without a key of the weight."""
    if is_sharded(parameter):
        part = _own_part(parameter, value)
        if key is None:
            safe_set_local_fp32_param(parameter, part)
        else:
            safe_set_local_optimizer_state(parameter, part, key)
    elif key is None:
        safe_set_full_fp32_param(parameter, value)
    else:
        safe_set_full_optimizer_state(parameter, value, key)


def _own_part(parameter: Any, value: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a value as ZeRO-3 divides it: equal lengths, the last one padded with zeros."""
    size = int(parameter.ds_tensor.numel())
    start = size * torch.distributed.get_rank(parameter.ds_process_group)
    part = value.flatten()[start : start + size]
    return torch.nn.functional.pad(part, (0, size - part.numel()))
