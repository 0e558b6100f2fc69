"""What the first screen says of the probes of the policy: who wrote them, and who read them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from scored import comparison

from valign.reporting.people import reading_sentences
from valign.reporting.probe_counts import count_lines, probe_sentences

CELL = {"mean": 0.5, "ci95": [0.2, 0.8], "n": 4}
MADE, SEEN = "made them from the document", "5 of 12 were read by a person"
READ = {"rows": 12, "read": 5, "kept": 2, "edited": 1, "dropped": 2}


@pytest.mark.parametrize(
    ("made", "review", "said"),
    [
        ({"by": "rules"}, READ, f"rules {MADE}; {SEEN}, 1 edited, 2 dropped."),
        ({"by": "big@1"}, {**READ, "edited": 0, "dropped": 0}, f"a model {MADE}; {SEEN}, none changed."),
        ({"by": "rules"}, {}, f"rules {MADE}; nobody is noted to have read them."),
        (None, {}, "from a file; nobody is noted to have read them."),
    ],
)  # fmt: skip
def test_who_wrote_and_who_read_the_probes(made: Any, review: dict[str, int], said: str) -> None:
    shown = comparison()
    assert not any("probes" in sentence for sentence in reading_sentences(shown))
    shown.arms[0].scores["policy_probes"] = {"metrics": {"policy_may": CELL}, "made": made}
    shown = replace(shown, funnel={"review": {"sets": {"probes": review} if review else {}, "reviewers": {"ann": {}}}})
    assert f"The probes of the policy: {said}" in reading_sentences(shown)


def test_people_are_counted_below_the_table() -> None:
    read = {"read": 5, "edited": 1, "dropped": 2}
    (said,) = probe_sentences({"probes": 3, "made": {"reviewed": read}})
    assert said.startswith("Probes of the policy: 3 asked; 5 read by people, who edited 1 and dropped 2.")
    (strange,) = probe_sentences({"probes": 3, "made": {"reviewed": ["many"]}})
    assert "0 read by people" in strange


def test_kinds_of_which_none_was_wanted_are_not_listed() -> None:
    made = {
        "by": "rules", "wanted": {"allowed": 2, "silent": 0}, "kept": {"allowed": 2}, "dropped": {},
        "without_value": [], "checked_by": "nearness", "gaps": [],
    }  # fmt: skip
    assert count_lines(made)[0] == "policy probes by rules: 2 wanted, 2 kept (2 of 2 allowed)"
