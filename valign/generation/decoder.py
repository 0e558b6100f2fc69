"""Generation on a CPU in fewer and larger operations than a model's own forward pass takes.

With one token a row, PyTorch spends less time on arithmetic than on two other things: before every product it copies
the weights into oneDNN's memory layout, and each layer starts some sixty small operations. Here the weights are copied
once, the layers that share an input are one product, and norms and rotary positions are those that training on a CPU
uses, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from valign.models.layers import Projection, is_known_family, is_silu, read_projection, rms_norm, rotate

ROWS = 64  # number of rows that oneDNN lays the weights out for; any other number works, too
MOST_BYTES = 2 << 30  # of weights that are copied

Product = Callable[[torch.Tensor], torch.Tensor]


class DecoderLayer(NamedTuple):
    """What one layer of the decoder computes with, in this order."""

    input_norm: Callable[[torch.Tensor], torch.Tensor]
    qkv: Product
    out: Product
    inner_norm: Callable[[torch.Tensor], torch.Tensor]
    gate_up: Product
    down: Product


class FastDecoder:
    """Llama, Mistral and Qwen2 with a cache of ``valign.generation.kv_cache.SharedPrefixCache``.

    In bfloat16 the weights are copied, in oneDNN's layout, unless they take more than ``MOST_BYTES``.

    Args:
        model: One that ``can_decode`` is true of.
    """

    def __init__(self, model: Any) -> None:
        decoder = model.get_decoder()
        attention = decoder.layers[0].self_attn
        self.embed, self.rotary = decoder.embed_tokens, decoder.rotary_emb
        self.size, self.scaling = attention.head_dim, attention.scaling
        self.heads = attention.q_proj.out_features // self.size
        self.groups = attention.k_proj.out_features // self.size
        small = sum(p.nbytes for p in model.parameters()) <= MOST_BYTES
        ordered = small and model.dtype == torch.bfloat16 and can_reorder_weights()
        self.layers = [_layer(layer, ordered) for layer in decoder.layers]
        self.norm, self.head = _norm(decoder.norm), combined_linear([model.get_output_embeddings()], ordered)

    def __call__(self, ids: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Return the logits after each row's last token, (rows, vocabulary).

        Args:
            ids: Token ids, (rows, tokens).
            positions: Their positions, (rows, tokens).
            cache: Takes the keys and values, and gives back what attends to all that it holds.
        """
        (rows, tokens), heads, groups, size = ids.shape, self.heads, self.groups, self.size
        x = self.embed(ids)
        cosine, sine = (table[:, :, None] for table in self.rotary(x, positions))
        x = x.view(rows * tokens, -1)
        for number, layer in enumerate(self.layers):
            both, value = layer.qkv(layer.input_norm(x)).view(rows, tokens, -1, size).split([heads + groups, groups], 2)
            query, key = rotate(both, cosine, sine, 1).transpose(1, 2).split([heads, groups], 1)
            seen, _ = cache.update(key, value.transpose(1, 2), number)
            x = x + layer.out(seen.attend(query * self.scaling).view(rows * tokens, -1))
            gate, up = layer.gate_up(layer.inner_norm(x)).chunk(2, -1)
            x = x + layer.down(F.silu(gate).mul_(up))
        last = x.view(rows, tokens, -1)[:, -1].contiguous()
        return self.head(self.norm(last))


def can_decode(model: Any) -> bool:
    """Tell whether ``FastDecoder`` is for this model: a known family on a CPU, frozen, with one adapter or none."""
    if not is_known_family(model) or model.device.type != "cpu":
        return False
    layers = model.get_decoder().layers
    linear = [part for layer in layers for part in _projections(layer)]
    found = [read_projection(m) for m in (*linear, model.get_output_embeddings())]
    frozen = all(part is not None and (part.down is None or not part.down.requires_grad) for part in found)
    return frozen and is_silu(layers[0].mlp.act_fn)


def can_reorder_weights() -> bool:
    """Tell whether oneDNN computes in bfloat16 on this processor; where it does not, it refuses such weights."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def combined_linear(layers: Sequence[Any], ordered: bool) -> Product:
    """Return linear layers with one input as one function, their outputs side by side.

    Their adapters become one, ``x [A_1; A_2; ...]^T`` times a matrix that has each layer's B in its place.

    Args:
        layers: Each (out, in).
        ordered: Whether to copy the weights in oneDNN's layout, for one product; they are bfloat16 then.

    Returns:
        From (tokens, in) to (tokens, sum of out).
    """
    parts = [part for layer in layers if (part := read_projection(layer)) is not None]
    if not ordered:
        return lambda x: torch.cat([_linear(x, part) for part in parts], -1)
    weight = _reordered(torch.cat([p.weight.detach() for p in parts]))
    biases = [p.bias.detach() for p in parts if p.bias is not None]
    bias = torch.cat(biases) if biases else None
    adapted = [p for p in parts if p.down is not None and p.up is not None]
    if not adapted:
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    down = _reordered(torch.cat([p.down.detach() for p in adapted if p.down is not None]).to(weight.dtype))
    up = _reordered(_side_by_side(parts).to(weight.dtype))

    def product(x: torch.Tensor) -> torch.Tensor:
        low = torch.ops.mkldnn._linear_pointwise(x, down, None, "none", [], "")
        y = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return torch.ops.mkldnn._linear_pointwise.binary(low, y, up, None, "add")

    return product


def _reordered(weight: torch.Tensor) -> torch.Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), ROWS)


def _side_by_side(parts: Sequence[Projection]) -> torch.Tensor:
    """Return the layers' B, scaled, each in the rows of its outputs and the columns of its ranks; zeros elsewhere."""
    blocks = [p.weight.new_zeros(len(p.weight), 0) if p.up is None else p.up.detach() * p.scale for p in parts]
    return torch.block_diag(*blocks)


def _linear(x: torch.Tensor, part: Projection) -> torch.Tensor:
    y = F.linear(x, part.weight, part.bias)
    if part.down is None or part.up is None:
        return y
    low = F.linear(x, part.down.to(x.dtype))
    return y.addmm_(low, part.up.to(x.dtype).t(), alpha=part.scale)


def _projections(layer: Any) -> list[Any]:
    """Return the linear layers of a decoder layer."""
    attention, mlp = layer.self_attn, layer.mlp
    return [
        *(attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj),
        *(mlp.gate_proj, mlp.up_proj, mlp.down_proj),
    ]


def _layer(layer: Any, ordered: bool) -> DecoderLayer:
    query, key, value, out, gate, up, down = _projections(layer)
    return DecoderLayer(
        _norm(layer.input_layernorm),
        combined_linear([query, key, value], ordered),
        combined_linear([out], ordered),
        _norm(layer.post_attention_layernorm),
        combined_linear([gate, up], ordered),
        combined_linear([down], ordered),
    )


def _norm(module: Any) -> Callable[[torch.Tensor], torch.Tensor]:
    weight, epsilon = module.weight.detach(), float(module.variance_epsilon)
    return lambda x: rms_norm(x, weight, epsilon)[0]
