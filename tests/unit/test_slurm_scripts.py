"""The chain of batch scripts, with stand-ins for SLURM's commands."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

PIPELINE = Path(__file__).resolve().parents[2] / "slurm" / "pipeline.sh"
SBATCH = """#!/bin/sh
n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n >count
[ $n -lt "$FAILS_AT" ] || { echo "sbatch: error: Invalid partition" >&2; exit 1; }
echo $((100 + n))
"""


def chain(folder: Path, fails_at: int) -> tuple[subprocess.CompletedProcess[str], str]:
    """Submit the chain with an sbatch that fails at a call; return what came, and what was cancelled."""
    for name, text in (("sbatch", SBATCH), ("sinfo", "#!/bin/sh\n"), ("scancel", '#!/bin/sh\necho "$@" >cancelled\n')):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "FAILS_AT": str(fails_at)}
    done = subprocess.run(["bash", PIPELINE], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    cancelled = folder / "cancelled"
    return done, cancelled.read_text() if cancelled.exists() else ""


def test_a_whole_chain_is_left_alone(tmp_path: Path) -> None:
    done, cancelled = chain(tmp_path, 99)
    assert done.returncode == 0 and not cancelled
    assert done.stdout.splitlines()[-1].endswith("scancel 101 102 103 104 105")


def test_a_chain_that_lacks_a_link_is_cancelled(tmp_path: Path) -> None:
    """The fourth job is refused: the teacher, the data and the teacher's end do not stay in the queue."""
    done, cancelled = chain(tmp_path, 4)
    assert done.returncode == 1
    assert "Invalid partition" in done.stderr and "error: cancelling 101 102 103" in done.stderr
    assert cancelled == "101 102 103\n"


def test_nothing_is_cancelled_where_nothing_was_submitted(tmp_path: Path) -> None:
    done, cancelled = chain(tmp_path, 1)
    assert done.returncode == 1 and not cancelled
