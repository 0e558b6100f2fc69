"""French words and sentences."""

from __future__ import annotations

import re

from valign.synthesis.languages.fr.edits import (
    ask_french,
    contradict_french,
    edit_french,
    forms_french,
    names_french,
    numbers_french,
    that_french,
    ungrounded_french,
)
from valign.synthesis.languages.fr.facts import facts_french, phrase_french
from valign.synthesis.languages.fr.probes import FRENCH_PROBES
from valign.synthesis.languages.pack import LanguagePack


def _stop_words() -> frozenset[str]:
    from bm25s.stopwords import STOPWORDS_FRENCH

    more = "chacun toute toutes tout tous nul nulle sans considérant afin dont ainsi doit doivent peut peuvent celui"
    return frozenset(STOPWORDS_FRENCH) | set(more.split())


FRENCH = LanguagePack(
    code="fr",
    name="French",
    prompts="fr",
    stop_words=_stop_words,
    yes_no=re.compile(
        r"^(?:est-ce qu(?!i)|(?:puis|peut|peuvent|peux|pouvons|dois|doit|doivent|devons|est|suis|sont|ai|as|a|ont|faut"
        r"|aurait)-(?:t-)?(?:je|tu|il|elle|on|nous|vous|ils|elles)\b)",
        re.I,
    ),
    phrase_frames=(
        "Que disent les règles à propos de : {words} ?",
        "J’ai une question sur ceci : {words}. Qu’est-ce qui s’applique ?",
        "Dites-moi ce que je dois savoir sur : {words}.",
        "Qu’est-ce qui est prévu au sujet de : {words} ?",
    ),
    recite_frames=(
        "Que dit le texte « {title} » sur ce point : {topic} ?",
        "Donnez-moi les termes du texte « {title} » sur ce point : {topic}.",
        "Quelle règle du texte « {title} » concerne ce point : {topic} ?",
    ),
    open_tails=("Que disent les règles ?", "Quelle règle s’applique ?", "Qu’est-ce qui s’applique ici ?"),
    silent_frames=(
        "Le texte « {title} » ne le dit pas. Ce qu’il dit de plus proche : {quote}",
        "Le texte « {title} » laisse cela ouvert. Ce qu’il dit : {quote}",
        "Cela n’est pas prévu dans le texte « {title} ». Le plus proche : {quote}",
    ),
    claim_frames=(
        "Est-il vrai {claim} ?",
        "On m’a dit {claim}. Est-ce exact ?",
        "Je crois {claim}. Ai-je raison ?",
        "Une collègue dit {claim}. A-t-elle raison ?",
        "Ai-je bien compris {claim} ?",
    ),
    held_out_phrase="De quoi faut-il tenir compte quand il s’agit de ceci : {words} ?",
    held_out_claim="Serait-il juste de dire {claim} ?",
    verdicts={"yes": "Oui", "no": "Non"},
    nobody=("nul ne ", "nul n’", "nul n'", "personne ne ", "personne n’", "personne n'"),
    question_openings=(
        *("Puis-je", "Que", "Qui", "Que se passe-t-il si", "Dois-je", "Comment", "Mon", "Est-ce que quelqu’un peut"),
        *("Quand", "Un homme", "Combien de", "Où", "Ai-je le droit de", "Si je", "Combien de temps", "Quelle"),
        *("Est-il", "Combien", "Une femme", "Que se passe-t-il quand", "Est-ce que", "Pourquoi", "Quelqu’un", "Je"),
    ),
    situation_openings=("Mon voisin", "Une de mes amies", "Quelqu’un", "Une famille"),
    askers=(
        *("un élève", "une infirmière", "quelqu’un qui vient d’arriver", "un parent inquiet", "une journaliste"),
        *("un fonctionnaire", "un vieil homme", "la patronne d’une petite entreprise", "une étudiante avant un examen"),
        *("quelqu’un de pressé", "une avocate", "un voisin", "quelqu’un à qui on a refusé quelque chose"),
        *("une nouvelle employée", "quelqu’un qui demande pour un ami", "un bénévole"),
    ),
    places=(
        *(
            "au travail",
            "à la maison",
            "dans un magasin",
            "à un guichet",
            "en voyage",
            "dans une école",
            "dans un village",
        ),
        *("dans une grande ville", "à une réunion", "au téléphone", "le soir", "à une frontière", "après une dispute"),
        "avant les vacances",
    ),
    wordings=(
        *("Puis-je ... ?", "Dois-je ... ?", "Est-ce une faute de ... ?", "Avait-on raison de refuser ... ?"),
        *("Peut-on interdire ... ?", "... a-t-il le droit de ... ?", "Faut-il ... ?", "Peut-on exiger ... ?"),
    ),
    persona=re.compile(r"^La personne qui demande (?:est )?"),
    make_edits=edit_french,
    contradict=contradict_french,
    as_question=ask_french,
    as_subclause=that_french,
    names_in=names_french,
    numbers_in=numbers_french,
    number_forms=forms_french,
    find_ungrounded=ungrounded_french,
    find_facts=facts_french,
    phrasings=phrase_french,
    probes=FRENCH_PROBES,
)
