"""One-line messages about keys: unknown, missing, renamed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from hydra.core.hydra_config import HydraConfig

from valign.core.errors import ValignError

NEEDS = {
    "document.path": "document={choice} needs your own copy of the document: add document.path=/path/to/file.pdf",
    "base_model.model": "base_model={choice} needs a model: add base_model.model=owner/name or a folder's path",
    "teacher.model": "teacher={choice} needs the model's name on the server: add teacher.model=owner/name",
    "evaluation.judge_model.model": "evaluation={choice} needs the judge: add evaluation.judge_model.model=NAME",
    "evaluation.policy_judge.model": "the policy judge needs its model: add evaluation.policy_judge.model=NAME",
    "teacher.recording": "teacher={choice} needs its recording: add teacher.recording=/path/to/file.jsonl",
    "output": "usage: python -m valign.export run=runs/udhr/sft_dpo output=FOLDER",
    "run": "usage: python -m valign.evaluate run=runs/udhr/sft_dpo [questions=FILE.jsonl] [output=FOLDER]",
    "runs": "usage: python -m valign.{choice} runs=runs/udhr",
}


RENAMED = {
    "budget_only": "dry_run",
    "synthesis.questions_per_passage": "synthesis.instructions.questions_per_passage",
    "synthesis.kinds": "synthesis.instructions.kinds",
    "synthesis.personas": "synthesis.instructions.personas",
    "synthesis.lengths": "synthesis.instructions.lengths",
    "synthesis.openings": "synthesis.instructions.openings",
    "synthesis.examples_per_fact": "synthesis.instructions.examples_per_fact",
    "synthesis.extract": "synthesis.instructions.extract",
    "synthesis.phrases_per_passage": "synthesis.instructions.phrases_per_passage",
    "synthesis.recitations_per_passage": "synthesis.instructions.recitations_per_passage",
    "synthesis.claims_per_passage": "synthesis.instructions.claims_per_passage",
    "synthesis.scenarios_per_passage": "synthesis.preferences.scenarios_per_passage",
    "synthesis.claim_pairs_per_passage": "synthesis.preferences.claim_pairs_per_passage",
    "synthesis.scenario_openings": "synthesis.preferences.openings",
    "synthesis.rejected": "synthesis.preferences.rejected",
    "synthesis.held_out_per_passage": "synthesis.evaluation_questions.per_passage",
    "synthesis.temperature": "synthesis.sampling.temperature",
    "synthesis.top_p": "synthesis.sampling.top_p",
    "synthesis.max_new_tokens": "synthesis.sampling.max_new_tokens",
    "synthesis.min_relevance": "synthesis.filters.min_relevance",
    "synthesis.max_rank": "synthesis.filters.max_rank",
    "synthesis.faithfulness": "synthesis.filters.faithfulness",
    "synthesis.faithfulness_model": "synthesis.filters.faithfulness_model",
    "synthesis.min_faithfulness": "synthesis.filters.min_faithfulness",
    "synthesis.max_duplicate": "synthesis.filters.max_duplicate",
    "synthesis.max_wording": "synthesis.filters.max_wording",
    "synthesis.max_overlap": "synthesis.filters.max_overlap",
    "synthesis.max_evaluation": "synthesis.filters.max_evaluation",
    "synthesis.min_language": "synthesis.filters.min_language",
    "synthesis.max_repetition": "synthesis.filters.max_repetition",
    "synthesis.min_instructions": "synthesis.coverage.min_instructions",
    "synthesis.min_preferences": "synthesis.coverage.min_preferences",
    "synthesis.min_questions": "synthesis.coverage.min_questions",
    "synthesis.top_up_rounds": "synthesis.coverage.top_up_rounds",
    "synthesis.waive_coverage": "synthesis.coverage.waive",
}


def new_name(key: str) -> str | None:
    """Return what a key of an earlier version, or a key in such a group, is called now; None for any other key.

    >>> new_name("synthesis.kinds.edge")
    'synthesis.instructions.kinds.edge'
    """
    for old, new in RENAMED.items():
        if key == old or key.startswith(f"{old}."):
            return new + key.removeprefix(old)
    return None


def unknown_key(key: str, known: Iterable[str], value: str | None = None) -> str:
    """Say that there is no such key, and which one was meant.

    That is the new name of a key of an earlier version, else the nearest key: in the same group, or of the same name in
    another.

    Args:
        key: The dotted key that was written.
        known: All keys.
        value: What it was set to on the command line; None where it stands in a file.
    """
    if new := new_name(key):
        return f"{key} is now {new}; write {new if value is None else f'{new}={value}'}."
    options = [*known, "experiment"]
    group, _, name = key.rpartition(".")
    same = [option for option in options if option.rpartition(".")[2] == name]
    hint = f" (did you mean {' or '.join(same)}?)" if same else did_you_mean(key, options)
    if not hint and (siblings := [option for option in options if group and option.rpartition(".")[0] == group]):
        hint = f" ({group} has: {', '.join(option.rpartition('.')[2] for option in siblings)})"
    return f"unknown key '{key}'{hint}; --cfg job shows every key."


def missing(key: str) -> ValignError:
    """Return the error for a key that has to be given and was not."""
    text = NEEDS.get(key, f"add {key}=...")
    if HydraConfig.initialized():
        choices = HydraConfig.get().runtime.choices
        text = text.format(choice=choices.get(key.partition(".")[0], HydraConfig.get().job.config_name))
    else:
        text = text.rpartition(": ")[2]
    return ValignError(f"{key} is missing: {text}")


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Return `` (did you mean '...'?)`` with the option that is spelt most like a word, or an empty text."""
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" (did you mean '{found[0]}'?)" if found else ""
