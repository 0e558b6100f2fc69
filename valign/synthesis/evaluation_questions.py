"""Evaluation questions for a document that has none: the teacher's, with a prompt of their own, and fixed ones."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.errors import ValignError
from valign.core.records import Passage, Question
from valign.core.store import digest
from valign.synthesis.claims import write_claims
from valign.synthesis.coverage import top_up
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import FROM_TEACHER, scenario_family
from valign.synthesis.languages.pack import LanguagePack
from valign.synthesis.writer import Writer, is_waiting


def write_questions(writer: Writer, filters: Filters) -> tuple[list[Question], Funnel]:
    """Make evaluation questions about a document that has none, at most ``per_passage`` about each passage.

    Their prompt is not one that training questions come from. The reference answer is the quote that answers the
    question. Its facts are numbers and names or, where there are none, phrases that only this clause has, unless the
    question gives them away. A passage with fewer questions than ``coverage.min_questions`` is asked about again and
    then gets fixed questions: on its phrases, and on the truth of a statement.

    Returns:
        The questions, and the counts.

    Raises:
        ValignError: The teacher's questions were all dropped, and ``min_questions`` asks for some.
    """
    maker = _QuestionMaker(writer, filters)
    least = writer.settings.coverage.min_questions
    maker.ask(writer.document.passages, 0)
    if least and not maker.rows and not is_waiting(writer):
        raise no_questions(writer.document.name)
    top_up(writer, maker.funnel, least, maker.ask, maker.frame)
    return maker.rows, maker.funnel


def no_questions(name: str) -> ValignError:
    """Return the error for a document about which no evaluation question was made."""
    return ValignError(
        f"the teacher made no held-out question about {name} that passed the filters; add "
        "document.questions=FILE.jsonl, or choose a larger teacher."
    )


class _QuestionMaker:
    """Makes the questions of one document, and has those made so far and the counts."""

    def __init__(self, writer: Writer, filters: Filters) -> None:
        self.writer = writer
        self.filters = filters
        settings = writer.settings
        self.most = max(settings.evaluation_questions.per_passage, settings.coverage.min_questions)
        self.rows: list[Question] = []
        self.funnel = Funnel()

    def ask(self, passages: Sequence[Passage], turn: int) -> None:
        """Let the teacher ask about passages, four times as often as questions are wanted."""
        template = self.writer.template("held_out")
        asked = self.writer.ask(template, (), 4 * self.most, "held-out questions", passages, turn)
        self.filters.score_relevance([(found.text, passage.clause) for passage, every, _ in asked for found in every])
        for passage, completions, _ in asked:
            for completion in completions:
                if self.funnel.per_clause[passage.clause] == self.most:
                    break
                self.funnel.made += 1
                reason, _ = self.filters.check_question(completion.text, passage.clause)
                if reason or not completion.finished:
                    self.funnel.drop(reason or "malformed")
                else:
                    self._add(completion.text, passage)

    def frame(self, passage: Passage, count: int) -> None:
        """Add fixed questions about a passage."""
        wanted = self.funnel.per_clause[passage.clause] + count
        frame = self.writer.language.held_out_phrase
        for words in self.writer.unique_phrases[passage.clause] if frame else ():
            if self.funnel.per_clause[passage.clause] == wanted:
                return
            self.funnel.made += 1
            self._add(frame.format(words=words), passage)
        for claim in write_claims(self.writer, passage, wanted - self.funnel.per_clause[passage.clause]):
            self.funnel.made += 1
            language, stated = self.writer.language, claim.broken or claim.quote.sentence
            question = language.held_out_claim.format(claim=language.as_subclause(stated, self.writer.names))
            verdict = "no" if claim.broken else "yes"
            said = f"{language.verdicts[verdict]}. {claim.quote.sentence}"
            self._keep(question, passage, said, (), verdict, "claim")

    def _add(self, text: str, passage: Passage) -> None:
        """Keep a question that asks for a fact; of a language without stop words, in which none is found, any."""
        quote = self.writer.quote(text, passage)
        facts = _facts(self.writer.language, quote.text, text, self.writer.unique_phrases[passage.clause])
        if facts or not self.writer.language.stop_words():
            self._keep(text, passage, quote.sentence, facts, None, "auto")
        else:
            self.funnel.drop("no fact to ask for")

    def _keep(
        self,
        text: str,
        passage: Passage,
        reference: str,
        facts: tuple[tuple[str, ...], ...],
        verdict: str | None,
        kind: str,
    ) -> None:
        """Add a question; its family is one that the teacher's training questions may not be of."""
        name = f"{self.writer.document.name}-auto-{digest([passage.clause, text])[:8]}"
        group = scenario_family(passage.clause, FROM_TEACHER, text)
        self.rows.append(Question(name, passage.clause, text, reference, facts, verdict, kind, group))
        self.funnel.keep(passage.clause, kind)


def _facts(language: LanguagePack, quote: str, question: str, phrases: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    known = question.lower()
    found = [*sorted(language.numbers_in(quote)), *language.names_in(quote)] or [
        k for k in phrases if k in quote.lower()
    ]
    given = language.numbers_in(question)
    return tuple(
        language.number_forms(fact.lower()) for fact in found if fact.lower() not in known and fact not in given
    )[:2]
