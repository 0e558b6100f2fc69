"""A document of four clauses, of which a teacher leaves some short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from changed_settings import changed
from fakes import Bag, Parrot

from valign.core.records import Question
from valign.documents.read import parse_document
from valign.generation.requests import Completion, Request
from valign.synthesis.build import synthesize
from valign.synthesis.settings import FilterSettings, SynthesisSettings
from valign.teachers.cache import CachedTeacher

LOOSE = FilterSettings(min_relevance=-1, max_rank=99, min_faithfulness=-1, max_duplicate=0.95, max_overlap=0.5)


RULES = {
    "Helmets": "Every guard wears a yellow helmet on the pier. Visitors wear a blue helmet for nine days.",
    "Geese": "Nobody may feed the geese at the north gate. The keeper puts each fine into the fog chest.",
    "Lamps": "A lamp must burn at every door from dusk. The warden lends oil to those who have none.",
}


HARBOUR = parse_document(
    "\n".join(f"## Rule {i}. {name}\n\n{text}\n" for i, (name, text) in enumerate(RULES.items(), 1)).encode(), "harbour"
)


HELMETS, GEESE, LAMPS = (passage.clause for passage in HARBOUR.passages)


GIVEN = [Question(f"q{i}", p.clause, f"Is rule {i} known to all?", "No.") for i, p in enumerate(HARBOUR.passages)]


class Silent(Parrot):
    """A parrot that asks nothing about geese in the first round; it notes whom it is asked about."""

    def __init__(self, rounds: int) -> None:
        """Be silent for some rounds of each prompt."""
        self.rounds = rounds
        self.asked: list[Request] = []
        self.seen: dict[str, list[int]] = {}

    def complete(self, requests: Sequence[Request]) -> list[list[Completion]]:
        """Complete, with nothing where the geese come up too early."""
        self.asked += requests
        found = super().complete(requests)
        for i, request in enumerate(requests):
            seeds = self.seen.setdefault(request.messages[0]["content"] + request.messages[-1]["content"], [])
            seeds.append(request.sampling.seed)
            if request.sampling.n > 1 and "geese" in request.messages[-1]["content"] and len(seeds) <= self.rounds:
                found[i] = [Completion("", 1, True)] * request.sampling.n
        return found

    def about(self, words: str) -> list[Request]:
        """Return the requests that show a passage with these words and want several questions."""
        return [r for r in self.asked if words in r.messages[-1]["content"] and r.sampling.n > 1]


def teacher_alone(settings: SynthesisSettings) -> SynthesisSettings:
    """The default settings without frames and claims, so that the teacher alone fills a clause."""
    fixed = ("phrases_per_passage", "recitations_per_passage", "claims_per_passage", "examples_per_fact")
    return changed(settings, instructions=dict.fromkeys(fixed, 0), preferences={"claim_pairs_per_passage": 0})


def build(
    folder: Path,
    settings: SynthesisSettings,
    teacher: Parrot,
    questions: Sequence[Question] | None = GIVEN,
    question_teacher: Parrot | None = None,
) -> Any:
    """Write the harbour's data."""
    cached = CachedTeacher(teacher, folder / "completions.sqlite")
    asking = CachedTeacher(question_teacher, folder / "completions.sqlite") if question_teacher else None
    return synthesize(
        folder, HARBOUR, questions, teacher=cached, base=cached, embedder=Bag(), seed=0, question_teacher=asking,
        settings=replace(settings, filters=LOOSE),
    )  # fmt: skip
