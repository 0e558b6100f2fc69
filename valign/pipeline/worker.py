"""How the processes of a run that are not the first follow it."""

from __future__ import annotations

from valign.core.files import from_dict
from valign.core.records import Question
from valign.distributed.devices import free_devices
from valign.pipeline.answer_stage import answer_part
from valign.pipeline.context import Context
from valign.pipeline.tax_stage import tax_part
from valign.pipeline.training_stage import train_part


def follow(context: Context) -> None:
    """Do what the first process commands, until it ends; nothing is decided, asked or written here."""
    for name, arguments in context.ranks.commands():
        if name == "train":
            train_part(context, **arguments)
        elif name == "free":
            free_devices()
        elif name == "tax":
            tax_part(context, **arguments)
        else:
            asked = [from_dict(Question, row) for row in arguments.pop("questions")]
            answer_part(context, **arguments, questions=asked)
