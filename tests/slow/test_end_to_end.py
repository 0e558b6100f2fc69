"""The whole method as a user runs it, in processes of its own, with the tiny model and a recorded teacher."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harbour import SETTINGS, lay_out, record

from valign.core.files import read_jsonl
from valign.core.records import Answer, Question

pytestmark = pytest.mark.slow

FAKE_KEY = "0123456789abcdef" * 2 + "feedf00d"


@dataclass
class Place:
    """A folder with a document, a recording of its teacher, and what runs leave there."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        """The artifact store."""
        return self.folder / "artifacts"

    def run(self, *arguments: str, module: str = "train", settings: Sequence[str] = SETTINGS) -> str:
        """Run an entry point to its end and return what it printed."""
        command = [sys.executable, "-m", f"valign.{module}", *settings, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self._environment(), capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start(self) -> subprocess.Popen[bytes]:
        """Start a training that counts its completions, in a process group of its own."""
        command = [sys.executable, str(Path(__file__).parents[1] / "helpers" / "counted.py"), *SETTINGS, "logger=none"]
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def stages(self) -> Counter[str]:
        """Count the complete artifacts of each stage."""
        return Counter(file.parent.parent.name for file in self.artifacts.glob("*/*/manifest.json"))

    def files(self) -> dict[str, tuple[int, int]]:
        """Return time and size of every file of the store."""
        found = [file for file in self.artifacts.rglob("*") if file.is_file() and file.suffix != ".lock"]
        return {str(f.relative_to(self.folder)): (f.stat().st_mtime_ns, f.stat().st_size) for f in found}

    def results(self) -> dict[str, bytes]:
        """Return the bytes of what must not depend on interruptions."""
        patterns = ("runs/**/scores.json", "runs/**/answers.jsonl", "artifacts/**/*.safetensors", "artifacts/data/*/*l")
        found = [file for pattern in patterns for file in self.folder.glob(pattern)]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in found}

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # the tests' own
        return {**inherited, "COUNTED": str(self.folder / "counted.txt"), "OMP_NUM_THREADS": "1", **self.environment}


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the parrot says to everything that the stage asks."""
    return record(tmp_path_factory.mktemp("recording"))


@pytest.fixture(scope="module")
def make_place(recording: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Place]:
    """A function that makes another fresh place."""

    def make(name: str, **environment: str) -> Place:
        folder = tmp_path_factory.mktemp(name)
        lay_out(folder, recording)
        return Place(folder, environment)

    return make


@pytest.fixture(scope="module")
def swept(make_place: Callable[..., Place]) -> Iterator[tuple[Place, str]]:
    """A place in which every recipe has run, and what that printed."""
    place = make_place("swept")
    yield place, place.run("logger=none", "recipe=base,rag,sft,dpo,sft_dpo", "-m")


def test_a_sweep_shares_its_stages_and_ends_with_one_table(swept: tuple[Place, str]) -> None:
    """One data set; one SFT; DPO on the base and on the SFT; answers of base, rag, sft, dpo and sft_dpo."""
    place, printed = swept
    assert place.stages() == {"data": 1, "sft": 1, "dpo": 2, "answers": 5, "tax": 4}
    last = printed[printed.rindex("n = ") :]
    table = printed[: printed.rindex("n = ")].rpartition("\nArm")[2]
    assert [line.split()[0] for line in table.splitlines()[1:] if line.strip()] == [
        "base",
        "RAG",
        "SFT",
        "DPO",
        "SFT+DPO",
    ]
    assert "report: runs/harbour/report.html" in last
    assert (place.folder / "runs" / "harbour" / "report.html").stat().st_size > 10_000
    assert {f.parent.name for f in (place.folder / "runs" / "harbour").glob("*/run.json")} == {
        "base", "rag", "sft", "dpo", "sft_dpo",
    }  # fmt: skip


def test_a_run_leaves_scores_answers_and_page(swept: tuple[Place, str]) -> None:
    run = swept[0].folder / "runs" / "harbour" / "sft_dpo"
    questions = read_jsonl(next(swept[0].artifacts.glob("data/*/questions.jsonl")), Question)
    assert len(questions) >= 3
    for arm in ("base", "sft", "sft_dpo"):
        scores = json.loads((run / "arms" / arm / "scores.json").read_text())
        answers = read_jsonl(run / "arms" / arm / "answers.jsonl", Answer)
        assert (scores["arm"], scores["n"]) == (arm, len(questions))
        assert set(scores["metrics"]["similarity"]) >= {"mean", "ci95"}
        assert [(a.question_id, a.arm) for a in answers] == [(q.question_id, arm) for q in questions]
        assert all(0 < a.tokens <= 8 for a in answers)
    assert json.loads((run / "scores.json").read_text())["arm"] == "sft_dpo"
    assert set(json.loads((run / "scores.json").read_text())["versus"]) >= {"base", "sft"}
    assert (run / "answers.jsonl").read_bytes() == (run / "arms" / "sft_dpo" / "answers.jsonl").read_bytes()
    found = json.loads((run / "comparison.json").read_text())
    assert found["wins"]["judge"]["kind"] == "reference"
    assert {(p["arm"], p["other"]) for p in found["wins"]["pairs"]} == {
        ("sft", "base"), ("sft_dpo", "base"), ("sft_dpo", "sft"),
    }  # fmt: skip
    page = (run / "report.html").read_text()
    assert "Code of the Harbour" in page
    assert 'src="http' not in page
    rag = read_jsonl(swept[0].folder / "runs" / "harbour" / "rag" / "answers.jsonl", Answer)
    assert all(len(a.retrieved) == 2 for a in rag)


def test_the_second_time_only_prints(swept: tuple[Place, str]) -> None:
    place = swept[0]
    before = place.files()
    began = time.monotonic()
    printed = place.run("logger=none")
    assert time.monotonic() - began < 20
    assert "nothing to do" in printed
    assert place.files() == before
    again = place.run("logger=none")
    assert again == printed


def test_general_instructions_are_learned_beside_d_sft(swept: tuple[Place, str]) -> None:
    """Half as many as D_sft has rows, from a file; base and data are there already, SFT is another."""
    place = swept[0]
    (file,) = place.artifacts.glob("data/*/sft.jsonl")
    rows = len(file.read_text().splitlines())
    given = [{"question": f"How many is {i} and {i}?", "answer": f"It is {2 * i}."} for i in range(rows)]
    (place.folder / "general.jsonl").write_text("\n".join(map(json.dumps, given)))
    (before,) = place.artifacts.glob("sft/*/manifest.json")
    settings = ["logger=none", "recipe=sft", "sft.replay_file=general.jsonl", "run_name=replayed"]
    place.run(*settings, "sft.replay=0.5")
    (replay,) = place.artifacts.glob("replay/*/replay.jsonl")
    (after,) = set(place.artifacts.glob("sft/*/manifest.json")) - {before}
    found = [json.loads(file.read_text())["counts"]["examples"] for file in (before, after)]
    assert found == [rows, rows + round(rows / 2)] == [rows, rows + len(replay.read_text().splitlines())]
    assert len(list(place.artifacts.glob("data/*/sft.jsonl"))) == 1


def test_seeds_of_one_experiment_are_one_comparison(make_place: Callable[..., Place]) -> None:
    """Two seeds, each with data of its own, end as one SFT arm with intervals over both, and one base."""
    place = make_place("seeds")
    first = (place.folder / "recording.jsonl").read_bytes()
    (place.folder / "other").mkdir()
    (place.folder / "recording.jsonl").write_bytes(first + record(place.folder / "other", 1).read_bytes())
    name = "run_name=${recipe.name}+seed-${seed}"
    printed = place.run("logger=none", "recipe=sft", "seed=0,1", "document.questions=own.jsonl", name, "-m")
    assert place.stages() == {"data": 2, "sft": 2, "answers": 3, "tax": 3}
    assert "means over 2 seeds of what was trained; brackets: 95% bootstrap interval over seeds and clauses." in printed
    found = json.loads((place.folder / "runs" / "harbour" / "comparison.json").read_text())
    assert found["arms"] == ["base", "sft"]
    assert set(found["by_seed"]["sft"]) == {"0", "1"}
    assert "Does the seed matter?" in (place.folder / "runs" / "harbour" / "report.html").read_text()


def test_other_questions_are_scored_by_evaluate(swept: tuple[Place, str]) -> None:
    """All arms answer the two questions of the file, one of which has an original; only the answers are built."""
    place = swept[0]
    before = place.stages()
    printed = place.run("run=runs/harbour/sft_dpo", "questions=own.jsonl", module="evaluate", settings=())
    (folder,) = (place.folder / "runs" / "harbour" / "sft_dpo" / "evaluations").glob(
        "own-*"
    )  # own: the run's questions
    for arm in ("base", "sft", "sft_dpo"):
        answers = read_jsonl(folder / "arms" / arm / "answers.jsonl", Answer)
        assert [a.question_id for a in answers] == ["own-1", "own-2"]
        assert [a.original is not None for a in answers] == [True, False]
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["n"] == 2
    for metric in ("follows_document", "follows_original"):
        assert scores["metrics"][metric] == {"mean": 0.0, "ci95": [None, None], "n": 1}
        assert scores["versus"]["base"][metric]["n"] == 1
    assert "Follows document ↑" in printed
    assert "n = 2 questions, 1 of them with a verdict, 1 where the document contradicts the original" in printed
    assert place.stages() - before == {"answers": 3}


MIDDLE: dict[str, str] = {
    "data": "data/*/questions.jsonl",
    "sft": "sft/*/checkpoints/step-*.ckpt",
    "dpo": "dpo/*/checkpoints/step-*.ckpt",
    "answers": "answers/*/completions.sqlite",
}


def end_in_the_middle(place: Place, stage: str, how: signal.Signals = signal.SIGKILL) -> tuple[int, str]:
    """Run until a stage has begun to leave something and is not complete; then signal the whole process group.

    Returns:
        The exit code, and what was said on stderr.
    """
    process = place.start()
    found: list[Path] = []
    while not found:
        assert process.poll() is None, process.communicate()[1].decode()
        begun = [file.relative_to(place.artifacts).parts for file in place.artifacts.glob(MIDDLE[stage])]
        found = [place.artifacts / b[0] / b[1] for b in begun]
        found = [folder for folder in found if not (folder / "manifest.json").is_file()]
        time.sleep(0.002)
    os.killpg(process.pid, how)
    said = process.communicate(timeout=300)[1].decode()
    assert not (found[0] / "manifest.json").is_file(), f"{stage} was complete before it was ended"
    return process.returncode, said


def test_killed_in_each_stage_and_run_again(make_place: Callable[..., Place]) -> None:
    """The final files are those of an uninterrupted run, and nothing that was kept is computed again."""
    whole, killed = make_place("whole"), make_place("killed")
    for place in (whole, killed):
        if place is killed:
            for stage in MIDDLE:
                end_in_the_middle(place, stage)
        process = place.start()
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors.decode()
    assert killed.results().keys() == whole.results().keys()
    assert killed.results() == whole.results()
    assert not list(killed.artifacts.rglob("*.part"))
    notes = [Counter(p.folder.joinpath("counted.txt").read_text().splitlines()) for p in (whole, killed)]
    for count in notes:
        assert {n for note, n in count.items() if note.startswith("kept")} == {1}
    assert {note for note in notes[0] if note.startswith("kept")} == {n for n in notes[1] if n.startswith("kept")}


def test_ctrl_c_in_a_training_saves_the_step(make_place: Callable[..., Place]) -> None:
    place = make_place("interrupted")
    code, said = end_in_the_middle(place, "sft", signal.SIGINT)
    assert code == 130, said
    assert "Traceback" not in said
    assert (
        step := re.search(r"error: SIGINT: saved step (\d+) of \d+; the same command goes on from there\.", said)
    ), said
    (checkpoint,) = place.artifacts.glob("sft/*/checkpoints/step-*.ckpt")
    assert int(step[1]) == int(checkpoint.stem.removeprefix("step-"))
    assert f"going on from step {step[1]}" in place.run("logger=none")


def test_a_teacher_that_asks_nothing_useful_is_named(make_place: Callable[..., Place]) -> None:
    """Random weights ask no question: the run stops before any training, and says what to do."""
    place = make_place("silent")
    settings = [s for s in SETTINGS if not s.startswith("teacher")]
    command = [sys.executable, "-m", "valign.train", *settings, "logger=none"]
    done = subprocess.run(command, cwd=place.folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "no held-out question" in done.stderr.replace("\n", " ")
    assert "document.questions=" in done.stderr
    assert place.stages()["sft"] == 0


def test_no_key_is_written_anywhere(make_place: Callable[..., Place]) -> None:
    """W&B offline, with keys in the environment: no file of the place holds one of them."""
    place = make_place("keys", WANDB_API_KEY=FAKE_KEY, OPENAI_API_KEY=f"sk-{FAKE_KEY}", WANDB_MODE="offline")
    place.run("logger=wandb", "logger.mode=offline", "recipe=sft")
    assert list(place.folder.glob("runs/harbour/sft/wandb/offline-run-*/*.wandb"))
    files = [file for file in place.folder.rglob("*") if file.is_file()]
    assert len(files) > 20
    assert not [file for file in files if FAKE_KEY.encode() in file.read_bytes()]
