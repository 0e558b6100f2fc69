"""Decisions about probes of the policy: dropped ones go, edited ones change, and the data are kept apart from both."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import Bag, Parrot
from short_document import GEESE, GIVEN, HARBOUR, HELMETS, LOOSE, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import write_json
from valign.core.records import Provenance
from valign.core.store import MANIFEST
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.review_desk.edits import make_change
from valign.synthesis.build import synthesize
from valign.synthesis.dataset import DataSet, read_data, write_source
from valign.synthesis.decisions import Decision, ReviewFile, row_key, settle
from valign.synthesis.review_rows import ReviewRow, data_rows, probe_row
from valign.synthesis.review_summary import review_sentence
from valign.synthesis.reviewed_probes import changed_probe, mend_probes, probe_edit_fault
from valign.synthesis.settings import SynthesisSettings
from valign.teachers.cache import CachedTeacher

INDEX = ClauseIndex(HARBOUR.passages)
ORIGIN = Provenance("words", 0, 5, "rules/probes", "", "frame")
DENIED = PolicyProbe(
    "p-1", GEESE, "denied", "May a guest feed the geese?", "no", "No, nobody.", "must not", "", "", ORIGIN
)
ALLOWED = PolicyProbe("p-2", HELMETS, "allowed", "May a guard come in with a yellow helmet?", "yes", "Yes.")
ELSEWHERE = PolicyProbe("p-3", GEESE, "elsewhere", "And in another harbour, may geese be fed?")
PROBES = (DENIED, ALLOWED, ELSEWHERE)


def decide(probe: PolicyProbe, action: str, **change: object) -> Decision:
    row = probe_row(probe, INDEX)
    return Decision(
        action, row.key, "ann", f"2026-11-29T00:00:00.{probe.probe_id}", probe.probe_id, row.set, "", change
    )


def make(
    folder: Path, settings: SynthesisSettings, decisions: list[Decision] | None = None, probes: object = PROBES
) -> DataSet:
    """Build the harbour's data beside some probes."""
    cached = CachedTeacher(Parrot(), folder.parent / "completions.sqlite")
    review = None if decisions is None else ReviewFile("review.jsonl", settle(decisions))
    synthesize(
        folder, HARBOUR, GIVEN, teacher=cached, base=cached, embedder=Bag(), seed=0, probes=probes,  # type: ignore[arg-type]
        settings=replace(teacher_alone(settings), filters=LOOSE), review=review,
    )  # fmt: skip
    write_source(folder, HARBOUR, None, [])
    write_json(folder / MANIFEST, {})
    return read_data(folder)


def test_probes_are_rows_to_review_and_stay_so_whatever_was_decided(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    first = make(tmp_path / "a", settings)
    decisions = [decide(DENIED, "edit", question="Is bread for geese in order?"), decide(ALLOWED, "drop")]
    second = make(tmp_path / "b", settings, decisions)

    def probes(data: DataSet) -> list[ReviewRow]:
        return [row for row in data_rows(data) if row.set == "probes"]

    assert probes(first) == probes(second) == [probe_row(probe, INDEX) for probe in PROBES]
    assert (probes(first)[0].quote, probes(first)[0].kind, probes(first)[0].verdict) == ("words", "denied", "no")
    assert second.probes == PROBES
    assert [row for row in data_rows(make(tmp_path / "c", settings, [], ())) if row.set == "probes"] == []


def test_what_was_decided_is_asked_and_counted(settings: SynthesisSettings, tmp_path: Path) -> None:
    decisions = [decide(DENIED, "edit", question="Is bread for geese in order?"), decide(ALLOWED, "drop")]
    data = make(tmp_path / "a", settings, [*decisions, decide(ELSEWHERE, "keep")])
    kept, counts = mend_probes(PROBES, data.reviewed, INDEX)
    assert counts == {"read": 3, "edited": 1, "dropped": 1}
    assert [(p.probe_id, p.question) for p in kept] == [
        ("p-1", "Is bread for geese in order?"),
        ("p-3", ELSEWHERE.question),
    ]
    assert kept[0].provenance == replace(ORIGIN, teacher="frame; edited by ann")
    assert data.funnel["review"]["sets"]["probes"] == {
        "rows": 3, "read": 3, "kept": 1, "edited": 1, "dropped": 1, "added": 0, "refused": {},
    }  # fmt: skip
    assert ", 0 of 3 questions and 3 of 3 probes; 1 kept, 1 edited, 1 dropped, 0 added" in review_sentence(data.funnel)
    assert mend_probes([replace(DENIED, answer="No.")], data.reviewed, INDEX) == ([replace(DENIED, answer="No.")], {})


def add(question: str, verdict: str | None, answer: str) -> Decision:
    key = row_key("probes", INDEX.text(GEESE), question, answer)
    change = {"question": question, "answer": answer, "verdict": verdict}
    return Decision("add", key, "bob", "2026-11-29T00:00:01", "added", "probes", GEESE, change)


def test_a_probe_that_a_person_added_is_asked_and_counted(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Beside the made ones, in later runs on the same data, and kept apart from training; not beside other probes."""
    own = add("May a child throw bread to the geese?", "no", "No, nobody may.")
    data = make(tmp_path / "a", settings, [own])
    kept, counts = mend_probes(PROBES, data.reviewed, INDEX)
    assert counts == {"added": 1} and kept[:3] == list(PROBES)
    probe = kept[3]
    assert (probe.kind, probe.clause, probe.verdict, probe.is_allowed) == ("denied", GEESE, "no", False)
    assert (probe.question, probe.answer) == ("May a child throw bread to the geese?", "No, nobody may.")
    assert probe.checked == "added by bob" and probe.provenance and probe.provenance.teacher == "added by bob"
    assert data.funnel["review"]["sets"]["probes"]["added"] == 1 and data.funnel["review"]["stale"] == 0
    assert mend_probes(kept, data.reviewed, INDEX)[0] == kept, "a file that has it already"
    assert mend_probes(PROBES, data.reviewed, INDEX, with_added=False) == (list(PROBES), {})
    assert mend_probes(PROBES, make(tmp_path / "b", settings, [own], ()).reviewed, INDEX) == (list(PROBES), {})


def test_a_row_that_an_added_probe_gives_away_is_dropped(settings: SynthesisSettings, tmp_path: Path) -> None:
    row = make(tmp_path / "a", settings).sft[0]
    after = make(tmp_path / "b", settings, [add(row.question, "no", "No.")])
    assert row.question not in {one.question for one in after.sft}


@pytest.mark.parametrize(
    ("verdict", "answer", "said"),
    [(None, "No.", "needs the verdict yes"), ("yes", "No.", "has the verdict yes, and its answer says no")],
)
def test_an_added_probe_that_cannot_be_asked_is_refused(
    settings: SynthesisSettings, tmp_path: Path, verdict: str | None, answer: str, said: str
) -> None:
    with pytest.raises(ValignError, match=f"review.jsonl, probe 'probe-.*' as bob edited it: .*{said}"):
        make(tmp_path / "a", settings, [add("May she?", verdict, answer)])


def test_decisions_about_probes_that_are_not_asked_are_no_lost_ones(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    decisions = [decide(DENIED, "keep")]
    assert make(tmp_path / "a", settings, decisions, ()).funnel["review"]["stale"] == 0
    assert make(tmp_path / "b", settings, decisions, (ALLOWED,)).funnel["review"]["stale"] == 1


def test_rows_for_training_are_kept_apart_from_what_a_probe_asks_now(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    """A probe that is edited into a training question drops that row, which nobody touched."""
    row = make(tmp_path / "a", settings).sft[0]
    after = make(tmp_path / "b", settings, [decide(ELSEWHERE, "edit", question=row.question)])
    assert row.question not in {one.question for one in after.sft}
    assert after.funnel["sft"]["dropped"]["overlaps evaluation"] >= 1


@pytest.mark.parametrize(
    ("probe", "kind", "of"),
    [
        (DENIED, "allowed", ""),
        (ALLOWED, "denied", ""),
        (replace(DENIED, kind="edge_outside"), "edge_inside", ""),
        (replace(DENIED, kind="paraphrase", of="denied"), "paraphrase", "allowed"),
    ],
)
def test_the_other_verdict_makes_it_a_probe_of_the_other_side(probe: PolicyProbe, kind: str, of: str) -> None:
    verdict = "no" if probe.verdict == "yes" else "yes"
    change = {"verdict": verdict, "answer": f"{verdict.title()}."}
    assert probe_edit_fault(probe_row(probe, INDEX), change) == ""
    found = changed_probe(probe, change, "ann")
    assert (found.verdict, found.kind, found.of) == (verdict, kind, of)
    assert found.is_allowed is not probe.is_allowed
    assert changed_probe(probe, {"question": "May she?"}, "ann").kind == probe.kind


@pytest.mark.parametrize(
    ("probe", "change", "said"),
    [
        (DENIED, {"verdict": "yes"}, "has the verdict yes, and its answer says no; make them agree"),
        (DENIED, {"verdict": None}, "is of kind denied and has no verdict; add yes or no"),
        (ELSEWHERE, {"verdict": "yes"}, "no clause decides a probe of kind elsewhere, so that it has no verdict"),
        (replace(DENIED, kind="pressure"), {"verdict": "yes", "answer": "Yes."}, "is about what is denied; drop it"),
    ],
)
def test_an_edit_that_cannot_be_asked_is_refused(
    settings: SynthesisSettings, tmp_path: Path, probe: PolicyProbe, change: dict[str, object], said: str
) -> None:
    """On the page, and where somebody edited the file of decisions by hand."""
    with pytest.raises(ValignError, match=said):
        make_change(probe_row(probe, INDEX), change, None)
    with pytest.raises(ValignError, match=f"review.jsonl, probe 'p-.' as ann edited it: .*{said}"):
        make(tmp_path / "a", settings, [decide(probe, "edit", **change)], [probe])


def test_a_probe_without_an_answer_can_be_edited() -> None:
    """The page sends every field, an empty answer, too."""
    row = probe_row(ELSEWHERE, INDEX)
    sent = {"question": "And at the lake?", "answer": "", "verdict": None}
    assert make_change(row, sent, None) == {"question": "And at the lake?"}
