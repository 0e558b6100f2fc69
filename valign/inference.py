"""Generation in process: prompts in, completions out, with the prompt computed once for all its samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from valign.teachers.protocol import Completion, Request
from valign.training.chat import render

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TOP_K = 64


class Generator:
    """Completes conversations with a causal language model.

    Prompts are grouped by length and padded on the left; a prompt's key-value cache is computed once and repeated
    for its ``n`` samples; rows that have ended leave the batch.

    Args:
        model: The language model, in evaluation mode.
        tokenizer: Its tokenizer, with a chat template.
        id: Name of the model with its weights' version.
        batch_tokens: Most cache positions (rows times length) of one batch.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, id: str, batch_tokens: int = 8192
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.id = id
        self.batch_tokens = batch_tokens

    def batches(self, requests: Sequence[Request]) -> list[list[int]]:
        """Group requests of one sampling setting (the seed aside) and similar length; see ``Teacher``."""
        lengths = [len(render(self.tokenizer, r.messages).ids) for r in requests]
        order = sorted(range(len(requests)), key=lambda i: (_setting(requests[i]), -lengths[i], i))
        groups: list[list[int]] = []
        for i in order:
            rows = requests[i].sampling.n
            if groups and _setting(requests[groups[-1][0]]) == _setting(requests[i]):
                widest = lengths[groups[-1][0]] + requests[i].sampling.max_new_tokens
                if (len(groups[-1]) + 1) * rows * widest <= self.batch_tokens:
                    groups[-1].append(i)
                    continue
            groups.append([i])
        return groups

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete requests of one sampling setting; see ``Teacher``."""
        import torch

        prompts = [render(self.tokenizer, r.messages).ids for r in requests]
        n = requests[0].sampling.n
        with torch.inference_mode():
            tokens = self._decode(prompts, requests)
        rows = [self._completion(row) for row in tokens]
        return [rows[i * n : (i + 1) * n] for i in range(len(requests))]

    def _completion(self, row: list[int]) -> Completion:
        finished = bool(row) and row[-1] == self.tokenizer.eos_token_id
        text = str(self.tokenizer.decode(row, skip_special_tokens=True)).strip()
        return Completion(text, len(row), finished)

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _decode(self, prompts: Sequence[Sequence[int]], requests: Sequence[Request]) -> list[list[int]]:
        """Return the new token ids of every row, the end token included where one was produced."""
        import torch

        sampling = requests[0].sampling
        device = self.model.device
        ids, mask = pad_left(prompts, int(self.tokenizer.eos_token_id))
        ids, mask = ids.to(device), mask.to(device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        out = self.model(ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1)
        cache, logits = out.past_key_values, out.logits[:, -1].repeat_interleave(sampling.n, 0)
        if sampling.n > 1:
            cache.batch_repeat_interleave(sampling.n)
        mask = mask.repeat_interleave(sampling.n, 0)
        position = positions[:, -1:].repeat_interleave(sampling.n, 0)
        uniform = _uniform(requests).to(device)
        forced = [self._ids(opening) for r in requests for opening in (r.openings or ("",) * sampling.n)]
        rows: list[list[int]] = [[] for _ in range(len(mask))]
        alive = torch.arange(len(mask), device=device)
        for step in range(sampling.max_new_tokens):
            token = choose(logits, sampling.temperature, sampling.top_p, uniform[alive, step])
            for place, row in enumerate(alive.tolist()):
                if step < len(forced[row]):
                    token[place] = forced[row][step]
            for row, value in zip(alive.tolist(), token.tolist(), strict=True):
                rows[row].append(value)
            keep = token != self.tokenizer.eos_token_id
            if step + 1 == sampling.max_new_tokens or not bool(keep.any()):
                break
            if not bool(keep.all()):
                alive, token, mask, position = alive[keep], token[keep], mask[keep], position[keep]
                cache.batch_select_indices(keep.nonzero().squeeze(1))
            position = position + 1
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
            logits = self.model(
                token[:, None], attention_mask=mask, position_ids=position, past_key_values=cache, use_cache=True
            ).logits[:, -1]
        return rows


def pad_left(sequences: Sequence[Sequence[int]], value: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad token ids on the left.

    Returns:
        Ids and attention mask, both (rows, longest), int64.
    """
    import torch

    width = max(len(s) for s in sequences)
    ids = torch.full((len(sequences), width), value, dtype=torch.long)
    mask = torch.zeros((len(sequences), width), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = torch.tensor(sequence, dtype=torch.long)
        mask[row, width - len(sequence) :] = 1
    return ids, mask


def choose(logits: torch.Tensor, temperature: float, top_p: float, uniform: torch.Tensor) -> torch.Tensor:
    """Choose the next token of each row.

    Args:
        logits: (rows, vocabulary).
        temperature: 0 takes the most likely token.
        top_p: Nucleus within the 64 most likely tokens (Holtzman et al., 2020).
        uniform: (rows,) random numbers in [0, 1); the token is where the cumulative probability passes them.

    Returns:
        Token ids, (rows,).
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    values, tokens = logits.float().topk(min(TOP_K, logits.shape[-1]), dim=-1)
    probabilities = torch.softmax(values / temperature, dim=-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    cumulative = probabilities.cumsum(-1) / probabilities.sum(-1, keepdim=True)
    index = (cumulative <= uniform[:, None]).sum(-1).clamp(max=values.shape[-1] - 1)
    return tokens.gather(1, index[:, None]).squeeze(1)


def _setting(request: Request) -> tuple[Any, ...]:
    s = request.sampling
    return (s.max_new_tokens, s.temperature, s.top_p, s.n)


def _uniform(requests: Sequence[Request]) -> torch.Tensor:
    """Return random numbers (rows, steps), each request's from its own seed, whatever it is batched with."""
    import torch

    draws = []
    for request in requests:
        source = torch.Generator().manual_seed(request.sampling.seed)
        draws.append(torch.rand(request.sampling.n, request.sampling.max_new_tokens, generator=source))
    return torch.cat(draws)
