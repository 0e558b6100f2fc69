"""Attention for short sequences on a CPU: grouped matrix products instead of the fused kernel.

PyTorch's fused attention on a CPU handles one query row in blocks made for many. With the key-value heads kept
grouped, a decoding step of SmolLM2-135M (64 rows, 160 positions) takes 0.6 ms a layer instead of 16. Of long sequences
the scores would fill the memory, and the fused kernel is the faster: forward and backward, 16 rows of 96 positions take
5 ms grouped and 19 fused, 2 rows of 2,048 take 303 and 94.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from valign.core.errors import ValignError

if TYPE_CHECKING:
    import torch

GROUPED = "valign_grouped"
OWN_ATTENTION = ("diffllama", "doge", "falcon", "jetmoe")  # families whose attention takes PyTorch's and no other
WITHOUT_KEYS = ("falcon_mamba", "mamba", "mamba2", "rwkv", "xlstm")  # families that attend to nothing
NOT_ENCODERS = ("gpt_neox", "gpt_neox_japanese")  # decoders whose configs can say otherwise, and do by default
UNKNOWN_OPTIONS = ("s_aux", "sinks", "softcap", "position_bias")  # with which models change the scores
ATTENTION_NAMES = ("self_attn", "attention", "self_attention", "attn")  # of layers' attention, in transformers
LONG_QUERIES = 512  # queries from which PyTorch's fused kernel is the faster one on a CPU, forward and backward


class AttendingCache(Protocol):
    """A cache that computes the attention itself; a layer gets it in place of its keys."""

    def attend(self, query: torch.Tensor) -> torch.Tensor:
        """Return (batch, queries, heads, head size) for a scaled query (batch, heads, queries, head size)."""
        ...


class RowLayout(NamedTuple):
    """How a padded batch is packed into a single row: where each token of that row stands in the batch.

    Attributes:
        token: Which token of the single row is at each place, (rows, positions); one may be in several rows.
        place: The place of each token, as an index into the flattened rows, (tokens,).
        is_causal: Whether a token sees all that stands before it in its row, so that a long row needs no mask.
    """

    token: torch.Tensor
    place: torch.Tensor
    is_causal: bool = False

    @property
    def needs_mask(self) -> bool:
        """Whether attention needs a mask; ``attend_long`` makes a causal one itself."""
        return not (self.is_causal and self.token.shape[1] >= LONG_QUERIES)

    def pad(self, states: torch.Tensor) -> torch.Tensor:
        """Lay (1, heads, tokens, head size) out as (rows, heads, positions, head size)."""
        _, heads, _, size = states.shape
        tokens = states[0].transpose(0, 1).reshape(-1, heads * size)
        rows = tokens.index_select(0, self.token.flatten())
        return rows.view(*self.token.shape, heads, size).transpose(1, 2)

    def unpad(self, output: torch.Tensor) -> torch.Tensor:
        """Take (1, tokens, heads, head size) out of (rows, positions, heads, head size)."""
        heads, size = output.shape[2:]
        return output.reshape(-1, heads * size).index_select(0, self.place).view(1, -1, heads, size)


def register_attention() -> str:
    """Make the grouped attention known to transformers and return its name for ``attn_implementation``."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    AttentionInterface.register(GROUPED, grouped_attention)
    AttentionMaskInterface.register(GROUPED, eager_mask)
    return GROUPED


def default_implementation(device: str) -> str:
    """Return the name of the attention for a device where none is asked for: grouped on a CPU, PyTorch's on a GPU."""
    return register_attention() if device.startswith("cpu") else "sdpa"


def suitable_implementation(config: Any, device: str) -> str:
    """Return the name of the attention that computes a model right and fast where none is asked for.

    Scores that are capped (Gemma 2), shared with a sink (gpt-oss) or biased (Inkling) are left to transformers' own
    attention; those masked by the head (Doge) or computed by a class of its own (Falcon), and keys that a layer repeats
    (JetMoe), to that or PyTorch's.

    Args:
        config: The model's config.
        device: Where it will run.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    text = config.get_text_config()
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    changed = getattr(text, "attn_logit_softcapping", None) or text.model_type == "inkling_text"
    if changed or not getattr(kind, "_supports_sdpa", True):
        return "eager"
    if text.model_type in OWN_ATTENTION:
        return "eager" if device.startswith("cpu") else "sdpa"
    return default_implementation(device)


def predicts_the_next_token(config: Any) -> bool:
    """Tell whether a model sees nothing but what stands before a token, as whoever writes an answer must.

    BERT sees both sides, T5 needs an encoder, and a classifier predicts no tokens at all.

    Args:
        config: The model's config.
    """
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if getattr(config, "auto_map", None):  # code of its own
        return True
    by_default = getattr(type(config), "is_decoder", None)  # that of LLaMA has no such field, and may be given one
    sees_both = by_default is False and not config.is_decoder and config.model_type not in NOT_ENCODERS
    encodes = getattr(config, "is_encoder_decoder", False) or config.model_type in ("xlm", "xlnet")
    return type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and not sees_both and not encodes


def has_equal_heads(config: Any) -> bool:
    """Tell whether queries, keys and values have heads of one size; DeepSeek's values have another.

    Args:
        config: The model's config.
    """
    text = config.get_text_config()
    size = getattr(text, "v_head_dim", None)
    return size is None or size == getattr(text, "qk_head_dim", None)


def has_full_attention(config: Any) -> bool:
    """Tell whether every token sees all that stands before it, in every layer: no layer has a window.

    Args:
        config: The model's config.
    """
    text = config.get_text_config()
    full = set(getattr(text, "layer_types", None) or ["full_attention"]) == {"full_attention"}
    windowed = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    return bool(full and not windowed)


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor | AttendingCache,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    layout: RowLayout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend with grouped key-value heads, without repeating them.

    Args:
        module: The attention layer; its training flag decides on dropout.
        query: (batch, heads, queries, head size).
        key: (batch, key-value heads, keys, head size), or a cache that attends by itself.
        value: As key.
        attention_mask: (batch, 1, queries, keys), added to the scores; None for none.
        scaling: Factor of the scores.
        dropout: Probability of dropping an attention weight in training.
        layout: Where batch is 1, the padded rows that its tokens belong to; the mask is then theirs.
        **options: What else the model passes; none may change the scores.

    Returns:
        The output (batch, queries, heads, head size), and None for the weights.

    Raises:
        ValignError: The layer has not passed the layout on, or changes the scores.
    """
    import torch

    if changed := [name for name in UNKNOWN_OPTIONS if options.get(name) is not None]:
        raise ValignError(
            f"{type(module).__name__} changes attention's scores ({', '.join(changed)}); set trainer.attention=eager."
        )

    if not isinstance(key, torch.Tensor):
        return key.attend(query * scaling), None
    if layout is None:
        require_options(module, attention_mask, key)
    else:
        query, key, value = (layout.pad(states) for states in (query, key, value))
    batch, heads, queries, size = query.shape
    if queries >= LONG_QUERIES:
        output = attend_long(query, key, value, attention_mask, scaling, layout, dropout if module.training else 0.0)
        return (output.contiguous() if layout is None else layout.unpad(output)), None
    groups = key.shape[1]
    grouped = (query * scaling).reshape(batch, groups, heads // groups * queries, size)
    scores = torch.matmul(grouped, key.transpose(-1, -2)).view(batch, groups, heads // groups, queries, -1)
    if attention_mask is not None:
        scores = scores + attention_mask[:, :, None, :, : key.shape[2]]
    weights = torch.softmax(scores, dim=-1).to(value.dtype)
    weights = torch.nn.functional.dropout(weights, dropout, module.training)
    output = torch.matmul(weights.view(batch, groups, heads // groups * queries, -1), value)
    output = output.view(batch, heads, queries, value.shape[-1]).transpose(1, 2)
    return (output.contiguous() if layout is None else layout.unpad(output)), None


def require_options(module: torch.nn.Module, mask: torch.Tensor | None, key: torch.Tensor) -> None:
    """Refuse a packed row whose layer has not passed on which conversation a token belongs to.

    Args:
        module: The attention layer.
        mask: A mask of one element stands for what is passed on; one of padded rows does not fit a packed row.
        key: (batch, key-value heads, keys, head size).

    Raises:
        ValignError: The tokens would see those of other conversations.
    """
    batch, keys = key.shape[0], key.shape[2]
    if mask is not None and (mask.numel() == 1 < keys or mask.shape[0] not in (1, batch) or mask.shape[-1] < keys):
        raise ValignError(
            f"{type(module).__name__} does not pass on which conversation a token belongs to; "
            "set trainer.padding_free=false."
        )


@cache
def passes_layout_on(kind: type[torch.nn.Module]) -> bool:
    """Tell whether a layer calls its attention with all that it is called with, read from its source.

    Those of StableLM, Nemotron and Falcon do not: their attention would not learn which conversation a token is of.

    Args:
        kind: Class of the layer; of anything else that transformers does not call a layer, True.
    """
    if not kind.__module__.startswith("transformers.models.") or not kind.__name__.endswith(("Layer", "Block")):
        return True
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind.forward)))
    except OSError:  # installed without its source; ``require_options`` sees what is wrong
        return True
    calls = [call for call in ast.walk(tree) if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)]
    attending = [call for call in calls if cast("ast.Attribute", call.func).attr in ATTENTION_NAMES]
    return all(any(keyword.arg is None for keyword in call.keywords) for call in attending)


def attend_long(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float,
    layout: RowLayout | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Attend with PyTorch's fused kernel, whose memory grows with the length and not with its square.

    Args:
        query: (batch, heads, queries, head size).
        key: (batch, key-value heads, keys, head size).
        value: As key.
        mask: Added to the scores, (batch, 1, queries, keys); None for none.
        scaling: Factor of the scores.
        layout: Of the rows, where they were packed into a single one; None otherwise.
        dropout: Probability of dropping an attention weight.

    Returns:
        (batch, queries, heads, head size).
    """
    import torch

    causal = layout is not None and not layout.needs_mask
    if mask is not None:
        mask = None if causal else mask[..., : key.shape[2]]
    output: torch.Tensor = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, mask, dropout, is_causal=causal, scale=scaling, enable_gqa=True
    )
    return output.transpose(1, 2)
