"""The stage of the policy's probes: its folder, what it would cost, and that training and probes share nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag, Parrot
from omegaconf import DictConfig
from short_document import HARBOUR, LOOSE, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl, write_jsonl
from valign.core.records import Answer, Instruction, Preference, Provenance, Question
from valign.evaluation.probes.kinds import POLICY_KINDS
from valign.evaluation.probes.policy import PolicyProbe
from valign.pipeline import policy_answers
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.dry_run import data_budgets
from valign.pipeline.policy_answers import probes_to_ask, score_policy
from valign.pipeline.probe_stage import PolicyProbes, policy_probes
from valign.pipeline.recipes import Arm
from valign.runs.layout import POLICY_PROBES
from valign.synthesis.build import synthesize
from valign.synthesis.dataset import PREFERENCES, SFT
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.cache import CachedTeacher

Compose = Callable[..., DictConfig]
MADE = "evaluation.policy_probes.questions=made"


def context_of(compose: Compose, folder: Path, *overrides: str) -> Context:
    """Return the context of a run on the salt marsh with an embedder that counts words."""
    context = Context.of(compose("document=saltmarsh", f"artifacts={folder}", *overrides))
    context.__dict__["embedder"] = Bag()
    return context


def test_by_default_nothing_is_made_or_asked(compose_config: Compose, tmp_path: Path) -> None:
    context = context_of(compose_config, tmp_path)
    assert policy_probes(context, Artifacts(context.store)) == PolicyProbes()
    assert not (tmp_path / "policy_probes").exists()


def test_the_stage_has_a_folder_of_its_own(compose_config: Compose, tmp_path: Path, caplog: Any) -> None:
    """Rules make the probes where the teacher is small; a finished run's are taken as they are, and never made."""
    caplog.set_level("INFO")
    context = context_of(compose_config, tmp_path, MADE)
    artifacts = Artifacts(context.store)
    found = policy_probes(context, artifacts)
    folder = tmp_path / "policy_probes" / artifacts.hashes["policy_probes"]
    assert list(found.probes) == read_jsonl(folder / POLICY_PROBES, PolicyProbe)
    assert found.made == read_json(folder / "funnel.json")
    assert found.made is not None and len(found.probes) == sum(found.made["kept"].values()) == 19
    assert "policy probes by rules" in caplog.text and "silent: rules do not know" in caplog.text
    assert "clauses: 6 of 16 have a sentence that rules can turn into a question" in caplog.text
    assert {q.question_id for q in found.questions} == {p.probe_id for p in found.probes}
    again = Artifacts(context.store, {"policy_probes": folder.name})
    assert policy_probes(context, again) == found
    with pytest.raises(ValignError, match="the run notes no policy_probes among its artifacts"):
        policy_probes(context, Artifacts(context.store, {}))
    fewer = context_of(compose_config, tmp_path, MADE, "evaluation.policy_probes.kinds=[denied]")
    assert {p.kind for p in policy_probes(fewer, Artifacts(fewer.store)).probes} == {"denied"}


def test_the_budget_counts_a_call_a_clause_and_one_a_probe(compose_config: Compose, tmp_path: Path) -> None:
    common = ["teacher=api", "teacher.model=m", "synthesis.preferences.rejected.base=0", MADE]
    common += ["synthesis.instructions.questions_per_passage=1", "synthesis.preferences.scenarios_per_passage=1"]
    large = context_of(compose_config, tmp_path, *common, "synthesis.prompts=large")
    steps = {step.label: step for step in data_budgets(large)["teacher"].steps}
    clauses = len(large.document.passages)
    assert (steps["probes"].calls, steps["probes"].estimated) == (clauses, False)
    assert (steps["probes, second look"].calls, steps["probes, second look"].estimated) == (
        len(POLICY_KINDS) * clauses, True,
    )  # fmt: skip
    few = context_of(
        compose_config, tmp_path, *common, "synthesis.prompts=large", "evaluation.policy_probes.max_clauses=3"
    )
    steps = {step.label: step for step in data_budgets(few)["teacher"].steps}
    assert (steps["probes"].calls, steps["probes, second look"].calls) == (3, 3 * len(POLICY_KINDS))
    small = context_of(compose_config, tmp_path, *common)
    assert not [step for step in data_budgets(small)["teacher"].steps if step.label.startswith("probes")]


def given(compose: Compose, folder: Path, questions: Sequence[str], *overrides: str) -> Context:
    """Return a context whose probes come from a file."""
    clause = context_of(compose, folder).document.passages[0].clause
    rows = [PolicyProbe(f"p{i}", clause, "denied", text, "no") for i, text in enumerate(questions)]
    write_jsonl(folder / "own.jsonl", rows)
    return context_of(compose, folder, f"evaluation.policy_probes.questions={folder / 'own.jsonl'}", *overrides)


def test_given_probes_are_taken_as_they_are(compose_config: Compose, tmp_path: Path) -> None:
    context = given(compose_config, tmp_path, ["May I?", "Can I?"])
    found = policy_probes(context, Artifacts(context.store))
    assert ([p.question for p in found.probes], found.made) == (["May I?", "Can I?"], None)
    none = given(compose_config, tmp_path, ["May I?"], "evaluation.policy_probes.kinds=[silent]")
    assert policy_probes(none, Artifacts(none.store)).probes == ()


def test_a_probe_that_training_gives_away_is_not_asked(compose_config: Compose, tmp_path: Path, caplog: Any) -> None:
    context = given(compose_config, tmp_path, ["May I ever moor a boat at night?", "Is fog a reason to wait?"])
    data, origin = tmp_path / "data", Provenance("", 0, 0, "", "", "")
    row = Instruction("i", ("c",), "q", "So may I ever moor a boat there?", "No.", origin)
    write_jsonl(data / SFT, [row])
    write_jsonl(data / PREFERENCES, [Preference("p", ("c",), "q", "Fog is a reason?", "No.", "Yes.", "x", origin)])
    found = probes_to_ask(context, Artifacts(context.store), data, tmp_path)
    assert [p.question for p in found.probes] == ["Is fog a reason to wait?"]
    assert read_jsonl(tmp_path / POLICY_PROBES, PolicyProbe) == list(found.probes)
    assert found.made == {"leaked": {"denied": 1}}
    assert "1 of 2 are not asked, as they share 6 words in a row with a training question: 1 denied" in caplog.text


def test_training_rows_near_a_probe_are_dropped(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The question of a row, asked as a probe, is in no row any more; without probes it was."""

    def rows(folder: Path, probes: Sequence[PolicyProbe]) -> list[str]:
        folder.mkdir()
        teacher = CachedTeacher(Parrot(), tmp_path / "c.sqlite")
        held_out = [Question("q", HARBOUR.passages[0].clause, "Is rule nine known?", "No.")]
        synthesize(
            folder, HARBOUR, held_out, teacher=teacher, base=teacher, embedder=Bag(), seed=0, probes=probes,
            settings=replace(teacher_alone(settings), filters=LOOSE),
        )  # fmt: skip
        return [row.question for row in read_jsonl(folder / SFT, Instruction)]

    before = rows(tmp_path / "before", ())
    probe = PolicyProbe("p", HARBOUR.passages[0].clause, "denied", before[0], "no")
    after = rows(tmp_path / "after", [probe])
    assert before[0] not in after and 0 < len(after) < len(before)
    assert read_json(tmp_path / "after" / "funnel.json")["sft"]["dropped"]["overlaps evaluation"] >= 1


def test_an_arm_is_scored_by_its_answers(
    compose_config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked are the probes' questions, in a stage that is noted under their name."""
    context = context_of(compose_config, tmp_path)
    probes = PolicyProbes((PolicyProbe("a", "d/1", "denied", "May I?", "no", polarity="must not"),), {"leaked": {}})

    def answered(*given: Any) -> Path:
        questions, noted_as = given[4], given[5]
        assert ([q.question for q in questions], noted_as) == (["May I?"], "policy_probes")
        write_jsonl(tmp_path / "answers.jsonl", [Answer("a", "d/1", "May I?", "", "No.", "sft", (), "no", "denied")])
        return tmp_path

    monkeypatch.setattr(policy_answers, "answer_stage", answered)
    scores, said = score_policy(context, Artifacts(context.store), Arm("sft", ("sft",), False), [], probes)
    assert scores["metrics"]["policy_must_not"]["mean"] == scores["metrics"]["policy_denied"]["mean"] == 1.0
    assert said[0].answer == "No."
