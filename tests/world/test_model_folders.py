"""Folders of models as people have them: what is read as it is meant, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_families import FAMILIES, write_family
from safetensors.torch import save_file

from valign.core.errors import ValignError
from valign.core.records import Message
from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling
from valign.models.chat_template import render_conversation
from valign.models.export import write_model
from valign.models.load import load_model, prepare_model
from valign.models.template_traits import end_tokens
from valign.pipeline.base_check import check_base_model
from valign.pipeline.context import Context

LLAMA = FAMILIES["Llama 3"]
SETTINGS, TOKENIZER, TEMPLATE = "generation_config.json", "tokenizer_config.json", "chat_template.jinja"
QUESTION: Message = {"role": "user", "content": "May I?"}
Change = Callable[[Path], Any]


def edited(name: str, **changes: Any) -> Change:
    """Return a change of a JSON file's fields; None takes one out."""

    def change(folder: Path) -> None:
        data = json.loads((folder / name).read_text()) | changes
        (folder / name).write_text(json.dumps({key: value for key, value in data.items() if value is not None}))

    return change


def written(name: str, content: str | bytes) -> Change:
    """Return a change of a whole file."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def with_template(template: Any) -> Change:
    """Return a change that puts the template into the tokenizer's settings, where older models have it."""

    def change(folder: Path) -> None:
        (folder / TEMPLATE).unlink()
        edited(TOKENIZER, chat_template=template)(folder)

    return change


def without(*names: str) -> Change:
    """Return a change that removes files."""

    def change(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return change


def sharded(folder: Path) -> None:
    """Write the weights as several files."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="20KB")
    assert len(list(folder.glob("*.safetensors"))) > 2


def pickled_beside(folder: Path) -> None:
    """Add a pickled file, which is not read."""
    torch.save({"model.embed_tokens.weight": torch.zeros(1)}, folder / "pytorch_model.bin")


def others_beside(folder: Path) -> None:
    """Add other weights that are not fetched, and a link that leads nowhere; transformers reads neither."""
    (folder / "consolidated.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n")
    (folder / "gone.safetensors").symlink_to(folder / "nowhere")


NAMED = [{"name": "default", "template": LLAMA.template}, {"name": "tool_use", "template": "{{ 1/0 }}"}]
EVERY_END = ["<|end_of_text|>", "<|eot_id|>", "<|eom_id|>"]


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (without(SETTINGS), EVERY_END[:2]),
        (edited(SETTINGS, eos_token_id=None), EVERY_END[:2]),
        (edited(SETTINGS, eos_token_id=1), EVERY_END[:2]),
        (edited(SETTINGS, temperature=0.6, top_p=0.9, do_sample=True, repetition_penalty=1.3), EVERY_END),
        (with_template(LLAMA.template), EVERY_END),
        (with_template(NAMED), EVERY_END),
        (edited(TOKENIZER, add_bos_token=True), EVERY_END),
        (edited(TOKENIZER, pad_token="<|end_of_text|>"), EVERY_END),
        (edited(TOKENIZER, pad_token=None), EVERY_END),
        (edited(TOKENIZER, name_or_path="/home/someone/base"), EVERY_END),
        (edited("config.json", _name_or_path="/home/someone/base"), EVERY_END),
        (sharded, EVERY_END),
        (pickled_beside, EVERY_END),
        (others_beside, EVERY_END),
    ],
    ids=range(14),
)
def test_a_folder_is_read_as_it_is_meant(tmp_path: Path, change: Change, ends: list[str]) -> None:
    """The prompt has one begin token, and the export answers with the same tokens and names no path."""
    folder = write_family(LLAMA, tmp_path / "base")
    change(folder)
    asked = Request((QUESTION,), Sampling(max_new_tokens=8))
    model, tokenizer = load_model(prepare_model(str(folder)), "float32")
    prompt = render_conversation(tokenizer, [QUESTION])
    assert tokenizer.decode(list(prompt.ids)) == LLAMA.prompt
    assert [tokenizer.decode([token]) for token in end_tokens(model, tokenizer)] == ends
    answer = Generator(model, tokenizer, "base").complete([asked])
    write_model(tmp_path / "out", folder, [], "float32")
    again, read = load_model(tmp_path / "out", "float32")
    assert render_conversation(read, [QUESTION]) == prompt
    assert end_tokens(again, read) == end_tokens(model, tokenizer)
    assert Generator(again, read, "out").complete([asked]) == answer
    for file in [*(tmp_path / "out").glob("*.json"), *(tmp_path / "out").glob("*.jinja")]:
        assert not any(path in file.read_text() for path in ("/home/someone", str(tmp_path))), file


def an_adapter(folder: Path) -> None:
    """Add a LoRA adapter, as a folder of a training has one beside what it was saved with."""
    save_file({"a": torch.zeros(1)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "owner/base"}')


def only_an_adapter(folder: Path) -> None:
    """Leave an adapter alone."""
    without("config.json", "model.safetensors", SETTINGS)(folder)
    an_adapter(folder)


def only_pickled(folder: Path) -> None:
    """Leave pickled weights alone."""
    pickled_beside(folder)
    without("model.safetensors")(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (only_pickled, "holds pickled weights, which can run code when they are read"),
        (only_an_adapter, "holds an adapter .*; give the folder of its base model"),
        (an_adapter, "holds an adapter .*; give the folder of its base model"),
        (written("model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:a\n"), "git lfs pull"),
        (written("model.safetensors", b""), "a file of its weights is damaged or cut off"),
        (lambda f: written("model.safetensors", (f / "model.safetensors").read_bytes()[:-99])(f), "damaged or cut off"),
        (without("config.json"), "cannot be loaded: Unrecognized model"),
        (written("config.json", "{"), "not a valid JSON file"),
        (written("config.json", "[]"), "cannot be loaded: "),
        (edited("config.json", vocab_size=999), "its weights have other shapes than its config.json says"),
        (edited("config.json", model_type="llama9"), "does not recognize this architecture"),
        (edited("config.json", model_type="mine", auto_map={"AutoConfig": "evil.C"}), "contains custom code"),
        (edited("config.json", quantization_config={"quant_method": "gptq", "bits": 4}), "cannot be loaded: .*optimum"),
        (without("tokenizer.json", TOKENIZER, "tokenizer.model"), "cannot be loaded: Couldn't instantiate"),
        (written("tokenizer.json", "{"), "cannot be loaded: "),
        (edited(TOKENIZER, eos_token=None), "has no end token, so no answer could end"),
        (without(TEMPLATE), "has no fast tokenizer with a chat template; choose an instruction-tuned one"),
        (with_template([{"name": n, "template": "x"} for n in ("rag", "tool_use")]), "cannot be chosen: .*no default"),
        (written(TEMPLATE, "{% for m in messages %}{{"), "cannot render 1 turns .user.: unexpected"),
        (written(TEMPLATE, "{{ unheard_of(1) }}"), "cannot render 1 turns .user.: 'unheard_of' is undefined"),
        (written(TEMPLATE, "{{ 1 / 0 }}"), "cannot render 1 turns .user.: division by zero"),
        (
            written(TEMPLATE, "{% for i in range(10 ** 9) %}x{% endfor %}"),
            "cannot render 1 turns .user.: Range too big",
        ),
        (
            written(TEMPLATE, "{% for m in messages %}{{ m.content[0].text }}{% endfor %}"),
            "does not show what a user says",
        ),
        (written(TEMPLATE, "Hello."), "does not show what a user says"),
        (written(TEMPLATE, LLAMA.template + "{{ strftime_now(shape) }}"), "a date in a format of its own making"),
        (written(TEMPLATE, "{% set day = strftime_now %}{{ day('%Y') }}" + LLAMA.template), "of its own making"),
    ],
    ids=range(26),
)
def test_a_folder_that_will_not_do_is_one_line(tmp_path: Path, change: Change, words: str) -> None:
    folder = write_family(LLAMA, tmp_path / "base")
    change(folder)
    with pytest.raises(ValignError, match=words) as caught:
        load_model(prepare_model(str(folder)), "float32")
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_other_weights_is_found_before_anything_is_paid(tmp_path: Path, compose_config: Any) -> None:
    """Its end token is one that the weights do not have."""
    family = FAMILIES["Qwen 2.5"]
    folder = write_family(family, tmp_path / "base")
    edited(TOKENIZER, eos_token="<|other|>")(folder)
    (folder / TEMPLATE).write_text(family.template.replace("<|im_end|>", "<|other|>"))
    config = compose_config("base_model=hub", f"base_model.model={folder}")
    with pytest.raises(ValignError, match=r"the token <\|other\|> .*its tokenizer does not belong to them"):
        check_base_model(Context.of(config))
