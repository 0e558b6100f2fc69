"""Pairs of D_pref on claims: the right verdict on a statement against the wrong one."""

from __future__ import annotations

from collections.abc import Sequence

from valign.core.records import Preference
from valign.core.store import digest
from valign.synthesis.claims import Claim, write_claims
from valign.synthesis.filters import Filters, Funnel
from valign.synthesis.frames import scenario_family
from valign.synthesis.writer import Writer


def _balanced(claims: Sequence[Claim], count: int, first: str) -> list[Claim]:
    """Take claims with both verdicts in turn, as far as there are any, beginning with one of them.

    Pairs of one verdict alone would teach the model to shun the other word, whatever it is asked.
    """
    order = ("no", "yes") if first == "no" else ("yes", "no")
    sides = {verdict: [c for c in claims if c.verdict == verdict] for verdict in order}
    longest = max(len(side) for side in sides.values())
    turns = [side[i] for i in range(longest) for side in sides.values() if i < len(side)]
    return turns[:count]


def write_claim_pairs(writer: Writer, filters: Filters, funnel: Funnel) -> list[Preference]:
    """Return pairs on claims that no row of D_sft asks about: the right verdict against the wrong one.

    Args:
        writer: Has the settings and the document.
        filters: The document's filters.
        funnel: Counts of D_pref, to which these pairs are added.
    """
    rows = []
    said = writer.language.verdicts
    taken = writer.settings.instructions.claims_per_passage
    wanted = writer.settings.preferences.claim_pairs_per_passage
    for place, passage in enumerate(writer.document.passages):
        first = ("no", "yes")[place % 2]
        claims = write_claims(writer, passage, 3 * taken + 4 * wanted)
        known = {claim.question for claim in claims[:taken]}
        fresh = {claim.question: claim for claim in claims[taken:] if claim.question not in known}
        for claim in _balanced(list(fresh.values()), wanted, first):
            funnel.made += 1
            other = said["no" if claim.verdict == "yes" else "yes"]
            whole = writer.quote(claim.quote.text, passage).sentence
            chosen = f"{said[claim.verdict]}. {whole}"
            broken = whole
            if claim.broken:
                broken = whole.replace(claim.quote.sentence.rstrip("."), claim.broken.rstrip("."))
            reason, scores = filters.check_leak(claim.question)
            if reason:
                funnel.drop(reason)
                continue
            origin = writer.provenance(claim.quote, "frame/claim", digest(claim.question)[:8], None)
            name = f"pref-{digest([passage.clause, claim.question])[:12]}"
            rows.append(
                Preference(
                    name,
                    (passage.clause,),
                    "claim",
                    claim.question,
                    chosen,
                    f"{other}. {broken}",
                    "verdict",
                    origin,
                    scores,
                    scenario_family(passage.clause, "claim", claim.question),
                )
            )
            funnel.keep(passage.clause, "verdict")
    return rows
