"""A changed document: what counts as changed, and that only the changed clauses cost calls of the teacher."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from fakes import Bag, Parrot
from omegaconf import DictConfig

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl
from valign.core.records import Document, Passage, Preference
from valign.documents.changes import Changes, compare_versions
from valign.documents.read import parse_document
from valign.generation.requests import Completion, Request
from valign.pipeline.artifacts import Artifacts
from valign.pipeline.context import Context
from valign.pipeline.data_stage import data_stage
from valign.synthesis.dataset import DataSource, latest_source, read_source, write_source

RULES = {
    "Helmets": "Every guard wears a yellow helmet on the pier. Visitors wear a blue helmet for nine days.",
    "Umbrellas": "A found umbrella is kept for twelve days. After that the purser may give it to the shelter.",
    "Geese": "Nobody may feed the geese at the north gate. The keeper puts each fine into the fog chest.",
    "Lamps": "A lamp must burn at every door from dusk. The warden lends oil to those who have none.",
}
OTHER = "Nobody may feed the ducks at the south gate. The keeper puts each coin into the tea chest."
SMALL = (
    "synthesis.instructions.questions_per_passage=4",
    "synthesis.preferences.scenarios_per_passage=9",
    "synthesis.filters.max_rank=4",
    "synthesis.filters.min_relevance=0.05",
    "synthesis.filters.min_faithfulness=0.05",
)


def document(rules: dict[str, str]) -> Document:
    """Return the harbour's code with numbered rules."""
    parts = [f"## Rule {i}. {name}\n\n{text}\n" for i, (name, text) in enumerate(rules.items(), start=1)]
    return parse_document(("# Harbour\n\n" + "\n".join(parts)).encode(), "harbour")


def clauses(**texts: str) -> list[Passage]:
    """Return passages by id, without headings."""
    return [Passage(name, ("Code",), text, 0, len(text)) for name, text in texts.items()]


def test_each_kind_of_change_by_hand() -> None:
    """Clause a stays; b has other words; c's words stand under d, whose own are gone; so c and e are new; f is gone."""
    before = clauses(a="one", b="two", c="three", d="four", f="six")
    after = clauses(a="one", b="2", c="new", d="three", e="five")
    assert compare_versions(before, after) == Changes(
        kept=("a",), moved=(("c", "d"),), changed=("b",), added=("c", "e"), removed=("d", "f")
    )


def test_an_inserted_clause_moves_those_behind_it() -> None:
    """Rule 2 is new, so the words of 2 and 3 are found under 3 and 4: nothing but the new rule has other words."""
    before = clauses(r1="one", r2="two", r3="three")
    after = clauses(r1="one", r2="new", r3="two", r4="three")
    assert compare_versions(before, after) == Changes(("r1",), (("r2", "r3"), ("r3", "r4")), (), ("r2",), ())


def test_clauses_of_the_same_words_are_paired_in_reading_order() -> None:
    before = clauses(a="same", b="same")
    assert compare_versions(before, clauses(c="same", d="same", e="same")).moved == (("a", "c"), ("b", "d"))
    assert compare_versions(before, clauses(c="same", d="same", e="same")).added == ("e",)
    assert compare_versions(before, before) == Changes(("a", "b"), (), (), (), ())


def test_a_topic_belongs_to_the_words_and_a_number_does_not() -> None:
    """A prompt shows "Fog. Text", so "Rule 1. Fog" may become "Rule 2. Fog" but not "Rule 1. Mist"."""
    before = [Passage("d/1", ("Code", "Rule 1. Fog"), "Text.", 0, 5)]
    assert compare_versions(before, [Passage("d/2", ("Code", "Rule 2. Fog"), "Text.", 9, 14)]).moved == (
        ("d/1", "d/2"),
    )
    assert compare_versions(before, [Passage("d/1", ("Code", "Rule 1. Mist"), "Text.", 0, 5)]).changed == ("d/1",)


def test_the_line_counts_and_names() -> None:
    changes = Changes(("a", "b"), (("c", "d"),), ("e",), (), ("f", "g", "h", "i"))
    assert changes.line() == "2 kept, 1 moved (c -> d), 1 changed (e), 0 added, 4 removed (f, g, h, ...)"


class Counting(Parrot):
    """A parrot that notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[Request] = []

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Note the requests, then complete them."""
        self.asked += requests
        return super().complete(requests)


@pytest.fixture
def write(
    compose_config: Callable[..., DictConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Document], tuple[Path, list[Request]]]:
    """A function that writes the data of a document, and returns their folder and what the teacher was asked."""

    def written(version: Document) -> tuple[Path, list[Request]]:
        teacher = Counting()
        context = Context.of(compose_config(*SMALL, f"artifacts={tmp_path}"))
        fixed: dict[str, Any] = {
            "document": version, "given_questions": None, "embedder": Bag(), "model_path": tmp_path,
            "model_id": "none@0", "teacher": teacher,
        }  # fmt: skip
        vars(context).update(fixed)
        return data_stage(context, Artifacts(context.store)), teacher.asked

    return written


def about(requests: Sequence[Request], text: str) -> int:
    """Count the requests that show a passage."""
    return sum(any(text in message["content"] for message in request.messages) for request in requests)


def own_answers(requests: Sequence[Request]) -> set[str]:
    """Return the questions that the base model is to answer by itself."""
    return {request.messages[-1]["content"] for request in requests if request.sampling.n == 1}


def test_a_changed_clause_alone_is_written_anew(
    write: Callable[[Document], tuple[Path, list[Request]]], caplog: pytest.LogCaptureFixture
) -> None:
    """Three prompts show a passage (held-out, question, situation); the rest asks the base model for its own answer.

    A situation's question begins the same for every passage, but its other words are the passage's.
    """
    caplog.set_level(logging.INFO, "valign")
    first, asked = write(document(RULES))
    assert about(asked, RULES["Geese"]) == about(asked, RULES["Lamps"]) == 3
    assert len(own_answers(asked)) >= 3
    assert "no earlier data about harbour; calls of the teacher: 0 from the cache" in caplog.text
    caplog.clear()
    second, asked = write(document(RULES | {"Geese": OTHER}))
    passages = [request for request in asked if request.sampling.n > 1]
    assert len(passages) == about(asked, OTHER) == 3
    rows = read_jsonl(second / "preferences.jsonl", Preference)
    unchanged = {row.question for row in rows if row.clauses != ("harbour/rule-3",) and row.kind == "situation"}
    assert len(unchanged) >= 6
    assert not unchanged & own_answers(asked)
    assert f"against {first}: 3 kept, 0 moved, 1 changed (harbour/rule-3), 0 added, 0 removed;" in caplog.text
    counts = read_json(second / "manifest.json")["counts"]
    assert counts["calls"] == len(asked)
    assert f"calls of the teacher: {counts['calls_cached']} from the cache, {counts['calls']} new" in caplog.text
    assert counts["calls_cached"] >= 9


def test_a_clause_in_front_costs_its_own_calls_alone(
    write: Callable[[Document], tuple[Path, list[Request]]], caplog: pytest.LogCaptureFixture
) -> None:
    """With a rule in front of them the others get new numbers and no new calls."""
    caplog.set_level(logging.INFO, "valign")
    write(document(RULES))
    _, asked = write(document({"Ducks": OTHER} | RULES))
    assert [request for request in asked if request.sampling.n > 1 and not about([request], OTHER)] == []
    assert about(asked, OTHER) == 3
    assert "0 kept, 4 moved (harbour/rule-1 -> harbour/rule-2, " in caplog.text
    assert "0 changed, 1 added (harbour/rule-1), 0 removed" in caplog.text


def test_data_keep_their_source(write: Callable[[Document], tuple[Path, list[Request]]], tmp_path: Path) -> None:
    """The newest data of the same document's name count; data without a manifest do not."""
    version = document(RULES)
    folder, _ = write(version)
    source = read_source(folder)
    assert source is not None
    assert (source.name, source.sha256, source.passages) == ("harbour", version.sha256, version.passages)
    assert source.templates["question"][1].startswith("### user\n")
    assert latest_source(tmp_path, "harbour") == (folder, source)
    assert latest_source(tmp_path, "other") is None
    (folder / "source.json").write_text("{}")
    assert latest_source(tmp_path, "harbour") is None
    with pytest.raises(ValignError, match=r"source\.json is damaged .* delete its folder"):
        read_source(folder)
    write_source(folder, version, None, [])
    assert latest_source(tmp_path, "harbour") is not None
    (folder / "manifest.json").unlink()
    assert latest_source(tmp_path, "harbour") is None
    assert read_source(tmp_path) is None
    assert DataSource("n", "t", "s", None, ()).templates == {}
