"""English words and sentences."""

from __future__ import annotations

import re

from valign.synthesis.languages.en.edits import (
    as_question,
    as_subclause,
    contradict,
    find_ungrounded,
    make_edits,
    names_in,
    numbers_in,
)
from valign.synthesis.languages.en.fact_phrasings import phrasings
from valign.synthesis.languages.en.fact_rules import find_facts
from valign.synthesis.languages.en.probes import ENGLISH_PROBES
from valign.synthesis.languages.pack import LanguagePack


def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_EN_PLUS

    return frozenset(STOPWORDS_EN_PLUS) | {"shall", "everyone", "without", "upon", "whoever", "whereas"}


ENGLISH = LanguagePack(
    code="en",
    name="English",
    stop_words=_stop_words,
    yes_no=re.compile(
        r"^(?:can|may|could|is|are|am|was|were|do|does|did|must|shall|should|has|have|will|would)\b", re.I
    ),
    phrase_frames=(
        "What do the rules say about {words}?",
        "I have a question about {words}. What applies?",
        "Tell me what I should know about {words}.",
        "What is laid down about {words}?",
    ),
    recite_frames=(
        "What does the {title} say about {topic}?",
        "Give me the words of the {title} on {topic}.",
        "Which rule of the {title} is about {topic}?",
    ),
    open_tails=("What do the rules say?", "Which rule applies?", "What applies here?"),
    silent_frames=(
        "The {title} does not say. The nearest it comes to this: {quote}",
        "The {title} leaves that open. What it does say: {quote}",
        "That is not laid down in the {title}. Closest to it: {quote}",
    ),
    claim_frames=(
        "Is it true that {claim}?",
        "Somebody told me that {claim}. Is that right?",
        "I believe that {claim}. Am I right?",
        "A colleague says that {claim}. Is she right?",
        "Do I understand correctly that {claim}?",
    ),
    held_out_phrase="What has to be kept in mind when it comes to {words}?",
    held_out_claim="Would it be right to say that {claim}?",
    nobody=("no one ", "nobody "),
    question_openings=(
        "Can I",
        "What",
        "Who",
        "What happens if",
        "Do I have to",
        "How",
        "My",
        "May somebody",
        "When",
        "A man",
        "How many",
        "Where",
        "Am I allowed to",
        "If I",
        "How long",
        "Which",
        "Is it",
        "How much",
        "A woman",
        "What happens when",
        "Does",
        "Why",
        "Somebody",
        "I",
    ),
    situation_openings=("My neighbour", "A friend of mine", "Somebody", "A family"),
    askers=(
        "a pupil",
        "a nurse",
        "somebody who has just arrived",
        "a worried parent",
        "a journalist",
        "an official",
        "an old man",
        "the owner of a small firm",
        "a student who studies for an exam",
        "somebody in a hurry",
        "a lawyer",
        "a neighbour",
        "somebody who was refused something",
        "a new member of the staff",
        "somebody who asks for a friend",
        "a volunteer",
    ),
    places=(
        "at work",
        "at home",
        "in a shop",
        "at a counter",
        "on a journey",
        "at a school",
        "in a village",
        "in a large city",
        "at a meeting",
        "on the telephone",
        "in the evening",
        "at a gate or border",
        "after a quarrel",
        "before a holiday",
    ),
    wordings=(
        "May ...?",
        "Do I have to ...?",
        "Is it wrong that ...?",
        "Was ... right to refuse ...?",
        "Can ... forbid ...?",
        "Is ... allowed to ...?",
        "Does ... need ...?",
        "Can ... insist on ...?",
    ),
    persona=re.compile(r"^The person who asks (?:is )?"),
    make_edits=make_edits,
    contradict=contradict,
    as_question=as_question,
    as_subclause=as_subclause,
    names_in=names_in,
    numbers_in=numbers_in,
    find_ungrounded=find_ungrounded,
    find_facts=find_facts,
    phrasings=phrasings,
    probes=ENGLISH_PROBES,
)
