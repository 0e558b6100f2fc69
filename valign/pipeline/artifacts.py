"""The artifacts of a run: each stage's folder, built or found in the store, and the code that decides what is in it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from valign.config.schema import STAGES
from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.core.store import MANIFEST, build_artifact, code_digest, is_complete, is_digest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StageCode:
    """The code that decides what a stage's folder holds; a change of it builds the stage anew.

    Attributes:
        entry: Where that code begins: functions, each as ``file.py:function`` below ``valign/``.
        parts: Folders and files below ``valign/`` that the entry reaches.
        without: Folders and files in them that it does not.
    """

    entry: tuple[str, ...]
    parts: tuple[str, ...]
    without: tuple[str, ...] = ()


# how a clause is named in a prompt, and what a word is
TEXTS = ("documents/clauses.py", "documents/labels.py", "core/text.py")
QUOTES = ("core/quotation.py",)  # what is found in a clause
PROBE_FORMS = ("evaluation/probes/policy.py", "evaluation/probes/kinds.py")  # what a review may change
REPLIES = ("teachers/json_replies.py", "generation/thoughts.py")  # what is read in a reply
RENDERING = ("models", "core/control_tokens.py")  # models, and what a text must not hold for them
TRAINING = StageCode(
    ("pipeline/training_stage.py:train_part",),
    ("pipeline/training_stage.py", "training", *RENDERING, "distributed/devices.py"),
    without=("models/export.py",),
)
STAGE_CODE = {
    "data": StageCode(
        ("synthesis/build.py:synthesize",),
        ("synthesis", "retrieval", "evaluation/verdicts.py", *PROBE_FORMS, *QUOTES, *REPLIES, *TEXTS),
        without=(
            *("synthesis/budget.py", "synthesis/placeholders.py", "synthesis/replay.py"),
            *("synthesis/given_rows.py", "synthesis/probes"),
        ),
    ),
    "policy_probes": StageCode(
        ("synthesis/probes/make.py:make_probes",),
        ("synthesis", "retrieval", "evaluation/verdicts.py", *PROBE_FORMS, *REPLIES, *TEXTS),
        without=("synthesis/budget.py", "synthesis/placeholders.py", "synthesis/replay.py", "synthesis/given_rows.py"),
    ),
    "replay": StageCode(("synthesis/replay.py:replay_rows",), ("synthesis/replay.py",)),
    "sft": TRAINING,
    "dpo": TRAINING,
    "answers": StageCode(
        ("pipeline/answer_stage.py:answer", "pipeline/answer_stage.py:answer_part"),
        (
            *("pipeline/answer_stage.py", "pipeline/arm_model.py", "pipeline/recipes.py", "distributed/devices.py"),
            *("evaluation", "generation", "retrieval", *RENDERING, *TEXTS),
            *("serving/served_model.py", "serving/vllm.py"),
        ),
        without=(
            *("evaluation/judging", "evaluation/tax", "evaluation/questions.py"),
            *(f"evaluation/probes/{name}.py" for name in ("items", "scores", "policy", "policy_probe_scores")),
            *("evaluation/significance.py", "evaluation/leakage.py", "evaluation/context_check.py"),
            *("evaluation/arm_names.py", "models/export.py", "models/terms.py"),
        ),
    ),
    "tax": StageCode(
        ("pipeline/tax_stage.py:tax_part",),
        (
            *("pipeline/tax_stage.py", "pipeline/arm_model.py", "distributed/devices.py"),
            *("documents/clauses.py", "documents/labels.py"),
            *("evaluation/tax", "evaluation/answering.py", "generation", *RENDERING),
        ),
        without=("evaluation/tax/scores.py", "models/export.py", "models/terms.py"),
    ),
    "judgements": StageCode(
        ("evaluation/judging/model_judge.py:judge_by_model",),
        (
            *("evaluation/judging/model_judge.py", "evaluation/judging/judgement.py"),
            "evaluation/judging/prompt_files.py",
            *("evaluation/answer_metrics.py", "evaluation/normalise.py", "evaluation/verdicts.py", "core/text.py"),
        ),
    ),
    "policy_judgements": StageCode(
        ("evaluation/judging/policy_judge.py:judge_answers",),
        (
            *("evaluation/judging/policy_judge.py", "evaluation/judging/policy_judgement.py"),
            "evaluation/judging/prompt_files.py",
            *("core/control_tokens.py", "core/text.py", *QUOTES, *REPLIES),
        ),
    ),
}
"""What each stage's hash covers."""

NOT_DECIDING = {
    "cli": "takes the command line apart",
    "config": "its values are in the hash",
    "core": "carries records and files; what is in them is decided elsewhere (three files are named apart)",
    "distributed": "deals work to processes, whose number does not change a result (devices.py is named apart)",
    "documents": "the passages are in the hash (clauses.py and labels.py are named apart)",
    "generation/requests.py": "what is asked, by which replies are kept",
    "pipeline/context.py": "what it reads is in the hash",
    "runs": "names and loggers",
    "serving": "starts and ends servers (served_model.py and vllm.py are named apart)",
    "teachers": "replies are kept by teacher and request, the id is in the hash (json_replies.py is named apart)",
}
"""What a stage may reach without its hash covering it, and why."""


MADE_ONCE = ("data", "policy_probes", *STAGES)  # of a finished run, which is evaluated, these are never made again


def code_of(name: str) -> str:
    """Return a hash of the code that decides what a stage's folder holds.

    Args:
        name: A key of ``STAGE_CODE``.
    """
    code = STAGE_CODE[name]
    return code_digest(*code.parts, without=code.without)


@dataclass
class Artifacts:
    """The stages' folders of one run, and what the run notes of them.

    Attributes:
        store: The folder of all artifacts.
        pinned: Folder names that a finished run noted, by key: they are taken as they are. None where there is no such
            run; where there is one, no data are written and nothing is trained that it did not note.
        hashes: Folder name of each stage that this run has used, by key.
        timings: Seconds that each of them took when it was built.
    """

    store: Path
    pinned: Mapping[str, str] | None = None
    hashes: dict[str, str] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)

    def find_pinned(self, name: str, key: str = "") -> Path | None:
        """Return the folder that a finished run noted for a stage; None where the stage is built or looked for.

        Raises:
            ValignError: It is not in the store, or the run noted no data or no weights.
        """
        if self.pinned is None:
            return None
        if (key or name) not in self.pinned:
            if name not in MADE_ONCE:
                return None
            raise ValignError(f"the run notes no {name} among its artifacts; train it again, or choose another run.")
        folder = self.store / name / self.pinned[key or name]
        if not is_complete(folder):
            raise ValignError(f"{folder} is not there; start from the folder that the run was started from.")
        return self._note(folder, key or name)

    def build(
        self,
        name: str,
        config: Mapping[str, Any],
        inputs: Mapping[str, str],
        fill: Callable[[Path], Mapping[str, Any] | None],
        key: str = "",
    ) -> Path:
        """Return a stage's folder, filled by now or earlier, and note it.

        Args:
            name: The stage, a key of ``STAGE_CODE``; its code is among the inputs.
            config: Settings that decide what is in the folder (JSON values).
            inputs: Hashes of what goes in, by name.
            fill: Fills the folder that it is given, which may hold parts of an interrupted call, and returns counts.
            key: Under which the run notes the folder; by default the stage's name.
        """
        say = log.debug if (key or name) in self.hashes else log.info  # said once in a run
        folder = build_artifact(self.store, name, config, {**inputs, "code": code_of(name)}, fill, say=say)
        return self._note(folder, key or name)

    def _note(self, folder: Path, key: str) -> Path:
        self.hashes[key] = folder.name
        self.timings[key] = float(read_json(folder / MANIFEST)["seconds"])
        return folder


def pinned_by(details: Mapping[str, Any]) -> dict[str, str]:
    """Return the data and the weights that a run noted in its ``run.json``; answers and judgements are made anew.

    Raises:
        ValignError: What it noted is not the name of a stage's folder.
    """
    made_anew = ("answers/", "judgements", "policy_judgements", "probes/", "policy_probes/", "tax/")
    found = {key: name for key, name in details["artifacts"].items() if not key.startswith(made_anew)}
    for key, name in found.items():
        if not is_digest(name):
            raise ValignError(f"the run notes {name!r} as its {key}, which names no folder; choose another run.")
    return found
