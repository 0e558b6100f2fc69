"""A store with one small data set, and a run that used it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from valign.core.files import to_dict, write_json, write_jsonl
from valign.core.records import Answer, Document, Instruction, Preference, Provenance, Question
from valign.documents.read import parse_document
from valign.synthesis.dataset import write_source
from valign.synthesis.templates import load_template

RULES = """# Harbour [code]

## Rule 1. Helmets

Every guard wears a yellow helmet on the pier.

## Rule 2. Geese

Nobody may feed the geese at the north gate.
"""
HASH = "00000000000000aa"
ANSWER = "Every guard wears a yellow helmet on the pier."
FILTERS = {"min_relevance": 0.3, "max_rank": 2, "min_faithfulness": 0.4, "max_duplicate": 0.95, "max_overlap": 0.5}
SYNTHESIS: dict[str, Any] = {"answers": "quote", "filters": FILTERS}
FUNNEL = {
    "sft": {"made": 3, "kept": 2, "dropped": {"malformed": 1}, "kinds": {"question": 1, "claim": 1}, "per_clause": {}},
    "preference": {"made": 1, "kept": 1, "dropped": {}, "kinds": {"edit": 1}, "per_clause": {}},
}


def harbour() -> Document:
    """Return a document of two rules."""
    return parse_document(RULES.encode(), "harbour")


def origin(quote: str, template: str = "question", teacher: str = "parrot@1") -> Provenance:
    """Return where an example about a quote of the document comes from."""
    start = RULES.index(quote)
    asked = template in ("question", "scenario")
    hash = load_template(template).hash if asked else "12345678"
    sampling = {"temperature": 0.6, "seed": 7} if asked else {}
    return Provenance(quote, start, start + len(quote), template, hash, teacher, sampling)


def write_data(store: Path, name: str = HASH, *, source: bool = True) -> Path:
    """Write a complete data set and return its folder.

    It has a question and a claim about the helmets, and a pair about the geese.
    """
    folder = store / "data" / name
    folder.mkdir(parents=True)
    document = harbour()
    helmet, goose = (passage.clause for passage in document.passages)
    claim = origin("a yellow helmet", "frame/claim", "valign")
    write_jsonl(
        folder / "sft.jsonl",
        [
            Instruction(
                "sft-1111aaaa", (helmet,), "question", "What do I wear?", ANSWER, origin(ANSWER), {"rank": 1.0}
            ),
            Instruction("sft-1111bbbb", (helmet,), "claim", "Are helmets blue?", "No. They are yellow.", claim),
        ],
    )
    goose_words = "Nobody may feed the geese"
    pair = Preference(
        "pref-2222", (goose,), "situation", "My neighbour feeds a goose. Is she right?", "No.", "Yes.", "edit",
        origin(goose_words, "scenario"), {"overlap": 0.125},
    )  # fmt: skip
    write_jsonl(folder / "preferences.jsonl", [pair])
    write_jsonl(folder / "questions.jsonl", [Question("own-1", goose, "May I feed one?", "No.", (), "no")])
    write_json(folder / "funnel.json", FUNNEL)
    if source:
        write_source(folder, document, None, [load_template(name) for name in ("question", "scenario")])
    write_json(
        folder / "manifest.json",
        {
            "config": {"synthesis": SYNTHESIS, "seed": 0, "system_prompt": None},
            "inputs": {"teacher": "parrot@1", "base_model": "tiny@2"},
            "counts": {"clauses": 2, "clauses_covered": 1, "quotes": 3, "quotes_verified": 3},
        },
    )
    return folder


def write_run(folder: Path, store: Path, path: Path | None = None, data: str = HASH) -> Path:
    """Write a run on the data, with the answers of the arms base and sft to the one question."""
    document = harbour()
    goose = document.passages[1].clause
    for arm, text in (("base", "Yes, of course."), ("sft", "Nobody may.")):
        answer = Answer("own-1", goose, "May I feed one?", "No.", text, arm)
        write_jsonl(folder / "arms" / arm / "answers.jsonl", [answer])
    write_json(
        folder / "run.json",
        {
            "arms": [{"name": name, "stages": [], "retrieval": False} for name in ("base", "sft")],
            "document": {"name": document.name, "title": document.title, "sha256": document.sha256},
            "passages": [to_dict(passage) for passage in document.passages],
            "artifacts": {"data": data},
            "config": {"artifacts": str(store), "document": {"path": str(path) if path else None}},
        },
    )
    return folder
