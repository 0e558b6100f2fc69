"""valign beside TRL on one GPU, at the shape of Mistral-7B: ``python experiments/benchmark/gpu.py``.

The weights are random, which changes neither time nor memory. Rows have four lengths in turn. Both engines are measured
in each of their configurations, every measurement in a process of its own; what is finished is kept. What bfloat16 does
to the numbers is measured on the embedded model's own weights: both engines in both precisions, on the same rows.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from results import processor
from run import STAGES, Measurements

HERE = Path(__file__).resolve().parent
VALIGN: list[dict[str, Any]] = [
    {"trainer": {}},
    {"trainer": {"padding_free": True}},
    {"trainer": {"kernels": "liger"}},
    {"trainer": {"kernels": "liger", "padding_free": True}},
    {"trainer": {"kernels": "liger", "padding_free": True, "attention": "flash_attention_2"}},
]
BEFORE = {"precompute_ref_log_probs": True}
TRL: dict[str, list[dict[str, Any]]] = {
    "sft": [
        {"attention": "sdpa", "options": {}},
        {"attention": "sdpa", "options": {"use_liger_kernel": True}},
        {"attention": "sdpa", "options": {"padding_free": True, "max_length": None}},
        {"attention": "flash_attention_2", "options": {"use_liger_kernel": True, "padding_free": True}},
        {"attention": "flash_attention_2", "options": {"use_liger_kernel": True, "packing": True}},
    ],
    "dpo": [
        {"attention": "sdpa", "options": BEFORE},
        {"attention": "sdpa", "options": BEFORE | {"use_liger_kernel": True}},
        {"attention": "flash_attention_2", "options": BEFORE | {"padding_free": True}},
    ],
}
PRECISIONS = ("float32", "bfloat16")
NUMERICS_HEAD = """| final loss | valign, float32 | TRL, float32 | valign, bfloat16 | TRL, bfloat16 |
| --- | ---: | ---: | ---: | ---: |"""
HEAD = """| | configuration | tokens/s | MFU | of the measured ceiling | peak MiB | final loss |
| --- | --- | ---: | ---: | ---: | ---: | ---: |"""


def specifications(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measurements, both engines' configurations of a stage in turn."""
    from subjects import initial_adapter, random_mistral

    device = "gpu" if options.device == "cuda" else "cpu"
    model = random_mistral(options.work, options.shape, options.device)
    adapter = options.work / f"{model.name}.safetensors"
    if not adapter.is_file():
        initial_adapter(model, adapter, "bfloat16")
    shared = {"model": str(model), "adapter": str(adapter), "device": device, "precision": "bfloat16", "mixed": True}
    shared |= {"batch_size": options.batch, "length": options.length, "examples": options.examples}
    shared |= {"threads": options.threads, "vocabulary": 32000}
    found = []
    for stage in STAGES:
        mine = [shared | {"engine": "valign", "stage": stage} | one for one in VALIGN]
        theirs = [shared | {"engine": "trl", "stage": stage} | one for one in TRL[stage]]
        for one in mine:
            one["trainer"] = one["trainer"] | {"activation_checkpointing": options.checkpointing}
        for one in theirs:
            one["options"] = one["options"] | {"gradient_checkpointing": options.checkpointing}
        longest = max(len(mine), len(theirs))
        found += [specs[i] for i in range(longest) for specs in (mine, theirs) if i < len(specs)]
    return found


def numerics(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the measurements of real weights: for each stage both precisions, valign's and TRL's of each."""
    from subjects import initial_adapter

    from valign.models.load import prepare_model

    name = "tiny" if options.shape == "tiny" else "embedded:smollm2-135m"
    model, adapter = prepare_model(name), options.work / "numerics.safetensors"
    if not adapter.is_file():
        initial_adapter(Path(model), adapter)
    shared = {"model": str(model), "adapter": str(adapter), "threads": options.threads, "batch_size": options.batch}
    shared |= {"device": "gpu" if options.device == "cuda" else "cpu", "examples": options.examples}
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
    """Return a row for each measurement, and valign's fastest over TRL's.

    Args:
        measured: Specifications and results.
        peak: Floating-point operations a second of the device by its data sheet, for the MFU.
        ceiling: The same, measured with large products.
    """
    lines = [HEAD]
    fastest: dict[tuple[str, str], tuple[float, float]] = {}
    for spec, result in measured:
        said = ", ".join(f"{k}={v}" for k, v in {**spec.get("trainer", {}), **spec.get("options", {})}.items() if v)
        said = ", ".join(filter(None, [spec.get("attention"), said])) or "none"
        name = f"{spec['stage'].upper()}, {spec['engine']}"
        if "error" in result:
            lines.append(f"| {name} | {said} | failed | | | | |")
            continue
        speed, flops = result["tokens"] / result["seconds"], result["flops"] / result["seconds"]
        place = (spec["stage"], spec["engine"])
        fastest[place] = max(fastest.get(place, (0.0, 0.0)), (speed, result["peak_mib"]))
        lines.append(
            f"| {name} | {said} | {speed:.0f} | {flops / peak:.0%} | {flops / ceiling:.0%} | {result['peak_mib']:.0f} "
            f"| {result['final_loss']:.4f} |"
        )
    for stage in STAGES:
        if (stage, "valign") in fastest and (stage, "trl") in fastest:
            own, other = fastest[stage, "valign"], fastest[stage, "trl"]
            ratio, memory = own[0] / other[0], own[1] / other[1]
            lines.append(f"\n{stage.upper()}: {ratio:.2f} times TRL's tokens a second, in {memory:.2f} of its memory.")
    return "\n".join(lines)


def main() -> None:
    """Measure, then write gpu.json and gpu.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b", help="tiny to try the script")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu to try the script")
    parser.add_argument("--examples", type=int, default=64, help="examples, or pairs, in each measurement")
    parser.add_argument("--batch", type=int, default=8, help="examples, or pairs, in a batch")
    parser.add_argument("--length", type=int, default=1024, help="tokens of the longest rows")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again, in both engines")
    parser.add_argument("--peak", type=float, default=989e12, help="of the device in bfloat16; H100 and H200: 989e12")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a measurement may take")
    parser.add_argument("--threads", type=int, default=8, help="threads of both on the processor")
    parser.add_argument("--work", type=Path, default=Path("runs/benchmark-gpu"), help="folder of what is finished")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of gpu.json and gpu.md")
    options = parser.parse_args()
    work = Measurements(options.work)
    specs = specifications(options)
    exact = numerics(options)
    work.plan([*specs, *exact], 40)
    place = {"threads": options.threads, "device": "gpu" if options.device == "cuda" else "cpu"}
    ceiling = work(place | {"engine": "ceiling"})["ceiling"]["bfloat16"]
    measured = [(spec, work(spec, options.limit)) for spec in specs]
    losses = [(spec, work(spec, options.limit)) for spec in exact]
    text = f"{table(measured, options.peak, ceiling)}\n\nThe embedded model's own weights:\n\n{numerics_table(losses)}"
    options.output.mkdir(parents=True, exist_ok=True)
    rows, exactly = ([{"spec": spec, "result": result} for spec, result in part] for part in (measured, losses))
    results = {"device": device_name(options.device), "ceiling": ceiling, "peak": options.peak, "measured": rows}
    results["numerics"] = exactly
    (options.output / "gpu.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    title = f"{results['device']}, {options.examples} examples in batches of {options.batch}"
    (options.output / "gpu.md").write_text(f"{title}:\n\n{text}\n", encoding="utf-8")
    print(text)


def device_name(device: str) -> str:
    """Return the GPU's name, or the processor's."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else processor()


if __name__ == "__main__":
    main()
