"""A server as a child process, with a stub in its place: it starts, dies, hangs, will not end, and outlives nobody."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from valign.core.errors import ValignError
from valign.serving import child as child_module
from valign.serving.settings import VllmSettings, find_program
from valign.serving.vllm import Serving, VllmServer

STUB = Path(__file__).parents[1] / "helpers" / "stub_vllm.py"


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., VllmServer]]:
    """A function that describes a server of the stub; all are ended."""
    made: list[VllmServer] = []
    monkeypatch.setenv("STUB_CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STUB_NOTES", str(tmp_path / "notes"))
    monkeypatch.setattr(child_module, "_GRACE_SECONDS", 0.5)

    def make_one(does: str = "", serving: Serving | None = None, **settings: Any) -> VllmServer:
        monkeypatch.setenv("STUB_VLLM", does)
        chosen = VllmSettings(command=str(STUB), **settings)
        log = tmp_path / "servers" / "teacher.log"
        made.append(VllmServer(chosen, serving or Serving("m"), "teacher.vllm", log))
        return made[-1]

    yield make_one
    for server in made:
        server.end()


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def is_there(pid: int) -> bool:
    """Tell whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Wait until processes have ended."""
    stop = time.monotonic() + seconds
    while any(map(is_there, pids)) and time.monotonic() < stop:
        time.sleep(0.05)
    return not any(map(is_there, pids))


def test_a_server_starts_and_ends(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    """On this machine alone, with its key in the environment; with all that it has started it is gone at the end."""
    module = Serving("some/model", {"sft": tmp_path / "a b=c"}, 24, ("q_proj", "v_proj"), ("--dtype", "bfloat16"))
    server = make(serving=module, arguments=("--max-model-len", "99"))
    server.start()
    url = server.url
    server.start()
    assert server.url == url
    (noted,) = notes(tmp_path)
    words = noted["argv"]
    assert words[:2] == ["serve", "some/model"]
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--max-lora-rank") + 1] == "32"
    assert words[words.index("--lora-target-modules") + 1 :][:3] == ["q_proj", "v_proj", "--lora-modules"]
    assert json.loads(words[words.index("--lora-modules") + 1]) == {"name": "sft", "path": str(tmp_path / "a b=c")}
    assert words[-2:] == ["--max-model-len", "99"]
    assert "--trust-remote-code" not in words
    assert noted["environment"]["VLLM_API_KEY"] == server.key
    assert server.key not in " ".join(words)
    log = tmp_path / "servers" / "teacher.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert server.key not in log.read_text()
    assert all(map(is_there, noted["pids"]))
    server.end()
    assert server.url == ""
    assert gone(noted["pids"])


def test_ranks_of_a_run_are_not_those_of_a_server(
    make: Callable[..., VllmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE MASTER_ADDR MASTER_PORT VALIGN_PORT TORCHELASTIC_ID".split()
    for name in names:
        monkeypatch.setenv(name, "1")
    make().start()
    environment = notes(tmp_path)[0]["environment"]
    assert not set(names) & set(environment)
    assert environment["VLLM_NO_USAGE_STATS"] == "1"


def test_one_that_dies_is_one_line(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    """With the cause from its log, not what followed from it."""
    with pytest.raises(ValignError) as error:
        make("dies").start()
    log = tmp_path / "servers" / "teacher.log"
    assert str(error.value) == (f"teacher: vllm has ended (code 3): ValueError: no room for the cache; its log: {log}")
    assert gone(notes(tmp_path)[0]["pids"])


def test_one_that_hangs_is_given_up(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make("hangs", start_seconds=1.5)
    with pytest.raises(ValignError, match=r"^teacher: vllm does not answer after \d+ s \(.+\); raise teacher\.vllm\.s"):
        server.start()
    assert gone(notes(tmp_path)[0]["pids"])


def test_one_that_ignores_sigterm_is_killed(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make("ignores SIGTERM")
    server.start()
    server.end()
    assert gone(notes(tmp_path)[0]["pids"], 1.0)


def test_a_port_that_is_taken_is_another_try(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    server = make("port taken")
    server.start()
    ports = [words[words.index("--port") + 1] for words in (noted["argv"] for noted in notes(tmp_path))]
    assert len(ports) == 2
    assert server.url == f"http://127.0.0.1:{ports[1]}/v1"


def test_there_is_room_for_one(make: Callable[..., VllmServer], tmp_path: Path) -> None:
    """A second server ends the first, which starts again when it is asked."""
    first, second = make(), make()
    first.start()
    second.start()
    assert (first.url, bool(second.url)) == ("", True)
    assert gone(notes(tmp_path)[0]["pids"])
    first.start()
    assert second.url == ""
    assert len(notes(tmp_path)) == 3


def test_a_program_is_found_or_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValignError, match=r"^teacher\.vllm\.command=vllm-x is neither beside Python nor in the PA"):
        find_program("teacher.vllm.command", "vllm-x")
    (tmp_path / "vllm-x").write_text("")
    with pytest.raises(ValignError, match=r"vllm-x is no program that can be run; install vLLM, best in"):
        find_program("evaluation.vllm.command", str(tmp_path / "vllm-x"))
    (tmp_path / "vllm-x").chmod(0o755)
    assert find_program("x", "vllm-x") == find_program("x", str(tmp_path / "vllm-x")) == str(tmp_path / "vllm-x")


def test_a_rank_that_no_server_takes_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=r"of at most 512, and those of all stages together have 600; lower adapter"):
        Serving("m", {"sft": tmp_path}, 600).arguments(1)


PARENT = """
    import signal, sys, time
    from pathlib import Path
    from valign.distributed.signals import stop_on_signal
    from valign.serving.settings import VllmSettings
    from valign.serving.vllm import Serving, VllmServer

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background of a shell ignores it
    server = VllmServer(VllmSettings(command=sys.argv[1]), Serving("m"), "teacher.vllm", Path(sys.argv[2]))
    with stop_on_signal():
        server.start()
        print("ready", flush=True)
        {rest}
"""


ENDS: tuple[tuple[str, signal.Signals | None], ...] = (
    ("time.sleep(60)", signal.SIGTERM),
    ("time.sleep(60)", signal.SIGINT),
    ("time.sleep(60)", signal.SIGKILL),
    ("time.sleep(60)", signal.SIGHUP),
    ("raise ValueError", None),
    ("import os; os._exit(1)", None),
)


def test_a_server_ends_with_its_run(
    make: Callable[..., VllmServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However the run ends, by any signal, an error or at once, nothing of the server is left."""
    make()
    root, runs = Path(__file__).parents[2], []
    for i, (rest, _) in enumerate(ENDS):
        (tmp_path / str(i)).mkdir()
        monkeypatch.setenv("STUB_NOTES", str(tmp_path / str(i) / "notes"))
        script = textwrap.dedent(PARENT).format(rest=rest)
        words = [sys.executable, "-c", script, str(STUB), str(tmp_path / str(i) / "log")]
        runs.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=root, text=True))
    for i, (run, (rest, number)) in enumerate(zip(runs, ENDS, strict=True)):
        assert run.stdout is not None
        with run, run.stdout:
            assert run.stdout.readline() == "ready\n"
            pids = notes(tmp_path / str(i))[0]["pids"]
            if number is not None:
                os.kill(run.pid, number)
            run.wait(60)
        assert gone(pids, 30), (rest, number)
