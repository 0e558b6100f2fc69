"""Which model is aligned, and how its weights are held, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import group, setting

PRECISIONS = ("auto", "float32", "bfloat16")
QUANTIZATIONS = ("nf4",)


@dataclass(frozen=True, kw_only=True)
class RecommendedSettings:
    """What training takes for a model of this size where nothing else is set; runs of earlier versions had these.

    Attributes:
        sft_learning_rate: Of ``sft.learning_rate``, for an adapter.
        dpo_learning_rate: Of ``dpo.learning_rate``, for an adapter.
        dpo_beta: Of ``dpo.beta``.
        dpo_sft_weight: Of ``dpo.sft_weight``.
        batch_size: Examples, or pairs, that a device holds at once.
        accumulate: Batches in one optimizer step.
        batch_tokens: Tokens that a device holds at once, in place of ``batch_size`` examples; the step stays the same.
    """

    sft_learning_rate: float = setting(1.5e-3, above=0)
    dpo_learning_rate: float = setting(5e-4, above=0)
    dpo_beta: float = setting(1.0, above=0)
    dpo_sft_weight: float = setting(2.0, at_least=0)
    batch_size: int = setting(8, above=0)
    accumulate: int = setting(2, above=0)
    batch_tokens: int | None = setting(None, above=0)


@dataclass(frozen=True, kw_only=True)
class BaseModelSettings:
    """What is aligned.

    Attributes:
        name: In run names and tables.
        model: ``embedded:``, hub id or folder.
        precision: Of its weights.
        quantization: ``nf4`` holds the weights of the layers in 4 bits, on a GPU; None holds them as they are.
        trust_remote_code: Whether code that comes with a hub model is run.
        system_prompt: Put before every conversation; None for none.
        recommended: What ``sft`` and ``dpo`` take for a model of this size unless they are set.
    """

    name: str
    model: str
    precision: str = setting("auto", choices=PRECISIONS)
    quantization: str | None = setting(None, choices=QUANTIZATIONS)
    trust_remote_code: bool = False
    system_prompt: str | None = None
    recommended: RecommendedSettings = group(RecommendedSettings)
