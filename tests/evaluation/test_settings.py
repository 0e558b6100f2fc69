"""What evaluation is told: defaults for runs of earlier versions, and the judge that is asked for."""

from __future__ import annotations

from typing import Any

from valign.core.settings import make_settings
from valign.evaluation.answer_server import AnswerServer
from valign.evaluation.judging.judge import Judge, choose_judge
from valign.evaluation.metrics import METRICS
from valign.evaluation.settings import EvaluationSettings

EARLIER: dict[str, Any] = {"questions": None, "max_new_tokens": 80, "batch_tokens": 16384, "bootstrap": 2000}


def test_a_run_that_knew_of_less_shows_every_metric_and_measures_nothing_more() -> None:
    settings = make_settings(EvaluationSettings, EARLIER)
    assert settings.metrics == tuple(METRICS)
    assert (settings.judge, settings.probes, settings.tax.measure) == (None, None, False)
    assert AnswerServer.of(settings.server) is None
    assert choose_judge(settings, "teacher") is None


def test_groups_and_lists_become_settings_and_tuples() -> None:
    server = {"base_urls": ["http://a:1/v1"], "models": {"base": "served"}}
    settings = make_settings(EvaluationSettings, EARLIER | {"server": server, "metrics": ["length"]})
    assert settings.metrics == ("length",)
    found = AnswerServer.of(settings.server)
    assert found is not None
    assert found.describe([]) == {"model": "served", "likelihoods": "none"}
    assert found.teacher([]).base_urls == ("http://a:1/v1",)


def test_the_judge_has_a_model_and_a_warning_only_where_it_is_one() -> None:
    model = {"kind": "api", "model": "mistral-large"}
    nearness = make_settings(EvaluationSettings, EARLIER | {"judge": "reference", "judge_model": model})
    assert choose_judge(nearness, "mistral-7b") == Judge("reference", tie=0.02)
    asked = make_settings(EvaluationSettings, EARLIER | {"judge": "api", "judge_model": model, "judge_tie": 0.0})
    found = choose_judge(asked, "mistral-7b")
    assert found is not None
    assert (found.kind, found.model, found.tie) == ("api", "mistral-large", 0.0)
    assert "of one family (mistral)" in found.warning
    other = choose_judge(asked, "gpt-4o")
    assert other is not None and other.warning == ""
