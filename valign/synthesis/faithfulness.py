"""Does a passage say what an answer says? Three judges: the nearness of meaning, the teacher, an entailment model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from valign.core.errors import ValignError
from valign.core.records import Passage
from valign.documents.clauses import labelled
from valign.generation.requests import Request, Sampling
from valign.retrieval.protocols import Embedder
from valign.synthesis.settings import FilterSettings
from valign.synthesis.templates import load_template
from valign.teachers.cache import CachedTeacher

VERDICT = re.compile(r"^(?:yes|no)[.,:]\s+", re.I)
FAITHFUL_TEMPLATE = "faithful"


class Faithfulness(Protocol):
    """Scores answers against the passages that they should rest on."""

    def scores(self, answers: Sequence[tuple[str, Passage]]) -> list[float]:
        """Return a number for each answer; higher is more faithful."""
        ...


def make_faithfulness(
    settings: FilterSettings, embedder: Embedder, teacher: CachedTeacher, templates: str | None = None
) -> Faithfulness:
    """Return the judge that ``synthesis.filters.faithfulness`` names.

    Args:
        settings: Name the judge: ``embedding``, ``judge`` or ``nli``, and for ``nli`` its model.
        embedder: For ``embedding``.
        teacher: For ``judge``.
        templates: Folder with prompt templates of the user's own, for ``judge``.

    Raises:
        ValignError: The judge is unknown, or ``nli`` has no model.
    """
    key, kind = "synthesis.filters.faithfulness", settings.faithfulness
    if kind == "embedding":
        return ByEmbedding(embedder)
    if kind == "judge":
        return ByTeacher(teacher, templates)
    if kind != "nli":
        raise ValignError(f"{key}={kind} is unknown; choose from: embedding, judge, nli.")
    if not settings.faithfulness_model:
        raise ValignError(f"{key}=nli needs a model: add {key}_model=FOLDER.")
    return ByEntailment(settings.faithfulness_model)


class ByEmbedding:
    """The cosine of answer and passage."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def scores(self, answers: Sequence[tuple[str, Passage]]) -> list[float]:
        """Return cosines."""
        texts = self.embedder.embed([text for text, _ in answers])
        passages = self.embedder.embed([labelled(passage) for _, passage in answers])
        return [float(text @ passage) for text, passage in zip(texts, passages, strict=True)]


class ByTeacher:
    """The teacher, shown the passage, is asked whether it says so: 1 for yes, 0 for anything else.

    What is word for word in the passage is 1 without being asked.
    """

    def __init__(self, teacher: CachedTeacher, templates: str | None = None) -> None:
        self.teacher = teacher
        self.template = load_template(FAITHFUL_TEMPLATE, templates)

    def scores(self, answers: Sequence[tuple[str, Passage]]) -> list[float]:
        """Return ones and zeros."""
        asked = [i for i, (text, passage) in enumerate(answers) if not verbatim(text, passage)]
        found = [1.0] * len(answers)
        if not asked:
            return found
        sampling = Sampling(max_new_tokens=4)
        shown = [self.template.fill(passage=labelled(answers[i][1]), answer=answers[i][0]) for i in asked]
        requests = [Request(messages, sampling) for messages in shown]
        for i, completions in zip(asked, self.teacher.complete_all(requests, "faithfulness"), strict=True):
            found[i] = float(re.match(r"\W*yes\b", completions[0].text, re.I) is not None)
        return found


class ByEntailment:
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

    def scores(self, answers: Sequence[tuple[str, Passage]]) -> list[float]:
        """Return probabilities."""
        asked = [i for i, (text, passage) in enumerate(answers) if not verbatim(text, passage)]
        found = [1.0] * len(answers)
        if asked:
            model, place = self._model
            pairs = [(labelled(answers[i][1]), answers[i][0]) for i in asked]
            rows = np.asarray(model.predict(pairs, apply_softmax=True, show_progress_bar=False))
            for i, row in zip(asked, rows, strict=True):
                found[i] = float(row[place])
        return found


def verbatim(text: str, passage: Passage) -> bool:
    """Tell whether an answer, apart from a leading verdict, is word for word in its passage.

    >>> verbatim("No. Boats are lent.", Passage("d/1", (), "Here boats are lent; oars are not.", 0, 34))
    True
    """
    words = " ".join(VERDICT.sub("", text).lower().split()).rstrip(".;,: ")
    return bool(words) and words in " ".join(passage.text.lower().split())
