"""Checks of the models that a config names: base model, teachers, judge, and the servers behind them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from valign.config.file_checks import check_file
from valign.config.messages import did_you_mean, missing
from valign.core.errors import ValignError
from valign.serving.settings import find_program
from valign.teachers.clients import check_key_name
from valign.teachers.urls import is_address, is_broken, strip_login

EMBEDDED = ("embedded:smollm2-135m",)


def check_models(cfg: DictConfig) -> None:
    """Check the base model, the teachers, the judge and the server of the arms.

    Raises:
        ValignError: One is not there, or lacks a setting that it needs.
    """
    _check_model("base_model.model", cfg.base_model.model)
    _check_teacher("teacher", cfg.teacher)
    if cfg.synthesis.question_teacher is not None:
        _check_teacher("synthesis.question_teacher", cfg.synthesis.question_teacher)
    _check_judge(cfg.evaluation)
    if cfg.evaluation.policy_judge is not None:
        _check_policy_judge(cfg.evaluation.policy_judge)
    check_server(cfg.evaluation.server)
    check_engine(cfg.evaluation)
    if cfg.evaluation.engine == "vllm" and cfg.base_model.quantization:
        raise ValignError(
            f"evaluation.engine=vllm does not serve adapters on weights in {cfg.base_model.quantization}: set "
            "evaluation.engine=local."
        )


def _check_judge(evaluation: DictConfig) -> None:
    """Check that a judge which is a model has one, of its own kind."""
    kind, model = evaluation.judge, evaluation.judge_model
    if kind in ("local", "vllm", "api", "batch"):
        if model is None or model.kind != kind:
            raise ValignError(
                f"evaluation.judge={kind} needs its model: choose evaluation=judge_{kind} and add "
                "evaluation.judge_model.model=..."
            )
        _check_teacher("evaluation.judge_model", model)


def _check_policy_judge(judge: DictConfig) -> None:
    """Check that the policy judge is somebody."""
    key = "evaluation.policy_judge"
    if judge.kind == "none":
        raise ValignError(
            f"{key}.kind=none judges nothing: leave {key} out, or choose evaluation=policy_api, _vllm or _local."
        )
    _check_teacher(key, judge)


def _check_teacher(key: str, teacher: DictConfig) -> None:
    shared = re.fullmatch(r"(\d+)/(\d+)", teacher.share or "0/1")
    if shared is None or int(shared[1]) >= int(shared[2]):
        raise ValignError(f"{key}.share={teacher.share}: write k/n, with k from 0 to n - 1, as in {key}.share=0/8.")
    if teacher.kind == "local":
        _check_model(f"{key}.model", teacher.model)
    elif teacher.kind == "vllm":
        _check_model(f"{key}.model", teacher.model)
        find_program(f"{key}.vllm.command", teacher.vllm.command)
    elif teacher.kind == "replay":
        if teacher.recording is None:
            raise missing(f"{key}.recording")
        check_file(f"{key}.recording", teacher.recording, (".jsonl",))
    elif teacher.kind == "api":
        if not teacher.base_urls:
            raise ValignError(f"{key}=api needs a server: add {key}.base_urls=[http://localhost:8000/v1].")
        _check_urls(key, teacher.base_urls)
        check_key_name(f"{key}.api_key_env", teacher.api_key_env)
        _check_prices(key, teacher)
    elif teacher.kind == "batch":
        _check_batch(key, teacher)
        _check_prices(key, teacher)


def _check_prices(key: str, teacher: DictConfig) -> None:
    if teacher.max_cost is not None and None in (teacher.price_in, teacher.price_out):
        raise ValignError(
            f"{key}.max_cost={teacher.max_cost} needs prices: add {key}.price_in=... and "
            f"{key}.price_out=... (per million tokens)."
        )


def _check_batch(key: str, teacher: DictConfig) -> None:
    if teacher.requests is None:
        raise missing(f"{key}.requests")
    if Path(teacher.requests).expanduser().is_file():
        raise ValignError(f"{key}.requests={teacher.requests} is a file; name a folder, which is made if need be.")
    if teacher.share is not None:
        raise ValignError(f"{key}.share={teacher.share}: a batch is not divided; leave {key}.share out.")
    if teacher.results is not None and not Path(teacher.results).expanduser().exists():
        raise ValignError(
            f"{key}.results={teacher.results} does not exist; leave it out until the first requests are answered."
        )
    if teacher.results is not None and not Path(teacher.results).expanduser().is_dir():
        check_file(f"{key}.results", teacher.results, (".jsonl",))


def _check_urls(key: str, urls: Iterable[str]) -> None:
    for url in urls:
        if is_broken(url):
            raise ValignError(
                f"{key}.base_urls: {strip_login(url)!r} is not a URL: its port is no number, or a login in it has /, ? "
                "or #, which are written %2F, %3F and %23."
            )
        if not is_address(url):
            raise ValignError(
                f"{key}.base_urls: {strip_login(url)!r} is not a URL; write it like http://localhost:8000/v1."
            )
        if re.search(r"/(?:chat/)?completions/?(?:[?#]|$)", url):
            raise ValignError(
                f"{key}.base_urls: {strip_login(url)!r} names a call; end it before that, like http://localhost:8000/v1."
            )


def check_server(server: DictConfig) -> None:
    """Check the server through which the arms answer, where there is one."""
    key = "evaluation.server"
    _check_urls(key, server.base_urls)
    check_key_name(f"{key}.api_key_env", server.api_key_env)
    named = next((name for name in server.models if server.models[name] is not None), None)
    if named is not None and not server.base_urls:
        raise ValignError(
            f"{key}.models.{named} needs the server's address: add {key}.base_urls=[http://localhost:8000/v1]."
        )


def check_engine(evaluation: DictConfig) -> None:
    """Check what computes the answers: vLLM is installed where it is to be started, and no server is asked besides."""
    if evaluation.engine != "vllm":
        return
    if evaluation.server.base_urls:
        raise ValignError(
            "evaluation.engine=vllm starts a server, and evaluation.server.base_urls names another; give one of both."
        )
    find_program("evaluation.vllm.command", evaluation.vllm.command)


def _check_model(key: str, model: str) -> None:
    if model.startswith("embedded:") and model not in EMBEDDED:
        near = did_you_mean(model, EMBEDDED)
        raise ValignError(f"{key}={model} is not shipped{near}; choose from: {', '.join(EMBEDDED)}.")
    path = Path(model).expanduser()
    if model.startswith((".", "/", "~")) and not path.is_dir():
        wrong = (
            "is a file; give the model's folder" if path.exists() else "does not exist; check the path of the folder"
        )
        raise ValignError(f"{key}={model} {wrong}.")
