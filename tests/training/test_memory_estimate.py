"""The memory estimate_memory, against counts by hand and against the configs' comments."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from fake_gpus import show_gpus
from omegaconf import DictConfig
from transformers import Gemma4TextConfig

from valign.cli import main
from valign.config.arguments import plain
from valign.core.errors import ValignError
from valign.core.files import read_json
from valign.core.settings import make_settings
from valign.models import varlen
from valign.models.load import prepare_model
from valign.pipeline import size_checks
from valign.pipeline.context import Context
from valign.pipeline.size_checks import warn_of_size
from valign.training.memory_estimate import (
    GIB,
    DecoderShape,
    MemoryEstimate,
    answering_warning,
    decoder_shape,
    estimate_memory,
    estimate_stage,
    training_warning,
)
from valign.training.settings import AdapterSettings, DPOSettings, SFTSettings, TrainerSettings

MISTRAL_7B = {
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "vocab_size": 32768,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}
LLAMA_70B = {
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "intermediate_size": 28672,
    "vocab_size": 128256,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}
SMALL = DecoderShape(hidden=8, layers=2, feed_forward=16, vocabulary=10, queries=8, keys=4, tied=False)


def test_parameters_by_hand() -> None:
    """A layer: queries and output 8x8 each, keys and values 8x4 each, three of 8x16, two norms of 8: 592 in all.

    The model: two of them, two embeddings of 10x8, a norm of 8: 1352. Rank 2 on the seven matrices:
    2 * (16 + 16 + 12 + 12 + 24 + 24 + 24) a layer, 512 in all.
    """
    assert SMALL.layer == 592
    assert SMALL.parameters == 1352
    assert SMALL.adapter(2) == 512


def test_the_tiny_model_is_counted_to_the_last_weight() -> None:
    from valign.models.load import load_model

    path = prepare_model("tiny")
    model, _ = load_model(path, "float32")
    assert not isinstance(path, str)
    shape = decoder_shape(read_json(path / "config.json"))
    assert shape is not None
    assert shape.parameters == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(("config", "billions"), [(MISTRAL_7B, 7.248), (LLAMA_70B, 70.554)])
def test_known_models(config: dict[str, int], billions: float) -> None:
    """The published numbers of Mistral-7B-v0.3 and Llama-3.1-70B."""
    shape = decoder_shape(config)
    assert shape is not None
    assert shape.parameters / 1e9 == pytest.approx(billions, abs=0.001)


def test_four_bits_by_hand() -> None:
    """The matrices of both layers are 2 * (592 - 16) = 1152 numbers, at 0.516 bytes; the other 200 keep 2 bytes.

    That is 594 and 400 bytes, and the adapter's 512 weights of 4 bytes beside.
    """
    found = estimate_memory(SMALL, rank=2, stored_bytes=2, tokens=0, quantized=True)
    assert found.weights == pytest.approx(594 + 400 + 2048, abs=1)


def test_what_each_stage_shards() -> None:
    """Full fine-tuning of the small model on 4 devices, 1352 weights of 4 bytes.

    Without ZeRO a device holds 4 + 4 + 8 bytes of each; ZeRO-1 adds 4 for the master and divides these 12 by 4;
    ZeRO-2 divides the gradient too; ZeRO-3 also the weight, and works on two layers of 592 weights.
    """
    common = {"rank": None, "stored_bytes": 4, "tokens": 0, "world": 4}
    found = [estimate_memory(SMALL, **common, stage=stage) for stage in range(4)]  # type: ignore[arg-type]
    assert [(e.weights, e.trained) for e in found] == [
        (1352 * 4, 1352 * 12),
        (1352 * 4, 1352 * (4 + 3)),
        (1352 * 4, 1352 * (1 + 3)),
        (1352 * 1 + 2 * 592 * 4, 1352 * (1 + 3)),
    ]
    moved = estimate_memory(SMALL, **common, stage=3, offload_optimizer=True, offload_parameters=True)  # type: ignore[arg-type]
    assert (moved.weights, moved.trained, moved.host) == (2 * 592 * 4, 1352, 1352 * 4)


def test_recomputed_layers_keep_their_input() -> None:
    """Of 48 bytes a number in each of two layers of width 8, 2 stay; one layer at a time has its 48: 8 (48 + 2 * 2)."""
    common = {"rank": 2, "stored_bytes": 2, "tokens": 10}
    kept, again = (estimate_memory(SMALL, **common, recomputed=r).activations for r in (False, True))  # type: ignore[arg-type]
    assert (kept, again) == (10 * 8 * 48 * 2, 10 * 8 * (48 + 2 * 2))


@pytest.mark.parametrize(
    ("name", "config", "limit"),
    [
        ("scale_7b_24gb", MISTRAL_7B, 24),
        ("scale_7b_80gb", MISTRAL_7B, 80),
        ("scale_7b_8x80gb", MISTRAL_7B, 80),
        ("scale_70b_4x8x80gb", LLAMA_70B, 80),
    ],
)
def test_the_scale_configs_fit_as_their_comments_say(
    name: str, config: dict[str, int], limit: int, compose_config: Callable[..., DictConfig]
) -> None:
    """The comment of each config names the estimate for SFT and for DPO; both leave a tenth of the device free."""
    cfg = compose_config(f"+experiment={name}")
    text = (main.config_folder() / "experiment" / f"{name}.yaml").read_text()
    for stage in ("sft", "dpo"):
        kind: Any = DPOSettings if stage == "dpo" else SFTSettings
        kinds = {"adapter": AdapterSettings, stage: kind, "trainer": TrainerSettings}
        found = estimate_stage(
            config, *(make_settings(each, plain(cfg[key])) for key, each in kinds.items()), stored_bytes=2
        )
        assert isinstance(found, MemoryEstimate)
        assert found.device / GIB < 0.9 * limit * 1e9 / GIB
        said = re.search(rf"# {stage}: ([\d.]+) GiB", text)
        assert said is not None
        assert f"{found.device / GIB:.1f}" == said[1]


@pytest.mark.parametrize(
    ("zero", "buffered"),
    [
        ({"stage": 2, "overlap_comm": True}, 2 * 500_000_000),
        ({"stage": 2, "overlap_comm": True, "reduce_bucket_size": 50_000_000}, 2 * 50_000_000),
        ({"stage": 1, "reduce_bucket_size": 7}, 7),
        ({"stage": 3, "overlap_comm": True, "reduce_bucket_size": 50_000_000}, 50_000_000),
        (None, 0),
    ],
)
def test_deepspeeds_buffers_of_gradients_count(zero: dict[str, Any] | None, buffered: int) -> None:
    """ZeRO-2's two of 500 million numbers, as DeepSpeed has them by default, are 1.9 GiB in bfloat16."""
    given: dict[str, Any] = {"strategy": "deepspeed", "deepspeed": {"zero_optimization": zero}} if zero else {}
    settings, adapter = tiny.sft_settings(), tiny.adapter_settings()
    found = estimate_stage(MISTRAL_7B, adapter, settings, tiny.trainer_settings(**given), stored_bytes=2)
    assert found is not None
    assert found.context == 1.5 * GIB + 2 * buffered


def test_dropout_counts_in_sft_alone() -> None:
    """The 48 bytes of a number become 66; DPO trains without, on two answers a row."""
    adapter, trainer = tiny.adapter_settings(dropout=0.05), tiny.trainer_settings()
    size = {"batch_size": 1, "max_length": 10}
    sft, dpo = (
        estimate_stage(MISTRAL_7B, adapter, settings, trainer, stored_bytes=2)
        for settings in (tiny.sft_settings(**size), tiny.dpo_settings(**size))
    )
    assert sft is not None and dpo is not None
    assert (sft.activations, dpo.activations) == (10 * 4096 * 32 * 66, 2 * 10 * 4096 * 32 * 48)


def test_autocast_copies_weights_that_are_trained() -> None:
    """To bfloat16, 2 bytes each; an adapter's base is stored so, and DeepSpeed computes without autocast."""
    settings, trainer = tiny.sft_settings(batch_size=1, max_length=512), tiny.trainer_settings()
    shape, full = decoder_shape(MISTRAL_7B), tiny.adapter_settings(kind="none")
    assert shape is not None
    for stored, copied in ((2, 2), (4, 0)):
        found = estimate_stage(MISTRAL_7B, full, settings, trainer, stored_bytes=stored)
        assert found is not None and found.weights == shape.parameters * (4 + copied)
    sharded = tiny.trainer_settings(strategy="deepspeed", deepspeed={"zero_optimization": {"stage": 2}})
    found = estimate_stage(MISTRAL_7B, full, settings, sharded, stored_bytes=2)
    assert found is not None and found.weights == shape.parameters * 4


def test_padded_batches_are_counted_as_large_as_they_get() -> None:
    """Batches are filled by tokens and may have as much padding again; packed ones have none."""
    adapter, settings = tiny.adapter_settings(dropout=0.0), tiny.sft_settings(batch_tokens=4096, max_length=512)
    packed, padded = (
        estimate_stage(MISTRAL_7B, adapter, settings, tiny.trainer_settings(padding_free=free), stored_bytes=2)
        for free in (True, False)
    )
    assert packed is not None and padded is not None
    assert (packed.activations, padded.activations) == (4096 * 4096 * 32 * 48, 2 * 4096 * 4096 * 32 * 48)


def test_a_warning_names_the_sum_and_the_remedy() -> None:
    """7B in full on one GPU: 4 + 4 + 8 bytes for each of 7.25 billion weights are 108 GiB."""
    shape = decoder_shape(MISTRAL_7B)
    assert shape is not None
    needed = estimate_memory(shape, rank=None, stored_bytes=4, tokens=0)
    assert needed.device / GIB == pytest.approx(7.248e9 * 16 / GIB + 1.5, abs=0.1)
    assert training_warning(needed, needed.device) is None
    line = training_warning(needed, 24e9)
    assert line is not None
    assert "109.5 GiB a device" in line
    assert "the device has 22.4 GiB" in line
    assert "deepspeed_zero3" in line
    assert "\n" not in line


def test_a_model_that_one_device_cannot_hold_is_named_before_it_answers() -> None:
    """70.6 billion weights in bfloat16 and 1.5 GiB of libraries are 132.9 GiB."""
    line = answering_warning(LLAMA_70B, 2, 80e9)
    assert line is not None
    assert "132.9 GiB, and the device has 74.5 GiB" in line
    assert answering_warning(LLAMA_70B, 2, 143e9) is None
    assert answering_warning(MISTRAL_7B, 2, 24e9) is None
    assert answering_warning({"model_type": "unknown"}, 2, 1.0) is None


def test_what_is_offloaded_has_to_fit_into_main_memory() -> None:
    """Eight devices that offload 10 GiB each need 80 GiB; what lies on NVMe does not count."""
    needed = MemoryEstimate(GIB, GIB, GIB, GIB, host=10 * GIB)
    assert training_warning(needed, 24 * GIB, 80 * GIB, 8) is None
    line = training_warning(needed, 24 * GIB, 64 * GIB, 8)
    assert line is not None
    assert "80.0 GiB of main memory for what 8 devices offload; the machine has 64.0 GiB" in line
    nvme = {name: {"device": "nvme"} for name in ("offload_optimizer", "offload_param")}
    trainer = tiny.trainer_settings(strategy="deepspeed", deepspeed={"zero_optimization": nvme})
    settings = tiny.sft_settings(batch_size=1, max_length=512)
    found = estimate_stage(MISTRAL_7B, tiny.adapter_settings(kind="none"), settings, trainer, stored_bytes=2)
    assert found is not None
    assert found.host == 0


def test_the_warning_comes_before_the_data(
    compose_config: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    """On a GPU of 1 MiB neither stage fits; where a finished run is evaluated, nothing is trained."""
    show_gpus(monkeypatch, "a", free=2**20, whole=2**20)
    composed = compose_config("base_model=tiny", "trainer=gpu", f"artifacts={tmp_path}")
    warn_of_size(Context.of(composed), ("sft", "dpo"))
    said = [record.getMessage() for record in caplog.records]
    assert [text.split(" ")[0] for text in said][:2] == ["sft:", "dpo:"]
    assert all("this may not fit: an estimated" in text for text in said[:2])
    assert not list(tmp_path.glob("data/*"))
    caplog.clear()
    warn_of_size(Context.of(composed), ())
    assert not [record for record in caplog.records if record.getMessage().startswith(("sft:", "dpo:"))]


@pytest.mark.parametrize("has_kernel", [True, False])
def test_batches_that_will_be_padded_are_estimated_so(
    has_kernel: bool,
    compose_config: Callable[..., DictConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Where a GPU has no kernel for packed rows, a batch may be twice as large as its tokens say."""
    show_gpus(monkeypatch, "a", free=80 * GIB, whole=80 * GIB)
    monkeypatch.setattr(varlen, "_has_kernel", lambda: has_kernel)
    needed: list[MemoryEstimate] = []
    monkeypatch.setattr(size_checks, "training_warning", lambda found, *more: needed.append(found))
    own = ["base_model=tiny", "trainer=gpu", "base_model.precision=bfloat16", "sft.batch_tokens=4096"]
    warn_of_size(Context.of(compose_config(*own, "sft.max_length=512", "adapter.dropout=0")), ("sft",))
    shape = decoder_shape(read_json(Path(prepare_model("tiny")) / "config.json"))
    assert shape is not None
    assert needed[0].activations == shape.layers * shape.hidden * 48 * 4096 * (1 if has_kernel else 2)


def test_a_run_that_could_not_answer_is_refused_before_the_data(
    compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are larger than the GPU itself; through vLLM on several of them, without the tax, it runs."""
    show_gpus(monkeypatch, "a", free=2**18, whole=2**18)
    own = ["base_model=tiny", "trainer=gpu", "base_model.precision=float32"]
    with pytest.raises(ValignError, match=r"with the whole model.*tensor-parallel-size,N\], and evaluation\.tax"):
        warn_of_size(Context.of(compose_config(*own)), ("sft",))
    served = ["evaluation.engine=vllm", "evaluation.tax.measure=false"]
    for fits in (served, ["base_model.quantization=nf4"]):  # in 4 bits it may fit
        warn_of_size(Context.of(compose_config(*own, *fits)), ("sft",))


def test_a_model_without_one_size_of_heads_is_looked_at(
    compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gemma 4 has several; a run that trains nothing, and one that does, come to their ends."""
    show_gpus(monkeypatch, "a", free=80 * GIB, whole=80 * GIB)
    monkeypatch.setattr(size_checks, "load_config", lambda *given: Gemma4TextConfig())
    context = Context.of(compose_config("base_model=tiny", "trainer=gpu", "base_model.precision=bfloat16"))
    for stages in ((), ("sft",)):
        warn_of_size(context, stages)


def test_what_other_programs_hold_of_the_gpu_is_not_there(
    compose_config: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A teacher's server leaves too little of 80 GiB; 1 GiB of this process's own libraries is no news."""
    context = Context.of(compose_config("base_model=tiny", "trainer=gpu"))
    show_gpus(monkeypatch, "a", free=79 * GIB, whole=80 * GIB)
    warn_of_size(context, ("sft",))
    assert not caplog.messages
    show_gpus(monkeypatch, "a", free=GIB, whole=80 * GIB)
    warn_of_size(context, ("sft",))
    assert caplog.messages[0].startswith("other programs hold 79.0 of this GPU's 80.0 GiB; if one is the teacher's")
    assert "the device has 1.0 GiB" in caplog.messages[1]
