"""The shapes of the data and their JSONL form: one frozen dataclass for each kind of row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypedDict


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True)
class Passage:
    """One clause of a document.

    Attributes:
        clause: Stable id, for example ``udhr/article-14/2``.
        heading: Headings from the document's title down to the clause.
        text: The clause, word for word: ``document.text[start:end]``.
        start: Offset of the first character in the document's text.
        end: Offset behind the last character.
        page: Page number counted from 1, where the format has pages.
    """

    clause: str
    heading: tuple[str, ...]
    text: str
    start: int
    end: int
    page: int | None = None


@dataclass(frozen=True)
class LeftOut:
    """Text of a file that is in no passage, for one reason.

    Attributes:
        reason: Why, such as ``hidden`` or ``navigation``.
        places: The number of stretches of text that were left out for it.
        characters: The number of characters in them, without white space.
        example: Beginning of the first of them, on one line.
    """

    reason: str
    places: int
    characters: int
    example: str


@dataclass(frozen=True)
class Document:
    """A document that states values.

    Attributes:
        name: First part of every clause id.
        title: The document's title.
        text: Its words, with LF line ends.
        sha256: Of the file's bytes, in hex.
        passages: In reading order.
        left_out: What of the file is in no passage, by reason; empty where nothing is.
        language: Code of the language whose words and prompts are used; ``auto`` finds it by the text.
    """

    name: str
    title: str
    text: str
    sha256: str
    passages: tuple[Passage, ...]
    left_out: tuple[LeftOut, ...] = ()
    language: str = "auto"


@dataclass(frozen=True)
class Provenance:
    """Where an example came from.

    Attributes:
        quote: Words of the document on which the answer rests.
        start: Offset of the quote's first character in the document's text.
        end: Offset behind its last character.
        template: Id of the prompt template.
        template_hash: SHA-256 (first 16 hex digits) of the template's text.
        teacher: Id of the model that wrote it.
        sampling: Sampling settings of the call.
    """

    quote: str
    start: int
    end: int
    template: str
    template_hash: str
    teacher: str
    sampling: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Fact:
    """One thing that a clause states and an answer may get wrong.

    Attributes:
        fact_id: Follows from the clause, the kind and the words.
        clause: Id of the clause.
        kind: ``number``, ``name``, ``detail``, ``condition``, ``exception``, ``consequence`` or ``norm``.
        text: The words: ``document.text[start:end]``.
        start: Offset of the first character in the document's text.
        end: Offset behind the last character.
        who: Whom a norm concerns, or what brings a consequence about.
        force: ``right``, ``duty`` or ``ban`` for a norm, else nothing.
    """

    fact_id: str
    clause: str
    kind: str
    text: str
    start: int
    end: int
    who: str = ""
    force: str = ""


@dataclass(frozen=True)
class Instruction:
    """A row of D_sft: a question and an answer that is faithful to its clauses.

    Attributes:
        example_id: Follows from the row's content.
        clauses: Ids of the clauses on which the answer rests.
        kind: Kind of question.
        question: What the user says.
        answer: What the model is to say.
        provenance: Where the row came from.
        filters: The row's scores in the filters, by name.
        fact: Id of the fact that the row teaches, if it was written for one.
        family: The row's scenario family: clause, kind of question, and the question's first words.
        verdict: ``yes``, ``no``, or None where the question has no verdict, or none is known.
    """

    example_id: str
    clauses: tuple[str, ...]
    kind: str
    question: str
    answer: str
    provenance: Provenance
    filters: dict[str, float] = field(default_factory=dict)
    fact: str = ""
    family: str = ""
    verdict: str | None = None


@dataclass(frozen=True)
class Preference:
    """A row of D_pref: a situation, a faithful answer and one that is not.

    Attributes:
        example_id: Follows from the row's content.
        clauses: Ids of the clauses on which the chosen answer rests.
        kind: Kind of question.
        question: What the user says.
        chosen: The faithful answer.
        rejected: The other one.
        rejected_kind: How the rejected answer was made.
        provenance: Where the row came from.
        filters: The row's scores in the filters, by name.
        family: The row's scenario family: clause, kind of question, and the question's first words.
        verdict: The chosen answer's, ``yes`` or ``no``, or None where the question has no verdict, or none is known.
    """

    example_id: str
    clauses: tuple[str, ...]
    kind: str
    question: str
    chosen: str
    rejected: str
    rejected_kind: str
    provenance: Provenance
    filters: dict[str, float] = field(default_factory=dict)
    family: str = ""
    verdict: str | None = None


@dataclass(frozen=True)
class Original:
    """What another version of a clause says, which the document contradicts.

    Attributes:
        facts: What an answer by that version says, each fact a tuple of accepted wordings.
        verdict: Its ``yes`` or ``no``, or None where it has none.
    """

    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None


@dataclass(frozen=True)
class Question:
    """An evaluation question that no training example came from.

    Attributes:
        question_id: Unique within its file.
        clause: Id of the clause that decides it.
        question: What the person asks.
        reference: A correct answer.
        facts: What an answer must say; each fact is a tuple of accepted wordings.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        kind: Kind of question, for example ``situation``.
        family: Scenario family of a question that was made; no training example is of the same.
        original: What the version that pre-training knows would have an answer say, where the document differs.
    """

    question_id: str
    clause: str
    question: str
    reference: str
    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None
    kind: str = "situation"
    family: str = ""
    original: Original | None = None


@dataclass(frozen=True)
class Answer:
    """What one arm answered to one question.

    Attributes:
        question_id: Of the question, as are clause, question, reference, facts, verdict, kind and original.
        clause: Id of the clause that decides the question.
        question: What the person asks.
        reference: A correct answer.
        answer: What the arm said.
        arm: Name of the arm.
        facts: What an answer must say; each fact is a tuple of accepted wordings.
        verdict: ``yes``, ``no``, or None where the question has no verdict.
        kind: Kind of question.
        retrieved: Ids of the clauses that the arm was shown (RAG).
        tokens: Length of the answer.
        finished: Whether the answer ended by itself and not at the longest length.
        original: What the version of the document that pre-training knows would have an answer say.
    """

    question_id: str
    clause: str
    question: str
    reference: str
    answer: str
    arm: str
    facts: tuple[tuple[str, ...], ...] = ()
    verdict: str | None = None
    kind: str = "situation"
    retrieved: tuple[str, ...] = ()
    tokens: int = 0
    finished: bool = True
    original: Original | None = None
