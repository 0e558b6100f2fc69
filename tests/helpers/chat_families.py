"""Small models of the known families: random weights, one token a byte, and templates that act like the real ones."""

# ruff: noqa: RUF001 (the bars of one family are wide)

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

CHATML = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
OPENED = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate user/assistant') }}{% endif %}"
)
SYSTEM_APART = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
)
LLAMA_2 = (
    SYSTEM_APART + "{% for m in turns %}" + ALTERNATE + "{% if m.role == 'user' %}{{ bos_token + '[INST] ' + "
    "('<<SYS>>\n' + system + '\n<</SYS>>\n\n' if loop.first and system else '') + m.content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' "
    "+ m.content | trim + '<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_3_2 = (
    "{% if strftime_now is defined %}{% set day = strftime_now('%d %b %Y') %}{% else %}{% set day = '1 Jan 1970' %}"
    "{% endif %}" + SYSTEM_APART + "{{ bos_token + '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + day "
    "+ '\n\n' + system + '<|eot_id|>' }}" + LLAMA_3.replace("{{ bos_token }}", "").replace("in messages", "in turns")
)
MISTRAL_1 = (
    "{{ bos_token }}{% for m in messages %}" + ALTERNATE + "{% if m.role == 'user' %}{{ '[INST] ' + m.content + "
    "' [/INST]' }}{% elif m.role == 'assistant' %}{{ m.content + eos_token + ' ' }}{% endif %}{% endfor %}"
)
MISTRAL_2 = (
    SYSTEM_APART + "{{ bos_token }}{% for m in turns %}" + ALTERNATE + "{% if m.role == 'user' %}{{ ' [INST] ' + "
    "(system + '\n\n' if loop.first and system else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_3 = (
    SYSTEM_APART + "{{ bos_token }}{% for m in turns %}" + ALTERNATE + "{% if m.role == 'user' %}{{ '[INST] ' + "
    "(system + '\n\n' if loop.last and system else '') + m.content + '[/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}" + ALTERNATE + "{{ '<start_of_turn>' + ('model' if m.role == 'assistant' else m.role) + "
    "'\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
GEMMA_3 = SYSTEM_APART + GEMMA[GEMMA.index("{% for") :].replace("in messages", "in turns").replace(
    "m.content | trim", "(system + '\n\n' if loop.first and system else '') + m.content | trim"
).join(("{{ bos_token }}", ""))
QWEN_2 = (
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}"
    "{% endif %}" + CHATML + OPENED
)
QWEN_3 = (
    "{% for m in messages %}{% set text = m.content.split('</think>')[-1] %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{{ text + '<|im_end|>\n' }}{% endfor %}"
    + OPENED.replace("{% endif %}", "")
    + "{% if enable_thinking is defined and enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
    "{% endif %}"
)
QWEN_3_THINKING = QWEN_3.replace(
    "{% if enable_thinking is defined and enable_thinking is false %}", "{% if true %}"
).replace("{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}", "{{ '<think>\n' }}{% endif %}{% endif %}")
R1 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% else %}{{ '<｜Assistant｜>' + m.content.split('</think>')[-1] + "
    "'<｜end▁of▁sentence｜>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}"
)
PHI_3 = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
PHI_4 = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '<|im_sep|>' + m.content + '<|im_end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant<|im_sep|>' }}{% endif %}"
)
SMOLLM_3 = (
    SYSTEM_APART + "{% set thinks = enable_thinking | default(true) %}{{ '<|im_start|>system\nToday Date: ' + "
    "strftime_now(\"%d %B %Y\") + '\nReasoning Mode: ' + ('/think' if thinks else '/no_think') + '\n' + system + "
    "'<|im_end|>\n' }}{% for m in turns %}{{ '<|im_start|>' + m.role + '\n' + ('<think>\n\n</think>\n' if m.role == "
    "'assistant' and not thinks else '') + m.content.lstrip('\n') + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' + ('' if thinks else '<think>\n\n</think>\n') }}{% endif %}"
)
OLMO_2 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|assistant|>\n' + m.content + eos_token "
    "+ ('' if loop.last else '\n') }}{% else %}{{ '<|' + m.role + '|>\n' + m.content + '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


@dataclass(frozen=True)
class Family:
    """A model's kind in transformers, its chat template, and what the template makes of "May I?" and "No."."""

    kind: str
    template: str
    prompt: str
    answer: str
    tokens: tuple[str, ...]
    eos: str
    bos: str | None = None
    ends: tuple[str, ...] = ()
    plain: tuple[str, ...] = ()
    shape: dict[str, Any] = field(default_factory=dict)

    @property
    def answer_end(self) -> str:
        """The token that ends the answer."""
        return self.answer.removeprefix(" ").removeprefix("No.").strip()


CHAT = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|eom_id|>")
ASKED = "<|im_start|>user\nMay I?<|im_end|>\n<|im_start|>assistant\n"
EMPTY = "<think>\n\n</think>\n\n"
HEADED = "<|start_header_id|>user<|end_header_id|>\n\nMay I?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
TURN = "<bos><start_of_turn>user\nMay I?<end_of_turn>\n<start_of_turn>model\n"
LLAMA_ENDS = ("<|eot_id|>", "<|eom_id|>")
THOUGHTS = ("<think>", "</think>", "<tool_call>")
GEMMA_SHAPE = {"head_dim": 8, "sliding_window": 32, "tie_word_embeddings": False}
MIXTURE = {"num_local_experts": 4, "num_experts_per_tok": 2}
FAMILIES = {
    "Llama 2": Family("llama", LLAMA_2, "<s>[INST] May I? [/INST]", " No. </s>", ("<s>", "</s>"), "</s>", "<s>"),
    "Llama 3": Family(
        "llama", LLAMA_3, "<|begin_of_text|>" + HEADED, "No.<|eot_id|>",
        ("<|begin_of_text|>", "<|end_of_text|>", *HEADERS), "<|end_of_text|>", "<|begin_of_text|>", LLAMA_ENDS,
    ),
    "Llama 3.2": Family(
        "llama", LLAMA_3_2,
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nToday Date: 26 Jul 2024\n\n<|eot_id|>" + HEADED,
        "No.<|eot_id|>", ("<|begin_of_text|>", *HEADERS), "<|eot_id|>", "<|begin_of_text|>", LLAMA_ENDS,
    ),
    "Mistral v1": Family(
        "mistral", MISTRAL_1, "<s>[INST] May I? [/INST]", "No.</s>", ("<s>", "</s>"), "</s>", "<s>",
        shape={"sliding_window": 32},
    ),
    "Mistral v2": Family(
        "mistral", MISTRAL_2, "<s> [INST] May I? [/INST]", " No.</s>", ("<s>", "</s>"), "</s>", "<s>",
        shape={"sliding_window": None},
    ),
    "Mistral v3": Family(
        "mistral", MISTRAL_3, "<s>[INST] May I?[/INST]", " No.</s>", ("<s>", "</s>", "[INST]", "[/INST]"), "</s>",
        "<s>", shape={"sliding_window": None},
    ),
    "Mixtral": Family(
        "mixtral", MISTRAL_1, "<s>[INST] May I? [/INST]", "No.</s>", ("<s>", "</s>"), "</s>", "<s>", shape=MIXTURE
    ),
    "Gemma 2": Family(
        "gemma2", GEMMA, TURN, "No.<end_of_turn>", ("<pad>", "<eos>", "<bos>"), "<eos>", "<bos>", ("<end_of_turn>",),
        ("<start_of_turn>", "<end_of_turn>", "\n\n", "<table>"), GEMMA_SHAPE,
    ),
    "Gemma 3": Family(
        "gemma3_text", GEMMA_3, TURN, "No.<end_of_turn>",
        ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"), "<eos>", "<bos>", ("<end_of_turn>",),
        shape=GEMMA_SHAPE,
    ),
    "Qwen 2.5": Family(
        "qwen2", QWEN_2, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + ASKED, "No.<|im_end|>", CHAT,
        "<|im_end|>", None, ("<|endoftext|>",),
    ),
    "Qwen 3": Family(
        "qwen3", QWEN_3, ASKED + EMPTY, "No.<|im_end|>", CHAT, "<|im_end|>", None, ("<|endoftext|>",), THOUGHTS,
        {"head_dim": 8},
    ),
    "Qwen 3, always thinking": Family(
        "qwen3", QWEN_3_THINKING, ASKED + EMPTY, "No.<|im_end|>", CHAT, "<|im_end|>", None, ("<|endoftext|>",),
        THOUGHTS, {"head_dim": 8},
    ),
    "R1 distilled": Family(
        "qwen2", R1, "<｜begin▁of▁sentence｜><｜User｜>May I?<｜Assistant｜>" + EMPTY, "No.<｜end▁of▁sentence｜>",
        ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"), "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", (),
        ("<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"),
    ),
    "Phi 3": Family(
        "phi3", PHI_3, "<|user|>\nMay I?<|end|>\n<|assistant|>\n", "No.<|end|>",
        ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"), "<|endoftext|>", None,
        ("<|end|>", "<|assistant|>"), shape={"sliding_window": None},
    ),
    "Phi 4": Family(
        "phi3", PHI_4, "<|im_start|>user<|im_sep|>May I?<|im_end|><|im_start|>assistant<|im_sep|>", "No.<|im_end|>",
        (*CHAT, "<|im_sep|>"), "<|im_end|>", None, ("<|endoftext|>",), shape={"sliding_window": None},
    ),
    "SmolLM 2": Family(
        "llama", QWEN_2, "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n" + ASKED, "No.<|im_end|>", CHAT,
        "<|im_end|>",
    ),
    "SmolLM 3": Family(
        "smollm3", SMOLLM_3,
        "<|im_start|>system\nToday Date: 26 July 2024\nReasoning Mode: /no_think\n<|im_end|>\n" + ASKED + EMPTY[:-1],
        "No.<|im_end|>", CHAT, "<|im_end|>", None, (), ("<think>", "</think>"),
    ),
    "OLMo 2": Family(
        "olmo2", OLMO_2, "<|endoftext|><|user|>\nMay I?\n<|assistant|>\n", "No.<|endoftext|>",
        ("<|endoftext|>", "<|pad|>"), "<|endoftext|>", "<|endoftext|>",
    ),
}  # fmt: skip


def family_tokenizer(family: Family) -> Any:
    """Return a tokenizer of bytes with the family's template and tokens; those of ``plain`` are not special."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    named = [*family.tokens, *family.plain]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate([*named, *alphabet])}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in family.tokens])
    raw.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.plain])
    found = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token=family.eos, bos_token=family.bos)
    found.pad_token = family.tokens[0]
    found.chat_template = family.template
    return found


def write_family(family: Family, folder: Path) -> Path:
    """Write a model of the family with random weights, in Hugging Face format, its terms and its tokenizer."""
    tokenizer = family_tokenizer(family)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(0)
    model: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(family.kind, **shape | family.shape))
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(parameter, 0.0, 0.3)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    ends = [tokenizer.eos_token_id, *tokenizer.convert_tokens_to_ids(list(family.ends))]
    settings = json.loads((folder / "generation_config.json").read_text()) | {"eos_token_id": ends}
    (folder / "generation_config.json").write_text(json.dumps(settings))
    (folder / "LICENSE").write_text("terms")
    (folder / "NOTICE.txt").write_text("notice")
    (folder / "tokenizer.model").write_bytes(b"a SentencePiece model")
    return folder
