"""The closing table of a synthesis: how many candidates were made, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valign.synthesis.review_summary import review_sentence
from valign.synthesis.shortcut_audit import audit_lines
from valign.synthesis.verdict_audit import verdict_lines


def funnel_table(funnels: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the closing table: how many were made, what each filter dropped, examples for each clause."""
    lines = []
    labels = {
        "sft": "D_sft",
        "preference": "D_pref",
        "questions": "held-out questions",
        "facts": "facts",
    }
    for name, funnel in funnels.items():
        if name == "review" or (name == "facts" and not funnel["kept"]):
            continue
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(funnel["kinds"].items(), key=lambda item: -item[1]))
        lines.append(f"{labels.get(name, name)}: {funnel['made']} made, {funnel['kept']} kept ({kinds})")
        for reason, count in sorted(funnel["dropped"].items(), key=lambda item: -item[1]):
            lines.append(f"    {count:5d} dropped: {reason}")
        counts = sorted(funnel["per_clause"].values())
        if counts:
            middle = counts[len(counts) // 2]
            lines.append(f"    examples for a clause: at least {counts[0]}, median {middle}, at most {counts[-1]}")
        if funnel.get("without_value"):
            lines.append(f"    no situations for clauses that carry no value: {', '.join(funnel['without_value'])}")
        if "audit" in funnel:
            lines += (audit_lines if name == "preference" else verdict_lines)(funnel["audit"])
    if "review" in funnels:
        lines.append(f"read by a person: {review_sentence(funnels)}")
    return "\n".join(lines)
