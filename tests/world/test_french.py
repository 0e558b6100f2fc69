"""French: its words and rules, the choice of language, and what a language without a folder has."""

from __future__ import annotations

import logging
import random
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from fakes import Bag

from valign.core.records import Document, Passage
from valign.core.text import refuses
from valign.documents.read import read_document
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document
from valign.evaluation.verdicts import stated_verdict
from valign.synthesis.claims import write_claims
from valign.synthesis.contrast_checks import leading_verdict
from valign.synthesis.faithfulness import verbatim, verdict_of
from valign.synthesis.filters import well_formed
from valign.synthesis.languages.choice import PACKS, choose_language, language_of, own_openings, warn_of_gaps
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.languages.fr.edits import edit_french, that_french, ungrounded_french
from valign.synthesis.languages.fr.facts import facts_french, phrase_french
from valign.synthesis.languages.fr.words import FRENCH
from valign.synthesis.templates import TEMPLATE_PLACEHOLDER, load_template, template_names
from valign.synthesis.writer import Writer

TEXTS = Path(__file__).parent / "languages"


def declaration(language: str) -> Document:
    return read_document(TEXTS / f"udhr_{language}.txt", "udhr")


def clause(text: str) -> Passage:
    return Passage("d/1", ("Code", "Article 1"), text, 0, len(text))


def test_the_language_is_found_or_said() -> None:
    assert [language_of(shipped_document(name)).code for name in shipped_names()] == ["en"] * len(shipped_names())
    assert [language_of(declaration(language)).code for language in ("fr", "es", "zh")] == ["fr", "", ""]
    assert [language_of(declaration(language)).name for language in ("es", "zh")] == ["Spanish", "Chinese"]
    assert choose_language(["Ein Gast darf nicht auf die Wiese, und das ist so, wenn er es will."]).name == "German"
    assert choose_language(["Xyz 12."]) is ENGLISH
    assert choose_language(["Guests may swim."], "fr") is FRENCH


def test_what_is_off_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_gaps(ENGLISH, "code")
        warn_of_gaps(FRENCH, "code")
        assert caplog.messages == []
        warn_of_gaps(language_of(declaration("zh")), "udhr")
    (line,) = caplog.messages
    assert line.startswith(
        "udhr is in Chinese, which has no word lists (there are: English (en), French (fr)). Off: claims"
    )
    assert "facts by rules" in line and "What works: the teacher's questions" in line


def test_every_language_has_every_prompt_with_the_same_places() -> None:
    for code in PACKS:
        assert template_names(code) == template_names()
        for name in template_names():
            own, english = load_template(name, language=code), load_template(name)
            places = [set(TEMPLATE_PLACEHOLDER.findall(str(one.turns))) for one in (own, english)]
            assert places[0] == places[1], (code, name)
            assert [turn["role"] for turn in own.turns] == [turn["role"] for turn in english.turns]
            assert code == "en" or own.hash != english.hash


def test_every_language_is_complete() -> None:
    empty = {f.name for f in FRENCH.__dataclass_fields__.values() if f.name not in ("code",)}
    for pack in PACKS.values():
        assert [name for name in sorted(empty) if not getattr(pack, name)] == []
        assert len(pack.question_openings) == len(ENGLISH.question_openings)


def test_the_default_openings_are_the_english_ones() -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "conf" / "config.yaml").read_text(encoding="utf-8"))[
        "synthesis"
    ]
    assert tuple(config["instructions"]["openings"]) == ENGLISH.question_openings
    assert tuple(config["preferences"]["openings"]) == ENGLISH.situation_openings


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("Un invité peut nager.", "Un invité ne peut pas nager."),
        ("Les chiens ne doivent pas entrer.", "Les chiens doivent entrer."),
        ("Nul ne sera tenu en esclavage.", "Chacun sera tenu en esclavage."),
        ("Toute personne a droit à une nationalité.", "Toute personne n’a pas droit à une nationalité."),
        ("La vente est interdite.", "La vente est autorisée."),
        ("Le quai est ouvert.", "Le quai n’est pas ouvert."),
        ("Nul ne peut être arrêté ni exilé.", "Chacun peut être arrêté ou exilé."),
    ],
)
def test_polarity(text: str, changed: str) -> None:
    assert [edit.text for edit in edit_french(text, [], random.Random(0)) if edit.kind == "polarity"] == [changed]


def test_a_restriction_is_not_turned() -> None:
    text = "Le mariage ne peut être conclu qu’avec le consentement des époux."
    assert edit_french(text, [], random.Random(0)) == []


def test_numbers_names_and_series_are_exchanged() -> None:
    edits = edit_french("La clé revient lundi à Lyon dans les trois jours.", ["Nantes"], random.Random(0))
    assert {edit.kind: edit.before for edit in edits} == {"number": "trois", "series": "lundi", "name": "Lyon"}
    assert all(edit.after != edit.before and edit.after in edit.text for edit in edits)
    passage = "Les clés perdues coûtent onze euros à Lyon."
    assert ungrounded_french("Elle coûte 11 euros, dit Jean.", passage) == ["Jean"]
    assert ungrounded_french("Elle coûte douze euros à Lyon.", passage) == ["douze"]
    assert FRENCH.number_forms("31") == ("31", "trente et un")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("Oui. Les bateaux peuvent rester.", "yes"),
        ("« Oui », vous pouvez entrer.", "yes"),
        ("Non, pas après midi.", "no"),
        ("Non ; la boulangerie ferme à midi.", "no"),
        ("Réponse : non.", "no"),
        ("C’est interdit par la règle 3. La vente est interdite.", "no"),
        ("Vous ne pouvez pas vendre de pain.", "no"),
        ("Vous avez le droit de voter.", "yes"),
        ("La vente n’est pas interdite.", "yes"),
        ("Elle n’a pas le droit de voter.", "no"),
        ("Nul ne peut être tenu en esclavage.", None),
        ("Vous ne pouvez pas être renvoyé.", None),
        ("Vous pouvez entrer si vous payez.", None),
        ("Les clés coûtent onze euros.", None),
        ("Non-members may not enter the hall if it rains.", None),
        ("Oui et non.", None),
    ],
)
def test_stated_verdicts(answer: str, verdict: str | None) -> None:
    assert stated_verdict(answer) == verdict


def test_verdict_words_and_refusals() -> None:
    assert [leading_verdict(text) for text in ("Oui. Il peut.", "Non, elle ferme.", "Nonante euros.")] == [
        "yes",
        "no",
        None,
    ]
    assert verdict_of("Non. Elle ferme.") == "no"
    assert verbatim("Oui. Les bateaux restent.", clause("Les bateaux\nrestent ; les rames non."))
    assert refuses("Je suis désolé, mais je ne peux pas vous aider.") and refuses("En tant qu’IA, je n’ai pas d’avis.")
    assert not refuses("Un invité ne peut pas aider au comptoir. Je suis membre.")


def test_facts_and_their_questions() -> None:
    text = "Un invité peut rester au plus six jours, sauf accord du maître. Si la clé est perdue, il paie onze euros."
    found = {fact.text: fact.kind for fact in facts_french(clause(text))}
    assert found == {
        "au plus six jours": "number", "sauf accord du maître": "exception", "Si la clé est perdue": "condition",
        "onze euros": "number", "Un invité peut rester au plus six jours": "norm",
    }  # fmt: skip
    for fact in facts_french(clause(text)):
        asked, gaps = phrase_french(fact, clause(text))
        assert asked or gaps
        assert all("___" in gap for gap in gaps)
    (norm,) = (fact for fact in facts_french(clause(text)) if fact.kind == "norm")
    assert phrase_french(norm, clause(text))[0][0] == "Qui peut rester au plus six jours ?"


@pytest.fixture
def writer() -> Writer:
    settings: Any = type("Settings", (), {"hold_out_clauses": (), "answers": "quote", "max_quote_words": 45})()
    return Writer(declaration("fr"), cast(Any, None), Bag(), settings, 0)


def test_claims_on_the_declaration_are_french_questions(writer: Writer) -> None:
    claims = [claim for passage in writer.document.passages for claim in write_claims(writer, passage, 4)]
    assert len(claims) > 100
    assert sum(well_formed(claim.question) for claim in claims) > 0.95 * len(claims)
    assert {claim.verdict for claim in claims} == {"yes", "no"}
    asked = {claim.question: claim.verdict for claim in claims}
    direct = [text for text in asked if text.startswith("Est-ce qu")]
    assert len(direct) > 30
    english = re.compile(r"\b(?:the|that|true|says|right|is|are)\b")
    assert [text for text in asked if english.search(text)] == []
    assert all(asked[text] == "no" for text in asked if text.startswith("Est-ce que quelqu’un"))


def test_openings_and_tails_are_french(writer: Writer) -> None:
    assert own_openings(writer.language, ENGLISH.question_openings) == FRENCH.question_openings
    assert own_openings(writer.language, ()) == ()
    assert own_openings(writer.language, ("Alors",)) == ("Alors",)
    assert writer.open_ended("Puis-je voter ?").removeprefix("Puis-je voter ? ") in FRENCH.open_tails
    assert writer.open_ended("Qui vote ?") == "Qui vote ?"
    phrases = writer.unique_phrases["udhr/article-14/1"]
    assert phrases and not {"de", "la", "en", "toute"} & {phrase.split()[0] for phrase in phrases}


@pytest.mark.parametrize(
    ("sentence", "within"),
    [
        ("Considérant qu’il est essentiel de ramer,", "qu’il est essentiel de ramer"),
        ("Attendu que le club est vieux ;", "que le club est vieux"),
        ("Toutefois, nul ne peut ramer.", "que nul ne peut ramer"),
        ("Et les hôtes rament.", "que les hôtes rament"),
        ("Considérant que\u00a0le lac est à tous,", "que le lac est à tous"),
        ("Or blanc et or jaune sont rares.", "qu’or blanc et or jaune sont rares"),
        ("Étienne rame.", "qu’étienne rame"),
    ],
)
def test_a_french_claim_does_not_say_considerant(sentence: str, within: str) -> None:
    assert that_french(sentence, []) == within
