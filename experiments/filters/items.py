"""What the filters are measured on: rows of a large teacher drawn at random, and negatives made from them.

    python experiments/filters/items.py FOLDER        # from FOLDER/udhr.jsonl and FOLDER/lanternfield.jsonl

writes the items that ``labels.jsonl`` does not have yet, unlabelled (``good`` is null), to ``labels.jsonl``.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np

from valign.core.files import write_jsonl
from valign.core.store import digest
from valign.documents.clauses import labelled
from valign.documents.shipped import shipped_document
from valign.retrieval.embedder import SentenceEmbedder

HERE = Path(__file__).parent
LABELS = HERE / "labels.jsonl"
DOCUMENTS = ("udhr", "lanternfield")
DRAWN, SEED = 150, 0
OFF_TOPIC = {
    "udhr": (
        "How long should I boil an egg if I like the yolk runny?",
        "Which team won the football match at our stadium last night?",
        "My sourdough never rises in winter; where in the kitchen should I put it?",
        "What is the fastest train from Lyon to Turin on a Sunday?",
        "Is it true that octopuses have three hearts?",
        "My laptop's battery drains overnight although it is off; what could cause that?",
        "Should I prune my apple tree before or after the first frost?",
        "How many strings does a bass guitar usually have?",
        "My aunt says that whales are fish. Is she right?",
        "Can I use olive oil instead of butter in a lemon cake?",
        "Does the planet Venus have any moons?",
        "My daughter has outgrown her bicycle; what frame size suits a child of nine?",
    ),
    "lanternfield": (
        "How long should I boil an egg if I like the yolk runny?",
        "Who painted the ceiling of the Sistine Chapel?",
        "May I deduct the cost of a desk at home from my taxes?",
        "My car makes a grinding noise when I brake; is it safe to drive?",
        "What is the plural of the Latin word corpus?",
        "Can tomatoes and cucumbers share a greenhouse bed?",
        "How far away is the Andromeda galaxy?",
        "Is my grandmother's recipe for plum jam too sweet with a kilo of sugar?",
        "Which vaccine does a traveller to Peru need first?",
        "Do bees sleep at night in their hives?",
        "Will a wool jumper shrink if I wash it at forty degrees?",
        "When did the first steam engine run on rails?",
    ),
}


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """Return the large teacher's rows of all documents, each with its document's name."""
    return [
        {**json.loads(line), "document": name}
        for name in DOCUMENTS
        for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def make_items(folder: Path) -> list[dict[str, Any]]:
    """Return questions beside clauses (``task``: relevance) and answers beside clauses (``task``: answer)."""
    rows = random.Random(SEED).sample(read_rows(folder), DRAWN)
    rng, embedder = random.Random(SEED + 1), SentenceEmbedder()
    passages = {name: shipped_document(name).passages for name in DOCUMENTS}
    vectors = {name: embedder.embed([labelled(p) for p in passages[name]]) for name in DOCUMENTS}
    items = []
    for row in rows:
        name, clauses = row["document"], [p.clause for p in passages[row["document"]]]
        near = vectors[name] @ embedder.embed([row["question"]])[0]
        order = [clauses[int(i)] for i in np.argsort(-near, kind="stable") if clauses[int(i)] != row["clause"]]
        if row["kind"] == "silent":
            items.append(_item(row, "relevance", "silent", row["clause"]))
            continue
        items.append(_item(row, "relevance", "own", row["clause"]))
        items.append(_item(row, "relevance", "near", order[0]))
        if rng.random() < 1 / 3:
            items.append(_item(row, "relevance", "far", rng.choice(order[len(order) // 2 :])))
        items.append(_item(row, "answer", "own", row["clause"], row["answer"]))
        if row.get("unfaithful"):
            items.append(_item(row, "answer", "unfaithful", row["clause"], row["unfaithful"]))
        if rng.random() < 1 / 3:
            items.append(_item(row, "answer", "near", order[0], row["answer"]))
    for name, questions in OFF_TOPIC.items():
        for question in questions:
            near = vectors[name] @ embedder.embed([question])[0]
            clause = passages[name][int(near.argmax())].clause
            items.append(
                _item({"document": name, "kind": "off topic", "question": question}, "relevance", "off topic", clause)
            )
    return items


def _item(row: dict[str, Any], task: str, source: str, clause: str, answer: str = "") -> dict[str, Any]:
    parts = {"task": task, "source": source, "document": row["document"], "clause": clause, "kind": row["kind"]}
    parts |= {"question": row["question"]} | ({"answer": answer} if answer else {})
    return {"id": digest([task, source, clause, row["question"], answer])[:8], **parts, "good": None}


def main(folder: Path) -> None:
    """Add the items that are not there yet."""
    lines = LABELS.read_text(encoding="utf-8").splitlines() if LABELS.is_file() else []
    there = {item["id"]: item for item in map(json.loads, lines)}
    write_jsonl(LABELS, [there.get(item["id"], item) for item in make_items(folder)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
