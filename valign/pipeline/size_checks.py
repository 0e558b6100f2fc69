"""What can be known to be too large before anything is computed."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import replace

from valign.core.errors import ValignError
from valign.core.records import Question
from valign.distributed.devices import device_of
from valign.evaluation import context_check
from valign.models.load import context_length, load_config, load_tokenizer
from valign.models.packing import FLASH
from valign.models.precision import resolve_precision
from valign.models.varlen import VARLEN, training_implementation
from valign.pipeline.context import Context
from valign.pipeline.recipes import Arm
from valign.pipeline.tax_stage import measures_tax
from valign.retrieval.search import WHOLE_DOCUMENT
from valign.training.memory_estimate import GIB, answering_warning, decoder_shape, estimate_stage, training_warning

log = logging.getLogger(__name__)

OTHERS_BYTES = 2 * GIB  # more than this process's own libraries take of a GPU


def warn_of_size(context: Context, stages: Sequence[str]) -> None:
    """Warn where a training or the answers are estimated not to fit on a device.

    Args:
        context: What is known of the run.
        stages: What is to be trained; nothing where a finished run is evaluated.

    Raises:
        ValignError: Every process is to answer with the whole model, whose weights alone are larger than its GPU.
    """
    settings = context.settings
    if device_of(settings.trainer.accelerator) != "cuda":
        return
    import torch

    base = settings.base_model
    config, compute = load_config(context.model_path, base.trust_remote_code), resolve_precision(base.precision, "cuda")
    shape, stored = config.to_dict(), compute.itemsize
    trainer = settings.trainer
    if stages and trainer.padding_free is None:
        attention = trainer.attention or training_implementation(config, "cuda", compute, None)
        if attention not in (VARLEN, FLASH):  # windows, float32, GPUs before Ampere
            trainer = replace(trainer, padding_free=False)
    free, whole = torch.cuda.mem_get_info()
    available = free if whole - free > OTHERS_BYTES else whole
    if available < whole:
        log.warning(
            "other programs hold %.1f of this GPU's %.1f GiB; if one is the teacher's server, choose teacher=vllm, "
            "which the run ends before it trains, or make the data first (valign.synthesize), stop it, then train",
            (whole - free) / GIB,
            whole / GIB,
        )
    host = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for stage in stages:
        needed = estimate_stage(
            shape,
            settings.adapter,
            settings.sft if stage == "sft" else settings.dpo,
            trainer,
            stored_bytes=stored,
            quantized=base.quantization is not None,
        )
        line = needed and training_warning(needed, available, host, settings.trainer.devices)
        if line:
            log.warning("%s: %s", stage, line)
    answers_here = context.server is None or context.server.measures_likelihoods
    if settings.evaluation.engine == "vllm":  # the alignment tax alone takes the model in this process
        answers_here = measures_tax(context)
    line = answering_warning(shape, stored, available) if answers_here else None
    known = decoder_shape(shape)
    if line and known and base.quantization is None and known.parameters * stored > whole:
        raise ValignError(
            f"{line} Here: evaluation.engine=vllm with evaluation.vllm.arguments=[--tensor-parallel-size,N], and "
            "evaluation.tax.measure=false."
        )
    if line:
        log.warning(line)


def require_context_length(context: Context, arms: Sequence[Arm], questions: Sequence[Question]) -> None:
    """Refuse an arm whose prompt, the whole document, does not fit the model's context, before it is trained.

    Raises:
        ValignError: It does not fit; the message says by how many tokens.
    """
    whole = [arm.name for arm in arms if arm.retriever == WHOLE_DOCUMENT]
    if not whole:
        return
    base = context.settings.base_model
    context_check.check_context_length(
        load_tokenizer(context.model_path, base.trust_remote_code),
        list(questions),
        context.document.passages,
        arm=whole[0],
        context=context_length(context.model_path, base.trust_remote_code),
        max_new_tokens=context.settings.evaluation.max_new_tokens,
        system=base.system_prompt,
    )
