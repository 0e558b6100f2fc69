"""The batch scripts, with stand-ins for SLURM's commands and for curl."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from valign.cli.slurm import LAUNCHER, check_launcher
from valign.core.errors import ValignError

SCRIPTS = Path(__file__).resolve().parents[2] / "slurm"
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
    done = subprocess.run(
        ["bash", SCRIPTS / "pipeline.sh"], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
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


@pytest.mark.parametrize(
    ("server", "wait", "line"),
    [
        ("false", 60, "error: the teacher's server ended before it answered; its words stand above"),
        ("sleep 987", 1, "error: the teacher does not answer at http://here:9/health after 1 s; raise TEACHER_WAIT"),
    ],
)
def test_a_teacher_that_does_not_come_is_one_line(server: str, wait: int, line: str, tmp_path: Path) -> None:
    """A server that ends at once, and one that never answers, which is ended; no address is left behind."""
    done = without_answer(
        "teacher.sbatch", tmp_path, TEACHER_SERVER=server, TEACHER_WAIT=str(wait), TEACHER_HOST="here", TEACHER_PORT="9"
    )
    assert (done.returncode, done.stderr) == (1, f"{line}\n")
    assert done.stdout.splitlines() == [
        f"teacher: {server}",
        f"teacher: when it answers at http://here:9/health, its address goes to {tmp_path}/state/teacher.url",
    ]
    assert list((tmp_path / "state").iterdir()) == []


def test_synthesis_without_a_teacher_is_one_line(tmp_path: Path) -> None:
    """An address that nobody answers at: the teacher's node was lost."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "teacher.url").write_text("http://here:9/v1\n")
    done = without_answer("synthesize.sbatch", tmp_path, TEACHER_WAIT="1", VALIGN_SETTINGS="a=b")
    expected = "error: no teacher answers at 'http://here:9/v1' after 1 s; see the log of teacher.sbatch\n"
    assert (done.returncode, done.stderr) == (1, expected)
    assert done.stdout.startswith("synthesize: share 0/1 of the data for: a=b\nsynthesize: waiting for the teacher")


def without_answer(script: str, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """Run a script where curl reaches nobody; it ends long before a minute is over, with all that it has started."""
    (folder / "curl").write_text("#!/bin/sh\nexit 7\n")
    (folder / "curl").chmod(0o755)
    environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "STATE": str(folder / "state")} | given
    # what is left of a server keeps the pipes open, and the time runs out
    return subprocess.run(
        ["bash", SCRIPTS / script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_launcher_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name.partition('.')[0]!r}")

    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("importlib.util.find_spec", lacking)
    with pytest.raises(ValignError, match=r"needs its launcher: pip install -e '\.\[slurm\]'"):
        check_launcher({"_target_": LAUNCHER})


PYTHON = """#!/bin/sh
echo "$@" >>calls
n=$(($(cat rounds 2>/dev/null || echo 0) + 1)); echo $n >rounds
rm -f batch/requests-*; [ $n -gt "$ROUNDS" ] && exit "$ENDS"
mkdir -p batch; echo $n >batch/requests-m-1.jsonl; echo $n >batch/requests-m-1-2.jsonl; exit 4
"""
VLLM = """#!/bin/sh
[ "$1" = run-batch ] && cp "$3" "$5"; echo "$@" >>runs; exit "$BREAKS"
"""


def batches(folder: Path, **given: str) -> tuple[subprocess.CompletedProcess[str], int]:
    """Run the rounds of batches with stand-ins for the synthesis and for vLLM; return what came, and vLLM's calls."""
    for name, text in (("py", PYTHON), ("vllm", VLLM)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    standard = {"PYTHON": "py", "BATCH": "batch", "ROUNDS": "2", "ENDS": "0", "BREAKS": "0", "TEACHER_MODEL": "m"}
    path = {"PATH": f"{folder}:{os.environ['PATH']}", "VALIGN_SETTINGS": "a=b", "SLURM_JOB_ID": "7"}
    done = subprocess.run(
        ["bash", SCRIPTS / "synthesize_batch.sbatch"],
        cwd=folder,
        env=os.environ | path | standard | given,
        capture_output=True,
        text=True,
        check=False,
    )
    return done, len((folder / "runs").read_text().splitlines()) if (folder / "runs").exists() else 0


def test_batches_are_run_until_the_data_is_there(tmp_path: Path) -> None:
    """Two rounds of two files; each result has a name of its own, and the synthesis is told where they lie."""
    done, runs = batches(tmp_path)
    assert (done.returncode, done.stderr, runs) == (0, "", 4)
    settings = "-m valign.synthesize a=b teacher=batch teacher.model=m teacher.requests=batch"
    assert (tmp_path / "calls").read_text().splitlines() == [settings] * 3
    results = sorted(path.name for path in (tmp_path / "batch").glob("results-*"))
    assert results == [f"results-m-1{part}-7-0-{turn}.jsonl" for part in ("-2", "") for turn in (1, 2)]
    first = (tmp_path / "runs").read_text().splitlines()[0]
    assert first.endswith("--model m --tensor-parallel-size 2")


def test_batches_end_when_a_command_fails_or_the_rounds_are_used_up(tmp_path: Path) -> None:
    """A mistake of the settings, a server that does not start, and requests that always fail."""
    for name, given, code, runs, line in (
        ("mistake", {"ENDS": "2"}, 2, 4, ""),
        ("engine", {"BREAKS": "9"}, 9, 1, "error: vllm run-batch ended with code 9; what it finished before is kept\n"),
        ("rounds", {"ROUNDS": "99", "MAX_ROUNDS": "3"}, 4, 6, "error: requests are left after 3 rounds; raise "),
    ):
        (tmp_path / name).mkdir()
        done, found = batches(tmp_path / name, **given)
        assert (done.returncode, found) == (code, runs)
        assert done.stderr.startswith(line) and done.stderr.count("\n") == (1 if line else 0)
