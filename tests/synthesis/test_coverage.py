"""The coverage contract: what is counted, who is asked again, what stands in, and when the build fails."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag, Parrot
from short_document import GEESE, HARBOUR, HELMETS, LAMPS, LOOSE, RULES, Silent, build, teacher_alone

from valign.core.errors import ValignError
from valign.core.files import read_jsonl
from valign.core.records import Instruction, Passage, Preference, Question
from valign.documents.shipped import shipped_document, shipped_questions
from valign.generation.requests import Completion, Request
from valign.synthesis.coverage import check_coverage, count_questions, coverage_lines, top_up
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.question_kinds import ask_all_kinds
from valign.synthesis.settings import KindWeights, SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher


def per_clause(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the numbers of examples and pairs by clause."""
    sft = read_jsonl(folder / "sft.jsonl", Instruction)
    pairs = read_jsonl(folder / "preferences.jsonl", Preference)
    return {
        c: (sum(row.clauses == (c,) for row in sft), sum(row.clauses == (c,) for row in pairs))
        for c in (HELMETS, GEESE, LAMPS)
    }


@pytest.fixture
def settings(settings: SynthesisSettings) -> SynthesisSettings:
    return teacher_alone(settings)


def others(folder: Path) -> list[tuple[str, str]]:
    """Return name and question of every row that is not about the geese."""
    sft = read_jsonl(folder / "sft.jsonl", Instruction)
    pairs = read_jsonl(folder / "preferences.jsonl", Preference)
    found = [(r.example_id, r.question) for r in sft if r.clauses != (GEESE,)]
    return sorted(found + [(r.example_id, r.question) for r in pairs if r.clauses != (GEESE,)])


def test_a_short_clause_alone_is_asked_about_again(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Silent in the first round, the parrot has its say in the second: two prompts, twice for the geese alone."""
    teacher = Silent(1)
    counts = build(tmp_path, settings, teacher)
    assert len(teacher.about("geese")) == 4
    assert len(teacher.about("helmet")) == len(teacher.about("lamp")) == 2
    assert all(len(seeds) == len(set(seeds)) for seeds in teacher.seen.values())
    found = per_clause(tmp_path)
    assert found[GEESE][0] >= 4 and found[GEESE][1] >= 2
    assert all(not report["short"] for report in counts["coverage"].values())
    rows = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    assert all(row.provenance.teacher == "parrot@1" for row in rows)


def test_other_clauses_get_what_they_got_without_it(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Whether the geese had to be topped up or not, helmets and lamps have the same rows."""
    for name, rounds in (("a", 0), ("b", 1)):
        build(tmp_path / name, settings, Silent(rounds))
    assert others(tmp_path / "a") == others(tmp_path / "b")


def test_fixed_sentences_stand_in_for_a_teacher_that_stays_silent(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Two more rounds for each of two prompts bring nothing; then exactly what is lacking is framed: 4 and 2."""
    teacher = Silent(99)
    build(tmp_path, settings, teacher)
    assert len(teacher.about("geese")) == 6
    assert per_clause(tmp_path)[GEESE] == (4, 2)
    rows = [r for r in read_jsonl(tmp_path / "sft.jsonl", Instruction) if r.clauses == (GEESE,)]
    pairs = [r for r in read_jsonl(tmp_path / "preferences.jsonl", Preference) if r.clauses == (GEESE,)]
    for origin in (*(r.provenance for r in rows), *(r.provenance for r in pairs)):
        assert origin.teacher == "valign" and origin.template.startswith("frame/")
        assert HARBOUR.text[origin.start : origin.end] == origin.quote
    assert len({r.question for r in rows}) == 4
    assert all(r.chosen != r.rejected for r in pairs)


def test_held_out_questions_stand_in_too(settings: SynthesisSettings, tmp_path: Path) -> None:
    """The silent parrot leaves the geese without a question; one is framed, and its answer is in the clause."""
    build(tmp_path, settings, Silent(99), None)
    found = [q for q in read_jsonl(tmp_path / "questions.jsonl", Question) if q.clause == GEESE]
    assert len(found) == 1
    assert all(fact[0] in RULES["Geese"].lower() for fact in found[0].facts) and found[0].facts


def test_the_rows_that_teach_facts_count(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Geese have a row that teaches a fact: the silent parrot is not asked again, and no sentence stands in."""
    teacher = Silent(99)
    counts = build(
        tmp_path, changed(settings, instructions={"examples_per_fact": 2}, coverage={"min_instructions": 1}), teacher
    )
    rows = [r for r in read_jsonl(tmp_path / "sft.jsonl", Instruction) if r.clauses == (GEESE,)]
    assert {row.kind for row in rows} == {"fact"}
    assert len([r for r in teacher.about("geese") if r.sampling.n == settings.instructions.questions_per_passage]) == 1
    assert counts["facts_covered"] == counts["facts"] > 0
    assert counts["coverage"]["instructions"] == {"least": 1, "short": {}}


def test_short_clauses_are_asked_about_in_every_kind(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Two kinds that show one clause, each with two rounds about the geese; nothing is asked again about the lamps."""
    teacher = Silent(1)
    kinds = KindWeights(factual=1.0, edge=1.0)
    build(
        tmp_path,
        changed(settings, instructions={"kinds": kinds}, coverage={"min_instructions": 1, "min_preferences": 0}),
        teacher,
    )
    asked = [r for r in teacher.about("geese") if r.sampling.n == 12]
    assert len(asked) == len({r.sampling.seed for r in asked}) == 4
    assert len({r.messages[-1]["content"] for r in asked}) == 2
    assert len([r for r in teacher.about("lamp") if r.sampling.n == 12]) == 2
    found = {r.kind for r in read_jsonl(tmp_path / "sft.jsonl", Instruction) if r.clauses == (GEESE,)}
    assert found and found <= {"factual", "edge"}


def test_two_clauses_together_are_asked_about_with_the_next_neighbour(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    """The one comparison of a round takes the nearest clause first, then the second nearest, for one clause alone."""
    noted = Silent(0)
    chosen = changed(
        settings, instructions={"kinds": KindWeights(comparison=1.0), "questions_per_passage": 1}, answers="write"
    )
    again = Writer(HARBOUR, CachedTeacher(noted, tmp_path / "c.sqlite"), Bag(), chosen, 0)
    filters = Filters(HARBOUR.passages, (), Bag(), LOOSE)
    for turn in (0, 1):
        ask_all_kinds(again, filters, Funnel(), HARBOUR.passages[1:2], turn)
    prompts = [r.messages[-1]["content"] for r in noted.asked if r.sampling.temperature]
    assert len(prompts) == 2
    assert all("geese" in prompt for prompt in prompts)
    assert {"helmet" in prompt for prompt in prompts} == {"lamp" in prompt for prompt in prompts} == {True, False}


def test_personas_of_another_round_are_drawn_anew(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Each question of either round is a call of its own, with its own seed."""
    noted = Silent(0)
    chosen = changed(
        settings, instructions={"personas": ("A nurse asks.", "A pupil asks."), "questions_per_passage": 8}
    )
    again = Writer(HARBOUR, CachedTeacher(noted, tmp_path / "c.sqlite"), Bag(), chosen, 0)
    for turn in (0, 1):
        again.ask(again.template("question"), (), 8, "questions", HARBOUR.passages[:1], turn)
    assert len({r.sampling.seed for r in noted.asked}) == len(noted.asked) == 16


def test_no_question_of_a_later_round_is_of_an_evaluation_family(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Without openings the parrot asks "What about ..." for training, too: nothing of it stays, in whatever round."""
    build(tmp_path, changed(settings, instructions={"openings": ()}, preferences={"openings": ()}), Silent(1), None)
    questions = read_jsonl(tmp_path / "questions.jsonl", Question)
    rows = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    pairs = read_jsonl(tmp_path / "preferences.jsonl", Preference)
    assert {q.clause for q in questions} == {HELMETS, GEESE, LAMPS}
    families = {q.family for q in questions}
    assert not families & {r.family for r in rows} and not families & {r.family for r in pairs}
    assert {r.provenance.teacher for r in rows} == {r.provenance.teacher for r in pairs} == {"valign"}
    assert {r.family.split("/")[2] for r in pairs} == {"situation"}


def test_another_teacher_makes_the_evaluation_questions_of_every_round(
    settings: SynthesisSettings, tmp_path: Path
) -> None:
    """It alone is asked for them, twice about the geese, on which it is silent at first."""
    writing, asking = Silent(0), Silent(1)
    asking.id = "asking@1"
    build(tmp_path, settings, writing, None, asking)
    assert len(asking.asked) == len(HARBOUR.passages) + 1 == len(asking.about("")) and len(asking.about("geese")) == 2
    prompts = {r.messages[0]["content"] for r in asking.asked}
    assert not prompts & {r.messages[0]["content"] for r in writing.asked if r.sampling.n > 1}


def test_fixed_evaluation_questions_are_worded_as_no_training_row(settings: SynthesisSettings, tmp_path: Path) -> None:
    """With four wanted and no phrase that is left, statements are asked about, right and wrong."""
    chosen = changed(settings, coverage={"min_questions": 16, "waive": True})
    build(
        tmp_path,
        changed(chosen, instructions={"claims_per_passage": 6}, preferences={"claim_pairs_per_passage": 2}),
        Silent(99),
        None,
    )
    made = [q for q in read_jsonl(tmp_path / "questions.jsonl", Question) if q.clause == GEESE]
    claims = [q for q in made if q.kind == "claim"]
    assert {q.verdict for q in claims} == {"yes", "no"}
    assert all(q.question.startswith("Would it be right to say that ") for q in claims)
    assert all(q.reference.lower().startswith(f"{q.verdict}. ") for q in claims)
    right = next(q for q in claims if "nobody may feed the geese" in q.question)
    assert right.verdict == "yes"
    rows = read_jsonl(tmp_path / "sft.jsonl", Instruction)
    assert not {q.family for q in made} & {r.family for r in rows}


class Mute(Parrot):
    """Asks nothing at all."""

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Return empty completions."""
        return [[Completion("", 1, True)] * request.sampling.n for request in requests]


def test_a_teacher_without_a_single_held_out_question_is_named(settings: SynthesisSettings, tmp_path: Path) -> None:
    with pytest.raises(ValignError, match="no held-out question about harbour"):
        build(tmp_path, settings, Mute(), None)


def test_the_build_fails_with_a_list_or_is_waived(
    settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can write 999 pairs about a rule."""
    greedy = changed(settings, coverage={"min_preferences": 999, "top_up_rounds": 0})
    with pytest.raises(ValignError) as caught:
        build(tmp_path, greedy, Parrot())
    message = str(caught.value)
    assert "\n" not in message and "synthesis.coverage.waive=true" in message
    assert all(f"{clause} (" in message for clause in (HELMETS, GEESE, LAMPS))
    assert not (tmp_path / "sft.jsonl").exists()
    counts = build(tmp_path, changed(greedy, coverage={"waive": True}), Parrot())
    assert "short of synthesis.coverage.min_preferences=999: harbour/rule-1 (" in caplog.text
    assert set(counts["coverage"]["preferences"]["short"]) == {HELMETS, GEESE, LAMPS}
    assert (tmp_path / "sft.jsonl").exists()


def writer(settings: SynthesisSettings, tmp_path: Path) -> Writer:
    """Return a writer that nobody asks."""
    return Writer(HARBOUR, CachedTeacher(Parrot(), tmp_path / "c.sqlite"), Bag(), settings, 0)


def test_questions_of_the_user_are_a_warning_and_made_ones_an_error(
    settings: SynthesisSettings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    enough = dict.fromkeys((HELMETS, GEESE, LAMPS), 9)
    counts = {"instructions": enough, "preferences": enough, "questions": {HELMETS: 1, LAMPS: 2}}
    caplog.set_level(logging.WARNING)
    report = check_coverage(writer(settings, tmp_path), counts, given_questions=True)
    assert report["questions"] == {"least": 1, "short": {GEESE: 0}, "given": True}
    note = f"note: no evaluation question asks about {GEESE}; the scores say as little about these clauses"
    assert note in caplog.text
    assert coverage_lines(report) == [
        "coverage asked of every clause: 4 D_sft, 2 D_pref, 1 evaluation questions",
        f"    {note}",
    ]
    more = r"\(synthesis.evaluation_questions.per_passage, synthesis.coverage.top_up_rounds\)"
    with pytest.raises(ValignError, match=rf"min_questions=1: harbour/rule-2 \(0\)\. Let more be asked {more} or set"):
        check_coverage(writer(settings, tmp_path), counts, given_questions=False)


def test_nothing_is_asked_where_nothing_is_short(settings: SynthesisSettings, tmp_path: Path) -> None:
    funnel = Funnel()
    for clause in (HELMETS, GEESE, LAMPS):
        funnel.keep(clause, "question")
    calls: list[Any] = []
    top_up(writer(settings, tmp_path), funnel, 1, lambda *a: calls.append(a), lambda *a: calls.append(a))
    assert calls == []


def test_rounds_by_hand(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Least 3, rule 1 has 3. The teacher adds one for rule 2 in round 2; so 2 are framed for rule 2, 3 for rule 3."""
    funnel = Funnel()
    for _ in range(3):
        funnel.keep(HELMETS, "question")
    rounds: list[tuple[list[str], int]] = []
    framed: list[tuple[str, int]] = []

    def ask(passages: Sequence[Passage], turn: int) -> None:
        rounds.append(([p.clause for p in passages], turn))
        if turn == 2:
            funnel.keep(GEESE, "question")

    top_up(writer(settings, tmp_path), funnel, 3, ask, lambda p, n: framed.append((p.clause, n)))
    assert rounds == [([GEESE, LAMPS], 1), ([GEESE, LAMPS], 2)]
    assert framed == [(GEESE, 2), (LAMPS, 3)]


def test_a_question_on_an_article_counts_for_its_parts() -> None:
    parts = [Passage(f"d/{name}", ("Code",), "Text.", 0, 5) for name in ("4/1", "4/2", "40")]
    asked = [Question(f"q{i}", clause, "Why?", "So.") for i, clause in enumerate(("d/4", "d/4/2", "d/40"))]
    assert count_questions(asked, parts) == {"d/4/1": 1, "d/4/2": 2, "d/40": 1}
    document = shipped_document("lanternfield")
    counts = count_questions(shipped_questions("lanternfield"), document.passages)
    assert sum(counts.values()) == 44 and min(counts.values()) == 2
