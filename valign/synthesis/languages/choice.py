"""Which language a document is in, and what there is for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

from valign.core.records import Document
from valign.synthesis.languages.en.words import ENGLISH
from valign.synthesis.languages.fr.words import FRENCH
from valign.synthesis.languages.pack import LanguagePack
from valign.synthesis.text_checks import Language, stop_words_of

log = logging.getLogger(__name__)

PACKS = {pack.code: pack for pack in (ENGLISH, FRENCH)}
"""The languages that have a folder, by code."""
CODES = {"EN_PLUS": "en", "FRENCH": "fr"}
SCRIPT_LANGUAGES = {"CJK": "Chinese", "HIRAGANA": "Japanese", "KATAKANA": "Japanese", "HANGUL": "Korean"}


def choose_language(texts: Sequence[str], wanted: str = "auto") -> LanguagePack:
    """Return the words and rules for a document.

    Its stop words tell the language; where they are few, Latin letters count as English, so that short texts of names
    and numbers are read as before.

    Args:
        texts: The document's passages.
        wanted: Code of a language, or ``auto``.

    Returns:
        The language's pack, or one that has nothing but a name and, where they are known, stop words.
    """
    if wanted != "auto":
        return PACKS[wanted]
    found = Language(texts)
    if found.known and found.name in CODES:
        return PACKS[CODES[found.name]]
    if found.known:
        return LanguagePack(name=found.name.capitalize(), stop_words=partial(stop_words_of, found.name))
    if not found.scripts or "LATIN" in found.scripts:
        return ENGLISH
    kana = found.scripts & {"HIRAGANA", "KATAKANA"}
    script = min(kana or found.scripts)
    return LanguagePack(name=SCRIPT_LANGUAGES.get(script, f"a language in {script.capitalize()} script"))


def language_of(document: Document) -> LanguagePack:
    """Return the words and rules for a document: of the language that it is said to be in, or that is found."""
    return choose_language([passage.text for passage in document.passages], document.language)


def own_openings(pack: LanguagePack, wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the first words that are asked for; a language has its own for the English defaults."""
    own = {
        ENGLISH.question_openings: pack.question_openings,
        ENGLISH.situation_openings: pack.situation_openings,
    }
    return own.get(tuple(wanted), tuple(wanted))


def warn_of_gaps(pack: LanguagePack, name: str) -> None:
    """Say in one line what is off for a document whose language has no folder, and what works."""
    if pack.code:
        return
    known = ", ".join(f"{each.name} ({code})" for code, each in PACKS.items())
    log.warning(
        "%s is in %s, which has no word lists (there are: %s). Off: claims, phrase questions and recitations, edits as "
        "rejected answers, facts by rules, the check of numbers and names, forced openings. What works: the teacher's "
        "questions and situations, quoted and written answers, and with a large teacher synthesis.prompts=large, "
        "synthesis.instructions.extract=teacher and prompts of your own (synthesis.templates). document.language=CODE "
        "says another language.",
        name,
        pack.name,
        known,
    )
