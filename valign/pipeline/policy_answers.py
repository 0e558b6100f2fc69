"""An arm's answers to the probes of a policy, and what they count for."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl, write_jsonl
from valign.core.records import Answer
from valign.documents.clauses import ClauseIndex
from valign.evaluation.leakage import question_overlap
from valign.evaluation.probes.policy import PolicyProbe
from valign.evaluation.probes.policy_probe_scores import policy_probe_scores
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.data_stage import replay_stage
from valign.pipeline.leak import SHARED_WORDS, training_questions
from valign.pipeline.probe_stage import PolicyProbes, policy_probes
from valign.pipeline.recipes import Arm
from valign.runs.layout import POLICY_PROBES
from valign.synthesis.dataset import read_reviewed
from valign.synthesis.reviewed_probes import mend_probes

log = logging.getLogger(__name__)


def probes_to_ask(context: Context, artifacts: Artifacts, data: Path | None, folder: Path) -> PolicyProbes:
    """Write the run's probes to its folder, and return them.

    Those that people dropped when they reviewed the data are left out, and so are those that share six words in a row
    with a training question; those that people edited or added are asked as they left them.

    Args:
        context: What is known of the run.
        artifacts: Where the stages are built or found.
        data: The data stage's folder; None where no data were written.
        folder: The run's folder.
    """
    found = _unknown_to_training(context, artifacts, data)
    if found.probes:
        write_jsonl(folder / POLICY_PROBES, found.probes)
    else:
        (folder / POLICY_PROBES).unlink(missing_ok=True)
    return found


def _unknown_to_training(context: Context, artifacts: Artifacts, data: Path | None) -> PolicyProbes:
    """Return the probes that share too few words with training to be given away; say how many are left out."""
    found = policy_probes(context, artifacts)
    if data is None:
        return found
    found = _reviewed(context, found, data)
    if not found.probes:
        return found
    rows = training_questions(data, replay_stage(context, artifacts, data))
    shared = question_overlap([probe.question for probe in found.probes], rows, n=SHARED_WORDS)["questions"]
    leaked = {entry["question"] for entry in shared}
    if not leaked:
        return found
    counts = Counter(probe.kind for probe in found.probes if probe.question in leaked)
    said = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    log.warning(
        "policy probes: %d of %d are not asked, as they share %d words in a row with a training question: %s",
        counts.total(),
        len(found.probes),
        SHARED_WORDS,
        said,
    )
    kept = tuple(probe for probe in found.probes if probe.question not in leaked)
    return replace(found, probes=kept, made={**(found.made or {}), "leaked": dict(counts)})


def _reviewed(context: Context, found: PolicyProbes, data: Path) -> PolicyProbes:
    """Return the probes as people left them when they reviewed the data, and count what became of them."""
    beside = data / POLICY_PROBES  # as they were made, or given; other probes are asked without what people added here
    known = {probe.probe_id for probe in read_jsonl(beside, PolicyProbe)} if beside.is_file() else set()
    are_these = any(probe.probe_id in known for probe in found.probes)
    kept, counts = mend_probes(found.probes, read_reviewed(data), ClauseIndex(context.document.passages), are_these)
    if not counts:
        return found
    return replace(found, probes=tuple(kept), made={**(found.made or {}), "reviewed": counts})


def score_policy(
    context: Context, artifacts: Artifacts, arm: Arm, weights: Sequence[Path], asked: PolicyProbes
) -> tuple[dict[str, Any], list[Answer]]:
    """Ask an arm the probes; return the part ``policy_probes`` of its scores, and its answers.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        arm: Who answers.
        weights: The weights of its stages.
        asked: The probes.
    """
    folder = answer_stage(context, artifacts, arm, weights, asked.questions, "policy_probes")
    answers = read_jsonl(folder / "answers.jsonl", Answer)
    return policy_probe_scores(answers, asked.probes, context.settings.evaluation.bootstrap, asked.made), answers
