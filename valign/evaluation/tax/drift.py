"""How far a model has moved from its base on a text: likelihood, and Kullback-Leibler divergence both ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedModel

from valign.models.logprobs import output_layer

CHUNK_POSITIONS = 64


@dataclass(frozen=True)
class HiddenStates:
    """The hidden states of a model that predict each next token of some texts, and the model's output layer.

    Attributes:
        states: For each text (tokens - 1, hidden size).
        head: The output layer; what it makes of the states is the logits.
    """

    states: list[torch.Tensor]
    head: Any


@dataclass(frozen=True)
class Drift:
    """One text under a model and its base; means over its predicted tokens, in nats.

    Attributes:
        tokens: Number of predicted tokens.
        nll: Negative log-likelihood under the model.
        base_nll: The same under the base.
        kl_arm_base: KL(arm ‖ base) = Σ p_arm (ln p_arm - ln p_base), over the whole vocabulary: large where the model
            says what the base would not.
        kl_base_arm: KL(base ‖ arm) = Σ p_base (ln p_base - ln p_arm): large where it no longer says what
            the base would.
    """

    tokens: int
    nll: float
    base_nll: float
    kl_arm_base: float
    kl_base_arm: float


def read_hidden_states(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> HiddenStates:
    """Run a model on texts, one at a time, without computing logits.

    Args:
        model: In evaluation mode.
        texts: Token ids of each text, at least two.
    """
    decoder = model.get_decoder()
    states = []
    with torch.inference_mode():
        for ids in texts:
            row = torch.tensor([list(ids)], device=model.device)
            states.append(decoder(row, use_cache=False).last_hidden_state[0, :-1])
    return HiddenStates(states, output_layer(model))


def measure_drift(texts: Sequence[Sequence[int]], arm: HiddenStates, base: HiddenStates) -> list[Drift]:
    """Compare a model with its base, text by text; logits exist for ``CHUNK_POSITIONS`` positions at a time.

    Args:
        texts: Token ids of each text.
        arm: The model's hidden states on these texts.
        base: The base model's.
    """
    found = []
    with torch.inference_mode():
        for ids, own, others in zip(texts, arm.states, base.states, strict=True):
            targets = torch.tensor(list(ids[1:]), device=own.device)
            sums = torch.zeros(4, dtype=torch.float64)
            for part, theirs, target in zip(
                own.split(CHUNK_POSITIONS), others.split(CHUNK_POSITIONS), targets.split(CHUNK_POSITIONS), strict=True
            ):
                p, q = (r.head(h).float().log_softmax(-1) for r, h in ((arm, part), (base, theirs)))
                likely = [-logps.gather(1, target[:, None]).sum() for logps in (p, q)]
                apart = p - q
                divergences = [(p.exp() * apart).sum(), -(q.exp() * apart).sum()]
                sums += torch.stack([*likely, *divergences]).double().cpu()
            found.append(Drift(len(targets), *(sums / len(targets)).tolist()))
    return found
