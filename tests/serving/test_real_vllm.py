"""Real vLLM on a CPU: a run's arms as LoRA modules, against the same models in this process; and a teacher.

``make test-vllm`` makes the environment and names its program in ``VALIGN_VLLM``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from valign.core.files import read_jsonl, read_rows
from valign.core.records import Answer, Question
from valign.documents.shipped import shipped_questions
from valign.generation.requests import Request, Sampling
from valign.models.adapters import add_adapter, save_adapter
from valign.models.load import load_model, prepare_model
from valign.pipeline.answer_stage import answer_stage
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.recipes import Arm

pytestmark = pytest.mark.vllm

MODEL = "embedded:smollm2-135m"
ARGUMENTS = "[--max-model-len,'768',--max-num-seqs,'8']"
ADAPTERS = {"sft": (16, 0.006), "dpo": (8, 0.003)}
ARMS = {
    "base": (Arm("base", (), False), ()),
    "rag": (Arm("rag", (), True, "oracle"), ()),
    "sft": (Arm("sft", ("sft",), False), ("sft",)),
    "sft_dpo": (Arm("sft_dpo", ("sft", "dpo"), False), ("sft", "dpo")),
}


@dataclass(frozen=True)
class Limits:
    """How far served arms may be from those in this process.

    Attributes:
        nll: The largest difference of a question's reference NLL, in nats a token.
        mean_nll: The same of an arm's mean.
        verdicts: How many of all verdict preferences may differ.
        answers: The least share of answers that are the same, word for word.
    """

    nll: float
    mean_nll: float
    verdicts: int
    answers: float


# a logit of 20 has a last digit of 1/8 in bfloat16
LIMITS = {"float32": Limits(1e-3, 2e-4, 0, 0.95), "bfloat16": Limits(0.15, 0.03, 2, 0.4)}


@pytest.fixture(scope="module", autouse=True)
def small_server() -> Iterator[None]:
    """Little memory and one thread for vLLM; nothing is fetched."""
    given = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in given.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Adapters of two stages with random weights, of other ranks and sizes."""
    found = {}
    for seed, (stage, (rank, std)) in enumerate(ADAPTERS.items()):
        model, _ = load_model(prepare_model(MODEL), "float32")
        adapted: Any = add_adapter(model, "lora", rank, 2 * rank, 0.0, "all-linear", seed)
        source = torch.Generator().manual_seed(seed)
        for name, weight in adapted.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=std, generator=source)
        found[stage] = tmp_path_factory.mktemp("stages") / f"{stage}-{seed:012x}" / "adapter"
        found[stage].mkdir(parents=True)
        save_adapter(adapted, found[stage])
    return found


@pytest.fixture
def asked() -> list[Question]:
    """Questions with verdicts, and without."""
    questions = shipped_questions("udhr")
    return [q for q in questions if q.verdict][:6] + [q for q in questions if not q.verdict][:2]


@pytest.mark.parametrize("precision", LIMITS)
def test_served_arms_are_those_in_this_process(
    precision: str,
    adapters: dict[str, Path],
    asked: list[Question],
    tmp_path: Path,
    compose_config: Callable[..., DictConfig],
    record_property: Callable[[str, object], None],
) -> None:
    """The answers, the reference NLL and the verdict preference of base, RAG, SFT and SFT+DPO."""
    common = [f"base_model.precision={precision}", "evaluation.max_new_tokens=12", f"artifacts={tmp_path}"]
    common += ["trainer.threads=1"]
    served = ["evaluation.engine=vllm", f"evaluation.vllm.command={os.environ['VALIGN_VLLM']}"]
    served += [f"evaluation.vllm.arguments={ARGUMENTS}", f"run_dir={tmp_path / 'run'}"]
    found: dict[str, dict[str, tuple[list[Answer], list[dict[str, Any]]]]] = {}
    for engine, more in {"local": [], "vllm": served}.items():
        context = Context.of(compose_config(*common, *more))
        weights = {name: [adapters[stage] for stage in stages] for name, (_, stages) in ARMS.items()}
        if context.served_arms is not None:
            context.served_arms.plan(list(weights.values()))
        try:
            for name, (arm, _) in ARMS.items():
                folder = answer_stage(context, Artifacts(context.store), arm, weights[name], asked)
                answers = read_jsonl(folder / "answers.jsonl", Answer)
                found.setdefault(name, {})[engine] = answers, read_rows(folder / "values.jsonl")
        finally:
            if context.served_arms is not None:
                context.served_arms.close()
    limits = LIMITS[precision]
    largest, flips, same, means = 0.0, 0, 0, {}
    for name, by_engine in found.items():
        (here, own), (there, theirs) = by_engine["local"], by_engine["vllm"]
        apart = [a["reference_nll"] - b["reference_nll"] for a, b in zip(own, theirs, strict=True)]
        means[name] = sum(apart) / len(apart)
        largest = max(largest, *map(abs, apart))
        flips += sum(a["verdict_preference"] != b["verdict_preference"] for a, b in zip(own, theirs, strict=True))
        same += sum(a.answer == b.answer for a, b in zip(here, there, strict=True))
    print(f"{precision}: largest {largest:.5f}, means {means}, flips {flips}, same answers {same} of {4 * len(asked)}")
    nll = {name: sum(row["reference_nll"] for row in rows["local"][1]) for name, rows in found.items()}
    assert len({round(value, 2) for value in nll.values()}) == len(ARMS)  # the arms differ by more than the engines do
    assert largest <= limits.nll
    assert max(map(abs, means.values())) <= limits.mean_nll
    assert flips <= limits.verdicts
    assert same >= limits.answers * len(ARMS) * len(asked)
    log = (tmp_path / "run" / "servers" / "answers.log").read_text()
    assert "lora" in log.lower()
    assert asked[0].question not in log
    assert not list((tmp_path / "run" / "servers").glob("adapters-*"))


def test_a_teacher_is_served_for_its_phase(tmp_path: Path, compose_config: Callable[..., DictConfig]) -> None:
    """It says something, counts its tokens, and its server is gone when it is closed."""
    words = [f"teacher.vllm.command={os.environ['VALIGN_VLLM']}", f"teacher.vllm.arguments={ARGUMENTS}"]
    context = Context.of(compose_config("teacher=vllm", *words, f"run_dir={tmp_path}", f"artifacts={tmp_path}"))
    teacher: Any = context.teacher
    request = Request(({"role": "user", "content": "What is water?"},), Sampling(8, 0.8, 0.9, 2))
    try:
        teacher.check_before([request])
        rows = teacher.complete([request])
        child = teacher.server.child
        assert child.is_running
    finally:
        teacher.close()
    assert not child.is_running
    assert [len(row) for row in rows] == [2]
    assert all(completion.text for completion in rows[0])
    assert teacher.meter.prompt > 0
    assert child.key not in (tmp_path / "servers" / "teacher.log").read_text()
