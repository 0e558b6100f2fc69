"""The folder that somebody names for a review or an export: a run's, the data's, or one in the place of the other."""

from __future__ import annotations

from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.core.files import write_json, write_jsonl
from valign.core.store import MANIFEST
from valign.provenance.runs import chosen_data


def test_a_folder_of_the_other_sort_is_said_to_be_so(tmp_path: Path) -> None:
    run, data = tmp_path / "run", tmp_path / "data"
    write_json(run / "run.json", {})
    write_jsonl(data / "sft.jsonl", [])
    write_json(data / MANIFEST, {})
    with pytest.raises(ValignError, match=rf"is the folder of a run, not of data; give it so: run={run}"):
        chosen_data(None, str(run))
    with pytest.raises(ValignError, match=rf"is a folder of data, not of a run; give it so: artifact={data}"):
        chosen_data(str(data), None)
    with pytest.raises(ValignError, match="is not the folder of a finished run"):
        chosen_data(str(tmp_path / "nothing"), None)
    with pytest.raises(ValignError, match="holds no complete data set"):
        chosen_data(None, str(tmp_path / "nothing"))
