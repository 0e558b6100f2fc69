"""How a model's weights can be held."""

from __future__ import annotations

PRECISIONS = ("auto", "float32", "bfloat16")
