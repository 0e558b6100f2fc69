"""How the processes of a run that are not the first follow it."""

from __future__ import annotations

from valign.core.files import from_dict
from valign.core.records import Question
from valign.distributed.devices import claim_devices, free_devices
from valign.pipeline.answer_stage import answer_part
from valign.pipeline.context import Context
from valign.pipeline.tax_stage import tax_part
from valign.pipeline.training_stage import train_part


def take_devices(context: Context) -> None:
    """Let every process of the run take its device; only the first calls this, before a teacher is paid.

    Raises:
        ValignError: A GPU is missing, or two processes have the same one.
    """
    context.ranks.command("devices")
    claim_devices(context.settings.trainer.accelerator, context.ranks)


def follow(context: Context) -> None:
    """Do what the first process commands, until it ends; nothing is decided, asked or written here."""
    for name, arguments in context.ranks.commands():
        if name == "devices":
            claim_devices(context.settings.trainer.accelerator, context.ranks)
        elif name == "train":
            train_part(context, **arguments)
        elif name == "free":
            free_devices()
        elif name == "tax":
            tax_part(context, **arguments)
        else:
            asked = [from_dict(Question, row) for row in arguments.pop("questions")]
            answer_part(context, **arguments, questions=asked)
