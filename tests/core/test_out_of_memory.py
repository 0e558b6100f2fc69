"""Memory that runs out: one line with the keys to lower, from training, from a teacher and from answering."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from omegaconf import DictConfig

from valign.config.arguments import plain
from valign.core.errors import ValignError
from valign.core.out_of_memory import describe_out_of_memory, exhausted_memory
from valign.core.settings import make_settings
from valign.generation.requests import Request, Sampling
from valign.models.load import prepare_model
from valign.pipeline.answer_stage import answer_part
from valign.pipeline.context import Context
from valign.teachers.factory import make_teacher
from valign.teachers.local import LocalTeacher
from valign.teachers.settings import TeacherSettings
from valign.training.memory_estimate import memory_remedies
from valign.training.settings import TrainerSettings

GPU = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of ...")
CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you ...")


def failing(error: Exception) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (GPU, "GPU memory"),
        (CPU, "main memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"), "GPU memory"),
        (RuntimeError("[2] NCCL error: Cuda failure 2 'out of memory'"), "GPU memory"),
        (MemoryError(), "main memory"),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), None),
        (ValignError("out of memory"), None),
    ],
)
def test_which_memory_an_error_means(error: Exception, memory: str | None) -> None:
    assert exhausted_memory(error) == memory


def test_other_errors_pass_as_they_are() -> None:
    error = RuntimeError("a bug")
    with pytest.raises(RuntimeError) as found, describe_out_of_memory("sft", lambda: ["nothing"]):
        raise error
    assert found.value is error


@pytest.mark.parametrize("error", [GPU, CPU], ids=["gpu", "cpu"])
def test_training_that_runs_out_of_memory(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a step of SFT, and in DPO's pass for the reference; the key is the stage's own."""
    path = prepare_model("tiny", tmp_path / "cache")
    monkeypatch.setattr("valign.training.training_module.layout_logps", failing(error))
    with pytest.raises(ValignError) as found:
        tiny.train_sft(tmp_path, path, tiny.instructions(8))
    assert str(found.value) == (
        f"sft ran out of {exhausted_memory(error)}: lower sft.batch_size=4 to 2 and raise sft.accumulate=1 to 2, which "
        "is the same step; or lower sft.max_length=200, for example to 100; or set "
        "trainer.activation_checkpointing=true, which computes layers twice."
    )
    with pytest.raises(ValignError, match=r"^dpo ran out of .*lower dpo\.batch_size=4 to 2"):
        tiny.train_dpo(tmp_path, path, tiny.preferences(8))


@pytest.mark.parametrize(
    ("size", "accumulate", "remedy"),
    [
        (8, 2, "lower sft.batch_size=8 to 4 and raise sft.accumulate=2 to 4, which is the same step"),
        (3, 2, "lower sft.batch_size=3 to 1 and raise sft.accumulate=2 to 6, which is the same step"),
        (1, 4, "lower sft.max_length=200, for example to 100"),
    ],
)
def test_the_step_stays_the_same(size: int, accumulate: int, remedy: str) -> None:
    """8 x 2 = 4 x 4 = 16, and 3 x 2 = 1 x 6; a single row can only be shorter."""
    settings = tiny.sft_settings(batch_size=size, accumulate=accumulate)
    found = memory_remedies("sft", tiny.adapter_settings(), settings, tiny.trainer_settings(), on_gpu=False)
    assert found[0] == remedy


def test_a_gpu_can_share_and_a_full_training_can_become_an_adapter(compose_config: Callable[..., DictConfig]) -> None:
    def last(trainer: str, **adapter: Any) -> list[str]:
        chosen = make_settings(TrainerSettings, plain(compose_config(f"trainer={trainer}").trainer))
        return memory_remedies("sft", tiny.adapter_settings(**adapter), tiny.sft_settings(), chosen, on_gpu=True)

    assert last("gpu")[-1] == "choose trainer=deepspeed_zero3"
    assert "activation_checkpointing=true" in last("gpu")[-2]
    assert last("deepspeed_zero2")[-1] == "choose trainer=deepspeed_zero3"
    assert last("deepspeed_zero3")[-1] == "choose trainer=deepspeed_zero3_offload"
    assert not any("choose trainer" in remedy for remedy in last("deepspeed_zero3_offload"))
    assert "adapter.kind=lora" in last("gpu", kind="none")[-2]


def test_a_local_teacher_that_runs_out_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is that of the teacher's own group."""
    monkeypatch.setattr(LocalTeacher, "_load", failing(GPU))
    request = Request(({"role": "user", "content": "?"},), Sampling())
    for group, teacher in {
        "teacher": make_teacher(TeacherSettings(kind="local", model="tiny")),
        "synthesis.question_teacher": make_teacher(
            TeacherSettings(kind="local", model="tiny"), "synthesis.question_teacher"
        ),
        "evaluation": LocalTeacher("tiny", "float32", 8192, "evaluation"),
    }.items():
        message = rf"ran out of GPU memory: lower {group}\.batch_tokens=8192, for example to 4096; or choose a smaller"
        with pytest.raises(ValignError, match=message):
            teacher.complete([request])


def test_answering_that_runs_out_of_memory(
    compose_config: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("valign.pipeline.arm_model.load_policy", failing(CPU))
    context = Context.of(compose_config("base_model=tiny"))
    with pytest.raises(ValignError) as found:
        answer_part(context, "sft", str(tmp_path), [], [], [])
    assert str(found.value) == (
        "answering as sft ran out of main memory: lower evaluation.batch_tokens=16384, for example to 8192; or lower "
        "evaluation.max_new_tokens=80, for example to 40; or set base_model.precision=bfloat16."
    )
