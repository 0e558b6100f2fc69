"""A SLURM cluster of two nodes on this machine: munged, slurmctld and two slurmd, in a folder of their own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "sinfo", "squeue")
SBIN = "/usr/sbin:/sbin"
PREFIX = "valign-slurm-"
WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")  # the kernel ends a daemon whose parent dies without stopping it
CONFIG = """\
ClusterName=lab
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,requeue_setup_env_fail
ReturnToService=2
MinJobAge=600
FirstJobId={job}
KillWait=10
InactiveLimit=0
SlurmdTimeout=20
JobRequeue=1
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName=n[1-2] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{nodes}] CPUs=8 RealMemory=10000 Gres=gpu:2 State=UNKNOWN
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9
"""
SACCT = """\
#!{python}
# Answers what submitit asks of sacct from what scontrol knows, on a cluster without accounting.
import re, subprocess, sys
shown = subprocess.run(["scontrol", "-o", "show", "job"], capture_output=True, text=True).stdout
print("JobID|State|NodeList")
for line in shown.splitlines():
    job = dict(re.findall(r"(\\w+)=(\\S*)", line))
    if "JobId" not in job:
        continue
    name = f"{{job['ArrayJobId']}}_{{job['ArrayTaskId']}}" if "ArrayTaskId" in job else job["JobId"]
    print(f"{{name}}|{{job['JobState']}}|{{job.get('NodeList', '')}}")
"""


def missing_programs() -> list[str]:
    """Return what a cluster needs and this machine lacks."""
    search = f"{os.environ.get('PATH', '')}:{SBIN}"
    lacking = [name for name in PROGRAMS if shutil.which(name, path=search) is None]
    return lacking + ([] if os.geteuid() == 0 else ["root's rights"])


def free_ports(number: int) -> list[int]:
    """Return ports in a row that nobody listens on; two processes that look at the same time look elsewhere."""
    for first in range(16800 + os.getpid() % 1000 * number, 30000, number):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + number):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return list(range(first, first + number))
    raise RuntimeError("no free ports")


def clear_leftovers() -> None:
    """End the steps and remove the folders of clusters whose tests were killed; running tests hold their lock."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError), (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            kill_steps(folder)
            shutil.rmtree(folder, ignore_errors=True)


def kill_steps(folder: Path) -> None:
    """Kill what a cluster's daemons have started and left behind."""
    for pid in processes_with(f"SLURM_CONF={folder}/slurm.conf"):
        if pid != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def processes_with(*words: str) -> list[int]:
    """Return the processes in whose environment all of some ``NAME=value`` stand."""
    wanted = {word.encode() for word in words}
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if wanted <= set((entry / "environ").read_bytes().split(b"\0")):
                    found.append(int(entry.name))
    return found


@dataclass
class Cluster:
    """The running cluster.

    Attributes:
        folder: Configuration, state and logs; jobs that a test starts write elsewhere.
        daemons: What runs, by name.
    """

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _lock: IO[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which commands find this cluster, its sacct included."""
        search = f"{self.folder}/bin:{os.environ['PATH']}:{SBIN}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
        return {**kept, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": search}

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        clear_leftovers()
        self._lock = (self.folder / "lock").open("a")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        controller, first, second = free_ports(3)
        (self.folder / "bin").mkdir(parents=True)
        (self.folder / "state").mkdir()
        host = socket.gethostname().partition(".")[0]
        text = CONFIG.format(
            host=host, folder=self.folder, controller=controller, nodes=f"{first}-{second}",
            job=1 + os.getpid() % 30000,  # ranks meet on a port that follows from their job's number
        )  # fmt: skip
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text("NodeName=n[1-2] Name=gpu File=/dev/tty[0-1]\n")  # any two devices
        sacct = self.folder / "bin" / "sacct"
        sacct.write_text(SACCT.format(python=sys.executable))
        sacct.chmod(sacct.stat().st_mode | stat.S_IEXEC)
        self._start_munge()
        self._start("slurmctld", "slurmctld", "-D")
        for node in ("n1", "n2"):
            self.start_node(node)
        self.wait(lambda: self.run("sinfo", "-h", "-t", "idle", "-o", "%D").strip() == "2", "two idle nodes", 120)

    def start_node(self, node: str) -> None:
        """Start a node's daemon."""
        self._start(f"slurmd-{node}", "slurmd", "-D", "-N", node)

    def kill_node(self, node: str) -> None:
        """Kill a node's daemon as a power cut would: itself and what it started."""
        daemon = self.daemons.pop(f"slurmd-{node}")
        for pid in [*descendants(daemon.pid), *self._steps(node)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        daemon.kill()
        daemon.wait()

    def stop(self) -> None:
        """Cancel all jobs, end what this object started, and nothing else."""
        if "slurmctld" in self.daemons:
            with contextlib.suppress(subprocess.SubprocessError, AssertionError):
                self.run("scancel", "--user=root")
                self.wait(lambda: not self.run("squeue", "-h").strip(), "end of all jobs", 60)
        for daemon in reversed(self.daemons.values()):
            daemon.terminate()
        for daemon in self.daemons.values():
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self.daemons.clear()
        kill_steps(self.folder)

    def run(self, *command: str, cwd: Path | None = None, timeout: float = 60) -> str:
        """Run a command to its end and return what it printed; a failure is an AssertionError."""
        done = self.attempt(*command, cwd=cwd, timeout=timeout)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def attempt(
        self, *command: str, cwd: Path | None = None, timeout: float = 60, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, whatever that is."""
        given = {**self.environment, **(environment or {})}
        return subprocess.run(command, cwd=cwd, env=given, capture_output=True, text=True, timeout=timeout, check=False)

    def submit(self, *arguments: str, cwd: Path) -> str:
        """Submit a batch script and return the job's number."""
        return self.run("sbatch", "--parsable", *arguments, cwd=cwd).strip().partition(";")[0]

    def state(self, job: str) -> str:
        """Return a job's state, such as RUNNING."""
        shown = self.run("scontrol", "-o", "show", "job", job)
        return shown.partition("JobState=")[2].split()[0]

    def restarts(self, job: str) -> int:
        """Return how often a job was requeued."""
        return int(self.run("scontrol", "-o", "show", "job", job).partition("Restarts=")[2].split()[0])

    def wait_for(self, job: str, timeout: float = 300) -> str:
        """Wait until a job has ended and return its state."""
        ended = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        self.wait(lambda: self.state(job) in ended, f"the end of job {job}", timeout)
        return self.state(job)

    def wait(self, holds: Callable[[], bool], what: str, timeout: float) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + timeout
        while not holds():
            for name, daemon in self.daemons.items():
                assert daemon.poll() is None, f"{name} ended: {self._log(name)}"
            assert time.monotonic() < deadline, f"no {what} within {timeout} s\n{self._log('slurmctld')}"
            time.sleep(0.3)

    def _start(self, name: str, *command: str) -> None:
        output = (self.folder / f"{name}.out").open("ab")
        path = shutil.which(command[0], path=self.environment["PATH"])
        assert path is not None
        self.daemons[name] = subprocess.Popen(
            [*WITH_PARENT, path, *command[1:]], env=self.environment, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip

    def _start_munge(self) -> None:
        """Start a munged of this cluster alone, with a key and a socket of its own."""
        self.folder.chmod(0o755)  # as munged wants the way to its socket
        (self.folder / "munge.key").write_bytes(os.urandom(128))
        (self.folder / "munge.key").chmod(0o400)
        socket_ = self.folder / "munge.socket"
        files = {"key-file": "munge.key", "pid-file": "munge.pid", "log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in files.items()]
        self._start("munged", "munged", "--foreground", f"--socket={socket_}", *options)
        self.wait(lambda: self.attempt("munge", "-n", "-S", str(socket_)).returncode == 0, "answer of munged", 60)

    def _steps(self, node: str) -> list[int]:
        """Return the processes of the steps on a node, which outlive their daemon."""
        tasks = processes_with(f"SLURMD_NODENAME={node}", f"SLURM_CONF={self.folder}/slurm.conf")
        return [pid for task in tasks for pid in (task, *_stepd_of(task))]

    def _log(self, name: str) -> str:
        files = [self.folder / f"{name}.log", self.folder / f"{name}.out"]
        return "\n".join(file.read_text(errors="replace")[-2000:] for file in files if file.is_file())


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and theirs."""
    children: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += [int(word) for word in (task / "children").read_text().split()]
    return [*children, *(found for child in children for found in descendants(child))]


def _stepd_of(pid: int) -> list[int]:
    """Return the slurmstepd above a task, if that is what its parent is."""
    with contextlib.suppress(OSError):
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        if "slurmstepd" in Path(f"/proc/{parent}/comm").read_text():
            return [parent]
    return []
