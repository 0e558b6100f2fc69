"""Every known family with tiny random weights: rendered, trained, generated, exported and loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from chat_families import FAMILIES, Family, family_tokenizer, write_family
from tiny import instructions, train_sft

from valign.core.records import Message
from valign.generation import generator, written_tokens
from valign.generation.generator import Generator
from valign.generation.requests import Request, Sampling
from valign.models.chat_template import render_conversation
from valign.models.export import write_model
from valign.models.load import load_model
from valign.models.policy import load_policy
from valign.models.template_traits import end_tokens

QUESTION: Message = {"role": "user", "content": "May I?"}
ANSWERED: list[Message] = [QUESTION, {"role": "assistant", "content": "No."}]
SYSTEM: Message = {"role": "system", "content": "Obey the rules."}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_a_family_is_supervised_on_the_answer_and_its_end_alone(family: Family) -> None:
    """The prompt of training is the prompt of generation, with and without a system turn, which is always shown."""
    tokenizer = family_tokenizer(family)
    found = render_conversation(tokenizer, ANSWERED)
    cut = found.prompt_length
    assert tokenizer.decode(found.ids[:cut]) == family.prompt
    assert tokenizer.decode(found.ids[cut:]) == family.answer
    assert render_conversation(tokenizer, [QUESTION]).ids == found.ids[:cut]
    told = render_conversation(tokenizer, [SYSTEM, *ANSWERED])
    prompt = tokenizer.decode(told.ids[: told.prompt_length])
    assert prompt.count("Obey the rules.") == 1 and prompt.index("Obey") < prompt.index("May I?")
    assert tokenizer.decode(told.ids[told.prompt_length :]) == family.answer
    assert render_conversation(tokenizer, [SYSTEM, QUESTION]).ids == told.ids[: told.prompt_length]


@pytest.mark.parametrize("family", FAMILIES.values(), ids=list(FAMILIES))
def test_a_family_answers_with_the_same_tokens_after_its_export(
    family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trained for two steps; the export's tokens are those of this process, and those of transformers' own loop."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = write_family(family, tmp_path / "base")
    (tmp_path / "sft").mkdir()
    written: list[list[int]] = []

    def note(tokenizer: Any, ends: Any, tokens: Any) -> Any:
        written.append(list(tokens))
        return written_tokens.read_completion(tokenizer, ends, tokens)

    monkeypatch.setattr(generator, "read_completion", note)
    counts = train_sft(
        tmp_path / "sft", base, instructions(4), settings={"batch_size": 2, "epochs": 1, "learning_rate": 0.1}
    )
    weights = [tmp_path / "sft" / "adapter"]
    asked = Request((QUESTION,), Sampling(max_new_tokens=24))
    here = Generator(*load_policy(base, weights, "float32"), "trained").complete([asked])[0][0]
    untrained = Generator(*load_model(base, "float32"), "base").complete([asked])[0][0]
    assert here != untrained
    write_model(tmp_path / "out", base, weights, "float32")
    there = Generator(*load_model(tmp_path / "out", "float32"), "exported").complete([asked])[0][0]
    assert here == there and written[0] == written[2] != written[1]
    assert ("template_date" in counts) == ("Today Date" in family.prompt)

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    ids = torch.tensor([render_conversation(tokenizer, [QUESTION]).ids])
    new = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)[
        0, ids.shape[1] :
    ]
    ends = end_tokens(model, tokenizer)
    assert new.tolist() == written[0]
    words = [token for token in new.tolist() if token not in ends]
    assert str(tokenizer.decode(words, skip_special_tokens=True)).strip() == here.text
    assert set(ends) == {
        tokenizer.eos_token_id,
        *map(tokenizer.convert_tokens_to_ids, [*family.ends, family.answer_end]),
    }
    named = model.generation_config.eos_token_id
    assert ends == (named if isinstance(named, list) else [named])
    assert tokenizer.chat_template == family.template
    for name in ("LICENSE", "NOTICE.txt", "tokenizer.model"):
        assert (tmp_path / "out" / name).read_bytes() == (base / name).read_bytes()
    for file in (tmp_path / "out").glob("*.json*"):
        assert str(tmp_path) not in file.read_text(encoding="utf-8"), file


def test_the_table_of_the_docs_names_every_family() -> None:
    """Each row's names, of which a later one may be a number alone, are those that are tried here."""
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    names: set[str] = set()
    for row in page.partition("| family | what its template does |")[2].split("\n\n")[0].splitlines()[2:]:
        first = ""
        for name in row.split("|")[1].strip().split(", "):
            first = name if not name[0].isdigit() else f"{first.rpartition(' ')[0]} {name}"
            names.add(first)
    assert names == {name for name in FAMILIES if "always" not in name}
