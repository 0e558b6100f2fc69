"""Run folders are found, and what is not one run is refused where one is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from valign.errors import ValignError
from valign.results import RUN, run_folder


def test_one_run_is_wanted(tmp_path: Path) -> None:
    """A folder that holds one is taken for it, and evaluations inside a run are no runs of their own."""
    for name in ("a", "a/evaluations/other"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / RUN).write_text("{}")
    assert run_folder(tmp_path) == run_folder(tmp_path / "a") == tmp_path / "a"
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / RUN).write_text("{}")
    with pytest.raises(ValignError, match=r"holds 2 runs; give the folder of one"):
        run_folder(tmp_path)
