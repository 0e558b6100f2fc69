"""The cluster that its tests share, and places to run in."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harbour import SETTINGS, lay_out, record
from slurm_daemons import Cluster, missing_programs

ROOT = Path(__file__).resolve().parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "unit")])


@dataclass
class Place:
    """A folder with a document and a recording of its teacher, on the cluster."""

    folder: Path
    cluster: Cluster

    def curve(self, stage: str, quantity: str = "loss") -> list[float]:
        """Return a curve of a stage that this place has once."""
        (file,) = self.folder.glob(f"artifacts/{stage}/*/curves.csv")
        rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
        return [float(value) for _, name, value in rows if name == quantity]


def train(*settings: str) -> list[str]:
    """Return the command of a run."""
    return [sys.executable, "-m", "valign.train", *SETTINGS, "logger=none", *settings]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The running cluster; it ends with the tests."""
    lacking = missing_programs()
    if lacking:
        pytest.fail(f"no SLURM cluster without {', '.join(lacking)}", pytrace=False)
    os.environ.update(PYTHONPATH=PATHS, MASTER_ADDR="127.0.0.1", OMP_NUM_THREADS="1")  # n1 and n2 are no host names
    with tempfile.TemporaryDirectory(prefix="valign-slurm-") as folder:
        started = Cluster(Path(folder))
        try:
            started.start()
            yield started
        finally:
            started.stop()


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the teacher says to everything that the data stage asks."""
    return record(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="session")
def make_place(cluster: Cluster, recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Place]:
    """A function that makes another fresh place."""

    def make(name: str) -> Place:
        folder = tmp_path_factory.mktemp(name)
        lay_out(folder, recording)
        return Place(folder, cluster)

    return make
