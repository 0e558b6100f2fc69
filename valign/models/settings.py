"""Which model is aligned, and how its weights are held, as settings."""

from __future__ import annotations

from dataclasses import dataclass

from valign.core.settings import setting

PRECISIONS = ("auto", "float32", "bfloat16")
QUANTIZATIONS = ("nf4",)


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
    """

    name: str
    model: str
    precision: str = setting("auto", choices=PRECISIONS)
    quantization: str | None = setting(None, choices=QUANTIZATIONS)
    trust_remote_code: bool = False
    system_prompt: str | None = None
