"""What can be known of the base model before a teacher is paid or anything is trained."""

from __future__ import annotations

from valign.core.errors import ValignError, first_line
from valign.core.records import Message
from valign.models.chat_template import render_conversation
from valign.models.load import load_config, load_tokenizer
from valign.pipeline.context import Context


def check_base_model(context: Context) -> None:
    """Look whether the base model is there, and whether a conversation can be rendered for it; no weights are loaded.

    Raises:
        ValignError: Its folder, config or tokenizer cannot be read, its template does not render a conversation with
            the answer behind an unchanged prompt, or it has no end token.
    """
    base = context.settings.base_model
    load_config(context.model_path, base.trust_remote_code)
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
