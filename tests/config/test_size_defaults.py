"""Training's defaults come with the base model; what a command or an experiment sets wins."""

from __future__ import annotations

import pytest
from entry_point import Compose
from omegaconf import DictConfig

from valign.config.run_identity import result_settings
from valign.pipeline.context import Context
from valign.training.usual_rates import USUAL, rate_warning

SMALL, LARGE = (1.5e-3, 8, 2, 5e-4, 8, 2, 1.0, 2.0), (1e-4, 4, 8, 5e-6, 4, 8, 0.1, 0.5)
WEIGHTS = {"smollm2_135m": 135e6, "tiny": 1e5, "smollm2_1b7": 1.7e9, "mistral_7b_instruct": 7.2e9,
           "llama_70b_instruct": 70.6e9}  # fmt: skip


def taken(cfg: DictConfig) -> tuple[float, ...]:
    """Return what depends on the size of the base."""
    sft, dpo = cfg.sft, cfg.dpo
    first = sft.learning_rate, sft.batch_size, sft.accumulate
    return *first, dpo.learning_rate, dpo.batch_size, dpo.accumulate, dpo.beta, dpo.sft_weight


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([], SMALL),
        (["base_model=tiny"], SMALL),
        (["+experiment=udhr_embedded"], SMALL),
        (["+experiment=lanternfield"], SMALL),
        (["+experiment=sweep_dpo"], SMALL),
        (["+experiment=udhr"], (3e-3, 8, 1, 5e-4, 8, 2, 3.0, 0.0)),
        (["+experiment=udhr_ablation"], (3e-3, 8, 1, 5e-4, 8, 2, 3.0, 0.0)),
        (["+experiment=udhr_long"], (1.5e-3, 8, 2, 5e-4, 8, 2, 3.0, 0.0)),
    ],
)
def test_the_embedded_models_settings_are_what_they_were(
    given: list[str], expected: tuple[float, ...], compose_config: Compose
) -> None:
    """To the digit: its studies were made with them."""
    assert taken(compose_config(*given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["base_model=mistral_7b_instruct"], LARGE),
        (["base_model=hub", "base_model.model=owner/name"], LARGE),
        (["base_model=smollm2_1b7"], (3e-4, 8, 4, 2e-5, 8, 4, 0.1, 0.5)),
        (["base_model=llama_70b_instruct"], (1e-4, 1, 32, 5e-6, 1, 32, 0.1, 0.5)),
        (["base_model=mistral_7b_instruct", "sft.learning_rate=2e-4", "dpo.beta=0.3"], (2e-4, *LARGE[1:6], 0.3, 0.5)),
        (["+experiment=udhr", "base_model=mistral_7b_instruct"], (3e-3, 4, 1, 5e-6, 4, 8, 3.0, 0.0)),
        (["+experiment=udhr_mistral"], (1e-4, 2, 4, 5e-6, 1, 8, 0.1, 0.5)),
        (["+experiment=paper"], (1e-4, 2, 4, 5e-6, 1, 8, 0.1, 0.0)),
    ],
)
def test_a_larger_base_brings_its_own(given: list[str], expected: tuple[float, ...], compose_config: Compose) -> None:
    assert taken(compose_config(*given)) == expected


@pytest.mark.parametrize(
    ("given", "expected"), [([], 2048), (["sft.batch_tokens=null"], None), (["base_model=hub"], None)]
)
def test_the_embedded_models_steps_are_filled_by_tokens(
    given: list[str], expected: int | None, compose_config: Compose
) -> None:
    assert compose_config(*given).sft.batch_tokens == expected


@pytest.mark.parametrize("name", WEIGHTS)
def test_the_files_and_the_warnings_say_the_same(name: str, compose_config: Compose) -> None:
    cfg = compose_config(f"base_model={name}")
    usual = next(each for each in USUAL if WEIGHTS[name] <= each.weights)
    assert usual.rates == {"sft": cfg.sft.learning_rate, "dpo": cfg.dpo.learning_rate}


@pytest.mark.parametrize(
    ("stage", "rate", "weights", "is_full", "words"),
    [
        ("sft", 1.5e-3, 7_248_000_000, False, "an adapter on 7.2 billion weights, and it may undo what"),
        ("sft", 1.5e-3, 7_248_000_000, False, "set sft.learning_rate=0.0001, or choose the base_model"),
        ("dpo", 5e-4, 7_248_000_000, False, "set dpo.learning_rate=5e-06, or choose the base_model that was written"),
        ("sft", 1e-4, 134_500_000, False, "0.1 billion weights, and it may teach little: set sft.learning_rate=0.0015"),
        ("sft", 1e-4, 7_248_000_000, True, "all of 7.2 billion weights, and it may undo"),
        ("sft", 1e-4, 7_248_000_000, False, None),
        ("sft", 1e-5, 7_248_000_000, True, None),
        ("sft", 3e-3, 134_500_000, False, None),
        ("dpo", 1e-4, 134_500_000, False, None),
        ("sft", 1.0, 100_000, False, None),
    ],
)  # fmt: skip
def test_a_rate_that_is_ten_times_off_is_said(
    stage: str, rate: float, weights: int, is_full: bool, words: str | None
) -> None:
    """In one line; the rates of the embedded model's studies and sweeps are not."""
    line = rate_warning(stage, rate, weights, is_full)
    assert (line is None) == (words is None)
    assert words is None or (line is not None and words in line and "\n" not in line)


def test_what_is_recommended_decides_nothing_by_itself(compose_config: Compose) -> None:
    """A run with other recommendations and the same settings has the same result, also one with other batches."""
    same = [f"{key}={value}" for key, value in zip(
        ("sft.learning_rate", "sft.batch_size", "sft.accumulate", "dpo.learning_rate", "dpo.batch_size",
         "dpo.accumulate", "dpo.beta", "dpo.sft_weight"), SMALL, strict=True)]  # fmt: skip
    plain = Context.of(compose_config(*same)).noted
    other = Context.of(compose_config(*same, "base_model.recommended.sft_learning_rate=1")).noted
    assert plain != other and result_settings(plain) == result_settings(other)
    refilled = Context.of(compose_config(*same, "sft.batch_tokens=null", "dpo.batch_tokens=99")).noted
    assert plain != refilled and result_settings(plain) == result_settings(refilled)
    changed = Context.of(compose_config("base_model.recommended.sft_learning_rate=1")).noted
    assert changed["sft"]["learning_rate"] == 1 and result_settings(changed) != result_settings(plain)
