"""The benchmark's results: its two parts stand beside each other, whichever was measured."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from scripts import load_script


def measured() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Both engines at two lengths, of which TRL did not finish the longer one."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for engine in ("valign", "trl"):
        for length in (128, 512):
            spec = {"engine": engine, "stage": "sft", "length": length, "batch_size": 4, "vocabulary": 8192}
            result = {"examples": 8, "seconds": length / 64, "peak_mib": 500.4, "final_loss": 5.0}
            failed = {"error": "not done after 600 s"}
            found.append((spec | {"examples": 8}, failed if (engine, length) == ("trl", 512) else result))
    return found


def test_growth_alone_has_its_table_and_its_plot(tmp_path: Path) -> None:
    """8 examples in 128 / 64 seconds are 4 a second, in 512 / 64 one; no table of what was not measured."""
    results = load_script("benchmark/results.py")
    found = results.growth_summary(measured(), {"threads": 2})
    text = results.table(found)
    assert "| SFT | 128 | 4 | 8192 | 4.0 | 4.0 | 500 | 500 |" in text
    assert "| SFT | 512 | 4 | 8192 | 1.0 | failed | 500 | failed |" in text
    assert "2 threads" in text and "of the ceiling" not in text
    results.plots(found, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["growth.svg"]


def test_without_growth_there_is_neither(tmp_path: Path) -> None:
    results = load_script("benchmark/results.py")
    assert results.table({"growth": []}) == ""
    results.plots({"growth": []}, tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_table_of_a_gpu() -> None:
    """800 tokens in 2 seconds are 400 a second, half of which TRL makes; 4e12 operations in 2 s are 20% of 1e13."""
    gpu = load_script("benchmark/gpu.py")
    result = {"tokens": 800, "seconds": 2.0, "flops": 4e12, "peak_mib": 300.0, "final_loss": 1.5}
    timed = {"step_seconds": [9.0, 0.25, 0.75, 0.25]}  # the first has DPO's reference in it
    shared = {"stage": "sft", "rows": "long"}
    valign = shared | {"engine": "valign", "trainer": {"kernels": "liger", "padding_free": False}}
    trl = shared | {"engine": "trl", "attention": "sdpa", "options": {"packing": True}}
    failed = {"error": "out of memory | <b>"}
    text = gpu.table(
        [
            (valign, result | timed),
            (trl, result | {"seconds": 4.0, "peak_mib": 600.0}),
            (valign | {"stage": "dpo"}, failed),
        ],
        peak=1e13,
        ceiling=4e12,
    )
    assert "| SFT, valign | long | kernels=liger | 400 | 20% | 50% | 250 (750) | 300 | 1.5000 |" in text
    assert "| SFT, trl | long | sdpa, packing=True | 200 | 10% | 25% | - | 600 | 1.5000 |" in text
    assert "| DPO, valign | long | kernels=liger | failed | | | | | |" in text
    assert "SFT, long: 2.00 times TRL's tokens a second, in 0.50 of its memory." in text
    assert "\nDPO" not in text
    trained = [(valign | {"precision": "float32"}, result), (trl | {"precision": "bfloat16"}, result | failed)]
    assert gpu.numerics_table(trained).splitlines()[2:] == ["| SFT | 1.50000 | - | - | - |", "| DPO | - | - | - | - |"]


def test_the_seconds_of_each_step_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Started at 3 s, with steps that end at 5 and 6: 2 and 1 seconds, 3 in all; a start begins anew."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "experiments/benchmark"))
    worker = load_script("benchmark/worker.py")
    monkeypatch.setattr(worker, "synchronize", lambda: None)
    now = iter([1.0, 2.0, 3.0, 5.0, 6.0])
    monkeypatch.setattr(worker.time, "perf_counter", lambda: next(now))
    clock = worker.Clock()
    clock.start()
    clock.log_metrics({}, 0)
    clock.start()
    for step in range(2):
        clock.log_metrics({}, step)
    assert clock.each == [2.0, 1.0]
    assert clock.seconds == 3.0


def test_a_failed_measurement_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is asked for anew; what was measured is read, by another process too."""
    run = load_script("benchmark/run.py")
    found = iter([{"error": "flash-attn is missing"}, {"ceiling": {"bfloat16": 1e12}}])
    monkeypatch.setattr(run.Measurements, "_start", lambda *_: None)
    monkeypatch.setattr(run.Measurements, "_finish", lambda *_: next(found))
    spec = {"engine": "ceiling", "threads": 1}
    assert "error" in run.Measurements(tmp_path)(spec)
    assert run.Measurements(tmp_path)(spec) == run.Measurements(tmp_path)(spec) == {"ceiling": {"bfloat16": 1e12}}


def test_what_matters_most_is_measured_first_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SFT and DPO of both engines, at both kinds of rows, before any other configuration; none without its package."""
    gpu = load_script("benchmark/gpu.py")
    monkeypatch.syspath_prepend(str(Path(gpu.__file__).parent))
    monkeypatch.setattr(gpu, "is_installed", lambda name: name == "liger_kernel")
    options = {"device": "cuda", "work": tmp_path, "shape": "tiny", "threads": 1, "checkpointing": False}
    specs = gpu.specifications(argparse.Namespace(**options, steps=2, batch=4, length=1024))
    order = [(spec["engine"], spec["stage"], spec["rows"]) for spec in specs]
    once = [(engine, stage) for stage in ("sft", "dpo") for engine in ("valign", "trl")]
    assert order[:8] == [(*one, kind) for kind in ("1024 tokens", "76 to 307 tokens") for one in once]
    assert all("liger" in str(spec) for spec in specs[:8]) and "flash" not in str(specs)
