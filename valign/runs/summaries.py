"""What is logged of scores and settings: flat numbers, and nothing secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MASK = "***"
SECRET_KEY = re.compile(r"(^|[_.-])(api_?key|token|password|passwd|secret|credentials?)$", re.IGNORECASE)
LOGIN_IN_URL = re.compile(r"(?<=://)[^/\s]+@")  # a password may hold an @ itself


def mask_secrets(value: Any, key: str = "") -> Any:
    """Return a JSON value with secret texts, and the logins in URLs, replaced by ``***``.

    A text is secret by its key's last word: ``hf_token`` and ``api_key`` are, ``api_key_env`` and ``batch_tokens`` are
    not.

    Args:
        value: Any JSON value.
        key: The key under which it stands.
    """
    if isinstance(value, Mapping):
        return {name: mask_secrets(item, str(name)) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [mask_secrets(item, key) for item in value]
    if isinstance(value, str):
        return MASK if value and SECRET_KEY.search(key) else LOGIN_IN_URL.sub(f"{MASK}@", value)
    return value


def flat_scores(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return one arm's means, intervals and differences as a flat dictionary.

    Args:
        scores: One arm's scores in the form of ``scores.json``. The metrics by kind of question and by exposure, of its
            alignment tax, its probes and of the policy judge are treated like the others.

    Returns:
        ``scores/<arm>/n``, the number of questions; ``scores/<arm>/<metric>``, the mean, with ``/low`` and ``/high``
        the ends of its 95% interval; ``scores/<arm>/<metric>/minus_<other>``, the paired difference to another arm.
    """
    prefix = f"scores/{scores['arm']}"
    flat: dict[str, float] = {f"{prefix}/n": scores["n"]}
    named = ("by_kind", "by_exposure", "tax", "probes", "policy", "policy_probes")
    parts = (scores, *(scores.get(name, {}) for name in named))
    metrics = {name: cell for part in parts for name, cell in part.get("metrics", {}).items()}
    tables = [("", metrics), *((f"/minus_{arm}", table) for arm, table in scores["versus"].items())]
    for suffix, table in tables:
        for metric, interval in table.items():
            name = f"{prefix}/{metric}{suffix}"
            flat[name] = interval["mean"]
            flat[f"{name}/low"], flat[f"{name}/high"] = interval["ci95"]
    return flat


def flat_comparison(summary: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the results of a comparison beyond the arms' scores as a flat dictionary.

    Args:
        summary: In the form of ``comparison.json``.

    Returns:
        Under ``scores/<arm>/``: of each paired test ``<metric>/minus_<other>/p``, ``p_holm`` (Holm's correction),
        ``effect_size`` and ``smallest_effect``; ``retrieval_recall``; ``wins_over_<other>``, the win rate, with
        ``/length_controlled`` and ``/flips``; ``strength`` (Bradley-Terry). Means have ``/low`` and ``/high``, the ends
        of their 95% intervals.
    """
    flat: dict[str, float | None] = {}

    def put(name: str, interval: Mapping[str, Any], mean: str = "mean") -> None:
        flat[name] = interval[mean]
        flat[f"{name}/low"], flat[f"{name}/high"] = interval["ci95"]

    for row in summary["differences"]:
        for key in ("p", "p_holm", "effect_size", "smallest_effect"):
            flat[f"scores/{row['arm']}/{row['metric']}/minus_{row['other']}/{key}"] = row[key]
    for row in summary["retrieval"]:
        put(f"scores/{row['arm']}/retrieval_recall", row["recall"])
    wins = summary["wins"] or {"pairs": [], "bradley_terry": []}
    for row in wins["pairs"]:
        name = f"scores/{row['arm']}/wins_over_{row['other']}"
        put(name, row["win_rate"])
        put(f"{name}/length_controlled", row["length_controlled"])
        flat[f"{name}/flips"] = row["flips"]
    for row in wins["bradley_terry"]:
        put(f"scores/{row['arm']}/strength", row, "strength")
    return flat
