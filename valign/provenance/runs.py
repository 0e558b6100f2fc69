"""Data sets in the store, and what each was written from: the document's clauses and the prompts."""

from __future__ import annotations

from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.core.store import is_complete, is_digest
from valign.core.text import typed
from valign.runs.damage import describe_damage
from valign.runs.layout import RUN
from valign.synthesis.dataset import DATA_STAGE, SFT, DataSet, read_data


def chosen_data(run: str | None, artifact: str | None) -> DataSet:
    """Return the data set of a run, or the one in a folder of the store.

    Raises:
        ValignError: There is none, or the folder is one of the other sort.
    """
    if run:
        return data_of_run(Path(run).expanduser())
    folder = Path(artifact or "").expanduser()
    if (folder / RUN).is_file():
        raise ValignError(f"{folder} is the folder of a run, not of data; give it so: {typed('run', str(folder))}.")
    with describe_damage(folder):
        return read_data(folder)


def data_of_run(folder: Path) -> DataSet:
    """Read the data set that a run trained on.

    Raises:
        ValignError: The folder is not a finished run's, or its data are not in the store any more.
    """
    if is_complete(folder) and (folder / SFT).is_file():
        raise ValignError(f"{folder} is a folder of data, not of a run; give it so: {typed('artifact', str(folder))}.")
    if not (folder / RUN).is_file():
        raise ValignError(f"{folder} is not the folder of a finished run; give one such as runs/udhr/sft_dpo.")
    details = read_json(folder / RUN)
    with describe_damage(folder):
        if "data" not in details["artifacts"]:
            raise ValignError(
                f"{folder} is of a run that trained nothing and had its questions given; no data were made."
            )
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
