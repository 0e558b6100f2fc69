"""The front matter of an alignment card: what the hub of Hugging Face reads of a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from valign.core.text import one_line
from valign.evaluation.metric_info import MetricInfo
from valign.evaluation.metrics import METRICS
from valign.evaluation.probes.policy_probe_scores import POLICY_PROBE_METRICS
from valign.evaluation.tax.scores import TAX_METRICS
from valign.models.terms import OTHER_LICENSE, UNKNOWN_LICENSE, BaseModel
from valign.reporting.adherence import PROBED_POLICY
from valign.reporting.comparison import ArmResult, Comparison
from valign.reporting.numbers import finite_interval, finite_number
from valign.reporting.opening import base_name, shown_title
from valign.reporting.subject import Subject
from valign.synthesis.languages.choice import PACKS, choose_language

ADAPTER, WHOLE_MODEL = "adapter", "model"
_DECIMALS = 4
_RELATIONS = {ADAPTER: ("adapter", "peft"), WHOLE_MODEL: ("finetune", "transformers")}


def front_matter(comparison: Comparison, subject: Subject, form: str) -> str:
    """Return the front matter's YAML, without the lines around it.

    Args:
        comparison: The arms.
        subject: The arm that the card is about.
        form: What the card lies beside: an ``adapter`` or a whole ``model``.
    """
    from huggingface_hub import ModelCardData

    relation, library = _RELATIONS[form]
    base = comparison.base_model or BaseModel(base_name(comparison))
    is_named = comparison.base_model is not None or "base_model" in comparison.config
    data = ModelCardData(
        license=base.license,
        license_name=one_line(base.license_name) or OTHER_LICENSE if base.license == OTHER_LICENSE else None,
        license_link=next(iter(base.terms), None) if base.license == OTHER_LICENSE else None,
        language=_language(comparison) or None,
        base_model=one_line(base.name) if is_named else None,
        base_model_relation=relation if is_named and subject.is_trained else None,
        library_name=library,
        pipeline_tag="text-generation",
        tags=["alignment", "valign", *subject.arm.stages, *(["lora"] if form == ADAPTER else [])],
        model_name=card_name(comparison, subject),
        eval_results=list(_results(comparison, subject.arm)) or None,
    )
    return str(data.to_yaml())


def card_form(comparison: Comparison) -> str:
    """Return what a run trained: an ``adapter``, or every weight of a ``model``."""
    settings = comparison.config.get("adapter")
    kind = settings.get("kind") if isinstance(settings, Mapping) else None
    return ADAPTER if kind in ("lora", "dora") else WHOLE_MODEL


def card_name(comparison: Comparison, subject: Subject) -> str:
    """Return a name for the model: of the experiment and the arm, in letters, digits, ``-``, ``_`` and ``.``."""
    return re.sub(r"[^\w.-]+", "-", f"{comparison.experiment}-{subject.arm.arm}").strip("-")


def _language(comparison: Comparison) -> str:
    """Return the code of the document's language; nothing where it has no folder here."""
    settings = comparison.config.get("document")
    wanted = settings.get("language") if isinstance(settings, Mapping) else None
    return choose_language([p.text for p in comparison.passages], wanted if wanted in PACKS else "auto").code


def _results(comparison: Comparison, arm: ArmResult) -> Iterator[Any]:
    """Yield what was measured, in the hub's form; of measures that valign itself knows, those with a direction."""
    from huggingface_hub import EvalResult

    title = shown_title(comparison)
    parts: list[tuple[str, str, Mapping[str, Any], Mapping[str, MetricInfo]]] = [
        ("questions", f"Held-out questions on: {title}", arm.scores, METRICS),
        ("general", "General texts and everyday instructions (valign)", arm.scores.get("tax") or {}, TAX_METRICS),
        ("policy-probes", f"Probes of: {title}", arm.scores.get(PROBED_POLICY) or {}, POLICY_PROBE_METRICS),
    ]
    for kind, name, part, known in parts:
        for metric, cell in (part.get("metrics") or {}).items():
            mean = finite_number(cell.get("mean"))
            info = known.get(metric)
            if mean is None or (kind != "policy-probes" and (info is None or info.higher_is_better is None)):
                continue
            yield EvalResult(
                task_type="text-generation",
                dataset_type=f"{_slug(comparison.document_name) or 'document'}-{kind}",
                dataset_name=one_line(name),
                metric_type=one_line(metric),
                metric_value=_rounded(mean),
                metric_name=info.label if info else one_line(metric).replace("_", " "),
                metric_args=_sureness(cell),
                dataset_args={"document_sha256": one_line(comparison.document_sha256)},
            )


def _sureness(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return the number of questions behind a mean, and its interval."""
    n, ends = finite_number(cell.get("n")), finite_interval(cell.get("ci95"))
    found: dict[str, Any] = {"n": int(n)} if n is not None else {}
    return found | ({"ci95": [_rounded(end) for end in ends]} if ends else {})


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _rounded(value: float) -> float:
    return round(value, _DECIMALS) + 0.0


def license_sentence(base: BaseModel | None) -> str:
    """Say under which terms the base model is, as its own files say."""
    if base is None:
        return (
            "The run does not note the base model's licence. Read the base model's own terms before you use or pass on "
            "what was made from it."
        )
    files = f" (files: {', '.join(base.terms)})" if base.terms else ""
    if base.license == UNKNOWN_LICENSE:
        return (
            f"No file that came with {base.name} says its licence{files}. Read the base model's own terms before you "
            "use or pass on what was made from it."
        )
    named = f"{base.license_name or 'its own'} (other)" if base.license == OTHER_LICENSE else base.license
    return (
        f"The licence of {base.name}, as the files that came with it say: {named}{files}. What is made from it is "
        "bound by these terms as well."
    )
