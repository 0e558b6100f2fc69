"""A training step of valign and of TRL on paper: ``python experiments/benchmark/roofline.py``, which needs no GPU.

The code of both engines runs at the shape of Mistral-7B on tensors without values (PyTorch's fake tensors), with one,
two and three decoder layers, and each operation that reaches PyTorch's kernels is counted: its floating-point
operations, the bytes that it reads and writes, and itself as one kernel. What a layer adds is the same from the first
to the third, so 32 layers are counted too. Rows, batches, adapters and configurations are those of ``gpu.py``.

Liger's kernels and the one with which TRL goes through logits do not run without a GPU: a stand-in for each counts what
it reads and writes, once. Attention counts the pairs of tokens that its kernel computes: those before, in
FlashAttention; all of them where there is a mask.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast
from unittest.mock import patch

import gpu
import subjects
import torch
import worker
from tally import BANDWIDTH, PEAK, Active, Tally, convert, stand_in_for_liger, stand_in_for_trl_kernels
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves, tree_map

HERE = Path(__file__).resolve().parent
LAUNCH = 5e-6  # seconds of the host for a kernel: assumed, not measured
LAYERS, COUNTED = 32, (1, 2, 3)
BOUNDS = {"arithmetic": ("flops", 1 / PEAK), "memory": ("bytes", 1 / BANDWIDTH), "launches": ("kernels", LAUNCH)}
HEAD = """| | rows | TFLOP | GB | kernels | arithmetic, ms | memory, ms | launches, ms | bound, tokens/s | MFU at it | \
kernel by kernel, ms | tokens/s | MFU | measured, tokens/s | of kernel by kernel |
| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"""
CONFIGURATIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("valign", "valign", {"trainer": {}}),
    ("valign, as measured", "valign", {"trainer": {"attention": "sdpa"}, "fused": False}),  # before 29 November 2026
    ("TRL", "trl", {"attention": "sdpa", "options": {}}),
]


class Engine(NamedTuple):
    """A training that is ready to be counted.

    Attributes:
        batches: Of an epoch, with values.
        tally: Returns what counts a batch of these.
        step: Computes the loss of a batch, and its gradients.
        trained: Parameters.
    """

    batches: list[Any]
    tally: Callable[[Any], Tally]
    step: Callable[[Any], None]
    trained: list[Any]


def valign_engine(spec: dict[str, Any], folder: Path, fake: FakeTensorMode) -> Engine:
    """Build valign's training as a GPU gets it."""
    from valign.models import logprobs
    from valign.training import build, fused_projections

    stage, undo = worker.valign_stage(spec | {"device": "gpu"}, folder, None), ExitStack()
    data = build.encode_stage(stage, worker.given(spec))
    plan = build.fill_stage(stage, data.examples, build.plan_stage(stage, data.examples, 1))
    seen = patch.object(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    with fake, seen, patch.object(type(stage), "device", "cuda"), patch.object(build, "own_device", lambda *_: "cpu"):
        if not spec.get("fused", True):
            undo.enter_context(patch.object(build, "fuse_linear_layers", lambda model: None))
        model = build.load_trainable(stage, cast(Any, None), undo)
        undo.close()
    module = build.build_module(stage, model, data, plan, 0)
    module.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_step=1, global_rank=0, world_size=1, strategy=SimpleNamespace(handles_gradient_accumulation=False)
    )
    own = module.batches(0, 1)
    if spec["stage"] == "dpo":
        module.reference = {e.example_id: (0.0, 0.0) for e in data.examples}
    batches = [module.on_before_batch_transfer(own[i], 0) for i in range(len(own))]

    def tally(batch: Any) -> Tally:
        if (found := batch.layout.sequences) is None:
            return Tally()
        lengths = [(q, k) for q, k in zip(found.queries.diff().tolist(), found.keys.diff().tolist(), strict=True)]
        return Tally(pairs=sum(q * k - q * (q - 1) // 2 for q, k in lengths))

    def step(batch: Any) -> None:
        new = patch.object(fused_projections, "is_left_out", lambda up: True)  # as the reference finds it
        with new, patch.object(logprobs, "CPU_LOGITS", logprobs.GPU_LOGITS):
            if spec["stage"] == "dpo":
                with torch.no_grad():
                    torch.stack(module.pair_logps(batch), 1)
            module.training_step(batch, 0).backward()

    return Engine(batches, tally, step, [p for p in model.parameters() if p.requires_grad])


def trl_engine(spec: dict[str, Any], folder: Path, fake: FakeTensorMode) -> Engine:
    """Build TRL's training."""
    with fake:
        trainer = worker.trl_trainer(spec | {"device": "cpu"}, folder, worker.given(spec), [])[0]
        model = trainer.accelerator.prepare_model(trainer.model)
    trainer.current_gradient_accumulation_steps = 1
    data, size = trainer._remove_unused_columns(trainer.train_dataset), spec["batch_size"]
    batches = [
        dict(trainer.data_collator([data[i] for i in range(first, first + size)]))
        for first in range(0, len(data), size)
    ]

    def tally(batch: Any) -> Tally:
        kept = batch["labels"][:, 1:] != -100 if "labels" in batch else batch["completion_mask"][:, 1:] == 1
        return Tally(bool(batch["attention_mask"].all()), int(kept.sum()))

    def step(batch: Any) -> None:
        trainer.training_step(model, dict(batch))

    return Engine(batches, tally, step, [p for p in model.parameters() if p.requires_grad])


def count(spec: dict[str, Any], layers: int, folder: Path) -> Counter[str]:
    """Return what a mean step of an epoch computes, of a model of some layers.

    Args:
        spec: Of a measurement, as ``gpu.py`` makes them; ``shape`` names the model.
        layers: Decoder layers.
        folder: For what trainings write.
    """
    from transformers import AutoModelForCausalLM

    active, fake, total = Active(), FakeTensorMode(), Counter[str]()
    shape, known = subjects.SHAPES[spec["shape"]] | {"num_hidden_layers": layers}, {}
    with ExitStack() as undo:
        undo.enter_context(patch.dict(subjects.SHAPES, {f"{spec['shape']}-{layers}": shape}))
        model = subjects.shape_of_mistral(folder, f"{spec['shape']}-{layers}")
        undo.enter_context(patch.object(AutoModelForCausalLM, "from_pretrained", None))
        undo.enter_context(patch.object(torch.nn.Module, "to", convert))
        # a mask of whole rows is left out, which transformers does not look for in tensors without values
        undo.enter_context(patch("transformers.utils.import_utils.is_fake_tensor", lambda tensor: False))
        subjects.draw_weights("cpu")
        draw = AutoModelForCausalLM.from_pretrained
        if spec["kernels"]:

            def fused(*given: Any, **named: Any) -> Any:
                drawn = draw(*given, **named)
                model, *info = drawn if isinstance(drawn, tuple) else (drawn,)
                stood_in = stand_in_for_liger(model, active, undo)
                return (stood_in, *info) if info else stood_in

            undo.enter_context(patch.object(AutoModelForCausalLM, "from_pretrained", fused))
        if spec["engine"] == "trl":
            stand_in_for_trl_kernels(active, undo)
        engine = (trl_engine if spec["engine"] == "trl" else valign_engine)(spec | {"model": model}, folder, fake)
        for batch in engine.batches:
            active.tally = engine.tally(batch)
            said = vars(active.tally)
            key = str([said[name] for name in ("full", "supervised", "pairs")] + shapes(batch))
            if key not in known:
                known[key] = count_step(engine, batch, active.tally, fake)
            total.update(known[key])
    return Counter({name: value / len(engine.batches) for name, value in total.items()})


def shapes(batch: Any) -> list[Any]:
    """Return the shapes of a batch's tensors."""
    return [tuple(x.shape) for x in tree_leaves(batch) if isinstance(x, torch.Tensor)]


def count_step(engine: Engine, batch: Any, tally: Tally, fake: FakeTensorMode) -> Counter[str]:
    """Return what one optimizer step computes: losses, gradients, their norm, clipping, AdamW."""
    unknown = tree_map(lambda x: fake.from_tensor(x) if isinstance(x, torch.Tensor) else x, batch)
    with fake:
        for parameter in engine.trained:
            parameter.grad = None
        optimizer = torch.optim.AdamW(engine.trained, 1e-4, fused=True)
        with tally:
            engine.step(unknown)
        optimizer.step()  # makes its moments
        with tally:
            torch.nn.utils.clip_grad_norm_(engine.trained, 1.0)
            optimizer.step()
    return tally.found


def extrapolated(counted: list[Counter[str]], layers: int = LAYERS) -> Counter[str]:
    """Return what a model of more layers computes, from one, two and three layers.

    Raises:
        SystemExit: The third layer does not add what the second does.
    """
    one, two, three = counted
    for name in ("flops", "bytes", "kernels"):
        if abs(three[name] - 2 * two[name] + one[name]) > 1e-6 * three[name]:
            raise SystemExit(f"{name} do not grow by the layer: {one[name]:.6g}, {two[name]:.6g}, {three[name]:.6g}")
    return Counter({name: one[name] + (layers - 1) * (two[name] - one[name]) for name in one | two})


def specifications(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is counted: both stages and kinds of rows in each configuration."""
    shared = {"precision": "bfloat16", "threads": 1, "shape": options.shape, "kernels": True}
    return [
        shared | kind | {"rows": name, "stage": stage, "name": said, "engine": engine} | settings
        for name, kind in gpu.rows(options).items()
        for stage in ("sft", "dpo")
        for said, engine, settings in CONFIGURATIONS
    ]


def needed(spec: dict[str, Any], folder: Path) -> tuple[float, float]:
    """Return the tokens of a mean step, and the operations that it needs, as the MFU of ``gpu.py`` counts them."""
    from transformers import AutoConfig, AutoTokenizer

    model = subjects.shape_of_mistral(folder, spec["shape"])
    examples, _ = subjects.encoded(
        spec["stage"], AutoTokenizer.from_pretrained(model), worker.given(spec), spec["batch_size"]
    )
    steps = len(examples) / spec["batch_size"]
    tokens = sum(len(c.ids) for e in examples for c in e.conversations)
    return tokens / steps, subjects.useful_flops(spec["stage"], examples, AutoConfig.from_pretrained(model)) / steps


def measured(spec: dict[str, Any]) -> float | None:
    """Return the tokens a second of ``gpu.json`` for the first configuration of an engine, where it is measured."""
    if spec["name"] == "valign":  # whose attention without masks came after the measurement
        return None
    for entry in json.loads((HERE / "gpu.json").read_text(encoding="utf-8"))["measured"]:
        if all(entry["spec"][name] == spec[name] for name in ("engine", "stage", "rows")) and "liger" in str(entry):
            return float(entry["result"]["tokens"] / entry["result"]["seconds"])
    return None


def row(spec: dict[str, Any], found: Counter[str], tokens: float, useful: float) -> str:
    """Return a row of the table."""
    times = {name: found[counted] * each for name, (counted, each) in BOUNDS.items()}
    most, sequence, real = max(times.values()), max(found["sequence"], times["launches"]), measured(spec)
    cells = [f"{spec['stage'].upper()}, {spec['name']}", spec["rows"]]
    cells += [f"{found['flops'] / 1e12:.0f}", f"{found['bytes'] / 1e9:.0f}", f"{found['kernels']:.0f}"]
    cells += [f"**{1e3 * t:.0f}**" if t == most else f"{1e3 * t:.0f}" for t in times.values()]
    for seconds, shown in ((most, []), (sequence, [f"{1e3 * sequence:.0f}"])):
        cells += shown
        cells += [f"{tokens / seconds:.0f}", f"{useful / seconds / PEAK:.0%}"]
    cells += [f"{real:.0f}", f"{real * sequence / tokens:.0%}"] if real else ["-", "-"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Count, and print the table; roofline.json has each operation's number and seconds too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=("7b", "tiny"), default="7b", help="tiny to try the script")
    parser.add_argument("--steps", type=int, default=8, help="batches of an epoch")
    parser.add_argument("--batch", type=int, default=4, help="long rows, or pairs, in a batch; of short ones 4 times")
    parser.add_argument("--length", type=int, default=1024, help="tokens of long rows; short ones have up to 0.3 of it")
    parser.add_argument("--work", type=Path, default=Path("runs/roofline"), help="folder for what trainings write")
    parser.add_argument("--output", type=Path, default=HERE / "roofline.json", help="the file of counts")
    options, lines, results = parser.parse_args(), [HEAD], []
    for spec in specifications(options):
        found = extrapolated([count(spec, layers, options.work) for layers in COUNTED])
        tokens, useful = needed(spec, options.work)
        lines.append(row(spec, found, tokens, useful))
        results.append({"spec": spec, "tokens": tokens, "useful": useful, "step": dict(found)})
        print(lines[-1], flush=True)
    options.output.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
