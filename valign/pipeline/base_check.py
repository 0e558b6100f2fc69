"""What can be known of the base model before a teacher is paid or anything is trained."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError, first_line
from valign.core.records import Message
from valign.distributed.devices import device_of
from valign.models.attention import WITHOUT_KEYS
from valign.models.chat_template import render_conversation
from valign.models.export import TERMS
from valign.models.load import load_config, load_tokenizer
from valign.models.precision import resolve_precision
from valign.pipeline.context import Context
from valign.training.memory_estimate import GIB, decoder_shape
from valign.training.usual_rates import rate_warning

log = logging.getLogger(__name__)


def check_base_model(context: Context, is_trained: bool = True) -> None:
    """Look whether the base model is there, can render a conversation, and can be trained here; no weights are loaded.

    A line says where its folder has no licence, where it is larger than this machine's memory, where a learning rate is
    far from what is usual for its size, and where a GPU is left idle.

    Args:
        context: What is known of the run.
        is_trained: Whether it is loaded in this run; else a model of the hub need not be there, and a line says so.

    Raises:
        ValignError: Its folder, config or tokenizer cannot be read, it is of a family without attention, its template
            does not render a conversation with the answer behind an unchanged prompt, or it has no end token; or what
            is to train it lacks a package, a GPU that can do it, or a strategy that runs here.
    """
    base = context.settings.base_model
    try:
        config = load_config(context.model_path, base.trust_remote_code)
    except ValignError as error:
        if is_trained or isinstance(context.model_path, Path):
            raise
        log.warning("the base model was not looked at before the data are made: %s", error)
        return
    if isinstance(context.model_path, Path) and context.model_path == Path(base.model).expanduser():
        _look_at_folder(context.model_path)
    if config.model_type in WITHOUT_KEYS and context.server is None and context.served_arms is None:
        raise ValignError(
            f"base_model.model={base.model} is of the family {config.model_type}, which keeps no keys and values, and "
            "valign answers with transformers alone; choose one."
        )
    tokenizer = load_tokenizer(context.model_path, base.trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise ValignError(
            f"base_model.model={base.model} has a tokenizer without an end token, so that no answer could end; choose "
            "an instruction-tuned model."
        )
    turns: list[Message] = [{"role": "system", "content": base.system_prompt}] if base.system_prompt else []
    turns += [{"role": "user", "content": "May I come in?"}, {"role": "assistant", "content": "Yes, you may."}]
    try:
        found = render_conversation(tokenizer, turns)
    except ValignError:
        raise
    except Exception as error:  # a template is a program of the model's author, and raises what it likes
        raise ValignError(
            f"base_model.model={base.model}: its chat template does not render a question and an answer "
            f"({first_line(error)}); choose another model."
        ) from None
    known = getattr(config.get_text_config(), "vocab_size", None)
    largest = max(found.ids)
    if known is not None and largest >= known:
        raise ValignError(
            f"base_model.model={base.model}: a conversation has the token {tokenizer.convert_ids_to_tokens(largest)} "
            f"(number {largest}), and the weights have {known} tokens; its tokenizer does not belong to them."
        )
    if is_trained and context.settings.recipe.stages:
        _check_training(context, config.get_text_config())


def _check_training(context: Context, config: Any) -> None:
    """Refuse a training that could not start, and say what it would be sorry for.

    Args:
        context: What is known of the run.
        config: Of the base model, as transformers reads it.
    """
    from valign.training.kernels import liger_function, require_packages, require_precision
    from valign.training.strategies import require_strategy

    settings = context.settings
    base, trainer = settings.base_model, settings.trainer
    device = device_of(trainer.accelerator)
    require_strategy(trainer, device)
    require_packages(trainer, device, base.quantization)
    if trainer.kernels:
        liger_function(config.model_type)
    if trainer.zero_stage == 1 and resolve_precision(base.precision, device).itemsize < 4:
        log.warning(
            "trainer: ZeRO-1 adds gradients up in bfloat16, in which small ones are lost; %s adds them up in float32",
            f"trainer=deepspeed_zero2{'_offload' if trainer.optimizer_offload != 'none' else ''}",
        )
    if device == "cuda":
        require_precision(resolve_precision(base.precision, device), trainer)
    elif device_of("auto") == "cuda":
        log.info("trainer.accelerator=cpu: a GPU is there and stays idle; trainer=gpu trains and answers on it")
    shape = decoder_shape(config.to_dict())
    for stage in settings.recipe.stages:
        if shape is None:
            break
        rate = (settings.sft if stage == "sft" else settings.dpo).learning_rate
        if line := rate_warning(stage, rate, shape.parameters, settings.adapter.is_full):
            log.warning("%s", line)


def _look_at_folder(folder: Path) -> None:
    """Say what a folder of weights lacks, or that it is too large for this machine."""
    if not any(TERMS.fullmatch(file.name) for file in folder.iterdir()):
        log.info("%s holds no licence; look up the model's terms before you pass on what is made from it", folder)
    size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory:
        log.warning(
            "%s holds %.1f GiB of weights, and this machine has %.1f GiB of memory; train where there is more, or "
            "choose a smaller base model",
            folder,
            size / GIB,
            memory / GIB,
        )
