"""Measure a model and its base on the general texts, and a model on the everyday instructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valign.core.files import read_jsonl, write_jsonl
from valign.core.records import Message
from valign.distributed.ranks import Ranks
from valign.evaluation.answering import complete_requests
from valign.evaluation.tax.drift import Drift, HiddenStates, measure_drift, read_hidden_states
from valign.evaluation.tax.items import GeneralText, everyday_tasks, general_texts
from valign.generation.batch_limit import batch_limit
from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling

Loader = Callable[[Sequence[Path]], tuple[PreTrainedModel, PreTrainedTokenizerBase]]

_TEXTS = "texts.jsonl"
_CACHE = "completions.sqlite"
VALUES = "values.jsonl"


def measure_tax(
    folder: Path,
    weights: Sequence[Path],
    load: Loader,
    *,
    label: str,
    max_new_tokens: int,
    batch_tokens: int | None,
    system: str | None = None,
    ranks: Ranks | None = None,
) -> dict[str, int]:
    """Write ``values.jsonl``: one row for each text, with ``Drift``'s values, and for each task, with its answer.

    One model is in memory at a time: of the base, its hidden states and its output layer are kept. What an
    interrupted call has measured is not measured again.

    Args:
        folder: Where the values go.
        weights: The arm's trained stages; none for the base itself.
        load: Loads the model of some stages, ready to answer.
        label: Name of the model, for the progress bar.
        max_new_tokens: Longest answer to an instruction.
        batch_tokens: Most positions in one batch of answers; None for as many as a GPU's free memory holds.
        system: System prompt.
        ranks: The run's processes, all of which call this, each for a part; the first writes what all have measured.

    Returns:
        Numbers of texts, tokens and tasks.
    """
    ranks = ranks or Ranks()
    texts, tasks = general_texts(), everyday_tasks()
    own = texts[ranks.rank :: ranks.world_size]
    done = folder / _TEXTS
    known = ranks.broadcast(done.is_file)
    base = _read_base(own, load) if weights and not known else None
    model, tokenizer = load(weights)
    if not known:
        parts = ranks.gather([asdict(drift) for drift in _drifts(own, model, tokenizer, base)])
        base = None
        if ranks.is_first:
            write_jsonl(done, [parts[i % ranks.world_size][i // ranks.world_size] for i in range(len(texts))])
    lead: list[Message] = [{"role": "system", "content": system}] if system else []
    sampling = Sampling(max_new_tokens=max_new_tokens)
    requests = [Request((*lead, {"role": "user", "content": task.instruction}), sampling) for task in tasks]
    most = ranks.broadcast(lambda: batch_limit(model, batch_tokens))  # all processes make the same batches
    generator = Generator(model, tokenizer, f"{label}@{folder.name}", most)
    answers = [row[0].text for row in complete_requests(generator, requests, folder / _CACHE, f"{label} tax", ranks)]
    if not ranks.is_first:
        return {}
    found = read_jsonl(done, Drift)
    rows: list[dict[str, Any]] = [
        {"item_id": text.item_id, **asdict(drift)} for text, drift in zip(texts, found, strict=True)
    ]
    for task, answer in zip(tasks, answers, strict=True):
        rows.append({"item_id": task.item_id, "answer": answer, "correct": float(task.solved(answer))})
    write_jsonl(folder / VALUES, rows)
    for name in (_CACHE, _TEXTS):
        (folder / name).unlink()
    return {"texts": len(texts), "tokens": sum(drift.tokens for drift in found), "tasks": len(tasks)}


def _read_base(texts: Sequence[GeneralText], load: Loader) -> tuple[list[list[int]], HiddenStates]:
    """Return the texts' token ids, and the base model's hidden states on them; the model itself is let go."""
    model, tokenizer = load(())
    ids = _token_ids(texts, tokenizer)
    return ids, read_hidden_states(model, ids)


def _drifts(
    texts: Sequence[GeneralText],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    base: tuple[list[list[int]], HiddenStates] | None,
) -> list[Drift]:
    """Compare a model with what was read of its base; where that is None, it is the base itself."""
    ids = _token_ids(texts, tokenizer) if base is None else base[0]
    arm = read_hidden_states(model, ids)
    return measure_drift(ids, arm, arm if base is None else base[1])


def _token_ids(texts: Sequence[GeneralText], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return [list(tokenizer(text.text)["input_ids"]) for text in texts]
