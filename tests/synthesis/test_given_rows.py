"""Given rows: what is read, what the filters make of them, and what the teacher still writes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag, Parrot
from short_document import GEESE, GIVEN, HARBOUR, HELMETS, LAMPS, LOOSE, Silent, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl, write_jsonl
from valign.core.records import Instruction, Preference, Question
from valign.synthesis.build import synthesize
from valign.synthesis.candidates import CONTRADICTIONS, Candidate, filters_of_given
from valign.synthesis.filters import Filters
from valign.synthesis.given_rows import read_given_rows
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.absent import NoTeacher
from valign.teachers.cache import CachedTeacher

FEED = {"clause": GEESE, "question": "May a child feed the geese at the north gate?", "kind": "case", "verdict": "no"}
ROWS: list[dict[str, Any]] = [
    {**FEED, "answer": "No. Nobody may feed the geese at the north gate."},
    {"clause": HELMETS, "question": "Tell me who wears yellow", "answer": "Every guard wears a yellow helmet."},
    {"clause": LAMPS, "question": "What does a lamp cost in the harbour?", "kind": "silent"},
    {
        "clause": LAMPS,
        "question": "Must my lamp burn at the door after dusk?",
        "answer": "Yes. A lamp must burn at every door from dusk.",
        "verdict": "yes",
        "rejected": "No. A lamp must burn at the north gate alone.",
        "rejected_kind": "scope",
        "teacher": "the harbour master",
    },
]


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    return teacher_alone(settings)


def given(folder: Path, rows: Sequence[dict[str, Any]]) -> list[Candidate]:
    write_jsonl(folder / "rows.jsonl", rows)
    return read_given_rows(str(folder / "rows.jsonl"), HARBOUR)


def build(
    folder: Path,
    settings: SynthesisSettings,
    teacher: Any,
    rows: Sequence[dict[str, Any]] = ROWS,
    questions: Sequence[Question] = GIVEN,
) -> dict[str, Any]:
    cached = CachedTeacher(teacher, folder / "completions.sqlite")
    synthesize(
        folder, HARBOUR, questions, teacher=cached, base=cached, embedder=Bag(), seed=0,
        settings=replace(settings, filters=replace(LOOSE, waive=settings.filters.waive)), given=given(folder, rows),
    )  # fmt: skip
    funnel: dict[str, Any] = read_json(folder / "funnel.json")
    return funnel


def of_file(rows: Sequence[Instruction | Preference]) -> dict[str, Any]:
    return {row.question: row for row in rows if row.provenance.teacher.startswith("given")}


def test_rows_with_a_rejected_answer_are_pairs_and_the_others_instructions(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    """What the file says stays on the row: verdict, kinds, who wrote it; a question may lack its question mark."""
    build(tmp_path, settings, Parrot())
    sft, pairs = read_jsonl(tmp_path / "sft.jsonl", Instruction), read_jsonl(tmp_path / "preferences.jsonl", Preference)
    found = of_file(sft)
    assert set(found) == {row["question"] for row in ROWS[:3]}
    feed = found[FEED["question"]]
    assert (feed.verdict, feed.kind, feed.clauses, feed.answer) == ("no", "case", (GEESE,), ROWS[0]["answer"])
    assert feed.provenance.template == "given/rows.jsonl" and feed.provenance.teacher == "given"
    assert HARBOUR.text[feed.provenance.start : feed.provenance.end] == feed.provenance.quote
    (pair,) = of_file(pairs).values()
    assert (pair.chosen, pair.rejected) == (ROWS[3]["answer"], ROWS[3]["rejected"])
    assert (pair.rejected_kind, pair.verdict) == ("scope", "yes")
    assert pair.provenance.teacher == "given: the harbour master"


def test_a_silent_row_without_an_answer_says_that_the_document_is_silent(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    build(tmp_path, settings, Parrot())
    (row,) = (row for row in read_jsonl(tmp_path / "sft.jsonl", Instruction) if row.kind == "silent")
    assert "A lamp must burn at every door" in row.answer and row.answer != "A lamp must burn at every door from dusk."
    assert row.verdict is None


def test_the_teacher_writes_what_a_clause_lacks(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Six questions a passage are wanted: of the geese, with one row given, five are asked for, of the others six."""
    settings = replace(
        settings,
        instructions=replace(settings.instructions, questions_per_passage=6),
        preferences=replace(settings.preferences, scenarios_per_passage=0),
        coverage=replace(settings.coverage, top_up_rounds=0, min_preferences=1),
    )
    teacher = Silent(0)
    build(tmp_path, settings, teacher, ROWS[:1] + ROWS[3:])
    counts = {words: [r.sampling.n for r in teacher.about(words)] for words in ("geese", "helmet", "lamp")}
    assert counts == {"geese": [5], "helmet": [6], "lamp": [6]}


def test_without_a_teacher_nobody_is_asked(settings: SynthesisSettings, tmp_path: Path) -> None:
    """What is asked for beyond the rows is an error that says how many texts were wanted."""
    nothing = replace(
        settings,
        instructions=replace(settings.instructions, questions_per_passage=0),
        preferences=replace(settings.preferences, scenarios_per_passage=0),
        coverage=replace(settings.coverage, min_instructions=1, min_preferences=1, top_up_rounds=0),
    )
    funnel = build(tmp_path, nothing, NoTeacher())
    assert funnel["sft"]["per_clause"] == {GEESE: 1, HELMETS: 1, LAMPS: 1}
    with pytest.raises(ValignError, match="teacher=none writes nothing, and 3 texts are wanted"):
        build(tmp_path, settings, NoTeacher(), ROWS[:0] + ROWS[3:])


def test_the_filters_are_those_of_all_rows_unless_they_are_waived(settings: SynthesisSettings, tmp_path: Path) -> None:
    """A number that the clause lacks, and an evaluation question word for word, are dropped; a waived filter is not."""
    rows = [
        {
            "clause": GEESE,
            "question": "What is a fine at the gate?",
            "answer": "The keeper puts 40 pence in.",
        },
        {"clause": LAMPS, "question": GIVEN[2].question, "answer": "A lamp must burn at every door from dusk."},
        *ROWS,
    ]
    dropped = build(tmp_path, settings, Parrot(), rows)["sft"]["dropped"]
    assert dropped["ungrounded number or name"] == 1 and dropped["overlaps evaluation"] >= 1
    waived = replace(settings, filters=replace(settings.filters, waive=("grounding",)))
    dropped = build(tmp_path, waived, Parrot(), rows)["sft"]["dropped"]
    assert "ungrounded number or name" not in dropped and dropped["overlaps evaluation"] >= 1


def test_chosen_answers_are_learned_by_sft_too_where_that_is_asked(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The pair stays a pair, and its question with the chosen answer is a row of D_sft as well."""
    settings = replace(settings, instructions=replace(settings.instructions, chosen_answers=True))
    funnel = build(tmp_path, settings, Parrot(), [*ROWS, ROWS[3]])
    sft, pairs = read_jsonl(tmp_path / "sft.jsonl", Instruction), read_jsonl(tmp_path / "preferences.jsonl", Preference)
    assert len({row.example_id for row in pairs}) == len(pairs) and funnel["preference"]["dropped"]["duplicate"] >= 1
    question = ROWS[3]["question"]
    assert of_file(sft)[question].answer == of_file(pairs)[question].chosen == ROWS[3]["answer"]
    assert len(of_file(sft)) == len(ROWS)


def test_dropped_rows_are_named(settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A row of D_sft and a pair, each with its reason; the log counts them and names the first."""
    pair = {**ROWS[3], "question": "Must a lamp burn here?", "rejected": "No. It may."}
    rows = [{**FEED, "question": "May he?", "answer": "Yes. Nobody may."}, pair, *ROWS]
    found = build(tmp_path, settings, Parrot(), rows)
    assert found["sft"]["given_dropped"] == [
        {"clause": GEESE, "question": "May he?", "dropped": "answer against its verdict"}
    ]
    assert found["preference"]["given_dropped"] == [
        {"clause": LAMPS, "question": "Must a lamp burn here?", "dropped": "lengths differ"}
    ]
    assert "2 given rows dropped, all named in funnel.json, the first: 'May he?' (answer against its" in caplog.text


def test_cosines_have_wider_limits_for_given_rows(settings: SynthesisSettings) -> None:
    """Those of the small teacher's rows stay as they are; limits that are wider already, and judges, are kept."""
    writer = Writer(HARBOUR, CachedTeacher(NoTeacher(), Path("unused")), Bag(), settings, 0)
    narrow = replace(LOOSE, min_relevance=0.3, max_rank=2, min_faithfulness=0.4)
    filters = Filters(HARBOUR.passages, (), Bag(), narrow)
    wide = filters_of_given(writer, filters).settings
    assert (wide.min_relevance, wide.rank_margin, wide.min_faithfulness, wide.max_rank) == (0.1, 0.15, 0.3, 2)
    assert filters.settings == narrow
    filters.settings = replace(narrow, min_relevance=0.0, relevance="judge", faithfulness="judge")
    same = filters_of_given(writer, filters).settings
    assert (same.min_relevance, same.rank_margin, same.min_faithfulness) == (0.0, 0.0, 0.4)


def test_an_answer_against_its_verdict_is_dropped(settings: SynthesisSettings, tmp_path: Path) -> None:
    rows = [{**FEED, "answer": "Yes. Nobody may feed the geese at the north gate."}, *ROWS]
    assert build(tmp_path, settings, Parrot(), rows)["sft"]["dropped"]["answer against its verdict"] == 1


def test_rows_about_a_clause_that_is_held_out_are_left_aside(settings: SynthesisSettings, tmp_path: Path) -> None:
    funnel = build(tmp_path, replace(settings, hold_out_clauses=(GEESE,)), Parrot())
    assert funnel["sft"]["dropped"]["clause held out"] == 1 and GEESE not in funnel["sft"]["per_clause"]
    funnel = build(tmp_path, replace(settings, hold_out_clauses=(LAMPS,)), Parrot())
    assert funnel["preference"]["dropped"]["clause held out"] == 1 and LAMPS not in funnel["preference"]["per_clause"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"clause": "harbour/rule-9"},
            r"names clause 'harbour/rule-9', which harbour does not have; the nearest",
        ),
        ({"answer": " "}, 'row 1 .* has no answer; add one, or "kind": "silent"'),
        ({"question": ""}, "row 1 .* has no question"),
        ({"rejected": "Yes. Guards may."}, f"row 1 .* needs rejected_kind; say how.*{CONTRADICTIONS[-1]}"),
        ({"rejected": "Yes. He may.", "rejected_kind": "lie"}, "row 1 .* has an unknown rejected_kind 'lie'; say how"),
        ({"verdict": "maybe"}, 'line 1: \'verdict\' must be "yes", "no" or null'),
        ({"unfaithful": "Yes."}, "line 1: unknown key 'unfaithful'; a GivenRow has: clause, question, answer"),
        ({"rejected": "No.", "answer": "No.", "rejected_kind": "verdict"}, "the same answer as chosen and as rejected"),
    ],
)
def test_a_wrong_row_is_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=message):
        given(tmp_path, [{**ROWS[0], **changed}])


def test_a_file_without_rows_and_a_document_without_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ValignError, match=r"holds no rows; add one JSON object a line"):
        given(tmp_path, [])
    with pytest.raises(ValignError, match=r"no rows come with the document harbour; give synthesis.rows=FILE.jsonl"):
        read_given_rows("shipped", HARBOUR)


def test_rows_are_read_as_they_stand(tmp_path: Path) -> None:
    """A row as short as can be, and one with all that it can have."""
    short = {"clause": LAMPS, "question": "Where?", "answer": "At every door."}
    first, last = given(tmp_path, [short, ROWS[3]])
    assert (first.kind, first.verdict, first.rejected, first.teacher) == ("given", None, "", "given")
    assert json.loads((tmp_path / "rows.jsonl").read_text().splitlines()[1])["rejected"] == last.rejected
