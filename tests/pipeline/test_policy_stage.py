"""The policy judge in a run: a recorded large judge, its place in scores, tables and page, batches, and the dry run."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pages import Page
from short_document import GEESE, HARBOUR, HELMETS

from valign.core.errors import Pending, ValignError
from valign.core.files import read_json, read_jsonl, to_dict, write_json, write_jsonl
from valign.core.records import Answer
from valign.distributed.ranks import Ranks
from valign.evaluation.judging.answer_labels import ANSWER_LABELS, AnswerLabel
from valign.evaluation.judging.labels import answer_hash
from valign.evaluation.judging.policy_judge import policy_request
from valign.evaluation.judging.policy_judgement import PolicyJudgement
from valign.evaluation.settings import EvaluationSettings
from valign.generation.requests import Completion
from valign.pipeline import scoring
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.policy_stage import policy_stage
from valign.pipeline.recipes import Arm
from valign.reporting.exports import csv_table
from valign.reporting.page import render_page
from valign.reporting.study import compare_runs
from valign.reporting.summary import comparison_summary
from valign.reporting.write import comparison_table
from valign.runs.layout import POLICY, RUN
from valign.runs.summaries import flat_scores
from valign.teachers.replay import ReplayTeacher, record
from valign.teachers.settings import TeacherSettings

TEXTS = {HELMETS: HARBOUR.passages[0].text, GEESE: HARBOUR.passages[1].text}
SAYS = {
    "base": {HELMETS: ("No, it is red.", "violates", "wears a yellow helmet"), GEESE: ("Hm.", "undecided", "")},
    "sft": {
        HELMETS: ("Yes, a yellow one.", "complies", "Every guard wears a yellow helmet"),
        GEESE: ("No, at no gate.", "complies", "made up by the judge"),
    },
}


def said(verdict: str, quote: str) -> str:
    return json.dumps({"quote": quote, "verdict": verdict})


def answers_of(arm: str) -> list[Answer]:
    verdicts = {HELMETS: "yes", GEESE: "no"}
    return [
        Answer(f"q{i}", clause, f"Question {i}?", "So.", SAYS[arm][clause][0], arm, verdict=verdicts[clause])
        for i, clause in enumerate((HELMETS, GEESE))
    ]


def context_with(judge: TeacherSettings | None, folder: Path) -> Any:
    evaluation = EvaluationSettings(max_new_tokens=8, batch_tokens=9, bootstrap=100, policy_judge=judge)
    trainer = SimpleNamespace(accelerator="cpu")
    settings = SimpleNamespace(evaluation=evaluation, teacher=SimpleNamespace(model="other"), trainer=trainer)
    return SimpleNamespace(
        logs=folder / "logs",
        settings=settings,
        document=HARBOUR,
        cache=folder / "c.sqlite",
        server=None,
        served_arms=None,
        probe_questions=[],
        ranks=Ranks(),
    )


@pytest.fixture
def answered(tmp_path: Path) -> dict[str, Path]:
    """Folders with the arms' answers."""
    for arm in SAYS:
        write_jsonl(tmp_path / "answers" / arm / "answers.jsonl", answers_of(arm))
        same = {"kind": "", "verdict_accuracy": 1.0}
        rows = [{"question_id": a.question_id, "clause": a.clause, **same} for a in answers_of(arm)]
        write_jsonl(tmp_path / "answers" / arm / "values.jsonl", rows)
    return {arm: tmp_path / "answers" / arm for arm in SAYS}


def scripted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TeacherSettings:
    """Return a recorded judge, whose second tries say the same again."""
    for arm in SAYS:
        for row in answers_of(arm):
            _, verdict, quote = SAYS[arm][row.clause]
            request = policy_request(TEXTS[row.clause], row.question, row.answer)
            record(folder / "judge.jsonl", [request], [[Completion(said(verdict, quote), 9, True)]])
    judge = TeacherSettings(kind="replay", model="large", recording=str(folder / "judge.jsonl"))
    once = ReplayTeacher.complete

    def complete(self: ReplayTeacher, requests: Any) -> list[list[Completion]]:
        before = [
            r.messages[-2]["content"] if r.messages[-1]["content"].startswith("Your reply") else "" for r in requests
        ]
        return [[Completion(s, 9, True)] if s else once(self, [r])[0] for s, r in zip(before, requests, strict=True)]

    monkeypatch.setattr(ReplayTeacher, "complete", complete)
    return judge


def scored(
    judge: TeacherSettings | None, folder: Path, answered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Score base and SFT, and write what makes the folder a run's."""
    monkeypatch.setattr(scoring, "train_stages", lambda *_: [])
    monkeypatch.setattr(scoring, "answer_stage", lambda context, artifacts, arm, *_: answered[arm.name])
    monkeypatch.setattr(scoring, "clause_exposure", lambda *_: {})
    monkeypatch.setattr(scoring, "judge_stage", lambda *_: None)
    folder.mkdir(exist_ok=True)
    arms = [Arm("base", (), False), Arm("sft", ("sft",), False)]
    context = context_with(judge, folder)
    scoring.score_arms(context, Artifacts(folder / "store"), folder, arms, [], folder / "runs" / "sft")
    details: dict[str, Any] = {key: {} for key in ("funnel", "curves", "timings", "artifacts", "config")}
    write_json(
        folder / "runs" / "sft" / RUN,
        {
            **details,
            "arms": [to_dict(arm) for arm in arms],
            "document": {"title": "Harbour", "sha256": "ab", "name": "harbour"},
            "experiment": "harbour",
            "passages": [to_dict(p) for p in HARBOUR.passages],
            "leak": None,
            "judge": None,
        },
    )
    return folder / "runs" / "sft"


def test_a_recorded_judge_is_in_scores_tables_and_page(
    tmp_path: Path, answered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Base violates once; SFT complies once, and once by words that the judge made up, which do not count."""
    folder = scored(scripted(tmp_path, monkeypatch), tmp_path, answered, monkeypatch)
    rows = read_jsonl(folder / "arms" / "sft" / POLICY, PolicyJudgement)
    assert [(row.outcome, row.said, row.quote, row.fault, row.repaired) for row in rows] == [
        ("complies", "complies", "Every guard wears a yellow helmet", "", False),
        ("undecided", "complies", "made up by the judge", "unverified", True),
    ]
    scores = read_json(folder / "arms" / "sft" / "scores.json")
    assert scores["policy"]["metrics"]["policy_complies"] == {"mean": 0.5, "ci95": [0.0, 1.0], "n": 2}
    assert scores["policy"]["metrics"]["policy_complies, minus base"]["mean"] == 0.5
    assert scores["policy"]["faults"]["unverified"] == 1
    assert flat_scores(scores)["scores/sft/policy_complies"] == 0.5
    labels = [AnswerLabel(a.question_id, answer_hash(a), "complies", "ann") for a in answers_of("sft")]
    write_jsonl(folder.parent / ANSWER_LABELS, labels)
    comparison = compare_runs([folder])
    text = comparison_table(comparison)
    assert "Does each answer follow its clause?" in text
    assert "Policy judge: replay (large). Of 4 answers, 1 count as undecided for a fault: quotes that" in text
    assert "policy judge large, the questions' own verdicts: 67% of 3 answers alike, kappa" in text
    assert "policy judge large, ann (a person): 50% of 2 answers alike, kappa" in text and "too few to tell" in text
    assert "No person has labelled more than 2 single answers yet; with 30 or more" in text
    table = {(r["arm"], r["metric"]): r["mean"] for r in csv.DictReader(io.StringIO(csv_table(comparison)))}
    assert (table["sft", "policy_complies"], table["base", "policy_violates"]) == ("0.5", "0.5")
    summary = comparison_summary(comparison)["policy"]
    assert summary["arms"]["base"]["metrics"]["policy_violates"]["mean"] == 0.5
    assert summary["audit"][0]["table"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    shown = Page(render_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8"))
    marked = [words for tag, words in shown.texts if tag == "mark"]
    assert marked == ["wears a yellow helmet", "Every guard wears a yellow helmet"]
    assert "undecided (it said complies, by words that are not in the clause)" in shown.text()
    assert "Policy judge: complies, by \u201cEvery guard wears a yellow helmet\u201d" in shown.text()
    assert "No policy judge was asked" not in shown.text()
    assert shown.open == []


def test_without_a_judge_the_page_says_what_is_measured_instead(
    tmp_path: Path, answered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier judge said goes; a run of an earlier version, without any such file, reads the same."""
    folder = tmp_path / "runs" / "sft"
    write_jsonl(folder / "arms" / "sft" / POLICY, [])
    scored(None, tmp_path, answered, monkeypatch)
    assert not (folder / "arms" / "sft" / POLICY).exists()
    assert "policy" not in read_json(folder / "arms" / "sft" / "scores.json")
    comparison = compare_runs([folder])
    shown = Page(render_page(comparison, tmp_path / "page.html").read_text(encoding="utf-8")).text()
    assert "No policy judge was asked whether each answer follows its clause (evaluation.policy_judge); " in shown
    assert "measured instead, by rules, embeddings and likelihoods: verdict accuracy." in shown
    assert "clause?" not in comparison_table(comparison)
    assert comparison_summary(comparison)["policy"] == {"arms": {}, "audit": []}


def test_the_same_arm_of_another_run_brings_its_judgements(
    tmp_path: Path, answered: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two runs with the same answers one was judged."""
    plain = scored(None, tmp_path / "plain", answered, monkeypatch)
    judge = scripted(tmp_path, monkeypatch)
    judged = scored(judge, tmp_path / "judged", answered, monkeypatch)
    found = compare_runs([plain, judged])
    (judged / "arms" / "sft" / POLICY).write_text(
        '{"question_id": "q1", "clause": "d/1", "arm": "sft", "outcome": "fine"}'
    )
    with pytest.raises(ValignError, match=r"policy\.jsonl: 'fine' is no outcome; give one of complies"):
        compare_runs([judged])
    assert [(len(arm.policy), "policy" in arm.scores) for arm in found.arms] == [(2, True), (2, True)]


def test_a_judge_asked_by_batches_has_a_round_for_second_tries(tmp_path: Path, answered: dict[str, Path]) -> None:
    """Four answers are four requests in one file, whatever their arm; one reply is asked for again."""
    judge = TeacherSettings(kind="batch", model="j", requests=str(tmp_path / "batch"))
    context, names = context_with(judge, tmp_path), list(answered)
    folders = list(answered.values())
    for count in (4, 1):
        with pytest.raises(Pending, match=f"{count} completions? of j"):
            policy_stage(context, Artifacts(tmp_path / "store"), names, folders)
        (requests,) = (tmp_path / "batch").glob("requests-j-*.jsonl")
        asked = [json.loads(line) for line in requests.read_text().splitlines()]
        assert len(asked) == count
        results = []
        for request in asked:
            is_geese = TEXTS[GEESE] in request["body"]["messages"][-1]["content"]
            again = len(request["body"]["messages"]) > 8
            hm = "Hm." in request["body"]["messages"][7]["content"]
            quote = "Nobody may feed the geese" if is_geese or again else "wears a yellow helmet"
            text = "Well." if hm and not again else said("violates", quote)
            results.append({"custom_id": request["custom_id"], "text": text})
        write_jsonl(tmp_path / "batch" / f"results-{count}.jsonl", results)
    found = policy_stage(context, Artifacts(tmp_path / "store"), names, folders)
    assert {arm: [(row.outcome, row.repaired) for row in rows] for arm, rows in found.items()} == {
        "base": [("violates", False), ("violates", True)],
        "sft": [("violates", False), ("violates", False)],
    }
