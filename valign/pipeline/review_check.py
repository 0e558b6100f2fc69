"""Refuses to train on data that people have not read enough of."""

from __future__ import annotations

import math
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.text import typed
from valign.pipeline.context import Context
from valign.pipeline.data_stage import read_funnel
from valign.synthesis.dataset import DECISIONS
from valign.synthesis.review_summary import share_read


def require_review(context: Context, data: Path) -> None:
    """Check that people have read the share of the rows that ``synthesis.require_review`` asks for.

    Args:
        context: What is known of the run.
        data: The data stage's folder.

    Raises:
        ValignError: Something is to be trained, and too few rows have been read.
    """
    settings = context.settings
    wanted = settings.synthesis.require_review
    if not wanted or not settings.recipe.stages:
        return
    read, rows = share_read(read_funnel(data))
    needed = math.ceil(wanted * rows - 1e-9)
    if read >= needed:
        return
    command = f"python -m valign.review {typed('artifact', str(data))} reviewer=NAME"
    if settings.synthesis.review:
        remedy = f"read more with {command}, then run this command again"
    elif (data / DECISIONS).is_file():
        applied = typed("synthesis.review", str(data / DECISIONS))
        remedy = (
            f"what was decided beside the data does not count before it is applied: run this command with {applied}"
        )
    else:
        applied = typed("synthesis.review", str(data / DECISIONS))
        remedy = f"read more with {command}, then run this command with {applied}"
    raise ValignError(
        f"synthesis.require_review={wanted:g}: people have read {read} of {rows} rows for training, and {needed} are "
        f"needed; {remedy}."
    )
