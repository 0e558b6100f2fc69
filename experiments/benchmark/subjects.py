"""What is measured: rows, models, and the arithmetic that they need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.files import read_jsonl
from valign.core.records import Instruction, Preference, Provenance

NOWHERE = Provenance("", 0, 0, "", "", "")
QUESTIONS = (
    "What does the declaration say about this: {words}?",
    "Which rule begins with the words '{words}'?",
    "I was told that {words}. What do the rules say?",
    "Somebody asks me about '{words}'. What should I answer?",
    "Is it right that {words}? Which article says so?",
)
WORDS = 7
RANK = 16
SHARED: dict[str, Any] = {
    "epochs": 1,
    "warmup_ratio": 0.0,
    "accumulate": 1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "max_length": 4096,
    "schedule": "linear",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "sft": SHARED | {"learning_rate": 5e-4},
    "dpo": SHARED | {"learning_rate": 1e-4, "beta": 0.1, "label_smoothing": 0.0, "sft_weight": 0.0},
}
SHAPES: dict[str, dict[str, int]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
}
ADAPTER = {"kind": "lora", "rank": RANK, "alpha": 2 * RANK, "dropout": 0.0, "target_modules": "all-linear"}


def rows(stage: str, number: int, artifact: Path | None) -> list[Any]:
    """Return the first rows of an artifact's D_sft or D_pref, or as many made from the declaration's passages.

    Args:
        stage: ``sft`` or ``dpo``.
        number: How many.
        artifact: A folder of ``artifacts/data``; None to make them.

    Raises:
        SystemExit: The artifact has fewer.
    """
    if artifact is None:
        return made(stage, number)
    name, record = ("sft.jsonl", Instruction) if stage == "sft" else ("preferences.jsonl", Preference)
    found: list[Any] = read_jsonl(artifact / name, record)
    if len(found) < number:
        raise SystemExit(f"{artifact / name} has {len(found)} rows: give --examples {len(found)} or fewer")
    return found[:number]


def made(stage: str, number: int) -> list[Any]:
    """Return questions about the declaration's passages; the answer is the passage, the rejected one another's."""
    from valign.documents.shipped import shipped_document

    passages = shipped_document("udhr").passages
    found: list[Any] = []
    for i in range(number):
        passage, other = passages[i % len(passages)], passages[(i + 1 + i // len(passages)) % len(passages)]
        words = passage.text.split()
        begin = (i // len(passages)) * 3 % max(1, len(words) - WORDS)
        question = QUESTIONS[i % len(QUESTIONS)].format(words=" ".join(words[begin : begin + WORDS]).strip(".,;"))
        given = (f"row-{i}", (passage.clause,), passage.text, question, passage.text)
        found.append(
            Instruction(*given, NOWHERE) if stage == "sft" else Preference(*given, other.text, "clause", NOWHERE)
        )
    return found


def of_length(stage: str, number: int, length: int, mixed: bool = False) -> list[Any]:
    """Return rows of about ``length`` tokens each for a model of single bytes: half question, half answer.

    Questions differ from their first words on, so that rows share no more than the template's opening. ``mixed`` rows
    have a quarter, a half, three quarters and all of the length in turn.
    """
    found: list[Any] = []
    for i in range(number):
        own = length * (i % 4 + 1) // 4 if mixed else length
        question, answer = f"{chr(ord('a') + i % 26)}{i} {'q' * max(1, own // 2 - 60)}", "a" * (own // 2)
        row = (f"row-{i}", ("c",), "q", question, answer)
        other = "b" * len(answer)
        found.append(Instruction(*row, NOWHERE) if stage == "sft" else Preference(*row, other, "made", NOWHERE))
    return found


def random_model(folder: Path, vocabulary: int) -> Path:
    """Write a Llama of 6 layers with random weights and a tokenizer of single bytes, once; return its folder.

    Args:
        folder: Where models are kept.
        vocabulary: Rows of the output layer; text uses the first 259.
    """
    from valign.models.random_model import write_random_llama

    path = folder / f"random-{vocabulary}"
    if (path / "tokenizer_config.json").is_file():
        return path
    write_random_llama(
        path,
        vocabulary,
        hidden_size=256,
        intermediate_size=768,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return path


def shape_of_mistral(folder: Path, name: str) -> Path:
    """Write the config of a Mistral and a tokenizer of single bytes, without weights, once; return their folder.

    Args:
        folder: Where models are kept.
        name: One of ``SHAPES``.
    """
    from transformers import MistralConfig

    from valign.models.random_model import byte_tokenizer

    path, tokenizer = folder / f"mistral-{name}", byte_tokenizer()
    ends = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    own = {"architectures": ["MistralForCausalLM"], **SHAPES[name]}
    config = MistralConfig(vocab_size=32000, sliding_window=None, **ends, **own)
    config.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def draw_weights(device: str) -> None:
    """Let this process draw a model's weights on a device, the same each time, where it would read them from files.

    So both engines train the same model of billions of weights, and nobody waits for a disk.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    def draw(path: Any, dtype: Any, attn_implementation: str, output_loading_info: bool = False, **_: Any) -> Any:
        torch.manual_seed(0)
        with torch.device(device):
            model = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(path), dtype=dtype, attn_implementation=attn_implementation
            )
        return (model.eval(), {"missing_keys": set()}) if output_loading_info else model.eval()

    AutoModelForCausalLM.from_pretrained = draw


def initial_adapter(model: Path, file: Path, precision: str = "float32") -> None:
    """Write the adapter that valign starts from, for the other trainer to start from it too."""
    from valign.models.adapters import add_adapter
    from valign.models.load import load_model

    save_trained(add_adapter(load_model(model, precision)[0], **ADAPTER, seed=0), file)


def save_trained(model: Any, file: Path) -> None:
    """Write a model's trainable weights, by name."""
    from safetensors.torch import save_file

    trained = {name: p.detach().cpu().contiguous() for name, p in model.named_parameters() if p.requires_grad}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(trained, file)


def encoded(stage: str, tokenizer: Any, given: Sequence[Any], batch_size: int) -> tuple[list[Any], list[Any]]:
    """Return valign's examples in the order in which it trains on them, and its batches' lists of numbers."""
    from valign.training.examples import encode_instructions, encode_preferences
    from valign.training.plan import make_plan

    encode: Any = encode_instructions if stage == "sft" else encode_preferences
    examples, _ = encode(tokenizer, given, None, SHARED["max_length"])
    plan = make_plan([e.length for e in examples], batch_size, 1, 1, 1, 0)
    return [examples[i] for step in plan for part in step for i in part], plan


def supervised_tokens(examples: Sequence[Any]) -> int:
    """Return the supervised tokens of all conversations, both answers of a pair included."""
    return sum(sum(c.mask) for e in examples for c in e.conversations)


def useful_flops(stage: str, examples: Sequence[Any], config: Any) -> float:
    """Return the floating-point operations that one epoch needs, whoever makes it.

    Counted are products of matrices: for each token 2 a weight forward and 2 back (the base is frozen, so it has no
    gradients of its own), 6 an adapter weight, the head on supervised tokens alone, attention to the tokens before.
    What both conversations of a pair begin with counts once; DPO adds a forward pass for the reference. Padding, a
    second computation of the same thing and the optimizer count nothing.
    """
    d, layers, inner = config.hidden_size, config.num_hidden_layers, config.intermediate_size
    kv = d * config.num_key_value_heads // config.num_attention_heads
    shapes = [(d, d), (d, kv), (d, kv), (d, d), (d, inner), (d, inner), (inner, d)]
    base, lora = sum(a * b for a, b in shapes) * layers, sum(RANK * (a + b) for a, b in shapes) * layers
    tokens = pairs = kept = 0
    for example in examples:
        first, *others = (c.ids for c in example.conversations)
        tokens, pairs = tokens + len(first), pairs + len(first) ** 2 // 2
        for ids in others:
            common = next((i for i, two in enumerate(zip(first, ids, strict=False)) if two[0] != two[1]), len(ids))
            tokens, pairs = tokens + len(ids) - common, pairs + (len(ids) ** 2 - common**2) // 2
        kept += sum(sum(c.mask) for c in example.conversations)
    forward = 2 * tokens * base + 2 * kept * d * config.vocab_size + 4 * pairs * d * layers
    training = 2 * forward + 4 * pairs * d * layers + 6 * tokens * lora
    return float(training + (forward if stage == "dpo" else 0))
