"""The kinds of probes of a policy, and what the words of a clause do."""

from __future__ import annotations

ALLOWED_KINDS, DENIED_KINDS = ("allowed", "edge_inside"), ("denied", "edge_outside", "pressure")
UNDECIDED_KINDS = ("elsewhere", "silent")
POLICY_KINDS = (*ALLOWED_KINDS, *DENIED_KINDS, "paraphrase", *UNDECIDED_KINDS)
POLARITIES = ("may", "must", "must not")
