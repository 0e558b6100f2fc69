"""Does a passage say what an answer says? Three judges: the nearness of meaning, the teacher, an entailment model."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from valign.core.errors import ValignError
from valign.core.records import Passage
from valign.core.text import join_lines
from valign.documents.clauses import labelled
from valign.evaluation.verdicts import VERDICTS
from valign.generation.requests import Request, Sampling
from valign.retrieval.protocols import Embedder
from valign.synthesis.settings import FilterSettings
from valign.synthesis.templates import load_template
from valign.teachers.cache import CachedTeacher
from valign.teachers.json_replies import read_object
from valign.teachers.pending import is_pending

VERDICT = re.compile(rf"^({'|'.join(VERDICTS)})\s?[.,:]\s+", re.I)
FAITHFUL_TEMPLATE = "faithful"
NOT_GIVEN = "(not given)"
ENTAILED, CONTRADICTED, ABSENT, UNREADABLE_REPLY = "entailed", "contradicted", "absent", "unreadable"
LABEL_SCORES = {ENTAILED: 1.0, ABSENT: 0.25, CONTRADICTED: 0.0, UNREADABLE_REPLY: 0.0}
NLI_LABELS = {"entailment": ENTAILED, "contradiction": CONTRADICTED, "neutral": ABSENT}
WORDS = {ENTAILED: ENTAILED, CONTRADICTED: CONTRADICTED, ABSENT: ABSENT, "yes": ENTAILED, "no": ABSENT}
FAITHFUL_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "verdict": {"type": "string", "enum": ["yes", "no", "none"]},
        "answer": {"type": "string", "enum": [ENTAILED, CONTRADICTED, ABSENT]},
    },
    "required": ["verdict", "answer"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class AnswerJudgement:
    """What a judge finds of an answer.

    Attributes:
        score: Higher is more faithful.
        label: ``entailed``, ``contradicted``, ``absent`` (the passage does not say so), ``unreadable`` (the judge's
            reply was), or nothing from a judge that cannot tell.
    """

    score: float
    label: str = ""


class Faithfulness(ABC):
    """Judges answers by the passages that they should rest on."""

    @abstractmethod
    def judge(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[AnswerJudgement]:
        """Judge answers, each beside its passage.

        Args:
            answers: The answers and their passages.
            questions: What each answer replies to, where that is known; none, or as many as answers.
        """

    def scores(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[float]:
        """Return a number for each answer; higher is more faithful."""
        return [found.score for found in self.judge(answers, questions)]

    def labels(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[str]:
        """Return ``entailed``, ``contradicted`` or ``absent`` for each answer; nothing where the judge cannot tell."""
        return [found.label for found in self.judge(answers, questions)]


def make_faithfulness(
    settings: FilterSettings,
    embedder: Embedder,
    teacher: CachedTeacher,
    templates: str | None = None,
    language: str = "en",
) -> Faithfulness:
    """Return the judge that ``synthesis.filters.faithfulness`` names.

    Args:
        settings: Name the judge: ``embedding``, ``judge`` or ``nli``, and for ``nli`` its model.
        embedder: For ``embedding``.
        teacher: For ``judge``.
        templates: Folder with prompt templates of the user's own, for ``judge``.
        language: Code of the language of its prompt.

    Raises:
        ValignError: The judge is unknown, or ``nli`` has no model.
    """
    key, kind = "synthesis.filters.faithfulness", settings.faithfulness
    if kind == "embedding":
        return ByEmbedding(embedder)
    if kind == "judge":
        return ByTeacher(teacher, templates, language)
    if kind != "nli":
        raise ValignError(f"{key}={kind} is unknown; choose from: embedding, judge, nli.")
    if not settings.faithfulness_model:
        raise ValignError(f"{key}=nli needs a model: add {key}_model=FOLDER.")
    return ByEntailment(settings.faithfulness_model)


class ByEmbedding(Faithfulness):
    """The cosine of answer and passage, which cannot tell a statement from its opposite."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def judge(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[AnswerJudgement]:
        """Return cosines, without labels."""
        texts = self.embedder.embed([text for text, _ in answers])
        passages = self.embedder.embed([labelled(passage) for _, passage in answers])
        return [AnswerJudgement(float(text @ passage)) for text, passage in zip(texts, passages, strict=True)]


class ByTeacher(Faithfulness):
    """The teacher, shown passage, question and answer, says what the passage replies and whether it bears the answer.

    An answer that begins with the other verdict than the one that the teacher itself finds is contradicted, whatever
    the teacher calls it. What is word for word in the passage is entailed without being asked.
    """

    def __init__(self, teacher: CachedTeacher, templates: str | None = None, language: str = "en") -> None:
        self.teacher = teacher
        self.template = load_template(FAITHFUL_TEMPLATE, templates, language)

    def judge(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[AnswerJudgement]:
        """Return 1 for what is entailed, 0.25 for what the passage does not say, 0 for what it contradicts."""
        asked = [i for i, (text, passage) in enumerate(answers) if not verbatim(text, passage)]
        labels = [ENTAILED] * len(answers)
        requests = [self.request(*answers[i], questions[i] if questions else "") for i in asked]
        replies = self.teacher.complete_all(requests, "faithfulness") if requests else []
        for i, completions in zip(asked, replies, strict=True):
            labels[i] = read_label(completions[0].text, answers[i][0])
        return [AnswerJudgement(LABEL_SCORES[label], label) for label in labels]

    def request(self, answer: str, passage: Passage, question: str) -> Request:
        """Return the call that asks about an answer."""
        shown = {"passage": labelled(passage), "question": question or NOT_GIVEN, "answer": answer}
        return Request(self.template.fill(**shown), Sampling(max_new_tokens=24), schema=FAITHFUL_SCHEMA)


class ByEntailment(Faithfulness):
    """The probability that the passage entails the answer, by a cross-encoder; word for word in the passage is 1.

    Args:
        model: Folder or hub id of a sequence classifier, one of whose classes is called "entailment".
    """

    def __init__(self, model: str) -> None:
        self.name = model

    @cached_property
    def _model(self) -> tuple[Any, int]:
        """Return the model and the place of its class "entailment"."""
        from sentence_transformers import CrossEncoder

        try:
            model = CrossEncoder(self.name, device="cpu", model_kwargs={"use_safetensors": True})
        except (OSError, ValueError) as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
            raise ValignError(
                f"synthesis.filters.faithfulness_model={self.name} cannot be loaded ({first}); "
                "give the folder of an entailment model, or choose synthesis.filters.faithfulness=embedding."
            ) from None
        labels = {int(i): str(name).lower() for i, name in model.config.id2label.items()}
        place = next((i for i, name in labels.items() if name == "entailment"), None)
        if place is None or len(labels) == 1:
            raise ValignError(
                f"synthesis.filters.faithfulness_model={self.name} has no class 'entailment' (it has: "
                f"{', '.join(labels.values())}); choose a model for natural language inference."
            )
        return model, place

    def judge(self, answers: Sequence[tuple[str, Passage]], questions: Sequence[str] = ()) -> list[AnswerJudgement]:
        """Return the probabilities of entailment; the label is the likeliest class."""
        asked = [i for i, (text, passage) in enumerate(answers) if not verbatim(text, passage)]
        found = [AnswerJudgement(1.0, ENTAILED)] * len(answers)
        if asked:
            model, place = self._model
            names = {int(i): str(name).lower() for i, name in model.config.id2label.items()}
            pairs = [(labelled(answers[i][1]), answers[i][0]) for i in asked]
            rows = np.asarray(model.predict(pairs, apply_softmax=True, show_progress_bar=False))
            for i, row in zip(asked, rows, strict=True):
                found[i] = AnswerJudgement(float(row[place]), NLI_LABELS.get(names[int(row.argmax())], ABSENT))
        return found


def read_label(reply: str, answer: str) -> str:
    """Read a judge's reply to an answer: a JSON object, or one of its words.

    >>> read_label('{"verdict": "no", "answer": "entailed"}', "Yes. Guests may."), read_label("Entailed.", "Yes. So.")
    ('contradicted', 'entailed')
    """
    if is_pending(reply):
        return ABSENT  # nothing more is asked about an answer before it is known to be kept
    data = read_object(reply, ["answer", "verdict"]) or {}
    said = str(data.get("answer", "")) if data else reply
    words = [word for word in re.findall(r"[a-z]+", said.lower()) if word in WORDS]
    if not words:
        return UNREADABLE_REPLY
    stated, own = verdict_of(answer), str(data.get("verdict", "")).strip().lower()
    if stated and own in ("yes", "no") and own != stated:
        return CONTRADICTED
    return WORDS[words[0]]


def verdict_of(answer: str) -> str | None:
    """Return the ``yes`` or ``no`` with which an answer begins."""
    found = VERDICT.match(answer)
    return VERDICTS[found.group(1).lower()] if found else None


def verbatim(text: str, passage: Passage) -> bool:
    """Tell whether an answer, apart from a leading verdict, is word for word in its passage.

    >>> verbatim("No. Boats are lent.", Passage("d/1", (), "Here boats are lent; oars are not.", 0, 34))
    True
    """
    words = join_lines(VERDICT.sub("", text).lower()).rstrip(".;,:\u3002\uff1b\uff0c ")
    return bool(words) and words in join_lines(passage.text.lower())
