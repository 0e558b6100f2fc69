"""The answers: an arm is asked the questions, and its answers are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from valign.core.files import to_dict, write_jsonl
from valign.core.out_of_memory import describe_out_of_memory
from valign.core.records import Answer, Passage, Question
from valign.core.store import digest
from valign.evaluation.answer_server import AnswerServer
from valign.evaluation.answering import answer_questions
from valign.evaluation.metric_info import Likelihoods
from valign.evaluation.scores import question_values
from valign.evaluation.served_likelihoods import served_likelihoods
from valign.models.chat_template import adapt_to_template
from valign.models.load import load_tokenizer
from valign.pipeline.arm_model import answering_remedies, load_arm
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import CACHE, Context
from valign.pipeline.recipes import Arm
from valign.retrieval.search import recall_at_k, select_passages
from valign.retrieval.settings import SEARCHES


def answer_stage(
    context: Context,
    artifacts: Artifacts,
    arm: Arm,
    weights: Sequence[Path],
    questions: Sequence[Question],
    noted_as: str = "answers",
) -> Path:
    """Let an arm answer, and measure its answers.

    Args:
        context: What is known of the run.
        artifacts: Where the stage is built or found.
        arm: Who answers.
        weights: The weights of its stages.
        questions: What it is asked.
        noted_as: Under which name, with the arm's behind it, the run notes the stage.

    Returns:
        A folder with ``answers.jsonl`` and ``values.jsonl``.
    """
    settings = context.settings
    server = context.server
    config = {
        "arm": arm.name,
        "max_new_tokens": settings.evaluation.max_new_tokens,
        **context.stored_as,
        "system_prompt": settings.base_model.system_prompt,
        "retrieval": retrieval_of(context, arm),
        **({"server": server.describe(arm.stages)} if server else {}),
        **engine_of(context),
    }
    inputs = {
        "base_model": context.model_id,
        "weights": digest([folder.parent.name for folder in weights]),
        "questions": digest([to_dict(q) for q in questions]),
        "document": digest([to_dict(p) for p in context.document.passages]),
        "embedder": context.embedder.id,
    }
    fill = partial(answer, context, arm, weights, questions)
    return artifacts.build("answers", config, inputs, fill, f"{noted_as}/{arm.name}")


def engine_of(context: Context) -> dict[str, Any]:
    """Return what computes the answers, for hashes; nothing where that is this process."""
    evaluation = context.settings.evaluation
    if evaluation.engine == "local":
        return {}
    return {"engine": {"name": evaluation.engine, "arguments": list(evaluation.vllm.arguments)}}


def retrieval_of(context: Context, arm: Arm) -> dict[str, Any] | None:
    """Return the settings by which an arm finds passages; None where it sees none."""
    if not arm.retrieval:
        return None
    if arm.retriever in (None, *SEARCHES):
        return {**asdict(context.settings.retrieval), **({"kind": arm.retriever} if arm.retriever else {})}
    return {"kind": arm.retriever}


def answer(
    context: Context, arm: Arm, weights: Sequence[Path], questions: Sequence[Question], folder: Path
) -> dict[str, Any]:
    """Fill the stage's folder, and return its counts."""
    passages = context.document.passages
    retrieved: list[list[Passage]] = [[] for _ in questions]
    counts: dict[str, Any] = {"questions": len(questions)}
    if arm.retrieval:
        found = retrieval_of(context, arm) or {}
        kind, top_k = str(found["kind"]), int(found.get("top_k", 1))
        retrieved = select_passages(kind, questions, passages, context.embedder, top_k)
        counts["retrieval_recall"] = recall_at_k(retrieved, [q.clause for q in questions])
    place = {(passage.clause, passage.start): i for i, passage in enumerate(passages)}
    part: dict[str, Any] = {
        "arm": arm.name,
        "folder": str(folder),
        "weights": [str(path) for path in weights],
        "retrieved": [[place[passage.clause, passage.start] for passage in shown] for shown in retrieved],
    }
    answers, likely = [], None
    if context.served_arms is not None:
        served = context.served_arms.model(weights, f"{arm.name}@{folder.name}")
        common: dict[str, Any] = {"arm": arm.name, "system": context.settings.base_model.system_prompt}
        longest = context.settings.evaluation.max_new_tokens
        asked = questions, retrieved
        answers = answer_questions(served, *asked, cache=folder / CACHE, max_new_tokens=longest, **common)
        likely = served_likelihoods(served, *asked, **common)
    elif context.server is not None:
        answers = _ask_server(context, context.server, folder, arm, questions, retrieved)
        part["measure_only"] = True
    if likely is None and (context.server is None or context.server.measures_likelihoods):
        context.ranks.command("answer", **part, questions=[to_dict(q) for q in questions])
        own, likely = answer_part(context, **part, questions=questions)
        answers = answers or own
    values = question_values(answers, passages, context.embedder, likely)
    write_jsonl(folder / "answers.jsonl", answers)
    write_jsonl(folder / "values.jsonl", values)
    (folder / CACHE).unlink(missing_ok=True)
    return counts


def answer_part(
    context: Context,
    arm: str,
    folder: str,
    weights: Sequence[str],
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[int]],
    measure_only: bool = False,
) -> tuple[list[Answer], Likelihoods]:
    """Do this process's part of an arm's answers and likelihoods.

    Args:
        context: What is known of the run.
        arm: Name of the arm.
        folder: The stage's.
        weights: Weights of the arm's stages.
        questions: What it is asked.
        retrieved: For each question the numbers of the passages in its prompt.
        measure_only: Whether a server gives the answers, so that there are none here.

    Returns:
        What all processes found, in the first; of the others, nothing that counts.
    """
    from valign.evaluation.likelihoods import measure_likelihoods
    from valign.generation.batch_limit import batch_limit
    from valign.generation.generator import Generator

    evaluation = context.settings.evaluation
    shown = [[context.document.passages[i] for i in found] for found in retrieved]
    common: dict[str, Any] = {
        "arm": arm,
        "system": context.settings.base_model.system_prompt,
        "ranks": context.ranks,
    }
    with describe_out_of_memory(f"answering as {arm}", lambda: answering_remedies(context)):
        model, tokenizer = load_arm(context, [Path(path) for path in weights])
        # all processes make the same batches, and deal them out
        most = context.ranks.broadcast(lambda: batch_limit(model, evaluation.batch_tokens))
        generator = Generator(model, tokenizer, f"{arm}@{Path(folder).name}", most)
        answers = []
        if not measure_only:
            longest = evaluation.max_new_tokens
            answers = answer_questions(
                generator, questions, shown, cache=Path(folder) / CACHE, max_new_tokens=longest, **common
            )
        return answers, measure_likelihoods(generator, questions, shown, **common)


def _ask_server(
    context: Context,
    server: AnswerServer,
    folder: Path,
    arm: Arm,
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[Passage]],
) -> list[Answer]:
    """Let an arm's model answer behind its server; the turns are those that it would be sent in this process."""
    base = context.settings.base_model
    turns: dict[str, Any] = {}
    if base.system_prompt:
        tokenizer = load_tokenizer(context.model_path, base.trust_remote_code)
        turns["turns"] = partial(adapt_to_template, tokenizer)
    return answer_questions(
        server.teacher(arm.stages),
        questions,
        retrieved,
        arm=arm.name,
        cache=folder / CACHE,
        max_new_tokens=context.settings.evaluation.max_new_tokens,
        system=base.system_prompt,
        **turns,
    )
