"""What the measurements say: results.json, the table in the README, the plots."""

from __future__ import annotations

import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- table -->", "<!-- end of table -->"
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "pytorch-lightning")
COLOURS = {"valign": "#0b6e4f", "trl": "#c2571a"}
NAMES = {"valign": "valign", "trl": "TRL"}
GROWN = (("length", "tokens in a row"), ("batch_size", "rows in a batch"), ("vocabulary", "vocabulary"))


def summary(measured: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """Return what results.json holds.

    Its keys sft_speedup and dpo_speedup are valign's examples a second over those of TRL's best configuration;
    memory_ratio is valign's peak memory over TRL's, the larger of the two stages'.
    """
    rounds, ceiling = measured["rounds"], measured["ceiling"]
    engines = {s: {e: _engine(runs, max(ceiling.values())) for e, runs in pair.items()} for s, pair in rounds.items()}
    speedups = {s: e["valign"]["examples_per_second"] / e["trl"]["examples_per_second"] for s, e in engines.items()}
    memory = [e["valign"]["peak_mib"] / e["trl"]["peak_mib"] for e in engines.values()]
    keys = ("model", "examples", "rounds", "probe", "batch", "threads")
    return {
        "sft_speedup": round(speedups["sft"], 3),
        "dpo_speedup": round(speedups["dpo"], 3),
        "memory_ratio": round(max(memory), 3),
        "machine": {"processor": processor(), "threads": options["threads"], "system": platform.system()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "settings": {key: options[key] for key in keys} | {"rows": "artifact" if options["artifact"] else "made"},
        "matrix_product_gflops": {name: round(flops / 1e9, 1) for name, flops in ceiling.items()},
        "trl_best": {s: _configuration(spec) for s, spec in measured["chosen"].items()},
        "engines": engines,
        "trl_configurations": {
            s: [_configuration(spec) | _short(result) for spec, result in found]
            for s, found in measured["candidates"].items()
        },
    }


def growth_summary(
    measured: Sequence[tuple[dict[str, Any], dict[str, Any]]], options: dict[str, Any]
) -> dict[str, Any]:
    """Return what results.json holds on growth, and where that was measured, which may be another day."""
    return {
        "growth": [_size(spec) | _short(result) for spec, result in measured],
        "growth_machine": {"processor": processor(), "threads": options["threads"]},
    }


def _engine(runs: Sequence[dict[str, Any]], ceiling: float) -> dict[str, Any]:
    failed = [run["error"] for run in runs if "error" in run]
    if failed:
        raise SystemExit(f"a measurement failed: {failed[0]}")
    speeds = [run["examples"] / run["seconds"] for run in runs]
    middle = statistics.median(run["seconds"] for run in runs)
    return {
        "examples_per_second": round(statistics.median(speeds), 4),
        "lowest": round(min(speeds), 4),
        "highest": round(max(speeds), 4),
        "supervised_tokens_per_second": round(runs[0]["supervised_tokens"] / middle, 2),
        "peak_mib": round(statistics.median(run["peak_mib"] for run in runs)),
        "start_mib": round(statistics.median(run["start_mib"] for run in runs)),
        "final_loss": runs[0]["final_loss"],
        "of_ceiling": round(runs[0]["flops"] / middle / ceiling, 4),
    }


def _configuration(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: spec[key] for key in ("precision", "attention", "options")}


def _size(spec: dict[str, Any]) -> dict[str, Any]:
    return {key: spec[key] for key in ("engine", "stage", "length", "batch_size", "vocabulary", "examples")}


def _short(result: dict[str, Any]) -> dict[str, Any]:
    if "error" in result:
        return {"error": result["error"]}
    speed = result["examples"] / result["seconds"]
    return {
        "examples_per_second": round(speed, 4),
        "peak_mib": round(result["peak_mib"]),
        "final_loss": result["final_loss"],
    }


def processor() -> str:
    """Return the processor's name."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.is_file() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())


def table(results: dict[str, Any]) -> str:
    """Return the tables as Markdown, of what was measured."""
    found = [*_engines(results), *_configurations(results)] if "engines" in results else []
    return "\n".join([*found, *_growth(results)]).rstrip()


def _engines(results: dict[str, Any]) -> list[str]:
    settings, machine = results["settings"], results["machine"]
    head = (
        f"{machine['processor']}, {machine['threads']} threads; {settings['examples']} examples in batches of "
        f"{settings['batch']}, medians of {settings['rounds']} runs in turn (lowest to highest):"
    )
    lines = ["| | examples/s | supervised tokens/s | peak MiB | final loss | of the ceiling |", _rule(6)]
    for stage, engines in results["engines"].items():
        for name, e in engines.items():
            speed = f"{e['examples_per_second']:.3f} ({e['lowest']:.3f} to {e['highest']:.3f})"
            lines.append(
                f"| {stage.upper()}, {NAMES[name]} | {speed} | {e['supervised_tokens_per_second']:.1f} | "
                f"{e['peak_mib']} | {e['final_loss']:.5f} | {100 * e['of_ceiling']:.0f}% |"
            )
    ratios = (
        f"valign to TRL: SFT {results['sft_speedup']:.2f} times the speed, DPO {results['dpo_speedup']:.2f} times; "
        f"{results['memory_ratio']:.2f} of the memory. Products of large matrices: "
        + ", ".join(f"{gflops:.0f} GFLOP/s in {name}" for name, gflops in results["matrix_product_gflops"].items())
        + "; the ceiling is the larger."
    )
    return [head, "", *lines, "", ratios, ""]


def _rule(columns: int) -> str:
    return "| --- |" + " ---: |" * (columns - 1)


def _configurations(results: dict[str, Any]) -> list[str]:
    lines = [f"TRL's configurations, {results['settings']['probe']} examples each:", ""]
    lines += [
        "| | precision | attention | options | examples/s | peak MiB | final loss |",
        "| --- | --- | --- | --- | ---: | ---: | ---: |",
    ]
    for stage, found in results["trl_configurations"].items():
        for c in found:
            values = "failed | |"
            if "error" not in c:
                values = f"{c['examples_per_second']:.3f} | {c['peak_mib']} | {c['final_loss']:.4f}"
            options = ", ".join(c["options"]) or "none"
            lines.append(f"| {stage.upper()} | {c['precision']} | {c['attention']} | {options} | {values} |")
    return [*lines, ""]


def _growth(results: dict[str, Any]) -> list[str]:
    if not results.get("growth"):
        return []
    processor_name, threads = results["growth_machine"].values()
    lines = [f"A random model (6 layers, 256 wide), one run each; {processor_name}, {threads} threads:", ""]
    lines += ["| | tokens | batch | vocabulary | valign, examples/s | TRL, examples/s | MiB, valign | MiB, TRL |"]
    lines += [_rule(8)]
    pairs: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in results["growth"]:
        size = row["stage"], row["length"], row["batch_size"], row["vocabulary"]
        pairs.setdefault(size, {})[row["engine"]] = row
    for (stage, *size), engines in pairs.items():
        speeds = [f"{engines[e].get('examples_per_second', 'failed')}" for e in NAMES]
        sizes = [f"{engines[e].get('peak_mib', 'failed')}" for e in NAMES]
        lines.append("| " + " | ".join([stage.upper(), *map(str, size), *speeds, *sizes]) + " |")
    return lines


def write_table(readme: Path, text: str) -> None:
    """Put the tables between the markers of a README, where there is one."""
    if not readme.is_file():
        return
    whole = readme.read_text(encoding="utf-8")
    before, after = whole.split(BEGIN)[0], whole.split(END)[1]
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def plots(results: dict[str, Any], folder: Path) -> None:
    """Write ``speed.svg`` and, where growth was measured, ``growth.svg``."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams |= {"svg.hashsalt": "valign", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    from matplotlib import pyplot as plt

    if "engines" in results:
        speed_figure(results["engines"], plt).savefig(folder / "speed.svg", metadata={"Date": None})
    if results.get("growth"):
        growth_figure(results["growth"], plt).savefig(folder / "growth.svg", metadata={"Date": None})


def speed_figure(engines: dict[str, dict[str, Any]], plt: Any) -> Any:
    """Draw examples a second and peak memory of both stages and engines."""
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.6), layout="constrained")
    for axis, key, title in zip(
        axes, ("examples_per_second", "peak_mib"), ("examples a second", "peak memory, MiB"), strict=True
    ):
        bars = [(f"{s.upper()}\n{NAMES[e]}", v[key], e) for s, both in engines.items() for e, v in both.items()]
        axis.bar([b[0] for b in bars], [b[1] for b in bars], color=[COLOURS[b[2]] for b in bars])
        axis.set_title(title)
    return figure


def growth_figure(rows: Sequence[dict[str, Any]], plt: Any) -> Any:
    """Draw seconds an example and peak memory against length, batch and vocabulary."""
    figure, axes = plt.subplots(2, len(GROWN), figsize=(9, 5), layout="constrained", sharex="col")
    done = [row | {"seconds": 1 / row["examples_per_second"]} for row in rows if "error" not in row]
    usual = {key: statistics.mode(row[key] for row in rows) for key, _ in GROWN}
    for column, (key, words) in enumerate(GROWN):
        others = [name for name, _ in GROWN if name != key]
        varied = sorted((r for r in done if all(r[name] == usual[name] for name in others)), key=lambda r: r[key])
        for axis, value, title in zip(
            axes[:, column], ("seconds", "peak_mib"), ("seconds an example", "peak MiB"), strict=True
        ):
            _lines(axis, varied, key, value)
            axis.set(xlabel=words if value == "peak_mib" else "", ylabel=title, xscale="log", yscale="log")
            sizes = sorted({row[key] for row in varied})
            axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
            axis.set_xticks([], minor=True)
    axes[0, 0].legend(frameon=False)
    return figure


def _lines(axis: Any, rows: Sequence[dict[str, Any]], key: str, value: str) -> None:
    """Draw a line for each stage and engine that was measured at more than one value of the key."""
    for stage, style in (("sft", "-"), ("dpo", "--")):
        for engine, colour in COLOURS.items():
            mine = [row for row in rows if (row["stage"], row["engine"]) == (stage, engine)]
            if len({row[key] for row in mine}) > 1:
                x, y = [row[key] for row in mine], [row[value] for row in mine]
                axis.plot(x, y, style, marker="o", color=colour, label=f"{stage.upper()}, {NAMES[engine]}")
