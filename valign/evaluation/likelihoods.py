"""The likelihood of the reference answers and of the verdicts under an arm's model."""

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
from valign.evaluation.metric_info import FIRST_WORDS, Likelihoods, verdict_rightness
from valign.generation.decoding_batch import shared_prefix_length
from valign.generation.generator import Generator
from valign.generation.written_tokens import token_ids
from valign.models.chat_template import Rendered, render_conversation
from valign.models.logprobs import logits_of, output_layer, token_logps

SHORTEST_PREFIX = 256  # tokens; a shorter prefix is computed again for each row


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
        questions: N questions with references.
        retrieved: For each question the passages in its prompt; empty lists for none.
        arm: Name of the arm, for the progress bar.
        system: System prompt.
        rows: Most questions in one batch, which also has at most the generator's ``batch_tokens``.
        ranks: The run's processes, all of which call this.

    Returns:
        N values each. In processes other than the first, values that others measured are NaN and None.
    """
    prompts = [conversation(q.question, passages, system) for q, passages in zip(questions, retrieved, strict=True)]
    rendered = [
        render_conversation(generator.tokenizer, (*prompt, {"role": "assistant", "content": q.reference}))
        for prompt, q in zip(prompts, questions, strict=True)
    ]
    words = [token_ids(generator.tokenizer, word)[0] for word in FIRST_WORDS]
    order = sorted(range(len(questions)), key=lambda i: (len(rendered[i].ids), i))
    ranks = ranks or Ranks()
    groups = _likelihood_groups(order, [len(r.ids) for r in rendered], rows, generator.batch_tokens)
    own: list[tuple[int, float, float | None]] = []
    with torch.inference_mode(), progress(len(questions), f"{arm} likelihoods", "questions") as bar:
        prefix = _cache_prefix(generator, rendered)
        for group in groups[ranks.rank :: ranks.world_size]:
            logps, first = _score(
                generator, [rendered[i].ids for i in group], [rendered[i].mask for i in group], words, prefix
            )
            for place, i in enumerate(group):
                verdict = None
                if questions[i].verdict is not None:
                    yes, no = first[place].tolist()
                    verdict = verdict_rightness(yes, no, questions[i].verdict)
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
    """The key-value cache of a prefix that all rows have in common, such as a document.

    Attributes:
        tokens: Length of the prefix; 0 for none.
        cache: The decoder's cache behind it, with one row; None for none.
    """

    tokens: int
    cache: Any


def _cache_prefix(generator: Generator, rows: Sequence[Rendered]) -> PrefixCache:
    """Run the decoder once on the prompts' common prefix, where it is long.

    A prompt's last token, which predicts the answer's first one, is never part of it.
    """
    if len(rows) < 2:
        return PrefixCache(0, None)
    common = shared_prefix_length([row.ids[: row.prompt_length] for row in rows])
    if common < SHORTEST_PREFIX:
        return PrefixCache(0, None)
    ids = torch.tensor([rows[0].ids[:common]], device=generator.model.device)
    return PrefixCache(common, generator.model.get_decoder()(ids, use_cache=True).past_key_values)


def _score(
    generator: Generator,
    ids: Sequence[Sequence[int]],
    masks: Sequence[Sequence[int]],
    words: list[int],
    prefix: PrefixCache,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean log-probability of each row's supervised tokens, and logits for its first one.

    Logits are computed at supervised positions only, in chunks.

    Args:
        generator: The arm's model.
        ids: Token ids of each of the R rows, prefix included.
        masks: 1 where a token is supervised, for each row.
        words: Token ids whose logits are asked for.
        prefix: What is computed already.

    Returns:
        Means, (R,), and logits, (R, words).
    """
    device = generator.model.device
    ids, masks = ([row[prefix.tokens :] for row in part] for part in (ids, masks))
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
    if prefix.cache is None:
        hidden = decoder(tokens, attention_mask=attention, use_cache=False).last_hidden_state
    else:
        cache = copy.deepcopy(prefix.cache)
        cache.batch_repeat_interleave(len(ids))
        attention = torch.cat([attention.new_ones(len(ids), prefix.tokens), attention], 1)
        hidden = decoder(tokens, attention_mask=attention, past_key_values=cache, use_cache=True).last_hidden_state
    before = supervised[:, 1:]
    head = output_layer(generator.model)
    states = hidden[:, :-1][before]
    logps = token_logps(head, states, tokens[:, 1:][before])
    counts = before.sum(1)
    ends = counts.cumsum(0)
    means = torch.stack([logps[e - c : e].mean() for e, c in zip(ends.tolist(), counts.tolist(), strict=True)])
    return means, logits_of(head, states[ends - counts], words)
