"""Help, the printed config and a mistake come at once: no door loads a large library before it has something to do.

Modules are counted and not seconds, which depend on the machine and on what else it does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOORS = {  # a line of each door's config
    "train": "learning_rate: ",
    "synthesize": "learning_rate: ",
    "evaluate": "questions: null",
    "report": "output: null",
    "chat": "runs: ???",
    "label": "rater: ",
    "trace": "clause: null",
    "export": "what: data",
    "clauses": "max_words: ",
}
HEAVY = (
    "aiohttp",
    "datasets",
    "matplotlib",
    "numpy",
    "pytorch_lightning",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
    "wandb",
)
MODULES = 470  # a quarter more than the 374 of the day this was written, most of them of Hydra and the standard library
MISTAKE = "no_such_key=1"
SCRIPT = """
import contextlib, io, json, runpy, sys

door, commands = sys.argv[1], json.loads(sys.argv[2])
answers = []
for command in commands:
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = [f"valign/{door}.py", *command]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            runpy.run_module(f"valign.{door}", run_name="__main__")
    except SystemExit as ended:
        code = ended.code or 0
    answers.append([code, out.getvalue(), err.getvalue()])
print(json.dumps([answers, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("door", DOORS)
def test_a_door_answers_at_once(door: str, tmp_path: Path) -> None:
    commands = [["--help"], ["--cfg", "job"], ["-c", "job", "--resolve"], [MISTAKE]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("HYDRA_FULL_ERROR", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, door, json.dumps(commands)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (*answers, (code, out, err)), modules = json.loads(done.stdout)
    for answer in answers:
        assert (answer[0], answer[2]) == (0, "")
        assert DOORS[door] in answer[1]
    assert (code, out) == (2, "")
    assert err.startswith("error: unknown key 'no_such_key'") and err.count("\n") == 1
    assert [name for name in HEAVY if name in modules] == []
    assert len(modules) < MODULES
    assert list(tmp_path.iterdir()) == []


def test_jax_beside_valign_leaves_the_gpu_alone(tmp_path: Path) -> None:
    """A library that valign uses starts JAX where it is installed: it is told to take the CPU, unless the user says."""
    noted = tmp_path / "noted"
    package = tmp_path / "jax"
    package.mkdir()
    (package / "__init__.py").write_text(
        f"import os\nwith open({str(noted)!r}, 'a') as file:\n    file.write(os.environ['JAX_PLATFORMS'] + ' ')\n"
    )
    command = ["-m", "valign.synthesize", "+experiment=udhr_embedded", "teacher=api", "teacher.model=m", "dry_run=true"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}
    environment.pop("JAX_PLATFORMS", None)
    for own in ({}, {"JAX_PLATFORMS": "cuda"}):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, env=environment | own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert set(noted.read_text().split()) == {"cpu", "cuda"}
