"""Where a process stands among those of its run, from SLURM's or torchrun's environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that its launcher has started.

    Attributes:
        rank: Its number, from 0.
        world_size: How many there are.
        local_rank: Its number on its machine.
        node: The machine's number.
        launcher: ``srun``, ``torchrun``, or nothing where there is none.
        address: Where the first process is found.
        port: The first of two ports there, for the store and for PyTorch's process group.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    node: int = 0
    launcher: str = ""
    address: str = LOCAL
    port: int = 0


def find_place(environment: Mapping[str, str] | None = None) -> Place:
    """Return where this process stands, by what srun or torchrun has put into its environment.

    >>> find_place({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "0",
    ...             "SLURM_NODEID": "1", "SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "gpu[03-04]"})
    Place(rank=1, world_size=2, local_rank=0, node=1, launcher='srun', address='gpu03', port=10182)
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


@dataclass
class _Process:
    """What this process knows about itself, by which one of several prints an error that all of them have.

    Attributes:
        connected: Whether it has met the others, or given up to.
        silent: Whether another process prints this one's error.
        place: Where it stands.
    """

    connected: bool = False
    silent: bool = False
    place: Place = field(default_factory=find_place)


PROCESS = _Process()


def prints_errors() -> bool:
    """Tell whether this process prints its errors; before the processes have met, only the first one does."""
    return (PROCESS.connected and not PROCESS.silent) or PROCESS.place.rank == 0
