"""What a model itself would say: likelihood of the references and of the verdicts."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from valign.core.progress import progress
from valign.core.records import Passage, Question
from valign.distributed.ranks import Ranks
from valign.evaluation.answering import conversation
from valign.evaluation.metric_info import Likelihoods
from valign.generation.decoding_batch import shared_prefix_length
from valign.generation.generator import Generator
from valign.models.chat_template import Rendered, render_conversation
from valign.models.logprobs import token_logps

SHORTEST_PREFIX = 256  # tokens; less is computed again for each row


def measure_likelihoods(
    generator: Generator,
    questions: Sequence[Question],
    retrieved: Sequence[Sequence[Passage]],
    *,
    arm: str,
    system: str | None = None,
    rows: int = 16,
    ranks: Ranks | None = None,
) -> Likelihoods:
    """Measure what an arm thinks of the reference answers and of the right verdicts, without sampling.

    Args:
        generator: The arm's model.
        questions: With references.
        retrieved: As in ``answer_questions``.
        arm: Name of the arm, for the progress bar.
        system: System prompt.
        rows: Most questions in one batch, which also has at most the generator's ``batch_tokens``.
        ranks: The run's processes, all of which call this; the first gets what all have measured.
    """
    prompts = [conversation(q.question, passages, system) for q, passages in zip(questions, retrieved, strict=True)]
    rendered = [
        render_conversation(generator.tokenizer, (*prompt, {"role": "assistant", "content": q.reference}))
        for prompt, q in zip(prompts, questions, strict=True)
    ]
    words = [int(generator.tokenizer(word, add_special_tokens=False)["input_ids"][0]) for word in ("Yes", "No")]
    order = sorted(range(len(questions)), key=lambda i: (len(rendered[i].ids), i))
    ranks = ranks or Ranks()
    groups = _likelihood_groups(order, [len(r.ids) for r in rendered], rows, generator.batch_tokens)
    own: list[tuple[int, float, float | None]] = []
    with torch.inference_mode(), progress(len(questions), f"{arm} likelihoods", "questions") as bar:
        begun = _cache_prefix(generator, rendered)
        for group in groups[ranks.rank :: ranks.world_size]:
            logps, first = _score(generator, [rendered[i].ids for i in group], [rendered[i].mask for i in group], begun)
            for place, i in enumerate(group):
                verdict = None
                if questions[i].verdict is not None:
                    yes = bool(first[place, words[0]] > first[place, words[1]])
                    verdict = float(yes == (questions[i].verdict == "yes"))
                own.append((i, -float(logps[place]), verdict))
            bar.update(len(group))
    found = {i: (nll, verdict) for part in ranks.gather(own) for i, nll, verdict in part}
    pairs = [found.get(i, (math.nan, None)) for i in range(len(questions))]
    return Likelihoods([nll for nll, _ in pairs], [verdict for _, verdict in pairs])


def _likelihood_groups(order: Sequence[int], lengths: Sequence[int], rows: int, tokens: int) -> list[list[int]]:
    """Cut questions, in the order of their lengths, into batches of so many rows and padded tokens at most.

    >>> _likelihood_groups([0, 1, 2, 3], [2, 2, 3, 9], rows=2, tokens=6)
    [[0, 1], [2], [3]]
    """
    groups: list[list[int]] = []
    for i in order:
        if groups and len(groups[-1]) < rows and (len(groups[-1]) + 1) * lengths[i] <= tokens:
            groups[-1].append(i)
        else:
            groups.append([i])
    return groups


class PrefixCache(NamedTuple):
    """What all rows begin with, such as a document: so many tokens, and the decoder's cache behind them."""

    tokens: int
    cache: Any


def _cache_prefix(generator: Generator, rows: Sequence[Rendered]) -> PrefixCache:
    """Compute what all rows begin with once, where that is long; the token before an answer is left to each row."""
    if len(rows) < 2:
        return PrefixCache(0, None)
    common = shared_prefix_length([row.ids[: row.prompt_length] for row in rows])
    if common < SHORTEST_PREFIX:
        return PrefixCache(0, None)
    ids = torch.tensor([rows[0].ids[:common]], device=generator.model.device)
    return PrefixCache(common, generator.model.get_decoder()(ids, use_cache=True).past_key_values)


def _score(
    generator: Generator, ids: Sequence[Sequence[int]], masks: Sequence[Sequence[int]], begun: PrefixCache
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean log-probability of each row's supervised tokens, and the logits of its first one.

    Logits are computed at supervised positions only, in chunks.
    """
    device = generator.model.device
    ids, masks = ([row[begun.tokens :] for row in part] for part in (ids, masks))
    width = max(len(row) for row in ids)
    tokens = torch.zeros((len(ids), width), dtype=torch.long)
    supervised = torch.zeros((len(ids), width), dtype=torch.bool)
    attention = torch.zeros((len(ids), width), dtype=torch.long)
    for row, (own, mask) in enumerate(zip(ids, masks, strict=True)):
        tokens[row, : len(own)] = torch.tensor(own)
        supervised[row, : len(own)] = torch.tensor(mask, dtype=torch.bool)
        attention[row, : len(own)] = 1
    tokens, supervised, attention = tokens.to(device), supervised.to(device), attention.to(device)
    decoder = generator.model.get_decoder()
    if begun.cache is None:
        hidden = decoder(tokens, attention_mask=attention, use_cache=False).last_hidden_state
    else:
        cache = copy.deepcopy(begun.cache)
        cache.batch_repeat_interleave(len(ids))
        attention = torch.cat([attention.new_ones(len(ids), begun.tokens), attention], 1)
        hidden = decoder(tokens, attention_mask=attention, past_key_values=cache, use_cache=True).last_hidden_state
    before = supervised[:, 1:]
    head: Any = generator.model.get_output_embeddings()
    states = hidden[:, :-1][before]
    logps = token_logps(head, states, tokens[:, 1:][before])
    counts = before.sum(1)
    ends = counts.cumsum(0)
    means = torch.stack([logps[e - c : e].mean() for e, c in zip(ends.tolist(), counts.tolist(), strict=True)])
    return means, head(states[ends - counts]).float()
