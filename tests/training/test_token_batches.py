"""Batches filled by tokens: which there are, and that a step is the same however it is cut, over ranks and resumes."""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch

from valign.models.load import load_model
from valign.models.packing import lay_out
from valign.training.batches import PlannedBatches
from valign.training.build import fill_stage
from valign.training.dpo_module import DPOModule
from valign.training.examples import EncodedExample, encode_instructions, encode_preferences
from valign.training.plan import Plan, fill_batches, make_plan
from valign.training.sft_module import SFTModule
from valign.training.training_module import TrainingModule


def test_batches_of_a_step_worked_out_by_hand() -> None:
    """5 + 4 + 3 + 9 tokens are three batches of 9; two devices need four, and a step of fewer has empty ones first."""
    plan: Plan = [[(0, 1), (2, 3)], [(4,), ()]]
    tokens = [5, 4, 3, 9, 2]
    assert fill_batches(plan, tokens, 9, 1) == [[(3,), (1, 2), (0,)], [(), (), (4,)]]
    assert fill_batches(plan, tokens, 9, 2) == [[(3,), (0,), (1,), (2,)], [(), (), (4,), ()]]
    assert fill_batches([[(0, 1, 2)]], [5, 50, 5], 10, 1) == [[(1,), (0, 2)]]  # too long for any: by itself


@pytest.mark.parametrize("world", [1, 3])
@pytest.mark.parametrize("batch_tokens", [60, 400, 10_000])
def test_every_step_keeps_its_examples_within_the_tokens(batch_tokens: int, world: int) -> None:
    source = random.Random(7)
    tokens = [source.choice([5, 20, 50, 300]) + source.randrange(9) for _ in range(200)]
    plan = make_plan(tokens, 4, 3, world, 1.5, seed=3)
    filled = fill_batches(plan, tokens, batch_tokens, world)
    assert filled == fill_batches(plan, tokens, batch_tokens, world)
    assert len({len(step) for step in filled}) == 1 and len(filled[0]) % world == 0
    for before, step in zip(plan, filled, strict=True):
        assert sorted(i for part in step for i in part) == sorted(i for part in before for i in part)
        assert all(sum(tokens[i] for i in part) <= batch_tokens or len(part) == 1 for part in step)
        groups = [step[i : i + world] for i in range(0, len(step), world)]
        idle = [not any(group) for group in groups]
        assert idle == sorted(idle, reverse=True) and not idle[-1]
        for group in groups:  # devices have alike work: no more than one example apart
            sums = [sum(tokens[i] for i in part) for part in group]
            assert max(sums) - min(sums) <= max(tokens[i] for part in before for i in part)


def test_a_pair_counts_what_both_answers_begin_with_once(path: Path) -> None:
    examples = encode_preferences(load_model(path, "float32")[1], tiny.preferences(3), None, 200)[0]
    for example in examples:
        chosen, rejected = (c.ids for c in example.conversations)
        common = next(i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b)
        assert example.tokens_apart == len(chosen) + len(rejected) and example.tokens == example.tokens_apart - common
    stage: Any = SimpleNamespace(
        settings=tiny.dpo_settings(batch_tokens=examples[0].tokens), trainer=tiny.trainer_settings()
    )
    assert fill_stage(stage, examples[:1] * 2, [[(0, 1)]]) == [[(0,), (1,)]]
    stage.settings = tiny.dpo_settings()
    assert fill_stage(stage, examples, [[(0, 1, 2)]]) == [[(0, 1, 2)]]


def module_of(kind: str, path: Path, batches: Any) -> TrainingModule:
    """Return a module whose policy is away from its reference, which is drawn."""
    policy, options = tiny.with_adapter(load_model(path, "float32")[0]), {"seed": 1}
    module: TrainingModule
    if kind == "sft":
        module = SFTModule(policy, batches, tiny.sft_settings(), **options)  # type: ignore[arg-type]
    else:
        module = DPOModule(policy, batches, tiny.dpo_settings(sft_weight=0.5), lambda _: {}, **options)
        source = random.Random(0)
        module.reference = {f"pair-{i}": (-source.uniform(5, 9), -source.uniform(5, 9)) for i in range(99)}
    module.trainer = SimpleNamespace(global_step=1)  # type: ignore[assignment]
    return module


def step_of(kind: str, path: Path, examples: list[EncodedExample], plan: Plan, world: int, packed: bool) -> Any:
    """Return the loss, what is reported and the gradients of a plan's only step, summed over devices."""

    def batches(rank: int, world: int) -> PlannedBatches:
        return PlannedBatches(
            examples, plan, 0, rank, world, lay_out=partial(lay_out, module.model, padding_free=packed)
        )

    module = module_of(kind, path, lambda rank, world: PlannedBatches(examples, plan, 0, rank, world))
    loss, watched = 0.0, dict[str, float]()
    for rank in range(world):
        own = batches(rank, world)
        for i in range(len(own)):
            batch = module.on_before_batch_transfer(own[i], 0)
            part, shares = module.objective(batch)
            (part * batch.weight).backward()
            loss += float(part.detach()) * batch.weight
            watched = {k: watched.get(k, 0.0) + float(v.detach()) * batch.weight for k, v in shares.items()}
    return loss, watched, {n: p.grad for n, p in module.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_steps_loss_and_gradients_do_not_depend_on_how_it_is_cut(path: Path, kind: str) -> None:
    """One padded batch, rows by threes, tokens, two and three ranks, packed or not: to 1e-5 in float32."""
    tokenizer = load_model(path, "float32")[1]
    if kind == "sft":
        examples = encode_instructions(tokenizer, tiny.instructions(11), None, 200)[0]
    else:
        examples = encode_preferences(tokenizer, tiny.preferences(11), None, 200)[0]
    tokens = [e.tokens for e in examples]
    whole: Plan = [[tuple(range(11))]]
    loss, watched, gradients = step_of(kind, path, examples, whole, 1, packed=False)
    assert len(gradients) > 20 and (kind == "sft" or len(watched) == 6)
    cuts = [(make_plan(tokens, 3, 4, 1, 1, 0), 1)]
    cuts += [(fill_batches(whole, tokens, cap, world), world) for cap, world in ((90, 1), (200, 2), (120, 3))]
    assert all(len(plan[0]) > 2 for plan, _ in cuts)
    cuts.append(([[(), (), *whole[0], ()]], 2))  # batches that only fill a place
    for plan, world in [*cuts, (whole, 1)]:
        for packed in (True, False):
            found = step_of(kind, path, examples, plan, world, packed)
            assert found[0] == pytest.approx(loss, rel=1e-5) and found[1] == pytest.approx(watched, rel=1e-5, abs=2e-5)
            largest = max(float(g.abs().max()) for g in gradients.values())
            for name, expected in gradients.items():
                torch.testing.assert_close(found[2][name], expected, rtol=1e-5, atol=1e-5 * largest)


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_training_goes_on_with_other_batches(path: Path, tmp_path: Path, kind: str) -> None:
    """By tokens every step is as by rows; stopped at step 5 it goes on bit by bit, or with smaller batches, alike."""
    train: Any = tiny.train_sft if kind == "sft" else tiny.train_dpo
    rows: Any = tiny.instructions(26) if kind == "sft" else tiny.preferences(14)

    def run(name: str, batch_tokens: int | None, **given: Any) -> list[float]:
        (tmp_path / name).mkdir(exist_ok=True)
        settings = {"batch_tokens": batch_tokens, "epochs": 2, "validation": 0.0}
        train(tmp_path / name, path, rows, adapter={"dropout": 0.0}, settings=settings, seed=3, **given)
        return tiny.curve(tmp_path / name)

    by_rows, whole = run("rows", None), run("whole", 120)
    assert whole == pytest.approx(by_rows, rel=2e-3) and whole[0] == pytest.approx(by_rows[0], rel=1e-5)
    for name, tokens in (("same", 120), ("smaller", 70)):
        with pytest.raises(tiny.Stop):
            run(name, 120, logger=tiny.StopAt(5))
        assert (tmp_path / name / "checkpoints" / "step-0000003.ckpt").exists()
        curve = run(name, tokens)
        assert curve[:3] == whole[:3] and curve == (whole if name == "same" else pytest.approx(whole, rel=2e-3))


def test_batches_that_no_device_needs_are_not_computed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of few tokens need fewer batches than the longest one; each example is computed once an epoch."""
    seen: list[str] = []
    inner = SFTModule.objective

    def counted(self: SFTModule, batch: Any) -> Any:
        assert batch.weight == 1.0
        seen.extend(batch.example_ids)
        return inner(self, batch)

    monkeypatch.setattr(SFTModule, "objective", counted)
    settings = {"batch_tokens": 150, "epochs": 1, "validation": 0.0}
    tiny.train_sft(tmp_path, path, tiny.instructions(26), settings=settings)
    assert len(seen) == 26 and len(set(seen)) == 26
