"""The cluster that its tests share, and places to run in."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harbour import SETTINGS, lay_out, record
from slurm_daemons import PREFIX, Cluster, missing_programs

ROOT = Path(__file__).resolve().parents[2]
PATHS = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
LOCAL = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo"}  # n1, n2 and perhaps this host resolve to nothing


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
    """Return the command of a run that several ranks answer in, each a batch at least.

    Its precision does not depend on how fast the machine is at the moment.
    """
    own = ("base_model.precision=float32", "evaluation.batch_tokens=300", "logger=none")
    return [sys.executable, "-m", "valign.train", *SETTINGS, *own, *settings]


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The running cluster; it ends with the tests."""
    lacking = missing_programs()
    if lacking:
        pytest.fail(f"no SLURM cluster without {', '.join(lacking)}", pytrace=False)
    os.environ.update(LOCAL, PYTHONPATH=PATHS, OMP_NUM_THREADS="1")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the daemons are stopped then, too
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder:
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
    """A function that makes another fresh place, in which nothing is computed yet."""

    def make(name: str) -> Place:
        folder = tmp_path_factory.mktemp(name)
        lay_out(folder, recording)
        return Place(folder, cluster)

    return make


@pytest.fixture(scope="session")
def single(make_place: Callable[[str], Place]) -> Place:
    """The whole method in one process."""
    place = make_place("single")
    place.cluster.run(*train(), cwd=place.folder, timeout=900)
    return place


@pytest.fixture(scope="session")
def make_prepared(single: Place, make_place: Callable[[str], Place]) -> Callable[[str], Place]:
    """A function that makes another place, in which the data is there and nothing is trained."""

    def make(name: str) -> Place:
        place = make_place(name)
        shutil.copytree(single.folder / "artifacts" / "data", place.folder / "artifacts" / "data")
        return place

    return make
