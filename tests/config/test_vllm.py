"""What is said of a vLLM that a run is to start, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import DictConfig

from valign.config.arguments import plain
from valign.config.checks import check_config
from valign.config.run_identity import result_settings
from valign.core.errors import ValignError

STUB = Path(__file__).parents[1] / "helpers" / "stub_vllm.py"
ENGINE = ("evaluation.engine=vllm", f"evaluation.vllm.command={STUB}")
URL = "evaluation.server.base_urls=[http://localhost:8000/v1]"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["evaluation.engine=vllm", "evaluation.vllm.command=/no/vllm"], r"^evaluation\.vllm\.command=/no/vllm is no"),
        (["teacher=vllm", "teacher.vllm.command=/no/vllm"], r"^teacher\.vllm\.command=/no/vllm is no"),
        ([*ENGINE, URL], r"^evaluation\.engine=vllm starts a server, and evaluation\.server\.base_urls names another;"),
        ([*ENGINE, "base_model.quantization=nf4", "recipe=base"], r"^evaluation\.engine=vllm does not serve adapters"),
        (["evaluation.engine=sglang"], r"^evaluation\.engine=sglang is unknown; choose from: local, vllm"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(overrides: list[str], said: str, compose_config: Callable[..., DictConfig]) -> None:
    with pytest.raises(ValignError, match=said):
        check_config(compose_config(*overrides))


def test_the_groups_fit_together(compose_config: Callable[..., DictConfig]) -> None:
    """Teacher, arms and both judges can all be served."""
    judges = [f"evaluation.{judge}.vllm.command={STUB}" for judge in ("judge_model", "policy_judge")]
    more = ["+teacher@evaluation.policy_judge=vllm", "evaluation.policy_judge.model=tiny"]
    config = compose_config(
        *ENGINE, "teacher=vllm", f"teacher.vllm.command={STUB}", "evaluation=judge_vllm",
        "evaluation.judge_model.model=tiny", *more, *judges,
    )  # fmt: skip
    check_config(config)
    assert config.teacher.model == "embedded:smollm2-135m"
    assert (config.evaluation.judge, config.evaluation.policy_judge.kind) == ("vllm", "vllm")
    check_config(compose_config(*ENGINE, "evaluation=policy_vllm", *more[1:], judges[1]))


def test_how_vllm_is_started_decides_no_result(compose_config: Callable[..., DictConfig]) -> None:
    """Where its program lies does not; that it answers, and with which arguments, does."""

    def decides(*more: str) -> object:
        return result_settings(plain(compose_config("teacher=vllm", *more)))

    called = "evaluation.vllm.command=/x/vllm", "teacher.vllm.start_seconds=9", "teacher.concurrency=3"
    assert decides(*called) == decides()
    assert decides("evaluation.engine=vllm") != decides()
    assert decides("evaluation.vllm.arguments=[--quantization,fp8]") != decides()
    assert decides("teacher.vllm.arguments=[--quantization,fp8]") != decides()
