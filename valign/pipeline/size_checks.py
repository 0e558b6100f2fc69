"""What can be known to be too large before anything is computed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from valign.config.arguments import plain
from valign.core.settings import make_settings
from valign.distributed.devices import device_of
from valign.models.load import load_config
from valign.models.precision import resolve_precision
from valign.pipeline.artifacts import Pipeline
from valign.training.memory_estimate import answering_warning, estimate_stage, training_warning
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, StageSettings, TrainerSettings

log = logging.getLogger(__name__)


def warn_of_size(pipeline: Pipeline, stages: Sequence[str]) -> None:
    """Warn, before anything is computed, where a training or the answers are estimated not to fit on a device.

    Args:
        pipeline: The run's.
        stages: What is to be trained; nothing where a finished run is evaluated.
    """
    if device_of(str(pipeline.config.trainer.accelerator)) != "cuda":
        return
    import torch
    from omegaconf import OmegaConf

    c = pipeline.config
    shape = load_config(pipeline.model[0], c.base_model.trust_remote_code).to_dict()
    stored = resolve_precision(c.base_model.precision, "cuda").itemsize
    available = torch.cuda.get_device_properties(0).total_memory
    for stage in stages:
        settings: StageSettings = make_settings(DPOSettings if stage == "dpo" else SFTSettings, plain(c[stage]))
        needed = estimate_stage(
            shape,
            make_settings(AdapterSettings, plain(c.adapter)),
            settings,
            make_settings(TrainerSettings, plain(c.trainer)),
            stored_bytes=stored,
            quantized=OmegaConf.select(c, "base_model.quantization") is not None,
        )
        host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        line = needed and training_warning(needed, available, host, int(c.trainer.devices))
        if line:
            log.warning("%s: %s", stage, line)
    elsewhere = pipeline.server is not None and not pipeline.server.measures
    line = None if elsewhere else answering_warning(shape, stored, available)
    if line:
        log.warning(line)
