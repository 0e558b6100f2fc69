"""Model families that attend in ways of their own: right on a CPU, padded or packed, or refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from random_models import SHAPE
from trainings import DPO, SFT
from transformers import AutoConfig, AutoModelForCausalLM

from valign.core.errors import ValignError
from valign.generation.decoding_batch import PerRowBatch
from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling
from valign.models import attention, packing, varlen
from valign.models.chat_template import render_conversation
from valign.models.load import load_model, prepare_model
from valign.models.logprobs import SCALED, output_layer
from valign.models.varlen import VARLEN
from valign.training.batches import collate
from valign.training.examples import EncodedExample
from valign.training.supervised_logps import pair_logps, supervised_logps

SIZES = SHAPE | {"max_position_embeddings": 1024, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
LATENT = {
    **{"num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    **{"n_group": 2, "topk_group": 1, "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8},
    **{"qk_nope_head_dim": 8, "v_head_dim": 12, "first_k_dense_replace": 1},
}

OTHERS = (
    *("apertus", "arcee", "aria_text", "biogpt", "bitnet", "bloom", "cohere", "cohere2", "ctrl", "cwm", "ernie4_5"),
    *("ernie4_5_moe", "exaone4", "flex_olmo", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "glm4_moe", "gpt2"),
    *(
        "gpt_bigcode",
        "granite",
        "granitemoe",
        "granitemoeshared",
        "hyperclovax",
        "inkling_text",
        "internlm3",
        "lfm2",
        "llama4_text",
    ),
    *("minimax", "minimax_m2", "ministral3", "mistral", "mixtral", "nanochat", "nemotron", "olmo", "olmo2", "olmo3"),
    *("olmoe", "opt", "persimmon", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"),
    *("recurrent_gemma", "seed_oss", "smollm3", "solar_open", "starcoder2", "vaultgemma", "xglm"),
)


def model_of(family: str, **more: Any) -> Any:
    """Return a small random model of a family, with the attention that a CPU gets."""
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **more})
    config._attn_implementation = attention.suitable_implementation(config, "cpu")
    torch.manual_seed(0)
    return getattr(transformers, f"{family}ForCausalLM")(config)


SCALES: dict[str, dict[str, Any]] = {
    **{kind: {"logit_scale": 0.25} for kind in ("cohere", "cohere2")},
    **{kind: {"final_logit_softcapping": 0.5} for kind in ("gemma2", "gemma3_text", "vaultgemma")},
    **{kind: {"logits_scaling": 4.0} for kind in ("granite", "granitemoe", "granitemoeshared")},
    "hyperclovax": {"logits_scaling": 0.125},
    "inkling_text": {"logits_mup_width_multiplier": 3.0},
    "recurrent_gemma": {"logits_soft_cap": 0.5},
}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}


def scaled_model(kind: str, changed: dict[str, Any]) -> Any:
    """Return a small random model of a family, with large logits, and with other factors or caps of them."""
    config = AutoConfig.for_model(kind, **{**SIZES, **EXPERTS, **changed})
    config._attn_implementation = attention.suitable_implementation(config, "cpu")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    return model


def own_logps(model: Any, ids: torch.Tensor, segments: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each supervised token from the logits that the model itself makes of rows."""
    logits = model(input_ids=ids, attention_mask=(segments > 0).long(), use_cache=False).logits
    logps = logits.float().log_softmax(-1)
    return torch.stack([logps[row, place - 1, ids[row, place]] for row, place in mask.nonzero().tolist()])


@pytest.mark.parametrize("examples", [SFT, DPO], ids=["sft", "dpo"])
@pytest.mark.parametrize(
    ("family", "more", "packs"),
    [
        ("Llama", {}, True),
        ("DeepseekV3", LATENT, True),
        ("GPTNeoX", {}, True),
        ("GraniteMoe", {"num_local_experts": 4, "num_experts_per_tok": 2, "output_router_logits": True}, True),
        ("StableLm", {}, False),
        ("Nemotron", {}, False),
        ("Falcon", {"alibi": False}, False),
        ("Falcon", {"alibi": True}, False),
        ("Doge", {}, False),
        ("GPTJ", {"n_embd": 32, "n_head": 4, "n_layer": 2, "rotary_dim": 4, "n_positions": 1024}, False),
        ("GptOss", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 8}, False),
        ("GraniteSWA", {}, False),
        ("MiMoV2Flash", {}, False),
        ("Gemma2", {"head_dim": 8}, False),
    ],
)
def test_a_cpu_computes_a_family_by_default(
    family: str, more: dict[str, Any], packs: bool, examples: list[EncodedExample]
) -> None:
    """As eager attention of padded rows does; packed only where the layers say which token is whose."""
    model = model_of(family, **more)
    assert packing.packs_by_default(model) == packs
    inputs = collate(examples, 0, share=packing.supports_custom_masks(model))
    found = supervised_logps(model, *inputs)
    model.set_attn_implementation("eager")
    torch.testing.assert_close(found, supervised_logps(model, *inputs, padding_free=False), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("examples", [SFT, DPO], ids=["sft", "dpo"])
@pytest.mark.parametrize("kind", OTHERS)
def test_other_families_are_computed_as_their_own_attention_computes_them(
    kind: str, examples: list[EncodedExample]
) -> None:
    """However a batch is laid out by default: as with padded rows, one for each answer, and eager attention."""
    config = AutoConfig.for_model(kind, **SIZES, **EXPERTS)
    config._attn_implementation = attention.suitable_implementation(config, "cpu")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    together, apart = (collate(examples, 0, share) for share in (packing.supports_custom_masks(model), False))
    found = supervised_logps(model, *together)
    torch.testing.assert_close(own_logps(model, *apart), supervised_logps(model, *apart), rtol=1e-4, atol=1e-4)
    model.set_attn_implementation("eager")
    expected = supervised_logps(model, *apart, padding_free=False)
    if examples is DPO:
        found, expected = (
            torch.stack(pair_logps(logps, x[1], x[2], len(DPO))) for logps, x in ((found, together), (expected, apart))
        )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "more", "shares"),
    [
        ("Llama", {}, True),
        ("GPTNeoX", {}, True),
        ("Falcon", {"alibi": False}, True),
        ("Falcon", {"alibi": True}, False),
        ("Mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2}, False),
        ("Bloom", {"n_head": 4, "n_layer": 2}, False),
    ],
)
def test_answers_of_a_pair_share_a_row_only_where_positions_say_where_a_token_stands(
    family: str, more: dict[str, Any], shares: bool
) -> None:
    """Each answer then has the log-probability that it has in a row of its own."""
    model = model_of(family, **more)
    assert packing.supports_custom_masks(model) == shares
    apart, together = (collate(DPO, 0, share) for share in (False, shares))
    sums = [torch.stack(pair_logps(supervised_logps(model, *x), x[1], x[2], len(DPO))) for x in (apart, together)]
    torch.testing.assert_close(sums[1], sums[0], rtol=1e-4, atol=1e-4)


def generator_of(family: str, more: dict[str, Any]) -> Generator:
    tokenizer = load_model(prepare_model("tiny"), "float32")[1]
    model = model_of(family, **more, vocab_size=len(tokenizer)).eval().requires_grad_(False)
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.2)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = tokenizer.eos_token_id
    return Generator(model, tokenizer, "x", 2048)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("Llama", {}),
        ("DeepseekV3", LATENT),
        ("JetMoe", {"num_local_experts": 4, "num_experts_per_tok": 2}),
        ("DiffLlama", {}),
        ("StableLm", {}),
        ("Falcon", {"alibi": True}),
        ("GraniteSWA", {}),
    ],
)
def test_a_family_answers_as_its_own_greedy_choice(family: str, more: dict[str, Any]) -> None:
    """In a batch of prompts of different lengths, token by token without any cache."""
    generator = generator_of(family, more)
    asked = [({"role": "user", "content": text},) for text in ("Why?", "So be it.")]
    requests = [Request(messages, Sampling(max_new_tokens=6)) for messages in asked]  # type: ignore[arg-type]
    for request, (found,) in zip(requests, generator.complete(requests), strict=True):
        prompt = list(render_conversation(generator.tokenizer, request.messages).ids)
        written: list[int] = []
        while len(written) < 6 and generator.tokenizer.eos_token_id not in written:
            logits = generator.model(torch.tensor([prompt + written]), use_cache=False).logits
            written.append(int(logits[0, -1].argmax()))
        assert found.text == str(generator.tokenizer.decode(written, skip_special_tokens=True)).strip()


def test_samples_of_a_recurrence_are_rows_of_their_own() -> None:
    """Two greedy completions of a prompt, whose state no layer can repeat, are the one."""
    layers = {"num_hidden_layers": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
    batch = {}
    for samples in (1, 2):
        batch[samples] = PerRowBatch(model_of("Qwen3Next", **layers).eval(), [[5, 6, 7], [8, 9]], samples, 0)
        batch[samples].append(torch.tensor([3, 4]).repeat_interleave(samples))
    torch.testing.assert_close(batch[2].logits, batch[1].logits.repeat_interleave(2, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "more", "on_gpu", "trained"),
    [
        ("Llama", {}, "sdpa", VARLEN),
        ("Falcon", {}, "sdpa", "sdpa"),
        ("JetMoe", {}, "sdpa", "sdpa"),
        ("DeepseekV3", LATENT, "sdpa", "sdpa"),
        ("GraniteSWA", {}, "eager", "eager"),
        ("Gemma2", {}, "eager", "eager"),
    ],
)
def test_a_gpu_takes_pytorchs_attention_where_it_is_right(
    family: str, more: dict[str, Any], on_gpu: str, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varlen, "_has_kernel", lambda: True)
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **more})
    assert attention.suitable_implementation(config, "cuda") == on_gpu
    assert varlen.training_implementation(config, "cuda", torch.bfloat16, None) == trained


def test_a_model_without_keys_and_values_is_refused_in_one_line() -> None:
    generator = generator_of("Mamba", {})
    with pytest.raises(ValignError, match=r"MambaForCausalLM keeps no keys and values.*base_model.model"):
        generator.complete([Request(({"role": "user", "content": "Why?"},), Sampling(max_new_tokens=6))])


def test_scores_that_a_model_changes_are_never_left_as_they_are() -> None:
    """Of a family that is not known: one line, in place of numbers without its sinks."""
    states = torch.ones(1, 2, 3, 8)
    with pytest.raises(ValignError, match=r"Module changes attention's scores \(s_aux\); set trainer.attention=eager"):
        attention.grouped_attention(torch.nn.Module(), states, states, states, None, 1.0, s_aux=torch.ones(2))


def test_a_packed_row_needs_its_layout() -> None:
    """A mask of one element, or of padded rows, in a packed row: its layer has not passed the layout on."""
    states = torch.ones(1, 2, 3, 8)
    for mask in (torch.zeros(1, 1, 1, 1), torch.zeros(2, 1, 2, 2)):
        with pytest.raises(ValignError, match=r"Module does not pass on .* set trainer.padding_free=false"):
            attention.grouped_attention(torch.nn.Module(), states, states, states, mask, 1.0)


def test_every_family_whose_logits_are_scaled_is_looked_at() -> None:
    assert set(SCALES) == set(SCALED)


@pytest.mark.parametrize(("kind", "changed"), SCALES.items(), ids=SCALES)
def test_models_that_change_their_logits_do_so_at_supervised_positions(kind: str, changed: dict[str, Any]) -> None:
    """The logits of no other position are made, and the log-probabilities are those of the model's own logits."""
    model = scaled_model(kind, changed)
    inputs = collate(SFT, 0)
    expected = own_logps(model, *inputs)
    assert output_layer(model) is not model.get_output_embeddings()
    made: list[tuple[int, ...]] = []
    model.get_output_embeddings().register_forward_hook(lambda *called: made.append(tuple(called[2].shape[:-1])))
    torch.testing.assert_close(supervised_logps(model, *inputs), expected, rtol=1e-4, atol=1e-5)
    assert made == [(len(expected),)]


@pytest.mark.parametrize(("kind", "changed"), [("mpt", {"logit_scale": 0.5}), ("olmo2", {"logit_scale": 0.5})])
def test_a_factor_that_nobody_knows_is_left_to_the_model(kind: str, changed: dict[str, Any]) -> None:
    """MPT's is for other code and does nothing; another family might do anything with it."""
    model, inputs = scaled_model(kind, changed), collate(SFT, 0, share=False)
    expected = own_logps(model, *inputs)
    torch.testing.assert_close(supervised_logps(model, *inputs), expected, rtol=1e-4, atol=1e-5)
