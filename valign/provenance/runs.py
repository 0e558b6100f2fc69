"""Data sets in the store, and what each was written from: the document's clauses and the prompts."""

from __future__ import annotations

from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.core.store import is_complete, is_digest
from valign.runs.damage import describe_damage
from valign.runs.layout import RUN
from valign.synthesis.dataset import DATA_STAGE, DataSet, read_data


def data_of_run(folder: Path) -> DataSet:
    """Read the data set that a run trained on.

    Raises:
        ValignError: The folder is not a finished run's, or its data are not in the store any more.
    """
    if not (folder / RUN).is_file():
        raise ValignError(f"{folder} is not the folder of a finished run; give one such as runs/udhr/sft_dpo.")
    details = read_json(folder / RUN)
    with describe_damage(folder):
        name = details["artifacts"]["data"]
        if not is_digest(name):
            raise ValueError(f"data named {name!r}")
        data = Path(details["config"]["artifacts"]).expanduser() / DATA_STAGE / name
    if not is_complete(data):
        raise ValignError(
            f"{data}, the data of {folder}, is not there; start from the folder that the run was started from, "
            "or give the data's folder instead: artifact=FOLDER."
        )
    with describe_damage(folder):
        return read_data(data, details)
