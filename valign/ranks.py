"""The processes of one run: the first decides, asks the teacher and writes; the others do what it orders.

A run of several processes is started by srun (one task for each device), by torchrun, or, on one machine, by the
first process itself. Beside PyTorch's process group, which trains, they hold a small store of keys in the first
process. What goes through it can be waited for with a time limit, and a failure anywhere is known everywhere within
seconds, also while a process hangs in a collective operation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from valign.errors import Interrupted, ValignError

log = logging.getLogger(__name__)

T = TypeVar("T")
LOST = Interrupted.exit_code
LOST_CONNECTION = re.compile(r"connection (closed|reset)|broken pipe|remote process exited|timed out", re.IGNORECASE)
MEET_SECONDS = 300.0
SHARED_SECONDS = 60.0
BEAT_SECONDS = 1.0
SILENT_SECONDS = 90.0
ANNOUNCE_SECONDS = 20.0
LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that its launcher has started.

    Attributes:
        rank: Its number, from 0.
        world: How many there are.
        local_rank: Its number on its machine.
        node: The machine's number.
        launcher: ``srun``, ``torchrun``, or nothing where there is none.
        address: Where the first process is found.
        port: The first of two ports there, for the store and for PyTorch's process group.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    node: int = 0
    launcher: str = ""
    address: str = LOCAL
    port: int = 0


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """Return where this process stands, by what srun or torchrun has put into its environment.

    >>> find_place({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
    ...             "SLURM_NODEID": "1", "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "gpu[03-04]"})
    Place(rank=1, world=2, local_rank=0, node=1, launcher='srun', address='gpu03', port=10182)
    """
    e = os.environ if environment is None else environment
    if int(e.get("SLURM_STEP_NUM_TASKS", 1)) > 1 and e.get("SLURM_STEP_ID", "").isdigit():
        chosen = 10000 + (int(e["SLURM_JOB_ID"]) * 13 + int(e["SLURM_STEP_ID"])) % 10000 * 2
        return Place(
            int(e["SLURM_PROCID"]),
            int(e["SLURM_STEP_NUM_TASKS"]),
            int(e["SLURM_LOCALID"]),
            int(e["SLURM_NODEID"]),
            "srun",
            e.get("MASTER_ADDR") or first_host(e["SLURM_STEP_NODELIST"]),
            int(e.get("MASTER_PORT") or chosen),
        )
    if int(e.get("WORLD_SIZE", 1)) > 1 and "RANK" in e and {"VALIGN_PORT", "MASTER_PORT"} & set(e):
        local, size = int(e.get("LOCAL_RANK", 0)), int(e.get("LOCAL_WORLD_SIZE", 1))
        # torchrun's own store listens on MASTER_PORT
        port = int(e.get("VALIGN_PORT") or int(e["MASTER_PORT"]) + 1)
        return Place(int(e["RANK"]), int(e["WORLD_SIZE"]), local, int(e["RANK"]) // size, "torchrun",
                     e.get("MASTER_ADDR", LOCAL), port)  # fmt: skip
    return Place()


def first_host(nodes: str) -> str:
    """Return the first name in SLURM's short form of a list.

    >>> first_host("gpu[03-04,7],login1"), first_host("n1,n2")
    ('gpu03', 'n1')
    """
    head, bracket, rest = nodes.partition("[")
    if not bracket or "," in head:
        return head.partition(",")[0]
    return head + rest.replace("-", ",").replace("]", ",").partition(",")[0]


class Ranks:
    """The processes of a run, seen from one of them. Without arguments, a run of a single process.

    Attributes:
        place: Where this process stands.
        wait_seconds: How long the others wait for the first.
    """

    def __init__(self, place: Place | None = None, wait_seconds: float = 86400.0) -> None:
        """Keep the place; ``joined`` connects."""
        self.place = place or Place()
        self.wait_seconds = wait_seconds
        self._store: Any = None
        self._numbers: dict[str, int] = {}
        self._watch: threading.Thread | None = None
        self._leaving = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []

    @property
    def rank(self) -> int:
        """This process's number."""
        return self.place.rank

    @property
    def world(self) -> int:
        """The number of processes."""
        return self.place.world

    @property
    def first(self) -> bool:
        """Whether this process decides, asks and writes."""
        return self.place.rank == 0

    def order(self, what: str, /, **arguments: Any) -> None:
        """Tell the other processes what to do next; only the first does this.

        Args:
            what: What ``orders`` yields there.
            **arguments: JSON values.
        """
        if self.world > 1:
            self._post("order", [what, arguments])

    def orders(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what the first process orders, until it ends.

        Raises:
            ValignError: It orders nothing for ``wait_seconds``.
        """
        while True:
            name, arguments = self._receive("order", "the first process, which asks the teacher and writes")
            if name == "end":
                return
            yield name, arguments

    def share(self, make: Callable[[], T]) -> T:
        """Return what ``make`` returns in the first process, a JSON value, in all; the others do not call it."""
        if self.world == 1:
            return make()
        if not self.first:
            shared: T = self._receive("share", "the first process")
            return shared
        value = make()
        self._post("share", value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return every process's JSON value in the order of ranks, in the first; the others get an empty list."""
        if self.world == 1:
            return [value]
        number = self._next("gather")
        if not self.first:
            self._store.set(f"gather/{number}/{self.rank}", json.dumps(value))
            return []
        parts = [value]
        for rank in range(1, self.world):
            key = f"gather/{number}/{rank}"
            parts.append(json.loads(self._wait(key, f"rank {rank}")))
            self._store.delete_key(key)
        return parts

    def fail(self, error: BaseException, code: int) -> None:
        """Let all processes end with this one's error, unless it follows from another's, which then ends them."""
        with contextlib.suppress(RuntimeError, OSError):
            if self._store.check(["failed"]):
                time.sleep(5 * BEAT_SECONDS)  # the watch ends this process
        self._leaving.set()  # that the others go is no news to the watch from here on
        text = str(error) if isinstance(error, ValignError) else f"{type(error).__name__}: {error}"
        text = "ended by a signal" if isinstance(error, SystemExit | KeyboardInterrupt) else text
        line = " ".join(text.split("\n")[:1])
        with contextlib.suppress(RuntimeError, OSError):
            self._store.set("failed", json.dumps([self.rank, socket.gethostname(), line, code]))
            PROCESS.silent = self._await_all("seen", 30.0) and not self.first
        self.close()

    def end(self) -> None:
        """Let the others go, and wait until they have gone; only then may the store vanish."""
        if self.world > 1 and self.first:
            self.order("end")
            self._await_all("gone", 60.0)
        self.close()

    def close(self) -> None:
        """Stop watching."""
        self._leaving.set()
        if self.world > 1 and not self.first and self._store is not None:
            with contextlib.suppress(RuntimeError, OSError):
                self._store.set(f"gone/{self.rank}", "")
        if self._watch is not None:
            self._watch.join(timeout=2 * BEAT_SECONDS + 5)

    def connect(self) -> None:
        """Meet the other processes.

        Raises:
            ValignError: The port is taken, or the others do not come.
        """
        if self.world == 1:
            return
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # a lost connection is told in a line, not in frames
        self._store = self._open(MEET_SECONDS)
        watching = self._open(MEET_SECONDS)
        try:
            self._store.set(f"here/{self.rank}", "")
            self._store.wait([f"here/{rank}" for rank in range(self.world)], timedelta(seconds=MEET_SECONDS))
        except RuntimeError:
            raise ValignError(
                f"rank {self.rank} waited {MEET_SECONDS:.0f} s for all {self.world} processes; did each start?"
            ) from None
        self._watch = threading.Thread(target=self._watch_others, args=(watching,), daemon=True)
        self._watch.start()

    def check_shared(self, folder: Path) -> None:
        """Check that all processes see one file system.

        Args:
            folder: Where they share their artifacts; it is made.

        Raises:
            ValignError: This process does not see what the first wrote there.
        """
        if self.world == 1:
            return
        token = f".shared-{self.place.port}-{os.getpid()}"

        def write() -> str:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / token).write_text(socket.gethostname(), encoding="utf-8")
            return token

        name, host = self.share(lambda: [write(), socket.gethostname()])
        deadline = time.monotonic() + SHARED_SECONDS / (1 if self.place.launcher == "srun" else 10)
        while not (folder.is_dir() and name in os.listdir(folder)):
            if time.monotonic() > deadline:
                raise ValignError(
                    f"artifacts={folder} is not shared: rank {self.rank} on {socket.gethostname()} does not see what "
                    f"rank 0 on {host} wrote there; choose a folder on a file system that all nodes mount."
                )
            time.sleep(0.5)
        self.gather(None)
        if self.first:
            (folder / name).unlink(missing_ok=True)

    def spawn(self) -> None:
        """Start the other processes of a run on this machine: this command again, with their ranks."""
        for rank in range(1, self.world):
            own = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(self.world),
                "LOCAL_WORLD_SIZE": str(self.world),
                "MASTER_ADDR": LOCAL,
                "MASTER_PORT": str(self.place.port),
                "VALIGN_PORT": str(self.place.port),
            }
            command = [sys.executable, *sys.orig_argv[1:]]
            self._children.append(subprocess.Popen(command, env={**os.environ, **own}))

    def _open(self, seconds: float) -> Any:
        from torch.distributed import TCPStore

        host = self.first and self._store is None
        try:
            return TCPStore(
                self.place.address,
                self.place.port,
                is_master=host,
                timeout=timedelta(seconds=seconds),
                wait_for_workers=False,
            )
        except RuntimeError as error:
            where = f"{self.place.address}:{self.place.port}"
            if host:
                text = f"rank 0 cannot listen on {where} ({_reason(error)}); choose a free port: MASTER_PORT=..."
            else:
                text = f"rank {self.rank} cannot reach rank 0 at {where} ({_reason(error)}); set MASTER_ADDR."
            raise ValignError(text) from None

    def _next(self, kind: str) -> int:
        self._numbers[kind] = self._numbers.get(kind, 0) + 1
        return self._numbers[kind]

    def _post(self, kind: str, value: Any) -> None:
        self._store.set(f"{kind}/{self._next(kind)}", json.dumps(value))

    def _receive(self, kind: str, whom: str) -> Any:
        return json.loads(self._wait(f"{kind}/{self._next(kind)}", whom))

    def _wait(self, key: str, whom: str) -> bytes:
        """Wait for a key; say so when it takes long, and give up after ``wait_seconds``."""
        from torch.distributed import DistStoreError

        began = time.monotonic()
        said = False
        while True:
            left = self.wait_seconds - (time.monotonic() - began)
            try:
                self._store.wait([key], timedelta(seconds=max(0.01, min(left, BEAT_SECONDS))))
                found: bytes = self._store.get(key)
                return found
            except DistStoreError:
                if left <= BEAT_SECONDS:
                    raise ValignError(
                        f"rank {self.rank} has waited {self.wait_seconds:.0f} s for {whom}; raise trainer.wait_seconds."
                    ) from None
                if not said and time.monotonic() - began > ANNOUNCE_SECONDS:
                    log.warning("rank %d waits for %s (%.0f s at most)", self.rank, whom, self.wait_seconds)
                    said = True
            except RuntimeError:
                time.sleep(2 * BEAT_SECONDS)  # the watch ends this process with what it knows
                raise Interrupted(f"rank {self.rank} has lost {whom}.") from None

    def _await_all(self, what: str, seconds: float) -> bool:
        """Wait for a limited time until every other process has noted something, or the first has gone."""
        from torch.distributed import DistStoreError

        keys = [f"{what}/{rank}" for rank in range(self.world) if rank != self.rank]
        try:
            self._store.wait(keys, timedelta(seconds=seconds))
        except DistStoreError:
            return False
        except RuntimeError:
            return not self.first
        return True

    def _watch_others(self, store: Any) -> None:
        """Look every second whether another process has failed or is gone; then end this one at once."""
        beats: dict[int, tuple[int, float]] = {}
        while not self._leaving.wait(BEAT_SECONDS):
            try:
                if store.check(["failed"]):
                    rank, host, text, code = json.loads(store.get("failed"))
                    if rank != self.rank:
                        store.set(f"seen/{self.rank}", "")
                        self._end_now(f"rank {rank} on {host}: {text}", code)
                    continue
                store.add(f"beat/{self.rank}", 1)
                gone = self._silent(store, beats) if self.first else None
            except RuntimeError:
                if not self._leaving.is_set():
                    self._end_now("rank 0 is gone", LOST, always=self.rank == 1)
                return
            if gone is not None and not self._leaving.is_set():
                store.set("failed", json.dumps([0, socket.gethostname(), f"rank {gone} is gone", LOST]))
                time.sleep(2 * BEAT_SECONDS)
                self._end_now(f"rank {gone} is gone", LOST)

    def _silent(self, store: Any, beats: dict[int, tuple[int, float]]) -> int | None:
        """Return a process that has died or has not been heard of for long."""
        for rank, child in enumerate(self._children, 1):
            if child.poll() not in (None, 0):
                time.sleep(2 * BEAT_SECONDS)  # time for its own words
                return None if store.check(["failed"]) else rank
        now = time.monotonic()
        for rank in range(1, self.world):
            count = int(store.add(f"beat/{rank}", 0))
            if rank not in beats or beats[rank][0] != count:
                beats[rank] = (count, now)
            elif now - beats[rank][1] > SILENT_SECONDS and not store.check([f"gone/{rank}"]):
                return rank
        return None

    def _end_now(self, text: str, code: int, always: bool = False) -> None:
        if self.first or always:
            sys.stdout.flush()
            print(f"error: {text}", file=sys.stderr, flush=True)
        os._exit(code)


@dataclass
class _Process:
    """What this process knows about itself, for messages that one of all is to print."""

    joined: bool = False
    silent: bool = False
    place: Place = field(default_factory=find_place)


PROCESS = _Process()


def speaks() -> bool:
    """Tell whether this process prints its mistakes: of several with the same one, before they meet, the first does."""
    return (PROCESS.joined and not PROCESS.silent) or PROCESS.place.rank == 0


@contextlib.contextmanager
def joined(asked: int | None, wait_seconds: float, sweeping: bool = False) -> Iterator[Ranks]:
    """Meet the other processes of this run, and part from them in the end, or with the first error of any.

    Args:
        asked: Processes that the settings ask for; None takes what the launcher started.
        wait_seconds: How long they wait for the first.
        sweeping: Whether this is a job of a multirun, which cannot be started again as other ranks.

    Raises:
        ValignError: There are more or fewer processes than asked for.
    """
    place = PROCESS.place
    spawning = asked is not None and asked > 1 and not place.launcher
    if asked is not None and place.launcher and asked != place.world:
        raise ValignError(
            f"trainer.devices x trainer.num_nodes is {asked}, and {place.launcher} started {place.world} processes; "
            "set both to what was started: one process for each device."
        )
    if spawning:
        if sweeping:
            raise ValignError("a multirun trains on one device in each job; use a run without -m for several.")
        place = Place(0, asked or 1, port=_free_port())
    ranks = Ranks(place, wait_seconds)
    if spawning:
        ranks.spawn()
    try:
        ranks.connect()
    except ValignError:
        PROCESS.joined = True
        raise
    PROCESS.joined = True
    if not ranks.first:
        logging.getLogger("valign").setLevel(logging.WARNING)
    try:
        yield ranks
    except BaseException as error:
        if ranks.world == 1:
            raise
        lost = isinstance(error, RuntimeError) and LOST_CONNECTION.search(str(error))
        cause = Interrupted(f"rank {ranks.rank} has lost another process.") if lost else error
        codes = {ValignError: "exit_code", SystemExit: "code"}
        code = next((getattr(cause, name) for kind, name in codes.items() if isinstance(cause, kind)), 1)
        ranks.fail(cause, code if isinstance(code, int) else 1)
        if lost:
            raise cause from None
        raise
    ranks.end()


def _free_port() -> int:
    """Return the first of two neighbouring free ports."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind((LOCAL, 0))
            port = int(one.getsockname()[1])
            with contextlib.suppress(OSError, OverflowError):
                two.bind((LOCAL, port + 1))
                return port


def _reason(error: Exception) -> str:
    text = str(error).split("\n", maxsplit=1)[0]
    return text.rpartition("]: ")[2].rstrip(".")[:160]
