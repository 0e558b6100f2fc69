"""The config of a run of an earlier version has today's keys, its own values, and what it did not know left undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from entry_point import Compose
from omegaconf import DictConfig, OmegaConf

from valign.config import checks
from valign.config.arguments import plain
from valign.config.earlier_versions import today, with_new_names
from valign.config.messages import RENAMED
from valign.config.schema import SCHEMAS, keys
from valign.core.settings import make_settings
from valign.synthesis.settings import KindWeights, RejectedShares, SynthesisSettings
from valign.teachers.factory import make_teacher
from valign.teachers.settings import TeacherSettings

FILE = Path(__file__).parent / "earlier_run.yaml"  # of commit 84ca4af, whose synthesis had no groups


@pytest.fixture
def earlier() -> DictConfig:
    """The config.yaml of a run of an earlier version."""
    found = OmegaConf.load(FILE)
    assert isinstance(found, DictConfig)
    return found


def without(config: DictConfig, *gone: str) -> DictConfig:
    """Return a copy without some keys."""
    copy = OmegaConf.create(plain(config))
    for key in gone:
        group, _, name = key.rpartition(".")
        del (OmegaConf.select(copy, group) if group else copy)[name]
    return copy


def test_todays_keys_and_the_runs_values(earlier: DictConfig) -> None:
    """Every key of today is there, and every value stands under the name that its key has today."""
    found = today(earlier)
    absent = object()
    assert not [key for key in keys(SCHEMAS["config"]) if OmegaConf.select(found, key, default=absent) is absent]
    for key in keys(SCHEMAS["config"]):
        old = next((old for old, new in RENAMED.items() if new == key), key)
        if OmegaConf.select(earlier, old) is not None and not OmegaConf.is_config(OmegaConf.select(earlier, old)):
            assert OmegaConf.select(found, key) == OmegaConf.select(earlier, old)
    for old, new in RENAMED.items():
        before, now = OmegaConf.select(earlier, old), OmegaConf.select(found, new)
        assert ({key: now[key] for key in before} if OmegaConf.is_dict(before) else now) == before
        assert OmegaConf.select(found, old, default=absent) is absent or old in RENAMED.values()
    assert (found.synthesis.preferences.scenarios_per_passage, found.synthesis.sampling.top_p) == (7, 0.8)
    assert found.dry_run is False


def test_it_is_what_the_code_takes(earlier: DictConfig, compose_config: Compose) -> None:
    """It passes today's checks and gives the same settings as today's experiment with the same values."""
    found = today(earlier)
    overrides = ["synthesis.preferences.scenarios_per_passage=7", "synthesis.sampling.top_p=0.8"]
    composed = compose_config("+experiment=udhr_embedded", *overrides)
    checks.check_config(OmegaConf.merge(OmegaConf.structured(SCHEMAS["config"]), found))  # type: ignore[arg-type]
    assert make_settings(SynthesisSettings, plain(found.synthesis)) == make_settings(
        SynthesisSettings, plain(composed.synthesis)
    )
    assert (
        make_teacher(make_settings(TeacherSettings, plain(found.teacher))).id
        == make_teacher(make_settings(TeacherSettings, plain(composed.teacher))).id
    )
    was, now = plain(found.sft), plain(composed.sft)
    assert (was.pop("batch_tokens"), now.pop("batch_tokens")) == (None, 2048)  # the same steps in other batches
    assert was == now
    was, now = plain(found.evaluation), plain(composed.evaluation)
    shown = now.pop("metrics")
    assert set(was.pop("metrics")) == {*shown} - {"preference_on_yes", "preference_on_no"}  # shown since then
    assert was == now


def test_what_a_very_old_run_did_not_know_was_not_done(earlier: DictConfig) -> None:
    """The first runs had no such keys: nothing was replayed, measured, served, held out, quantized or judged."""
    unknown = ("kinds", "personas", "lengths", "examples_per_fact", "extract", "cite", "templates", "question_teacher",
               "claim_pairs_per_passage", "max_evaluation", "max_wording", "min_language", "max_repetition",
               "faithfulness", "faithfulness_model", "min_instructions", "min_preferences", "min_questions",
               "top_up_rounds", "waive_coverage", "hold_out_clauses")  # fmt: skip
    old = without(
        earlier, *(f"synthesis.{key}" for key in unknown), "budget_only", "base_model.quantization", "recipe.retriever",
        "teacher.share", "teacher.price_in", "teacher.price_out", "teacher.max_cost", "teacher.max_tokens",
        "sft.validation", "sft.replay", "sft.replay_file", "dpo.validation", "dpo.loss", "dpo.simpo_gamma",
        "trainer.activation_checkpointing", "trainer.padding_free", "trainer.attention", "trainer.kernels",
        "trainer.wait_seconds", "evaluation.judge", "evaluation.judge_tie", "evaluation.judge_model",
        "evaluation.probes", "evaluation.tax", "evaluation.server",
    )  # fmt: skip
    old.synthesis.rejected = ["edit", "base"]
    old.synthesis.question_pairs = True
    old.nonsense = {"a": 1}
    found = today(old)
    absent = object()
    assert not [key for key in keys(SCHEMAS["config"]) if OmegaConf.select(found, key, default=absent) is absent]
    assert "nonsense" not in found and "question_pairs" not in found.synthesis
    settings = make_settings(SynthesisSettings, plain(found.synthesis))
    assert settings.instructions.kinds == KindWeights(question=1.0)
    assert settings.preferences.rejected == RejectedShares(edit=1.0, base=1.0)
    filters, coverage = settings.filters, settings.coverage
    assert (filters.max_evaluation, filters.max_wording, filters.min_language, filters.max_repetition) == (1, 1, 0, 1)
    assert (coverage.min_instructions, coverage.min_preferences, coverage.min_questions, coverage.waive) == (
        0, 0, 0, False,
    )  # fmt: skip
    expected: dict[str, Any] = {
        "dry_run": False, "base_model.quantization": None, "recipe.retriever": None, "teacher.share": None,
        "sft.validation": 0, "sft.replay": 0, "dpo.loss": "sigmoid", "trainer.wait_seconds": 86400,
        "trainer.padding_free": False, "evaluation.judge": None, "evaluation.judge_model": None,
        "evaluation.probes": None, "evaluation.policy_probes.questions": None,
        "evaluation.tax.measure": False, "evaluation.server.base_urls": [],
        "evaluation.server.models.sft_dpo": None, "evaluation.server.likelihoods": "none",
        "synthesis.hold_out_clauses": [], "synthesis.question_teacher": None,
    }  # fmt: skip
    assert {key: OmegaConf.select(found, key) for key in expected} == expected


def test_a_composed_config_stays_as_it_is(compose_config: Compose) -> None:
    composed = compose_config("+experiment=udhr")
    assert today(composed) is composed
    saved = OmegaConf.create(plain(composed))
    assert plain(today(saved)) == plain(composed)
    assert list(today(saved)) == list(composed)


def test_renaming_by_hand() -> None:
    """A group is moved as a whole; what has both names keeps the new one; the given mapping is not changed."""
    given = {"budget_only": True, "synthesis": {"rejected": {"edit": 1}, "openings": ["Who"], "answers": "quote"}}
    assert with_new_names(given) == {
        "dry_run": True,
        "synthesis": {
            "answers": "quote",
            "instructions": {"openings": ["Who"]},
            "preferences": {"rejected": {"edit": 1}},
        },
    }
    assert given["synthesis"] == {"rejected": {"edit": 1}, "openings": ["Who"], "answers": "quote"}
    assert with_new_names({"budget_only": True, "dry_run": False}) == {"dry_run": False}
    assert with_new_names({"synthesis": None}) == {"synthesis": None}
