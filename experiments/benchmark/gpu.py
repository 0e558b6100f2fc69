"""valign beside TRL on one GPU, at the shape of Mistral-7B: ``python experiments/benchmark/gpu.py``.

The weights are random, which changes neither time nor memory, and are drawn on the device. Rows are as long as a batch
of full context, or short and of four lengths in turn. Both engines are measured in each of their configurations, what
matters most first, every measurement in a process of its own and behind a training that warms it up; results are
written after each, and what is finished is kept. ``--numerics`` adds what bfloat16 does to the numbers: the embedded
model's own weights, both engines in both precisions, on the same rows.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

from results import processor
from run import STAGES, Measurements

HERE = Path(__file__).resolve().parent
FLASH = "flash_attention_2"
VALIGN: list[dict[str, Any]] = [
    {"trainer": {"kernels": "liger"}},
    {"trainer": {}},
    {"trainer": {"kernels": "liger", "padding_free": True, "attention": FLASH}},
    {"trainer": {"kernels": "liger", "padding_free": True}},
]
TRL: dict[str, list[dict[str, Any]]] = {
    "sft": [
        {"attention": "sdpa", "options": {"use_liger_kernel": True}},
        {"attention": "sdpa", "options": {}},
        {"attention": FLASH, "options": {"use_liger_kernel": True, "padding_free": True, "max_length": None}},
        {"attention": "sdpa", "options": {"use_liger_kernel": True, "padding_free": True, "max_length": None}},
        {"attention": FLASH, "options": {"use_liger_kernel": True, "packing": True}},
    ],
    "dpo": [  # TRL 1.16 ignores padding_free here
        {"attention": "sdpa", "options": {"use_liger_kernel": True}},
        {"attention": "sdpa", "options": {}},
        {"attention": FLASH, "options": {"use_liger_kernel": True}},
    ],
}
NEEDS = {FLASH: "flash_attn", "liger": "liger_kernel"}
BEFORE = {"precompute_ref_log_probs": True}
LEAST = 15.0  # seconds for which a measurement is worth beginning
PRECISIONS = ("float32", "bfloat16")
NUMERICS_HEAD = """| final loss | valign, float32 | TRL, float32 | valign, bfloat16 | TRL, bfloat16 |
| --- | ---: | ---: | ---: | ---: |"""
HEAD = """| | rows | configuration | tokens/s | MFU | of the ceiling | ms a step (most) | peak MiB | final loss |
| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"""


def rows(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the kinds of rows: their length, how many are in a batch, and in how many batches."""
    long = {"length": options.length, "mixed": False, "batch_size": options.batch, "warm": 2}
    short = {"length": options.length * 3 // 10, "mixed": True, "batch_size": 4 * options.batch, "warm": 4}
    return {
        f"{kind['length']} tokens" if not kind["mixed"] else f"{kind['length'] // 4} to {kind['length']} tokens": kind
        | {"examples": options.steps * kind["batch_size"]}
        for kind in (long, short)
    }


def specifications(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measurements: first of each engine, stage and kind of rows the quickest configuration, then others."""
    from subjects import shape_of_mistral

    on_gpu = options.device == "cuda"
    model = shape_of_mistral(options.work, options.shape)
    shared = {"model": str(model), "drawn": True, "device": "gpu" if on_gpu else "cpu", "precision": "bfloat16"}
    shared |= {"threads": options.threads, "vocabulary": 32000}
    shared |= {"adapter": str(options.work / f"{model.name}.safetensors")}  # valign's first training writes it
    found = []
    for place in range(max(len(VALIGN), *map(len, TRL.values()))):
        for name, kind in rows(options).items():
            for stage in STAGES:
                same = shared | kind | {"rows": name, "stage": stage}
                mine, theirs = VALIGN[place : place + 1], TRL[stage][place : place + 1]
                again = options.checkpointing
                found += [
                    same | {"engine": "valign", "trainer": one["trainer"] | {"activation_checkpointing": again}}
                    for one in mine
                ]
                found += [
                    same | one | {"engine": "trl", "options": one["options"] | {"gradient_checkpointing": again}}
                    for one in theirs
                ]
    return [spec for spec in found if can_run(spec, on_gpu)]


def can_run(spec: dict[str, Any], on_gpu: bool) -> bool:
    """Tell whether a configuration's packages are there, and the GPU that they need."""
    needed = [package for word, package in NEEDS.items() if word in json.dumps(spec)]
    return not needed or (on_gpu and all(map(is_installed, needed)))


def is_installed(package: str) -> bool:
    """Tell whether a package is there."""
    return importlib.util.find_spec(package) is not None


def numerics(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measurements of real weights: for each stage both precisions, valign's and TRL's of each."""
    from subjects import initial_adapter

    from valign.models.load import prepare_model

    name = "tiny" if options.shape == "tiny" else "embedded:smollm2-135m"
    model, adapter = prepare_model(name), options.work / "numerics.safetensors"
    if not adapter.is_file():
        initial_adapter(Path(model), adapter)
    shared = {"model": str(model), "adapter": str(adapter), "threads": options.threads, "batch_size": options.batch}
    shared |= {"device": "gpu" if options.device == "cuda" else "cpu", "examples": options.steps * options.batch}
    trl = {"engine": "trl", "attention": "sdpa"}
    own = {"sft": {"options": {}}, "dpo": {"options": BEFORE}}
    engines = [(stage, engine) for stage in STAGES for engine in ({"engine": "valign"}, trl | own[stage])]
    return [shared | engine | {"stage": stage, "precision": p} for p in PRECISIONS for stage, engine in engines]


def numerics_table(measured: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Return the final losses of ``numerics`` by stage; what failed is a dash."""
    found = {
        (spec["stage"], spec["engine"], spec["precision"]): f"{result['final_loss']:.5f}"
        for spec, result in measured
        if "error" not in result
    }
    lines = [NUMERICS_HEAD]
    for stage in STAGES:
        cells = [found.get((stage, engine, p), "-") for p in PRECISIONS for engine in ("valign", "trl")]
        lines.append(f"| {stage.upper()} | {' | '.join(cells)} |")
    return "\n".join(lines)


def table(measured: list[tuple[dict[str, Any], dict[str, Any]]], peak: float, ceiling: float) -> str:
    """Return a row for each measurement, and for each stage and kind of rows valign's fastest over TRL's.

    Args:
        measured: Specifications and results.
        peak: Floating-point operations a second of the device by its data sheet, for the MFU.
        ceiling: The same, measured with large products.
    """
    lines = [HEAD]
    fastest: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for spec, result in measured:
        said = ", ".join(f"{k}={v}" for k, v in {**spec.get("trainer", {}), **spec.get("options", {})}.items() if v)
        said = ", ".join(filter(None, [spec.get("attention"), said])) or "none"
        kind = spec.get("rows", "")
        name = f"{spec['stage'].upper()}, {spec['engine']} | {kind}"
        if "error" in result:
            lines.append(f"| {name} | {said} | failed | | | | | |")
            continue
        speed, flops = result["tokens"] / result["seconds"], result["flops"] / result["seconds"]
        best = fastest.setdefault((spec["stage"], kind), {})
        best[spec["engine"]] = max(best.get(spec["engine"], (0.0, 0.0)), (speed, result["peak_mib"]))
        lines.append(
            f"| {name} | {said} | {speed:.0f} | {flops / peak:.0%} | {flops / ceiling:.0%} "
            f"| {steps_of(result)} | {result['peak_mib']:.0f} | {result['final_loss']:.4f} |"
        )
    for (stage, kind), best in fastest.items():
        if len(best) == 2:
            ratio, memory = (best["valign"][i] / best["trl"][i] for i in range(2))
            what = ", ".join(filter(None, [stage.upper(), kind]))
            lines.append(f"\n{what}: {ratio:.2f} times TRL's tokens a second, in {memory:.2f} of its memory.")
    return "\n".join(lines)


def steps_of(result: dict[str, Any]) -> str:
    """Return the median milliseconds of a measurement's steps, and the most; a dash where steps were not noted.

    The first is left out: with it comes DPO's pass for the reference.
    """
    steps = [1000 * seconds for seconds in result.get("step_seconds", [])[1:]]
    return f"{median(steps):.0f} ({max(steps):.0f})" if steps else "-"


def write(options: argparse.Namespace, ceiling: dict[str, Any], parts: dict[str, list[Any]]) -> str:
    """Write what is measured so far to gpu.json and gpu.md, and return the tables."""
    flops, device = ceiling["ceiling"]["bfloat16"], ceiling.get("device") or processor()
    text = table(parts["measured"], options.peak, flops)
    if parts["numerics"]:
        text += f"\n\nThe embedded model's own weights:\n\n{numerics_table(parts['numerics'])}"
    results = {"device": device, "ceiling": flops, "peak": options.peak}
    results |= {name: [{"spec": spec, "result": result} for spec, result in part] for name, part in parts.items()}
    (options.output / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    title = f"{device}, {options.steps} steps, batches of {options.batch} long rows or {4 * options.batch} short ones"
    (options.output / "gpu.md").write_text(f"{title}:\n\n{text}\n", encoding="utf-8")
    return text


def main() -> None:
    """Measure until all is done or the time is up; gpu.json and gpu.md are written after each measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b", help="tiny to try the script")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu to try the script")
    parser.add_argument("--steps", type=int, default=8, help="batches in each measurement")
    parser.add_argument("--batch", type=int, default=4, help="long rows, or pairs, in a batch; of short ones 4 times")
    parser.add_argument("--length", type=int, default=1024, help="tokens of long rows; short ones have up to 0.3 of it")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again, in both engines")
    parser.add_argument("--numerics", action="store_true", help="also the embedded model's weights, in both precisions")
    parser.add_argument("--peak", type=float, default=989e12, help="of the device in bfloat16; H100 and H200: 989e12")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a measurement may take")
    parser.add_argument("--budget", type=float, default=1e5, help="seconds after which nothing is measured any more")
    parser.add_argument("--threads", type=int, default=8, help="threads of both on the processor")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-gpu"), help="folder of what is finished")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of gpu.json and gpu.md")
    options = parser.parse_args()
    until, work = time.monotonic() + options.budget, Measurements(options.work)
    options.output.mkdir(parents=True, exist_ok=True)
    first = {"threads": options.threads, "device": "gpu" if options.device == "cuda" else "cpu", "engine": "ceiling"}
    specs = [(spec, "measured") for spec in specifications(options)]
    specs += [(spec, "numerics") for spec in (numerics(options) if options.numerics else [])]
    work.plan([spec for spec, _ in specs], 15)
    ceiling, text = work(first, until - time.monotonic(), following=specs[0][0]), ""
    parts: dict[str, list[Any]] = {"measured": [], "numerics": []}
    for i, (spec, part) in enumerate(specs):
        left = until - time.monotonic()
        if left < LEAST:
            print(f"the time is up: {len(specs) - i} measurements are left out", flush=True)
            break
        following = specs[i + 1][0] if i + 1 < len(specs) else None
        parts[part].append((spec, work(spec, min(options.limit, left), following)))
        text = write(options, ceiling, parts)
    work.stop()
    print(text)


if __name__ == "__main__":
    main()
