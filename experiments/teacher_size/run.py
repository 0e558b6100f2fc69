"""Many runs of valign on one machine: ``python experiments/teacher_size/run.py JOBS --collect FILE``.

JOBS has a job a line, as JSON: a list of overrides for ``python -m valign.train``, or an object with ``overrides`` and
the run's ``name``. Every job is a process of one CPU thread; all share the folder of artifacts, so that a stage which
several need is computed once. What has finished is not started again. When the time is up, what runs is stopped; the
same command goes on from there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COLLECTED = ("run.json", "scores.json", "config.yaml", "artifacts.json", "answers.jsonl", "values.jsonl")
MOST_BYTES = 15 * 2**20  # of what is collected, packed
GRACE = 5.0  # seconds between the signal to stop and the one that kills


class Job:
    """A run to be made: its overrides, and where its log and the mark of its end go."""

    def __init__(self, overrides: list[str], folder: Path) -> None:
        key = hashlib.sha256(json.dumps(overrides).encode()).hexdigest()[:12]
        self.overrides, self.done, self.log = overrides, folder / f"{key}.done", folder / f"{key}.log"

    def start(self, threads: int) -> None:
        """Start it in a session of its own."""
        own = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
        own["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        own |= {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "valign.train", *self.overrides]
        self.began = time.monotonic()
        with self.log.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(command, env=os.environ | own, start_new_session=True, **streams)

    def end(self, status: int | str) -> bool:
        """Print how it ended; tells whether it went well, which is marked."""
        seconds, said = time.monotonic() - self.began, ""
        if status == 0:
            self.done.write_text(f"{seconds:.1f}\n", encoding="utf-8")
        else:
            said = (self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or [""])[-1][:300]
        shown = " ".join(part for part in self.overrides if not part.startswith(("runs=", "artifacts=")))
        print(f"{seconds:6.1f} s  {status}  {self.log.stem}  {shown[-160:]}  {said}", flush=True)
        return status == 0


def run_all(jobs: list[Job], at_once: int, threads: int, until: float) -> int:
    """Run jobs in the order given, so many at once; returns how many failed, were stopped or not started."""
    waiting, running, failed = [job for job in jobs if not job.done.is_file()], [], 0
    print(f"{len(jobs)} jobs, {len(jobs) - len(waiting)} of them finished before; {at_once} at once", flush=True)
    while (waiting or running) and time.monotonic() < until:
        while waiting and len(running) < at_once:
            running.append(waiting.pop(0))
            running[-1].start(threads)
        for job in [job for job in running if job.process.poll() is not None]:
            running.remove(job)
            failed += not job.end(job.process.returncode)
        time.sleep(0.2)
    for kind, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 1.0)):
        alive = [job for job in running if job.process.poll() is None]
        for job in alive:
            os.killpg(job.process.pid, kind)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and any(job.process.poll() is None for job in alive):
            time.sleep(0.1)
    failed += sum(not job.end("stopped") for job in running)
    if waiting:
        print(f"{len(waiting)} jobs not started", flush=True)
    return failed + len(waiting)


def collect(runs: Path, file: Path) -> None:
    """Pack the runs' results, what matters most first, up to a size."""
    left_out = 0
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for path in (path for name in COLLECTED for path in sorted(runs.rglob(name))):
            if stream.tell() + path.stat().st_size // 2 < MOST_BYTES:
                archive.add(path, path.relative_to(runs.parent))
            else:
                left_out += 1
    print(f"{file}: {file.stat().st_size / 2**20:.1f} MiB, {left_out} files left out", flush=True)


def main() -> None:
    """Run the jobs, then collect what is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=Path, help="JSON lines: a list of overrides each, or {name, overrides}")
    parser.add_argument("--all", nargs="*", default=[], metavar="OVERRIDE", help="of every job, before its own")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the results")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"), help="shared folder of artifacts")
    parser.add_argument("--at-once", type=int, default=12, help="processes at a time")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each")
    parser.add_argument("--budget", type=float, default=1e9, help="seconds after which what runs is stopped")
    parser.add_argument("--collect", type=Path, help="file of the packed results, .tar.gz")
    options = parser.parse_args()
    until, runs = time.monotonic() + options.budget, options.runs.resolve()
    places, jobs = [f"runs={runs}", f"artifacts={options.artifacts.resolve()}"], []
    (runs / ".jobs").mkdir(parents=True, exist_ok=True)
    for line in filter(str.strip, options.jobs.read_text(encoding="utf-8").splitlines()):
        given = json.loads(line)
        name, given = ([], given) if isinstance(given, list) else ([f"run_name={given['name']}"], given["overrides"])
        jobs.append(Job([*options.all, *given, *name, *places], runs / ".jobs"))
    failed = run_all(jobs, options.at_once, options.threads, until)
    if options.collect:
        collect(runs, options.collect)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
