"""Attention for sequences of many lengths: which sequences it gets, when it is chosen, and that it is the usual one.

PyTorch's kernel is for GPUs, so values come from a plain reference of the same signature; that the kernel takes what it
is given is tried on the meta device, which runs its own checks of shapes.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
import varlen_reference
from torch.nn.attention import varlen
from trainings import DPO, SFT, adapted, both, distances, require_equal
from transformers import Gemma2Config, LlamaConfig, MistralConfig
from transformers import modeling_flash_attention_utils as flash

from valign.core.errors import ValignError
from valign.models import packing
from valign.models.load import load_model
from valign.models.varlen import (
    VARLEN,
    Sequences,
    find_sequences,
    register_varlen,
    training_implementation,
    varlen_attention,
)
from valign.training.batches import collate
from valign.training.examples import EncodedExample
from valign.training.supervised_logps import supervised_logps

BFLOAT16 = torch.bfloat16


@pytest.fixture
def model(path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(varlen, "varlen_attn", varlen_reference.varlen_attn)
    found = adapted(path)
    found.get_base_model().set_attn_implementation(register_varlen())
    return found


def test_sequences_of_pairs_and_of_single_conversations() -> None:
    """The docstring's example; where no row has a rejected answer after common tokens, keys are gathered for nobody."""
    found = find_sequences([2, 4], [1, 0], [3, 0])
    assert found.queries.tolist() == [0, 3, 6, 10]
    assert found.keys.tolist() == [0, 3, 8, 12]
    assert (found.longest_query, found.longest_key) == (4, 5)
    assert found.token is not None and found.token.tolist() == [0, 1, 2, 0, 1, 3, 4, 5, 6, 7, 8, 9]
    plain = find_sequences([3, 2], [0, 0], [0, 0])
    assert (plain.queries.tolist(), plain.keys.tolist(), plain.token) == ([0, 3, 5], [0, 3, 5], None)
    assert find_sequences([0, 0], [2, 0], [0, 1]).token is None  # a row for each answer
    assert find_sequences([2], [2], [0]).queries.tolist() == [0, 4]  # the rejected answer is the chosen one's beginning


@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize("examples", [SFT, DPO, SFT[:1], DPO[:1]], ids=["sft", "dpo", "one", "pair"])
def test_log_probabilities_and_gradients_are_those_of_padded_rows(
    model: Any, path: Path, examples: list[EncodedExample], share: bool
) -> None:
    """To 5e-6, in float64 but for norms and logits: against this attention's padded rows, and the eager attention's."""
    inputs = collate(examples, 0, share)
    padded, packed = both(model, inputs)
    assert max(distances(packed, padded)) < 1e-5  # in float32: of all gradients and of the log-probabilities
    found = both(model.double(), inputs)
    require_equal(found, 5e-6)
    eager = adapted(path).double()
    eager.get_base_model().set_attn_implementation("eager")
    require_equal([both(eager, inputs)[0], found[1]], 5e-6)


def test_layers_get_a_packed_row_and_no_mask_by_default(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """90 tokens of SFT; of each pair what both answers begin with once, and the mask is a single element."""
    base = model.get_base_model()
    for examples in (SFT, DPO):
        layout = packing.lay_out(model, *collate(examples, 0))
        assert layout.ids.shape == (1, sum(e.tokens for e in examples))
        assert packing.decoder_inputs(base, layout)["attention_mask"].shape == (1, 1, 1, 1)
    monkeypatch.setattr(packing, "to_attention_mask", None)  # is not called
    supervised_logps(model, *collate(DPO, 0))


def test_pytorchs_kernel_takes_what_it_is_given() -> None:
    """On the meta device: shapes, dtypes, grouped heads and gathered keys, forward and backward."""
    sequences = find_sequences([2, 4], [1, 0], [3, 0])
    tensors: Any = [x.to("meta") if isinstance(x, torch.Tensor) else x for x in sequences]
    moved = Sequences(*tensors)
    states = [torch.empty(1, heads, 10, 8, dtype=BFLOAT16, device="meta", requires_grad=True) for heads in (4, 2, 2)]
    with pytest.MonkeyPatch.context() as patched:  # there is no autocast for meta
        patched.setattr(torch, "is_autocast_enabled", lambda device: False)
        query, key, value = states
        output, _ = varlen_attention(torch.nn.Module(), query, key, value, None, 0.35, sequences=moved)
    assert output.shape == (1, 10, 4, 8) and output.dtype == BFLOAT16
    output.sum().backward()
    assert [x.grad.shape for x in states if x.grad is not None] == [x.shape for x in states]


def test_a_model_that_does_not_pass_the_sequences_on_is_refused() -> None:
    states = torch.ones(1, 2, 3, 8)
    with pytest.raises(ValignError, match=r"Module does not pass on .* set trainer.padding_free=false"):
        varlen_attention(torch.nn.Module(), states, states, states, torch.zeros(1, 1, 1, 1), 1.0)


def test_when_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bfloat16 on a GPU since Ampere, for models without windows, capped scores or large heads."""
    shape: dict[str, Any] = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    llama, windowed = LlamaConfig(**shape), MistralConfig(**shape, sliding_window=64)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    assert training_implementation(llama, "cuda", BFLOAT16, None) == VARLEN
    assert training_implementation(llama, "cuda:1", BFLOAT16, True) == VARLEN
    assert training_implementation(MistralConfig(**shape, sliding_window=None), "cuda", BFLOAT16, None) == VARLEN
    assert training_implementation(llama, "cpu", BFLOAT16, None) == "valign_grouped"
    assert training_implementation(llama, "cuda", BFLOAT16, False) == "sdpa"
    assert training_implementation(llama, "cuda", torch.float32, None) == "sdpa"
    assert training_implementation(windowed, "cuda", BFLOAT16, None) == "sdpa"
    assert training_implementation(LlamaConfig(**shape, head_dim=512), "cuda", BFLOAT16, None) == "sdpa"
    assert training_implementation(LlamaConfig(**shape, attention_dropout=0.1), "cuda", BFLOAT16, None) == "sdpa"
    assert training_implementation(Gemma2Config(), "cuda", BFLOAT16, None) == "eager"
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    assert training_implementation(llama, "cuda", BFLOAT16, None) == "sdpa"


def test_flash_attention_is_told_where_sequences_begin(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers hands it what came with the batch, in both layers, and looks for nothing in the positions itself."""
    calls: list[list[int]] = []

    def counted(*given: Any, **named: Any) -> torch.Tensor:
        calls.append(named["cu_seqlens_q"].tolist())
        return varlen_reference.flash_attn_varlen_func(*given, **named)

    function = functools.wraps(varlen_reference.flash_attn_varlen_func)(counted)
    process = flash._lazy_define_process_function(function)
    monkeypatch.setattr(
        flash, "lazy_import_flash_attention", lambda *_, **__: ((None, function, *[None] * 3), (process, dict))
    )
    monkeypatch.setattr(flash, "_is_packed_sequence", None)  # is not called
    flashing: Any = load_model(path, "float32")[0]
    inputs = collate(DPO, 0, share=False)
    expected = supervised_logps(flashing, *inputs)
    flashing.config._attn_implementation = "flash_attention_2"
    assert packing.packs_by_default(flashing)
    torch.testing.assert_close(supervised_logps(flashing, *inputs), expected, rtol=1e-5, atol=1e-5)
    lengths = [len(e.conversations[side].ids) for side in (0, 1) for e in DPO]
    assert calls == [[sum(lengths[:i]) for i in range(len(lengths) + 1)]] * 2
