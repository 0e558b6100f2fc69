"""Who judges pairs of answers."""

from __future__ import annotations

from dataclasses import dataclass

from valign.evaluation.judging.model_family import same_family_warning
from valign.evaluation.settings import REFERENCE_JUDGE, EvaluationSettings


@dataclass(frozen=True)
class Judge:
    """What a run notes of its judge.

    Attributes:
        kind: ``reference``, ``local``, ``api`` or ``batch``.
        model: The judge's model; empty for ``reference``.
        tie: Largest difference in cosine that ``reference`` calls a tie.
        warning: Why the judge may be partial; empty where nothing is known.
    """

    kind: str
    model: str = ""
    tie: float = 0.0
    warning: str = ""


def choose_judge(settings: EvaluationSettings, teacher: str) -> Judge | None:
    """Return the judge that is asked for; None for nobody.

    Args:
        settings: Of the evaluation.
        teacher: The model that wrote the training data; a judge of its family may be partial.
    """
    if settings.judge is None:
        return None
    model = settings.judge_model.model if settings.judge_model and settings.judge != REFERENCE_JUDGE else ""
    return Judge(settings.judge, model, settings.judge_tie, same_family_warning(model, teacher) if model else "")
