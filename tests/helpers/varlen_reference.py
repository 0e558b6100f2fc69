"""PyTorch's attention for sequences of many lengths, computed plainly: the installed one has a kernel on GPUs alone."""

from __future__ import annotations

from typing import Any

import torch


def varlen_attn(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seq_q: torch.Tensor,
    cu_seq_k: torch.Tensor,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """Attend within each sequence, causally from the end, as FlashAttention does; the sizes have to be right."""
    assert window_size == (-1, 0) and enable_gqa and query.shape[1] % key.shape[1] == 0
    assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
    queries, keys = cu_seq_q.diff().tolist(), cu_seq_k.diff().tolist()
    assert (max(queries), max(keys), sum(queries), sum(keys)) == (max_q, max_k, len(query), len(key))
    repeats = query.shape[1] // key.shape[1]
    found = []
    key, value = (x.repeat_interleave(repeats, 1) for x in (key, value))
    for q, k, v in zip(query.split(queries), key.split(keys), value.split(keys), strict=True):
        exact = torch.promote_types(q.dtype, torch.float32)
        scores = torch.einsum("qhd,khd->hqk", q.to(exact), k.to(exact)) * scale
        seen = torch.ones(len(q), len(k), dtype=torch.bool, device=q.device).tril(len(k) - len(q))
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        found.append(torch.einsum("hqk,khd->qhd", weights, v.to(exact)).to(query.dtype))
    return torch.cat(found)


def flash_attn_varlen_func(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    **_: Any,
) -> torch.Tensor:
    """The same with the signature of the package flash-attn."""
    assert isinstance(max_seqlen_q, int) and causal and softmax_scale is not None and not dropout_p
    options: dict[str, Any] = {"scale": softmax_scale, "window_size": (-1, 0), "enable_gqa": True}
    return varlen_attn(q, k, v, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, **options)
