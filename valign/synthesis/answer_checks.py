"""What makes an answer fit for training: no refusal, its passage's language, its facts, its faithfulness."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from valign.core.records import Passage
from valign.core.text import refuses
from valign.documents.clauses import labelled
from valign.synthesis.faithfulness import (
    ABSENT,
    CONTRADICTED,
    UNREADABLE_REPLY,
    AnswerJudgement,
    Faithfulness,
    verbatim,
)
from valign.synthesis.languages.pack import LanguagePack
from valign.synthesis.settings import FilterSettings
from valign.synthesis.text_checks import CUT_OFF, Language, repeated_share
from valign.teachers.pending import is_pending

UNFAITHFUL, UNGROUNDED = "unfaithful", "ungrounded number or name"
CONTRADICTS, NOT_IN_CLAUSE = "contradicts its clause", "not in its clause"
WRONG = frozenset((UNFAITHFUL, UNGROUNDED, CONTRADICTS, NOT_IN_CLAUSE))
BY_LABEL = {CONTRADICTED: CONTRADICTS, ABSENT: NOT_IN_CLAUSE, UNREADABLE_REPLY: "judgement of the answer unreadable"}


class AnswerChecks:
    """The filters of answers.

    Args:
        settings: Thresholds.
        language: Of the document.
        faithfulness: The judge.
        pack: Finds numbers and names.
    """

    def __init__(
        self, settings: FilterSettings, language: Language, faithfulness: Faithfulness, pack: LanguagePack
    ) -> None:
        self.settings = settings
        self.language = language
        self.faithfulness = faithfulness
        self.pack = pack
        self.waived: frozenset[str] = frozenset()
        self._judged: dict[tuple[str, str, str], AnswerJudgement] = {}

    def under(self, settings: FilterSettings, waived: frozenset[str]) -> AnswerChecks:
        """Return the same filters under other thresholds, without those that are waived."""
        other = copy(self)
        other.settings, other.waived = settings, waived
        return other

    def score(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> None:
        """Judge together the answers that ``check`` will be asked about one by one, with the same questions."""
        if "faithfulness" in self.waived:
            return
        replied = questions or [""] * len(answers)
        new = {
            (text, passage.text, question): (text, passage)
            for (text, passage), question in zip(answers, replied, strict=True)
            if text.strip() and text != CUT_OFF and (text, passage.text, question) not in self._judged
        }
        if new:
            found = self.faithfulness.judge(list(new.values()), [question for _, _, question in new])
            self._judged.update(zip(new, found, strict=True))

    def check(self, text: str, passage: Passage, question: str) -> tuple[str | None, dict[str, float]]:
        """Judge an answer; see ``Filters.check_answer``."""
        quoted = verbatim(text, passage)
        if text == CUT_OFF or not text.strip() or is_pending(text) or (refuses(text) and not quoted):
            return "cut off" if text == CUT_OFF else "refusal" if text.strip() else "empty answer", {}
        language = 1.0 if quoted else round(self.language.score(text), 4)
        scores = {"repetition": round(repeated_share(text), 4), "answer_language": language}
        if scores["repetition"] > self.settings.max_repetition:
            return "repetition", scores
        if language < self.settings.min_language:
            return "other language", scores
        self.score([(text, passage)], [question])
        judged = self._judged[text, passage.text, question] if "faithfulness" not in self.waived else None
        if judged is not None:
            scores["faithfulness"] = round(judged.score, 4)
        scores["ungrounded"] = float(len(self.pack.find_ungrounded(text, labelled(passage), question)))
        if scores["ungrounded"] and "grounding" not in self.waived:
            return UNGROUNDED, scores
        if judged is not None and scores["faithfulness"] < self.settings.min_faithfulness:
            return BY_LABEL.get(judged.label, UNFAITHFUL), scores
        return None, scores
