"""A small document, settings that suit it, and what its teacher says, for runs of the whole method."""

from __future__ import annotations

from pathlib import Path

from fakes import Parrot
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from recorder import Recorder

from valign.cli import main
from valign.config import run_identity
from valign.config.arguments import plain
from valign.core.files import write_jsonl
from valign.core.records import Original, Question
from valign.core.settings import make_settings
from valign.pipeline.context import Context
from valign.retrieval.embedder import SentenceEmbedder
from valign.synthesis.build import synthesize
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.cache import CachedTeacher
from valign.teachers.local import LocalTeacher

HARBOUR = """# Code of the Harbour

## 1. Helmets
Every guard wears a yellow helmet on the pier. Visitors wear a blue helmet for the first nine days.

## 2. Umbrellas
A found umbrella is kept for twelve days. After that the purser may give it to the shelter in Mill Lane.

## 3. Geese
Nobody may feed the geese at the north gate. The keeper puts each fine of six pence into the fog chest.
"""
QUESTIONS = [
    Question(
        "own-1",
        "harbour/section-2",
        "What if I find an umbrella?",
        "It is kept for twelve days.",
        (("12 days",),),
        original=Original((("90 days",),)),
    ),
    Question("own-2", "harbour/section-3", "Can I throw bread to a goose?", "No, nobody may.", (), "no"),
]
SETTINGS = (
    "document=file",
    "document.path=harbour.md",
    "teacher=replay",
    "teacher.recording=recording.jsonl",
    "base_model=tiny",
    "synthesis.instructions.questions_per_passage=6",
    "synthesis.preferences.scenarios_per_passage=6",
    "synthesis.filters.max_rank=3",
    "synthesis.filters.min_relevance=0.1",
    "synthesis.filters.min_faithfulness=0.1",
    "sft.epochs=2",
    "sft.batch_size=4",
    "dpo.epochs=2",
    "dpo.batch_size=2",
    "trainer.checkpoint_every=1",
    "evaluation.max_new_tokens=8",
    "evaluation.bootstrap=100",
    "run_name=${recipe.name}",
    "trainer.threads=1",
)


def lay_out(folder: Path, recording: Path) -> None:
    """Write the document, the recording of its teacher, and questions of one's own to the folder of a run."""
    (folder / "harbour.md").write_text(HARBOUR)
    (folder / "recording.jsonl").write_bytes(recording.read_bytes())
    write_jsonl(folder / "own.jsonl", QUESTIONS)


def record(folder: Path, seed: int = 0) -> Path:
    """Write ``harbour.md`` and what the parrot says to everything that the data stage asks about it under a seed."""
    (folder / "harbour.md").write_text(HARBOUR)
    run_identity.register_config()
    GlobalHydra.instance().clear()
    path = f"document.path={folder / 'harbour.md'}"
    with initialize_config_dir(str(main.config_folder()), version_base="1.3"):
        composed = compose("config", [s for s in SETTINGS if not s.startswith(("document.path", "run_name"))] + [path])
    synthesize(
        folder,
        Context.of(composed).document,
        None,
        teacher=CachedTeacher(Recorder(Parrot(), folder / "recording.jsonl"), folder / "completions.sqlite"),
        base=CachedTeacher(LocalTeacher("tiny", "float32"), folder / "completions.sqlite"),
        embedder=SentenceEmbedder(),
        settings=make_settings(SynthesisSettings, plain(composed.synthesis)),
        seed=seed,
    )
    return folder / "recording.jsonl"
