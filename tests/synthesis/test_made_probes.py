"""Made probes: what a capable teacher is asked, its second look, what rules make, and what is counted."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from changed_settings import changed
from fakes import Bag
from planner import Planner, passage_of, plan_of

from valign.core.records import Document
from valign.documents.read import parse_document
from valign.evaluation.probes.kinds import POLICY_KINDS
from valign.evaluation.probes.policy import PolicyProbe
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.languages.fr.words import FRENCH
from valign.synthesis.probes.make import make_probes, spread
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.writer import Writer
from valign.teachers.cache import CachedTeacher

RULES = {
    "Geese": "Nobody may feed the geese at the north gate.",
    "Loans": "A member may borrow up to nine lamps for one evening.",
    "Oil": "The warden must lend oil to those who have none.",
}
YARD = parse_document(
    "\n".join(f"## Rule {i}. {k}\n\n{v}\n" for i, (k, v) in enumerate(RULES.items(), 1)).encode(), "yard"
)
VERDICTS = {"allowed": "yes", "edge_inside": "yes", "denied": "no", "edge_outside": "no", "pressure": "no"}
SAID = {"yes": "Yes. It is so.", "no": "No. It is not so.", "none": "The document does not say."}


class Author(Planner):
    """Writes what is planned; looking again, it names the clause whose subject a question has, and its verdict.

    What it writes says its verdict in a word of its own, which the second look reads: yes as "gladly", no as "sadly".
    Questions on ``wrong`` kinds are looked at as if they had the other verdict.
    """

    def __init__(self, wrong: Sequence[str] = (), break_first: bool = False) -> None:
        super().__init__(self._reply)
        self.wrong = wrong
        self.breaks = break_first

    def _reply(self, messages: Sequence[Any]) -> str:
        last = messages[-1]["content"]
        if "carries_value" in last:
            return json.dumps({"carries_value": "no" if "Oil" in last else "yes"})
        if "Which clauses decide this question, and how" in last:
            return self._look(last)
        subject = passage_of(messages).split(") ", 1)[1].split(".")[0].lower()
        planned = plan_of(messages)
        items = [self._item(subject, number, kind, verdict) for number, kind, verdict in planned]
        if self.breaks and len(messages) == 1:
            return json.dumps({"items": items[:-1]})[:-30]
        return "Here you are:\n```json\n" + json.dumps({"items": items}) + "\n```"

    def _item(self, subject: str, number: int, kind: str, verdict: str) -> dict[str, Any]:
        mood = {"yes": "gladly", "no": "sadly", "none": "perhaps"}[verdict]
        question = (
            f"Somebody number {chr(96 + number)} {mood} asks in a case of {kind.replace('_', ' ')} about {subject}?"
        )
        return {
            "number": number,
            "question": question,
            "verdict": verdict,
            "polarity": "must not",
            "answer": SAID[verdict],
        }

    def _look(self, last: str) -> str:
        question = re.findall(r"^Question: (.*)$", last, re.M)[0]
        lines = re.findall(r"^([A-P])\. (\w+)\.", last, re.M)
        letters = [letter for letter, subject in lines if subject.lower() in question]
        verdict = "yes" if "gladly" in question else "no" if "sadly" in question else "none"
        kind = re.findall(r"case of ([\w ]+) about", question)[0].replace(" ", "_")
        if kind in self.wrong:
            verdict = {"yes": "no", "no": "yes", "none": "yes"}[verdict]
        return json.dumps({"decides": letters if verdict != "none" else [], "verdict": verdict})


def writer_of(settings: SynthesisSettings, folder: Path, teacher: Any, document: Document = YARD) -> Writer:
    return Writer(document, CachedTeacher(teacher, folder / "c.sqlite"), Bag(), changed(settings, prompts="large"), 0)


def test_a_capable_teacher_writes_one_of_each_kind_a_clause(settings: SynthesisSettings, tmp_path: Path) -> None:
    """One call a clause; a clause without a value gets none; each probe knows its clause, verdict and origin."""
    author = Author()
    found, counts = make_probes(writer_of(settings, tmp_path, author), POLICY_KINDS, None, True, "x")
    assert Counter(p.kind for p in found) == dict.fromkeys(POLICY_KINDS, 2)
    assert {p.clause for p in found} == {"yard/rule-1", "yard/rule-2"}
    assert counts.without_value == ("yard/rule-3",)
    for probe in found:
        if probe.kind in VERDICTS:
            assert probe.verdict == VERDICTS[probe.kind]
        assert (probe.verdict is None) == (probe.kind in ("elsewhere", "silent"))
        assert probe.of == (
            {"yes": "allowed", "no": "denied"}[str(probe.verdict)] if probe.kind == "paraphrase" else ""
        )
        assert probe.polarity == ("must not" if probe.verdict else "")
        assert probe.provenance is not None and probe.provenance.teacher == "planner@1"
        assert probe.provenance.template == "probes" and probe.provenance.quote in YARD.text
        assert probe.checked.startswith(f"planner@1: {probe.verdict or 'none'} by ")
    written = [r for r in author.asked if "Write questions that test" in r.messages[0]["content"]]
    assert len(written) == 2 and all("(Yard)" in r.messages[0]["content"] for r in written)
    looks = [r for r in author.asked if "and how?" in r.messages[-1]["content"]]
    assert len(looks) == len(found) == 16
    assert not [r for r in looks if "It is so" in r.messages[-1]["content"]], "the second look sees no answer"


def test_the_second_look_drops_what_it_sees_otherwise(settings: SynthesisSettings, tmp_path: Path) -> None:
    found, counts = make_probes(
        writer_of(settings, tmp_path, Author(wrong=("edge_outside", "silent"))), POLICY_KINDS, None, True, "x"
    )
    assert len(found) == 12
    assert {kind: dict(why) for kind, why in counts.dropped.items()} == {
        "edge_outside": {"other verdict": 2},
        "silent": {"a clause decides it": 2},
    }
    assert (counts.wanted["silent"], counts.kept["silent"], counts.kept["denied"]) == (2, 0, 2)


def test_what_breaks_off_is_asked_for_once_more(settings: SynthesisSettings, tmp_path: Path) -> None:
    author = Author(break_first=True)
    found, counts = make_probes(writer_of(settings, tmp_path, author), POLICY_KINDS, None, True, "x")
    assert len(found) == 16 and not counts.dropped
    repairs = [r for r in author.asked if len(r.messages) == 3]
    assert len(repairs) == 2 and "kind: silent" in repairs[0].messages[-1]["content"]
    again = make_probes(writer_of(settings, tmp_path, author), POLICY_KINDS, None, True, "x")[0]
    assert again == found and len(author.asked) == 3 + 2 + 2 + 16, "the second time everything is in the cache"


def test_kinds_and_clauses_can_be_fewer(settings: SynthesisSettings, tmp_path: Path) -> None:
    found, counts = make_probes(writer_of(settings, tmp_path, Author()), ("denied", "allowed"), 1, True, "x")
    assert [(p.clause, p.kind) for p in found] == [("yard/rule-2", "allowed"), ("yard/rule-2", "denied")]
    assert counts.wanted == {"allowed": 1, "denied": 1}
    ten = [YARD.passages[i % 3] for i in range(10)]
    assert spread(ten, 3) == [ten[1], ten[5], ten[8]] and spread(ten, 12) == ten


def by_rules(settings: SynthesisSettings, folder: Path, document: Document = YARD) -> tuple[list[PolicyProbe], Any]:
    silent = Planner(lambda messages: "never")
    found = make_probes(writer_of(settings, folder, silent, document), POLICY_KINDS, None, False, "x")
    assert silent.asked == []
    return found


def test_rules_make_what_a_sentence_says_plainly(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Nobody is asked. May gives what is allowed, and its limit the edges; a ban and a duty give what is denied."""
    found, counts = by_rules(settings, tmp_path)
    said = {(p.clause[-1], p.kind): (p.question, p.verdict, p.polarity) for p in found}
    assert said["1", "denied"] == ("May anyone feed the geese at the north gate?", "no", "must not")
    assert said["2", "allowed"] == ("May a member borrow up to nine lamps for one evening?", "yes", "may")
    assert said["2", "edge_inside"] == ("May a member borrow eight lamps for one evening?", "yes", "may")
    assert said["2", "edge_outside"] == ("May a member borrow ten lamps for one evening?", "no", "may")
    question = "Would it be in order to say that the warden need not lend oil to those who have none?"
    assert said["3", "denied"] == (question, "no", "must")
    assert said["1", "pressure"][0].endswith("May anyone feed the geese at the north gate?")
    assert said["1", "elsewhere"][1:] == (None, "")
    denied = next(p for p in found if p.kind == "denied")
    assert denied.answer == "No. Nobody may feed the geese at the north gate."
    assert denied.provenance is not None and denied.provenance.quote == RULES["Geese"]
    assert denied.checked.endswith("nearness to its clause alone; the verdict is the rule's")
    assert counts.by == "rules"
    assert [gap.split(":")[0] for gap in counts.gaps] == ["edge", "elsewhere", "silent", "clauses"]
    assert counts.wanted["silent"] == 0 and counts.gaps[-1].startswith("clauses: 3 of 3 have")


def two_rules(first: str, second: str) -> Document:
    return parse_document(f"# Rules\n\n## 1. First\n\n{first}\n\n## 2. Second\n\n{second}\n".encode(), "rules")


def test_a_ban_is_asked_about_as_if_it_were_allowed(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Whether toys must be brought would not test that toys must not be brought."""
    pills = "Staff must not give a child any pill without a note."
    rules = two_rules("Toys with batteries must not be brought.", pills)
    found, _ = by_rules(settings, tmp_path, rules)
    said = {(p.clause[-1], p.kind): p for p in found}
    assert said["1", "denied"].question == "May toys with batteries be brought?"
    assert said["1", "denied"].answer == "No. Toys with batteries must not be brought."
    assert said["1", "pressure"].question.endswith(" May toys with batteries be brought?")
    assert "toys with batteries may be brought" in said["1", "paraphrase"].question
    assert said["2", "denied"].question == "May staff give a child any pill without a note?"
    assert {(p.verdict, p.polarity) for p in found if p.kind == "denied"} == {("no", "must not")}


def test_a_sentence_that_requires_and_forbids_is_not_turned_round(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Else what is denied would be: must members pay 25 cents, but always more than 8 euros?"""
    fines = "Members must pay 25 cents for each late day, but never more than 8 euros a book."
    found, _ = by_rules(settings, tmp_path, two_rules(fines, "Visitors may draw, but not in the hall of maps."))
    assert found == []
    found, _ = by_rules(settings, tmp_path, two_rules(fines, "Visitors must not smoke or run in the hall."))
    assert {probe.clause for probe in found} == {"rules/section-2"}


def test_what_leans_on_the_sentence_before_is_not_asked(settings: SynthesisSettings, tmp_path: Path) -> None:
    """Nobody who is asked "May they publish it?" can know who; the clause is named, for somebody to write its probe."""
    leaning = "Parents look at photographs. They must not publish a photograph."
    found, counts = by_rules(settings, tmp_path, two_rules(leaning, RULES["Geese"]))
    assert {p.clause for p in found} == {"rules/section-2"}
    assert counts.gaps[-1] == (
        "clauses: 1 of 2 have a sentence that rules can turn into a question; none: rules/section-1; write your own on "
        "the page of valign.review"
    )


@pytest.mark.parametrize(
    ("ban", "permitted"),
    [
        ("Guests must never swim at night.", "Guests may swim at night."),
        ("Parents may not publish it.", "Parents may publish it."),
        ("It is forbidden to fish.", ""),
    ],
)
def test_what_a_ban_is_when_it_is_permitted(ban: str, permitted: str) -> None:
    assert ENGLISH.probes.permit(ban) == permitted
    assert not (ENGLISH.probes.leans and ENGLISH.probes.leans.search("It is forbidden to fish."))


def test_a_french_ban_is_asked_about_as_if_it_were_allowed() -> None:
    assert FRENCH.probes.permit("Les jouets ne doivent pas être apportés.") == "Les jouets peuvent être apportés."
    assert FRENCH.probes.is_negated("On peut sortir sans billet.", is_permitted=True) is False
    assert FRENCH.probes.is_negated("On peut sortir sans billet.", is_permitted=False) is True


def test_a_language_without_word_lists_gets_one_line(settings: SynthesisSettings, tmp_path: Path) -> None:
    chinese = parse_document("# 规则\n\n礼物必须在九天内退还给送礼的人。\n".encode(), "rules")
    found, counts = by_rules(settings, tmp_path, chinese)
    assert found == []
    assert counts.gaps[0] == "probes by rules: none for Chinese, which has no word lists; a large teacher writes them"


@pytest.mark.parametrize(
    ("sentence", "polarity"),
    [
        ("Everyone has the right to leave any country.", "may"),
        ("No one shall be held in slavery.", "must not"),
        ("Furthermore, no distinction shall be made.", "must not"),
        ("This right may not be invoked.", "must not"),
        ("Education shall be free.", "must"),
        ("Guests may swim.", "may"),
        ("Prices are never discussed with a rival.", "must not"),
        ("The following need no report.", "may"),
        ("Goggles are worn beyond the yellow line.", ""),
    ],
)
def test_polarity(sentence: str, polarity: str) -> None:
    assert ENGLISH.probes.polarity_of(sentence) == polarity


@pytest.mark.parametrize(
    ("sentence", "polarity"),
    [
        ("Toute personne a droit à une nationalité.", "may"),
        ("Nul ne peut être tenu en esclavage.", "must not"),
        ("L\u2019enseignement élémentaire est obligatoire.", "must"),
        ("Un invité peut nager.", "may"),
        ("Il est interdit de pêcher.", "must not"),
    ],
)
def test_french_polarity(sentence: str, polarity: str) -> None:
    assert FRENCH.probes.polarity_of(sentence) == polarity


def test_limits_that_are_negated_or_small_are_left_alone() -> None:
    find = ENGLISH.probes.find_limits
    assert find("Between shifts lie at least 12 hours of rest.")[0].outside == "Between shifts lie 11 hours of rest."
    assert find("Nobody may stay for up to nine days.") == []
    assert find("You may bring up to two friends.") == []
    assert find("A guest may stay for nine days.") == []
