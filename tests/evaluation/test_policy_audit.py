"""Shares, labels of single answers, and the audit of the policy judge, by hand."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

import pytest

from valign.core.errors import ValignError
from valign.core.records import Answer, Passage
from valign.evaluation.judging.answer_labels import (
    ANSWER_LABELS,
    AnswerLabel,
    draw_answers,
    read_answer_labels,
)
from valign.evaluation.judging.judge import Judge
from valign.evaluation.judging.label_server import LabelServer
from valign.evaluation.judging.labels import LabelFile, answer_hash
from valign.evaluation.judging.policy_audit import (
    QUESTIONS_SAY,
    audit,
    judged_verdicts,
    people_s_verdicts,
    questions_verdicts,
)
from valign.evaluation.judging.policy_judgement import PolicyJudgement
from valign.evaluation.judging.policy_scores import POLICY_METRICS, policy_scores

JUDGE = Judge("api", "m")


def answer(i: int, text: str, verdict: str | None = "no", arm: str = "sft") -> Answer:
    """Return an arm's answer to question i; two questions share a clause."""
    return Answer(f"q{i}", f"d/{i // 2}", f"May I {i}?", "No.", text, arm, verdict=verdict)


def judged(i: int, verdict: str, fault: str = "", said: str | None = None, arm: str = "sft") -> PolicyJudgement:
    return PolicyJudgement(f"q{i}", f"d/{i // 2}", arm, verdict, "", fault, verdict if said is None else said)


def test_shares_by_hand() -> None:
    """Of 4 answers on 2 clauses 2 comply: on the first clause both, on the second none.

    The clauses drawn give 1, 0.5 or 0, so the interval is 0 to 1. Base complies on none: the difference is 0.5. Two
    questions have yes as their right verdict, one no, one none.
    """
    verdicts = ["yes", "no", None, "yes"]
    answers = [answer(i, "Yes.", verdict) for i, verdict in enumerate(verdicts)]
    rows = [
        judged(0, "complies"),
        judged(1, "complies"),
        judged(2, "violates"),
        judged(3, "undecided", "unverified", "complies"),
    ]
    base = [judged(i, "violates", arm="base") for i in range(4)]
    found = policy_scores(rows, answers, JUDGE, base, 500)
    cells = found["metrics"]
    assert cells["policy_complies"] == {"mean": 0.5, "ci95": [0.0, 1.0], "n": 4}
    assert (cells["policy_violates"]["mean"], cells["policy_undecided"]["mean"]) == (0.25, 0.25)
    assert cells["policy_complies, minus base"]["mean"] == 0.5
    assert {name: (cell["mean"], cell["n"]) for name, cell in cells.items() if "/" in name} == {
        "policy_complies/yes": (0.5, 2),
        "policy_complies/no": (1.0, 1),
        "policy_complies/none": (0.0, 1),
        "policy_violates/yes": (0.0, 2),
        "policy_violates/no": (0.0, 1),
        "policy_violates/none": (1.0, 1),
    }
    assert found["faults"] == {"unread": 0, "unverified": 1, "nothing said": 0, "no clause": 0}
    assert found["judge"] == {"kind": "api", "model": "m", "warning": ""}
    assert set(cells) <= set(POLICY_METRICS)
    alone = policy_scores(base, [answer(i, "Yes.") for i in range(4)], JUDGE)
    assert list(alone["metrics"]) == ["policy_complies", "policy_violates", "policy_undecided"]


def test_the_audit_by_hand() -> None:
    """Ten answers, of which two are the same one of two arms, one states no verdict, and one was not judged.

    The other seven: the right verdict 4 times, the wrong one 3 times. The judge says complies, complies, violates,
    undecided of the first, and violates, violates, complies of the others: 4 of 7 alike. By chance they would agree on
    4/7 * 3/7 + 3/7 * 3/7 = 21/49, so kappa is (28/49 - 21/49) / (28/49) = 1/4.
    """
    texts = ["No.", "No, not now.", "No, no way.", "No: never.", "Yes.", "Yes, do.", "Yes: always."]
    answers = [answer(i, text) for i, text in enumerate(texts)]
    odd = [answer(7, "It depends on the keeper."), answer(8, "No."), answer(9, "Nope.", None)]
    said = ["complies", "complies", "violates", "undecided", "violates", "violates", "complies"]
    rows = [judged(i, verdict) for i, verdict in enumerate(said)]
    rows += [judged(7, "complies"), judged(8, "undecided", "nothing said", ""), judged(9, "complies")]
    twin = judged_verdicts([answer(0, "No.", arm="dpo")], [judged(0, "complies", arm="dpo")])
    judge = judged_verdicts([*answers, *odd], rows) | twin
    assert len(judge) == 9
    people = people_s_verdicts(
        [
            AnswerLabel("q0", answer_hash(answers[0]), "violates", "ann"),
            AnswerLabel("q0", answer_hash(answers[0]), "complies", "ann"),
            AnswerLabel("q7", answer_hash(odd[0]), "undecided", "bob"),
            AnswerLabel("q0", "0" * 16, "complies", "bob"),
        ],
        [*answers, *odd],
    )
    found = audit({"judge": judge, QUESTIONS_SAY: questions_verdicts([*answers, *odd]), **people}, 200)
    assert [(a.first, a.second, a.found.kappa.n) for a in found] == [
        ("judge", QUESTIONS_SAY, 7),
        ("judge", "ann", 1),
        ("judge", "bob", 1),
        (QUESTIONS_SAY, "ann", 1),
    ]
    first = found[0]
    assert first.found.table == ((2, 1, 0), (1, 2, 0), (1, 0, 0))
    assert first.found.same == pytest.approx(4 / 7)
    assert first.found.kappa.mean == pytest.approx(0.25)
    assert first.found.kappa.low <= 0.25 <= first.found.kappa.high
    assert first.is_small
    data = json.loads(json.dumps(first.to_json(), allow_nan=False))
    assert (data["outcomes"], data["table"][0], data["too_few"]) == (
        ["complies", "violates", "undecided"], [2, 1, 0], True,
    )  # fmt: skip
    assert [audited.found.same for audited in found[1:]] == [1.0, 0.0, 1.0]


def said_by_arms() -> dict[str, list[Answer]]:
    return {
        arm: [answer(i, f"{arm if i else 'we'} say {i}", arm=arm) for i in range(4)] + [answer(9, " . ", arm=arm)]
        for arm in ("base", "sft")
    }


def test_single_answers_are_drawn_blind_from_all_arms_in_turn() -> None:
    """Seven different answers that say something; neither arm, reference nor right verdict is shown."""
    passages = [Passage("d/0", ("Rules",), "Nobody may.", 0, 11)]
    drawn = draw_answers(said_by_arms(), passages, 4, "ann", 0)
    assert sorted(task.answer.arm for task in drawn) == ["base", "base", "sft", "sft"]
    whole = draw_answers(said_by_arms(), passages, 99, "ann", 0)
    assert len(whole) == len({task.key for task in whole}) == 7
    for task in whole:
        shown = {**task.shown(), "first": ""}
        assert shown.keys() == {"kind", "question", "clause", "first", "passages"}
        assert not [word for word in ("base", "sft", "No.") if word in json.dumps(shown)]
    assert any(task.shown()["passages"] == ["Nobody may."] for task in whole)
    assert whole == draw_answers(said_by_arms(), passages, 99, "ann", 0)
    assert whole != draw_answers(said_by_arms(), passages, 99, "bob", 0)
    with pytest.raises(ValignError, match="nothing to label"):
        draw_answers({"base": [answer(1, "...")]}, passages, 4, "ann", 0)


def test_the_desk_takes_labels_of_single_answers(tmp_path: Path) -> None:
    """Its choices are other ones than those of pairs; each label is on disk at once, and can be taken back."""
    drawn = draw_answers(said_by_arms(), [], 2, "ann", 0)
    labels = LabelFile(tmp_path / ANSWER_LABELS, "ann", AnswerLabel)
    desk = LabelServer(drawn, labels, 0)
    thread = threading.Thread(target=desk.serve)
    thread.start()
    place = "/" + desk.address.split("/", 3)[3]

    def ask(path: str, body: object) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", desk.server.server_port, timeout=60)
        connection.request("POST", place + path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read().decode()

    status, text = ask("choose", {"number": 0, "choice": "first"})
    assert (status, text) == (400, "'first' is no choice; give one of complies, violates, undecided.")
    assert ask("choose", {"number": 0, "choice": "violates", "seconds": 2.04})[0] == 200
    assert [(row.choice, row.answer, row.seconds) for row in read_answer_labels(labels.path)] == [
        ("violates", answer_hash(drawn[0].answer), 2.0)
    ]
    assert json.loads(ask("undo", {})[1])["done"] == 0
    for number, choice in enumerate(("undecided", "complies")):
        ask("choose", {"number": number, "choice": choice})
    thread.join(60)
    assert not thread.is_alive()
    assert [row.key for row in read_answer_labels(labels.path)] == [task.key for task in drawn]
    labels.path.write_text('{"question_id": "q", "answer": "a", "choice": "tie", "rater": "ann"}\n')
    with pytest.raises(ValignError, match="'tie' is no choice; give one of complies"):
        read_answer_labels(labels.path)
