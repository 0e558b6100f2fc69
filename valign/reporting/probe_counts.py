"""How the probes of a policy came about, in words: how many were wanted, dropped and kept, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from valign.core.text import one_line

ASKED = "Probes of the policy"


def count_lines(made: Mapping[str, Any]) -> list[str]:
    """Say how many probes were wanted, dropped and kept, kind by kind, and what was not made at all.

    Args:
        made: The JSON form of ``ProbeCounts``.
    """
    total, lost = _total(made.get("wanted")), sum(_by_kind(made.get("dropped")).values())
    wanted = [(kind, count) for kind, count in made["wanted"].items() if count]
    kinds = ", ".join(f"{made['kept'].get(kind, 0)} of {count} {kind}" for kind, count in wanted)
    lines = [f"policy probes by {one_line(made['by'])}: {total} wanted, {total - lost} kept ({kinds})"]
    for kind, reasons in made["dropped"].items():
        lines.append(f"    {kind} dropped: {', '.join(f'{count} {reason}' for reason, count in reasons.items())}")
    if made["without_value"]:
        lines.append(f"    none for {len(made['without_value'])} clauses that carry no value")
    lines.append(f"    checked by {one_line(made['checked_by'])}")
    return [*lines, *(f"    note on {gap}" for gap in made["gaps"])]


def probe_sentences(part: Mapping[str, Any]) -> list[str]:
    """Say below the table how many probes were asked and what became of the others.

    Args:
        part: The part ``policy_probes`` of an arm's scores, perhaps a stranger's.
    """
    asked, made = _number(part.get("probes")), part.get("made")
    made = made if isinstance(made, Mapping) else {}
    said = f"{ASKED}: {asked} asked"
    if _total(made.get("wanted")):
        by_kind = _by_kind(made.get("dropped"))
        named = ", ".join(f"{one_line(kind)} {count}" for kind, count in by_kind.items() if count)
        said += f"; {_total(made['wanted'])} made or wanted, {sum(by_kind.values())} dropped before ({named or 'none'})"
    if read := made.get("reviewed"):
        said += f"; {_people(read)}"
    if leaked := _total(made.get("leaked")):
        said += f"; {leaked} left out, as training questions share six words in a row with them"
    return [f"{said}. Verdicts are read off the answers by rules."]


def _people(read: Any) -> str:
    """Say what people did with the probes that they read."""
    counts = {
        word: _number(read.get(word)) if isinstance(read, Mapping) else 0
        for word in ("read", "edited", "dropped", "added")
    }
    done = f"{counts['read']} read by people, who edited {counts['edited']} and dropped {counts['dropped']}"
    return f"{done}; {counts['added']} of their own" if counts["added"] else done


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _total(counts: Any) -> int:
    """Return the sum of counts; 0 for what is none."""
    return sum(_number(count) for count in counts.values()) if isinstance(counts, Mapping) else 0


def _by_kind(dropped: Any) -> dict[str, int]:
    """Return the sums of a mapping of counts by reason; empty for what is none."""
    return {str(kind): _total(reasons) for kind, reasons in dropped.items()} if isinstance(dropped, Mapping) else {}
