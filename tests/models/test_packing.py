"""Without padding everything is as it is with it: log-probabilities, gradients, whole trainings."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from trainings import DPO, PARTLY, PIVOTAL, SFT, adapted, both, distances, require_equal, turn
from transformers import LlamaConfig, LlamaForCausalLM

from valign.core.errors import ValignError
from valign.models import packing
from valign.models.chat_template import Rendered
from valign.models.load import load_model
from valign.training import kernels
from valign.training.activation_checkpointing import checkpoint_activations
from valign.training.batches import collate
from valign.training.examples import EncodedExample
from valign.training.supervised_logps import supervised_logps


@pytest.fixture(scope="module")
def model(path: Path) -> Any:
    return adapted(path)


@pytest.mark.parametrize("implementation", ["valign_grouped", "sdpa", "eager"])
@pytest.mark.parametrize("share", [True, False], ids=["shared", "apart"])
@pytest.mark.parametrize(
    "examples", [SFT, DPO, SFT[:1], PIVOTAL, PARTLY], ids=["sft", "dpo", "one", "pivotal", "partly"]
)
def test_packed_equals_padded(model: Any, examples: list[EncodedExample], share: bool, implementation: str) -> None:
    """To 1e-5 in float32, with the rows' opening once and pairs in one row or two.

    In bfloat16, whose rounding depends on the processor, what is packed is as near to float32 as what is padded.
    """
    model.get_base_model().set_attn_implementation(implementation)
    inputs = collate(examples, 0, share)
    exact = both(model, inputs)
    require_equal(exact)
    padded, packed = (distances(rounded, exact[0]) for rounded in both(model, inputs, bfloat16=True))
    assert 0 < padded[0] < 0.05 and 0 < padded[1] < 0.005
    assert packed[0] < 1.2 * padded[0] and packed[1] < 1.2 * padded[1]


@pytest.mark.parametrize("examples", [SFT, DPO, PIVOTAL, PARTLY], ids=["sft", "dpo", "pivotal", "partly"])
def test_what_fills_sizes_up_is_seen_by_nothing(
    model: Any, examples: list[EncodedExample], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bfloat16 sizes are multiples, whose kernels oneDNN has compiled; in float32 the numbers are those without."""
    model.get_base_model().set_attn_implementation("valign_grouped")
    inputs = collate(examples, 0)
    exact = packing.lay_out(model, *inputs)
    monkeypatch.setattr(packing, "_compiles_by_size", lambda model: True)
    filled = packing.lay_out(model, *inputs)
    assert exact.rows and filled.rows and filled.segments is not None
    for smaller, size, step in (
        (exact.ids.shape[1], filled.ids.shape[1], packing.TOKENS_STEP),
        (exact.rows.token.shape[1], filled.rows.token.shape[1], packing.WIDTH_STEP),
    ):
        assert size % step == 0 and 0 <= size - smaller < step
    assert filled.segments.shape == filled.rows.token.shape and len(filled.rows.place) == filled.ids.shape[1]
    assert filled.ids.shape[1] > exact.ids.shape[1]
    require_equal(both(model, inputs))


def test_rows_that_are_filled_up_to_a_long_one_are_the_same(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 512 positions on another kernel attends, which needs no mask."""
    model.get_base_model().set_attn_implementation("valign_grouped")
    ids = [tuple(3 + (i * i) % 40 for i in range(size)) for size in (500, 497, 20)]
    inputs = collate([EncodedExample(str(len(x)), (Rendered(x, (0,) + (1,) * (len(x) - 1)),)) for x in ids], 0)
    exact = both(model, inputs)[1]
    monkeypatch.setattr(packing, "_compiles_by_size", lambda model: True)
    layout = packing.lay_out(model, *inputs)
    assert layout.rows is not None and not layout.rows.needs_mask
    filled = both(model, inputs)[1]
    assert set(filled) == set(exact)
    for name, value in exact.items():
        torch.testing.assert_close(filled[name], value, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "size"), [("float32", 51), ("bfloat16", 64)])
def test_only_products_that_are_compiled_are_filled_up(path: Path, dtype: str, size: int) -> None:
    model: Any = load_model(path, dtype)[0]
    assert packing.lay_out(model, *collate(SFT, 0)).ids.shape == (1, size)


def test_layers_computed_again_give_the_same(path: Path) -> None:
    model = adapted(path)
    inputs = collate(SFT, 0)
    checkpoint_activations(model)
    require_equal(both(model, inputs))


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_positions_alone_keep_conversations_apart(
    model: Any, implementation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What FlashAttention gets, without a mask: transformers makes other attentions a mask of these positions."""
    model.get_base_model().set_attn_implementation(implementation)
    monkeypatch.setattr(packing, "uses_flash", lambda model: True)
    inputs = collate(SFT, 0)
    packed = packing.decoder_inputs(model.get_base_model(), packing.lay_out(model, *inputs, padding_free=True))
    lengths = [e.length for e in SFT]
    assert packed["position_ids"].tolist() == [[i for length in lengths for i in range(length)]]
    assert packed["attention_mask"] is None
    assert packed["cu_seq_lens_q"].tolist() == packed["cu_seq_lens_k"].tolist() == [0, 24, 47, 69, 90]
    assert packed["max_length_q"] == packed["max_length_k"] == 24
    require_equal(both(model, inputs))
    require_equal(both(model, collate(DPO, 0, share=False)))


def test_what_the_layers_get(path: Path) -> None:
    """Rows of 24, 23, 22 and 21 tokens without the last, which predicts nothing: 86; the 12 in common once: 50.

    The last of the longest row stays, as some rotary embeddings go by the length. With dropout what is in common stands
    in each row. Of pairs at their pivotal token, no answer is computed but the longest.
    """
    model: Any = load_model(path, "float32")[0]
    inputs = collate(SFT, 0)
    assert packing.lay_out(model, *inputs).ids.shape == (1, 51)
    assert packing.lay_out(model, *collate(PIVOTAL, 0)).ids.shape == (1, 12 + 4 * 2 + 1)
    assert packing.lay_out(model, *collate(PARTLY, 0)).ids.shape == (1, 13 + 3 + 8 + 1)
    assert packing.lay_out(model, *collate(PARTLY[:1], 0)).ids.shape == (1, 1)
    model.model.extra = torch.nn.Dropout(0.1)
    assert packing.lay_out(model.train(), *inputs).ids.shape == (1, 87)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_rotary_embeddings_that_go_by_the_length_see_the_whole_row(kind: str) -> None:
    """24 tokens, of which the fifth is supervised, in a model of at first 16: its frequencies are those of 24."""
    longrope: dict[str, Any] = {
        "short_factor": [1.0] * 8,
        "long_factor": [3.0] * 8,
        "original_max_position_embeddings": 16,
    }
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config: Any = LlamaConfig(vocab_size=64, max_position_embeddings=16 if kind == "dynamic" else 64, **sizes)
    scaling = {"rope_type": kind, "factor": 4.0, **(longrope if kind == "longrope" else {})}
    config.rope_parameters = {**config.rope_parameters, **scaling}
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    inputs = collate([EncodedExample("long", (Rendered(tuple(range(3, 27)), (*(0,) * 5, 1, *(0,) * 18)),))], 0)
    padded, packed = (supervised_logps(model, *inputs, padding_free=packs) for packs in (False, True))
    assert packing.lay_out(model, *inputs, padding_free=True).ids.shape == (1, 6)
    torch.testing.assert_close(padded, packed, rtol=1e-5, atol=1e-5)


def test_what_is_common_to_all_rows() -> None:
    """A position that predicts an answer is never in common; equal questions are so up to their last token."""

    def common(examples: list[EncodedExample]) -> int:
        ids, segments, mask = collate(examples, 0)
        return packing.common_prefix_length(ids, segments, mask.bool().nonzero(as_tuple=True)[1] - 1)

    assert common(SFT) == common(DPO) == 12
    assert common([EncodedExample(str(i), (turn((20,), (30, 31)),)) for i in range(4)]) == 12


def test_a_cpu_packs_by_itself(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the grouped attention alone; other attention is packed where it is asked for."""
    base = model.get_base_model()
    calls: list[int] = []
    inner = packing.pack

    def counted(*given: Any) -> Any:
        calls.append(1)
        return inner(*given)

    monkeypatch.setattr(packing, "pack", counted)
    for implementation, packed in (("sdpa", 0), ("valign_grouped", 1)):
        base.set_attn_implementation(implementation)
        supervised_logps(model, *collate(SFT, 0))
        assert len(calls) == packed
    supervised_logps(model, *collate(SFT, 0), padding_free=False)
    assert len(calls) == 1


def test_trainings_are_the_same(path: Path, tmp_path: Path) -> None:
    """The key reaches both stages; every step's loss is the same within rounding."""
    for plain, changed in tiny.curves_without_and_with("padding_free", path, tmp_path):
        assert changed == pytest.approx(plain, rel=1e-4) and len(plain) == 3


def test_models_that_would_mix_conversations_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = load_model(path, "float32")[0]
    packing.require_padding_free(model)
    model.config.sliding_window = 64
    with pytest.raises(ValignError, match=r"padding_free=true: LlamaForCausalLM does not keep conversations"):
        packing.require_padding_free(model)
    monkeypatch.setattr(packing, "uses_flash", lambda model: True)
    packing.require_padding_free(model)
    own: Any = SimpleNamespace(config=model.config)
    with pytest.raises(ValignError, match="code of its own"):
        packing.require_padding_free(own)


def test_flash_attention_needs_a_gpu_and_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValignError, match=r"attention=flash_attention_2 needs a GPU"):
        kernels.require_packages(tiny.trainer_settings(attention="flash_attention_2"), "cpu")
    with pytest.raises(ValignError, match=r"needs the package flash-attn: pip install flash-attn"):
        kernels.require_packages(tiny.trainer_settings(attention="flash_attention_2"), "cuda")
    kernels.require_packages(tiny.trainer_settings(attention="sdpa"), "cpu")
    monkeypatch.setattr(kernels.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    kernels.require_packages(tiny.trainer_settings(attention="flash_attention_2"), "cuda")
