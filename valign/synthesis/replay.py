"""General instructions, answered by the base model, that are learned beside D_sft so that less is forgotten.

Answers of the model itself keep it near to what it was (rehearsal on self-synthesised data: Huang et al., Mitigating
Catastrophic Forgetting in Large Language Models with Self-Synthesized Rehearsal, ACL 2024). The prompts were written
for valign, and are others than the instructions by which the tax is measured.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Instruction, Message, Provenance
from valign.core.store import digest
from valign.generation.requests import Request, Sampling
from valign.generation.thoughts import without_thoughts
from valign.teachers.cache import CachedTeacher

log = logging.getLogger(__name__)

REPLAY_PROMPTS = resources.files("valign.synthesis").joinpath("data")
MAX_NEW_TOKENS = 96
ROUNDS = 4
KIND = "replay"


@dataclass(frozen=True)
class GeneralInstruction:
    """A general instruction; without an answer, the base model gives one."""

    question: str
    answer: str | None = None


def general_instructions(file: str | None) -> list[GeneralInstruction]:
    """Return the shipped instructions, or those of a JSONL file with ``question`` and, if wished, ``answer``.

    Raises:
        ValignError: The file cannot be read, or has no instruction.
    """
    if file is None:
        return [
            GeneralInstruction(line)
            for line in REPLAY_PROMPTS.joinpath("replay.txt").read_text(encoding="utf-8").splitlines()
        ]
    found = read_jsonl(Path(file).expanduser(), GeneralInstruction)
    if not found:
        raise ValignError(f"sft.replay_file: {file} has no instruction; give JSON lines with question and answer.")
    return [_without_thoughts(item, f"sft.replay_file: {file}, instruction {i}") for i, item in enumerate(found, 1)]


def _without_thoughts(given: GeneralInstruction, where: str) -> GeneralInstruction:
    """Return an instruction whose answer holds no thoughts of the model that wrote it.

    Raises:
        ValignError: It holds nothing else, or breaks off in them.
    """
    if given.answer is None or not (visible := without_thoughts(given.answer)).has_thoughts:
        return given
    if visible.is_open or not visible.text:
        raise ValignError(
            f"{where}: the answer is a thought and nothing else, or breaks off in one; mend or delete it."
        )
    return replace(given, answer=visible.text)


def replay_rows(
    given: Sequence[GeneralInstruction], count: int, base: CachedTeacher, seed: int, system_prompt: str | None
) -> list[Instruction]:
    """Return general instructions with answers, as rows of D_sft that belong to no clause.

    The base model's answers are drawn at temperature 1, so that they say how likely it finds what it says. One that is
    cut off, or empty, is left out, and its instruction is asked again in another round.

    Args:
        given: The instructions; they are taken in an order drawn by the seed, again and again.
        count: Number of rows wanted; fewer come back where answers keep being cut off or given ones run out.
        base: The base model, behind a cache.
        seed: Of the order and of the answers.
        system_prompt: The one under which the model is trained.
    """
    rows: dict[str, Instruction] = {}
    lead: tuple[Message, ...] = ({"role": "system", "content": system_prompt},) if system_prompt else ()
    for turn in range(ROUNDS + count // len(given)):
        if len(rows) >= count:
            break
        order = list(given)
        random.Random(f"{seed}/{turn}").shuffle(order)
        order = [item for item in order if item.answer is None or not turn][: count - len(rows)]
        asked = [item for item in order if item.answer is None]
        sampling = Sampling(MAX_NEW_TOKENS, 1.0, 1.0, 1, seed * 1000 + turn)
        requests = [Request((*lead, {"role": "user", "content": item.question}), sampling) for item in asked]
        said = base.complete_all(requests, "base model's general answers") if requests else []
        answers = {item.question: found[0] for item, found in zip(asked, said, strict=True)}
        for item in order:
            completion = answers.get(item.question)
            text = item.answer if completion is None else completion.text.strip() if completion.finished else ""
            if text:
                teacher = base.id if completion is not None else ""
                origin = Provenance("", 0, 0, KIND, digest(item.question), teacher)
                example_id = f"{KIND}-{digest([item.question, text])[:12]}"
                rows.setdefault(example_id, Instruction(example_id, (), KIND, item.question, text, origin))
    if len(rows) < count:
        log.warning("sft.replay: %d of %d general instructions: no more answers ended by themselves", len(rows), count)
    return list(rows.values())[:count]
