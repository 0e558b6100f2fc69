"""What can be known of the base model before a teacher is paid or anything is trained."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from valign.core.errors import ValignError, first_line
from valign.core.records import Message
from valign.models.chat_template import render_conversation
from valign.models.export import TERMS
from valign.models.load import load_config, load_tokenizer
from valign.pipeline.context import Context
from valign.training.memory_estimate import GIB

log = logging.getLogger(__name__)


def check_base_model(context: Context, is_trained: bool = True) -> None:
    """Look whether the base model is there, and whether a conversation can be rendered for it; no weights are loaded.

    A line says where its folder has no licence, or where it is larger than this machine's memory.

    Args:
        context: What is known of the run.
        is_trained: Whether it is loaded in this run; else a model of the hub need not be there, and a line says so.

    Raises:
        ValignError: Its folder, config or tokenizer cannot be read, its template does not render a conversation with
            the answer behind an unchanged prompt, or it has no end token.
    """
    base = context.settings.base_model
    try:
        load_config(context.model_path, base.trust_remote_code)
    except ValignError as error:
        if is_trained or isinstance(context.model_path, Path):
            raise
        log.warning("the base model was not looked at before the data are made: %s", error)
        return
    if isinstance(context.model_path, Path) and context.model_path == Path(base.model).expanduser():
        _look_at_folder(context.model_path)
    tokenizer = load_tokenizer(context.model_path, base.trust_remote_code)
    if tokenizer.eos_token_id is None:
        raise ValignError(
            f"base_model.model={base.model} has a tokenizer without an end token, so that no answer could end; choose "
            "an instruction-tuned model."
        )
    turns: list[Message] = [{"role": "system", "content": base.system_prompt}] if base.system_prompt else []
    turns += [{"role": "user", "content": "May I come in?"}, {"role": "assistant", "content": "Yes, you may."}]
    try:
        render_conversation(tokenizer, turns)
    except ValignError:
        raise
    except Exception as error:  # a template is a program of the model's author, and raises what it likes
        raise ValignError(
            f"base_model.model={base.model}: its chat template does not render a question and an answer "
            f"({first_line(error)}); choose another model."
        ) from None


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
