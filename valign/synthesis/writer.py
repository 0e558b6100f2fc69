"""The writer: asks the teacher about a document, draws random numbers, and says where a row came from."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from valign.core.records import Document, Message, Passage, Provenance
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.generation.requests import Completion, Request, Sampling
from valign.retrieval.protocols import Embedder
from valign.synthesis.frames import FROM_FRAME, FROM_TEACHER, scenario_family
from valign.synthesis.held_out_clauses import without_clauses
from valign.synthesis.languages.choice import language_of
from valign.synthesis.names import Names
from valign.synthesis.quotes import Quote, best_quote, find_unique_phrases
from valign.synthesis.settings import SynthesisSettings
from valign.synthesis.templates import Template, load_template
from valign.synthesis.text_checks import CUT_OFF
from valign.teachers.cache import CachedTeacher
from valign.teachers.pending import is_pending


class Writer:
    """Writes examples of one document with one teacher.

    Attributes:
        document: What the examples are about: the document without the clauses that the settings hold out.
        whole: The whole document.
        language: Words, sentences and rules of the document's language.
        names: Names that occur in ``document``.
        reserved: Scenario families of the evaluation questions that were made, of which no training question may be.
        rests_on: The teachers whose completions decide what is kept.
        without_value: Ids of clauses that carry no value and get no situations; None where that was not asked.
        unknown_value: Ids of clauses of which a batch has still to say whether they carry one.

    Args:
        document: The document.
        teacher: The teacher, behind its cache.
        embedder: Gives unit vectors.
        settings: What is written, and how much.
        seed: The run's seed.
    """

    def __init__(
        self, document: Document, teacher: CachedTeacher, embedder: Embedder, settings: SynthesisSettings, seed: int
    ) -> None:
        self.whole = document
        self.language = language_of(document)
        self.document = without_clauses(document, settings.hold_out_clauses)
        self.teacher = teacher
        self.embedder = embedder
        self.settings = settings
        self.seed = seed
        self.names = Names(sorted({name for p in self.document.passages for name in self.language.names_in(p.text)}))
        self.reserved: frozenset[str] = frozenset()
        self.rests_on: tuple[CachedTeacher, ...] = (teacher,)
        self.without_value: frozenset[str] | None = None
        self.unknown_value: frozenset[str] = frozenset()

    @cached_property
    def unique_phrases(self) -> dict[str, list[str]]:
        """Phrases that only one clause has, by clause; up to twelve of each."""
        return find_unique_phrases(self.document.passages, 12, self.language.stop_words())

    def template(self, name: str) -> Template:
        """Return a prompt template: the package's, or the one that ``synthesis.templates`` has instead."""
        return load_template(name, self.settings.templates, self.language.prompts)

    def reserved_reason(self, clause: str, question: str) -> str | None:
        """Return why a question is not for training, if its scenario family is one of the evaluation's."""
        return "family of the evaluation" if scenario_family(clause, FROM_TEACHER, question) in self.reserved else None

    def rng(self, *what: str) -> random.Random:
        """Return a random generator whose seed depends on the run's and on what it is for, not on the order of work."""
        return random.Random(digest([self.seed, *what]))

    def ask(
        self,
        template: Template,
        openings: Sequence[str],
        count: int,
        label: str,
        passages: Sequence[Passage] | None = None,
        turn: int = 0,
    ) -> list[tuple[Passage, list[Completion], Sampling]]:
        """Let the teacher write ``count`` questions about every passage, each opening taken in turn.

        Personas, where the settings name some, are drawn for each question, which is then a call of its own.

        Args:
            template: The prompt.
            openings: First words of the questions; none leaves them to the teacher.
            count: Questions about a passage.
            label: What is written, for the progress bar.
            passages: The passages; by default the document's.
            turn: Number of the round; each has other random numbers, and so other questions.

        Returns:
            For each call: the passage, the completions, and how they were sampled.
        """
        shown = (self.document.passages if passages is None else passages) if count else ()
        asked = [one for passage in shown for one in self._requests(template, openings, count, passage, turn)]
        completions = self.teacher.complete_all([request for _, request in asked], label)
        return [(p, found, request.sampling) for (p, request), found in zip(asked, completions, strict=True)]

    def _requests(
        self, template: Template, openings: Sequence[str], count: int, passage: Passage, turn: int
    ) -> list[tuple[Passage, Request]]:
        messages = template.fill(passage=labelled(passage))
        begin = tuple(openings[i % len(openings)] for i in range(count)) if openings else ()
        if not self.settings.instructions.personas:
            again = (f"turn {turn}",) if turn else ()
            return [(passage, Request(messages, self.sampling(count, template.hash, passage.text, *again), begin))]
        found = []
        for i in range(count):
            index = turn * count + i
            sampling = self.sampling(1, template.hash, passage.text, str(index))
            styled = self.with_style(messages, self.settings.instructions.personas, passage, str(index))
            found.append((passage, Request(styled, sampling, begin[i : i + 1])))
        return found

    def sampling(self, count: int, *what: str) -> Sampling:
        """Return how ``count`` questions are sampled, with a seed that depends on what they are for."""
        s, seed = self.settings.sampling, int(digest([self.seed, *what])[:7], 16)
        return Sampling(s.max_new_tokens, s.temperature, s.top_p, n=count, seed=seed)

    def with_style(
        self, messages: tuple[Message, ...], styles: Sequence[str], passage: Passage, what: str
    ) -> tuple[Message, ...]:
        """Return a prompt with one of the styles, drawn by the passage and what it is for, behind its last turn."""
        if not styles:
            return messages
        style, last = self.rng("style", *styles, passage.text, what).choice(styles), messages[-1]
        return (*messages[:-1], {"role": last["role"], "content": f"{last['content']}\n{style}"})

    def open_ended(self, question: str) -> str:
        """Make a yes/no question open where answers are quotes: "May I enter? What do the rules say?"."""
        last = re.split(r"(?<=[.!?])\s+(?=[^\s?])", question)[-1]
        if self.settings.answers != "quote" or not self.language.asks_verdict(last):
            return question
        return f"{question} {self.rng('tail', question).choice(self.language.open_tails)}"

    def quote(self, question: str, passage: Passage) -> Quote:
        """Return the words of a passage that answer a question."""
        return best_quote(question, passage, self.embedder, self.settings.max_quote_words)

    def answer_all(self, questions: Sequence[tuple[str, Passage]], label: str) -> list[tuple[str, Quote]]:
        """Answer questions about passages; return each answer and the quote that it rests on.

        With ``answers: quote`` the answer is the quote itself, which is faithful whatever the teacher's size. With
        ``answers: write`` the teacher, shown the passage, writes it (greedy decoding).
        """
        quotes = [self.quote(question, passage) for question, passage in questions]
        if self.settings.answers == "quote" or not questions:
            return [(quote.sentence, quote) for quote in quotes]
        shown = [(question, passage, labelled(passage)) for question, passage in questions]
        return list(zip(self.write_answers(shown, label), quotes, strict=True))

    def write_answers(self, questions: Sequence[tuple[str, Passage, str]], label: str) -> list[str]:
        """Let the teacher answer questions, each given with its clause and the text that the teacher is shown."""
        template, lengths = self.template("answer"), self.settings.instructions.lengths
        sampling = Sampling(max_new_tokens=max(96, self.settings.sampling.max_new_tokens))
        filled = [(question, p, template.fill(passage=text, question=question)) for question, p, text in questions]
        requests = [Request(self.with_style(turns, lengths, p, question), sampling) for question, p, turns in filled]
        return [_answer_text(found[0]) for found in self.teacher.complete_all(requests, label)]

    def provenance(self, quote: Quote, template: str, hash: str, sampling: Sampling | None) -> Provenance:
        """Describe where an example came from; ``sampling`` is None where no teacher wrote the question."""
        drawn: dict[str, Any] = {} if sampling is None else sampling.drawn()
        teacher = FROM_FRAME if sampling is None else self.teacher.id
        return Provenance(quote.text, quote.start, quote.end, template, hash, teacher, drawn)


def is_waiting(writer: Writer) -> bool:
    """Tell whether a batch has completions still to bring, so that nobody knows yet what will be short or missing."""
    return count_pending(writer) > 0


def count_pending(writer: Writer) -> int:
    """Count the completions that batches have still to bring."""
    return sum(teacher.pending for teacher in writer.rests_on)


def _answer_text(found: Completion) -> str:
    """Return an answer's text; for one that broke off ``CUT_OFF``, which the filters drop."""
    return found.text if found.finished or is_pending(found.text) or not found.text.strip() else CUT_OFF
