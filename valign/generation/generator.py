"""Generation in process: prompts in, completions out, and what prompts and samples share computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from valign.generation.decoder import FastDecoder, can_decode
from valign.generation.decoding_batch import DecodingBatch, PerRowBatch, SharedPrefixBatch, can_share_prefix
from valign.generation.requests import TOP_K, Completion, Request, Sampling
from valign.generation.written_tokens import read_completion, token_ids
from valign.models.chat_template import render_conversation
from valign.models.template_traits import end_tokens


class Generator:
    """Completes conversations with a causal language model.

    Prompts are grouped by what they begin with and by length. A prompt is computed once for its ``n`` samples, and so
    is what all prompts of a group share. Rows that have ended leave the batch. Thoughts are taken off, which
    a model may have although the chat template asks for none.

    Args:
        model: The language model, in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        id: Name of the model with its weights' version.
        batch_tokens: Most positions of the key-value cache of one batch.

    Attributes:
        thoughts_alone: The number of completions so far that held thoughts and nothing else.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, id: str, batch_tokens: int = 8192
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.id = id
        self.batch_tokens = batch_tokens
        self.thoughts_alone = 0

    @cached_property
    def shares_prefix(self) -> bool:
        """Whether what prompts share is computed once; else each row has a cache of its own."""
        return can_share_prefix(self.model)

    @cached_property
    def ends(self) -> list[int]:
        """The tokens that end a completion: those of the tokenizer, of the chat template and of the model."""
        return end_tokens(self.model, self.tokenizer)

    @cached_property
    def fast_decoder(self) -> FastDecoder | None:
        """What computes a batch in fewer operations, where prompts share a prefix; None where nothing does."""
        return FastDecoder(self.model) if can_decode(self.model) else None

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests into batches: of one sampling setting (the seed aside), alike in beginning and in length.

        A request joins the group before it where its positions have room, and where the prompts of the larger group
        have no more tokens to compute than separately.

        Returns:
            The positions of each batch's requests; each batch is what ``complete`` takes.
        """
        prompts = [render_conversation(self.tokenizer, r.messages).ids for r in requests]
        order = sorted(range(len(requests)), key=lambda i: (*_kind(requests[i]), -len(prompts[i]), i))
        groups: list[_Group] = []
        for i in order:
            group = _Group([i], prompts[i], len(prompts[i]) - 1 if self.shares_prefix else 0, len(prompts[i]))
            if groups and _setting(requests[groups[-1].members[0]]) == _setting(requests[i]):
                joined = groups[-1].with_one(i, prompts[i])
                fits = joined.positions(requests[i].sampling, self.shares_prefix) <= self.batch_tokens
                if fits and joined.tokens <= groups[-1].tokens + group.tokens:
                    groups[-1] = joined
                    continue
            groups.append(group)
        return [group.members for group in groups]

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests of one sampling setting, and return the ``n`` completions of each, in order."""
        return self.complete_with_progress(requests, lambda _: None)

    def complete_with_progress(
        self, requests: Sequence[Request], tell: Callable[[int], object]
    ) -> list[list[Completion]]:
        """Complete requests of one sampling setting, and tell how far that is.

        Args:
            requests: One batch.
            tell: Called now and then with the completions' worth of work done since the last call.

        Returns:
            The ``n`` completions of each request, in order.
        """
        prompts = [render_conversation(self.tokenizer, r.messages).ids for r in requests]
        n = requests[0].sampling.n
        with torch.inference_mode():
            tokens = self._decode(prompts, requests, tell)
        found = [read_completion(self.tokenizer, self.ends, row) for row in tokens]
        self.thoughts_alone += sum(is_alone for _, is_alone in found)
        rows = [completion for completion, _ in found]
        return [rows[i * n : (i + 1) * n] for i in range(len(requests))]

    def _decode(
        self, prompts: Sequence[Sequence[int]], requests: Sequence[Request], tell: Callable[[int], object]
    ) -> list[list[int]]:
        """Return the new token ids of every row, the end token included where one was produced."""
        sampling, told = requests[0].sampling, 0
        batch = self._prefill(prompts, sampling)
        uniform, ends = _uniform(requests).to(self.model.device), set(self.ends)
        openings = [opening for r in requests for opening in (r.openings or ("",) * sampling.n)]
        forced = [token_ids(self.tokenizer, opening) for opening in openings]
        rows: list[list[int]] = [[] for _ in range(len(uniform))]
        alive = list(range(len(uniform)))
        for step in range(sampling.max_new_tokens):
            token = sample_tokens(batch.logits, sampling.temperature, sampling.top_p, uniform[:, step])
            values = token.tolist()  # the one wait for a GPU in a step
            if any(step < len(forced[row]) for row in alive):
                values = [(*forced[row][step : step + 1], value)[0] for row, value in zip(alive, values, strict=True)]
                token = token.new_tensor(values)
            for row, value in zip(alive, values, strict=True):
                rows[row].append(value)
            going_on = [place for place, value in enumerate(values) if value not in ends]
            if step + 1 == sampling.max_new_tokens or not going_on:
                break
            if len(going_on) < len(alive):
                alive, kept = [alive[place] for place in going_on], token.new_tensor(going_on)
                token, uniform = token[kept], uniform[kept]
                batch.select_rows(kept)
            # an ended row counts whole, the others by the share of their longest length
            done = len(rows) - len(alive) + len(alive) * (step + 1) // sampling.max_new_tokens
            tell(done - told)
            told = done
            batch.append(token)
        return rows

    def _prefill(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> DecodingBatch:
        padding = self.ends[0]
        if self.shares_prefix:
            return SharedPrefixBatch(self.model, prompts, sampling.n, padding, self.fast_decoder)
        return PerRowBatch(self.model, prompts, sampling.n, padding)


def sample_tokens(logits: torch.Tensor, temperature: float, top_p: float, uniform: torch.Tensor) -> torch.Tensor:
    """Choose the next token of each row.

    Args:
        logits: (rows, vocabulary).
        temperature: 0 takes the most likely token.
        top_p: Nucleus within the 64 most likely tokens (Holtzman et al., 2020).
        uniform: (rows,) random numbers in [0, 1); the token is where the cumulative probability passes them.

    Returns:
        Token ids, (rows,).
    """
    if temperature == 0:
        return logits.max(-1).indices
    values, tokens = logits.topk(min(TOP_K, logits.shape[-1]), dim=-1)
    probabilities = torch.softmax(values.float() / temperature, dim=-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    cumulative = probabilities.cumsum(-1) / probabilities.sum(-1, keepdim=True)
    index = (cumulative <= uniform[:, None]).sum(-1).clamp(max=values.shape[-1] - 1)
    return tokens.gather(1, index[:, None]).squeeze(1)


@dataclass(frozen=True)
class _Group:
    """Requests that are completed together: their places, the first prompt, the tokens all share, the longest."""

    members: list[int]
    first: Sequence[int]
    shared: int
    longest: int

    def with_one(self, member: int, prompt: Sequence[int]) -> _Group:
        most = min(self.shared, len(prompt) - 1)
        shared = next((i for i in range(most) if prompt[i] != self.first[i]), most)
        return _Group([*self.members, member], self.first, shared, max(self.longest, len(prompt)))

    @property
    def tokens(self) -> int:
        """Tokens of the prompts that are computed, padding included."""
        return self.shared + len(self.members) * (self.longest - self.shared)

    def positions(self, sampling: Sampling, shares_prefix: bool) -> int:
        """Cache positions when all rows have their full length."""
        rows = len(self.members) * sampling.n
        return rows * sampling.max_new_tokens + (self.tokens if shares_prefix else rows * self.longest)


def _kind(request: Request) -> tuple[Any, ...]:
    """Return what requests are sorted by: the sampling setting, and the first worked example where there is one."""
    return (*_setting(request), request.messages[0]["content"] if len(request.messages) > 2 else "")


def _setting(request: Request) -> tuple[Any, ...]:
    s = request.sampling
    return (s.max_new_tokens, s.temperature, s.top_p, s.n)


def _uniform(requests: Sequence[Request]) -> torch.Tensor:
    """Return random numbers (rows, steps), each request's from its own seed, whatever it is batched with."""
    draws = []
    for request in requests:
        source = torch.Generator().manual_seed(request.sampling.seed)
        draws.append(torch.rand(request.sampling.n, request.sampling.max_new_tokens, generator=source))
    return torch.cat(draws)
