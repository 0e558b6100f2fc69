"""A whole run whose arms answer through a vLLM that it starts, with a stub in vLLM's place."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from harbour import SETTINGS, lay_out, record

from valign.models.load import load_tokenizer, prepare_model

pytestmark = pytest.mark.slow

STUB = Path(__file__).parents[1] / "helpers" / "stub_vllm.py"


def run(folder: Path, module: str, *words: str) -> subprocess.CompletedProcess[str]:
    end = load_tokenizer(prepare_model("tiny"), False).eos_token_id
    given = {"STUB_CALLS": str(folder / "calls"), "STUB_NOTES": str(folder / "notes"), "STUB_END": str(end)}
    command = [sys.executable, "-m", f"valign.{module}", *words]
    environment = {**os.environ, **given, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )


def test_a_run_trains_serves_its_arms_and_ends_the_server(tmp_path: Path) -> None:
    """One server has base and both stages as modules, after all trainings; a stranger's run starts no program."""
    recorded = tmp_path / "recording"
    recorded.mkdir()
    lay_out(tmp_path, record(recorded))
    engine = ["evaluation.engine=vllm", f"evaluation.vllm.command={STUB}"]
    ended = run(tmp_path, "train", *SETTINGS, "logger=none", "recipe=sft_dpo", *engine)
    assert ended.returncode == 0, ended.stderr
    starts = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    served = starts[-1]["argv"]
    modules = [json.loads(word)["name"] for word in served if word.startswith("{")]
    assert [name.count("-") for name in modules] == [1, 2]
    assert all("--lora-modules" not in start["argv"] for start in starts[:-1])
    for start in starts:
        assert not any(Path(f"/proc/{pid}").exists() for pid in start["pids"])
    asked = {json.loads(line)["model"] for line in (tmp_path / "calls").read_text().splitlines()}
    assert {"base", *modules} <= asked
    folder = tmp_path / "runs" / "harbour" / "sft_dpo"
    scores = {
        arm: json.loads((folder / "arms" / arm / "scores.json").read_text()) for arm in ("base", "sft", "sft_dpo")
    }
    nll = {arm: found["metrics"]["reference_nll"]["mean"] for arm, found in scores.items()}
    assert nll["sft"] == nll["sft_dpo"] == pytest.approx(nll["base"] / 2)
    assert all("tax" in found for found in scores.values())
    assert (folder / "servers" / "answers.log").is_file()
    refused = run(tmp_path, "evaluate", "run=runs/harbour/sft_dpo")
    assert refused.returncode == 2
    assert "evaluation.vllm.command=" in refused.stderr and "trust=true" in refused.stderr
    again = run(tmp_path, "evaluate", "run=runs/harbour/sft_dpo", "evaluation.engine=local")
    assert again.returncode == 0, again.stderr
