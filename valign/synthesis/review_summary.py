"""What people read and changed of a data set, counted for its funnel and said in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from valign.synthesis.dataset import Reviewed
from valign.synthesis.decisions import ADD, D_PREF, D_SFT, DROP, EDIT, KEEP, PROBE_SET, QUESTION_SET

DONE = {KEEP: "kept", EDIT: "edited", DROP: "dropped", ADD: "added"}
REVIEWED_SETS = (D_SFT, D_PREF, QUESTION_SET)
NEVER_READ = "none of the rows, as far as is noted"


def summarise_review(rows: Mapping[str, int], reviewed: Sequence[Reviewed], stale: int, file: str) -> dict[str, Any]:
    """Count what came of people's decisions, for the funnel of the data.

    Args:
        rows: Number of rows of each set as synthesised.
        reviewed: What came of each decision.
        stale: Number of decisions whose row or clause is another now.
        file: Where the decisions were read.

    Returns:
        ``file``, ``stale``; ``sets`` with, for each set, ``rows``, ``read`` (of those), ``kept``, ``edited``,
        ``dropped``, ``added`` and ``refused`` (of those edited or added, by filter); ``reviewers`` with, for each,
        ``read`` and what they kept, edited, dropped and added.
    """
    sets: dict[str, Any] = {}
    for name in (*REVIEWED_SETS, *([PROBE_SET] if rows.get(PROBE_SET) else [])):
        own = [one for one in reviewed if one.set == name]
        counts = Counter(DONE[one.action] for one in own)
        refused = Counter(one.refused for one in own if one.refused)
        sets[name] = {
            "rows": rows.get(name, 0),
            "read": sum(one.action != ADD for one in own),
            **{word: counts[word] for word in DONE.values()},
            "refused": dict(refused),
        }
    people: dict[str, Counter[str]] = {}
    for one in reviewed:
        people.setdefault(one.reviewer, Counter())[DONE[one.action]] += 1
        for reader in one.readers if one.action != ADD else ():
            people.setdefault(reader, Counter())["read"] += 1
    reviewers = {name: dict(people[name]) for name in sorted(people)}
    return {"file": file, "sets": sets, "reviewers": reviewers, "stale": stale}


def lost_in_review(reviewed: Sequence[Reviewed]) -> dict[str, Counter[str]]:
    """Count the rows of each clause that people dropped, or changed so that a filter dropped them.

    Returns:
        Counts by clause, of ``instructions``, ``preferences`` and ``questions``.
    """
    found: dict[str, Counter[str]] = {}
    for name, kind in ((D_SFT, "instructions"), (D_PREF, "preferences"), (QUESTION_SET, "questions")):
        lost = (one for one in reviewed if one.set == name and (one.action == DROP or (one.refused and one.original)))
        found[kind] = Counter(one.clause for one in lost)
    return found


def share_read(funnel: Mapping[str, Any] | None) -> tuple[int, int]:
    """Return how many of the rows for training, as synthesised, a person has read, and how many there are.

    Args:
        funnel: The funnel of a data set, as in ``funnel.json`` and ``run.json``.
    """
    funnel = funnel or {}
    if "review" not in funnel:
        return 0, sum(int(funnel.get(kind, {}).get("kept", 0)) for kind in ("sft", "preference"))
    sets = [funnel["review"]["sets"].get(name, {}) for name in (D_SFT, D_PREF)]
    return sum(one.get("read", 0) for one in sets), sum(one.get("rows", 0) for one in sets)


def review_sentence(funnel: Mapping[str, Any] | None) -> str:
    """Say which share of a data set was read by a person, what was changed, and by whom."""
    read, rows = share_read(funnel)
    review = (funnel or {}).get("review")
    if not review:
        return f"{NEVER_READ} (0 of {rows} for training)"
    asked = review["sets"].get(QUESTION_SET, {})
    share = f" ({100 * read / rows:.1f}%)" if rows else ""
    probed = review["sets"].get(PROBE_SET)
    probes = f" and {probed.get('read', 0)} of {probed.get('rows', 0)} probes" if probed else ""
    joint = "," if probes else " and"
    lines = [
        f"{read} of {rows} rows for training{share}{joint} {asked.get('read', 0)} of {asked.get('rows', 0)} "
        f"questions{probes}"
    ]
    totals = Counter({word: sum(one.get(word, 0) for one in review["sets"].values()) for word in DONE.values()})
    lines.append(", ".join(f"{totals[word]} {word}" for word in DONE.values()))
    refused = sum(sum(one.get("refused", {}).values()) for one in review["sets"].values())
    if refused:
        lines.append(f"{refused} of the changed ones dropped by a filter")
    if review.get("stale"):
        lines.append(f"{review['stale']} decisions on rows that are others now")
    who = ", ".join(f"{name} ({done.get('read', 0)})" for name, done in review["reviewers"].items())
    return f"{'; '.join(lines)}; by {who or 'nobody'}"
