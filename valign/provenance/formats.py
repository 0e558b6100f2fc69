"""The data in the forms that other trainers read: conversations in Parquet and JSON lines, with a dataset card.

``sft.jsonl`` has ``messages``; ``preference.jsonl`` has ``prompt``, ``chosen`` and ``rejected``, each a list of
messages (TRL, "Dataset formats and types"). Axolotl's ``chat_template.default`` and LLaMA-Factory's ``sharegpt`` with
``ranking`` want each answer as a single message, which ``preference_single.jsonl`` has. Control tokens in the
messages are broken up, because these trainers would take them for real ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from valign.core.control_tokens import break_up_control_tokens
from valign.core.files import write_json, write_jsonl, write_text
from valign.core.folders import new_folder
from valign.core.records import Instruction, Message, Preference
from valign.provenance.dataset_card import dataset_name, make_card
from valign.runs.damage import describe_damage
from valign.synthesis.dataset import DataSet

PortableRow = dict[str, Any]
SFT_FILE, PAIRS_FILE, SINGLE_FILE = "sft.jsonl", "preference.jsonl", "preference_single.jsonl"
MESSAGE_COLUMNS = ("messages", "prompt", "chosen", "rejected")
LIST_COLUMNS = ("clauses",)
NUMBER_COLUMNS = ("quote_start", "quote_end")


def write_portable(data: DataSet, output: Path, license: str) -> None:
    """Write a data set to a folder; it is there as a whole or not at all.

    Args:
        data: The data set.
        output: The folder; empty or not there.
        license: Identifier of the licence, for the card.

    Raises:
        ValignError: The folder is not empty or cannot be written, or the data hold values of another shape.
    """
    with new_folder(output) as folder, describe_damage(data.folder):
        _write(data, folder, license)


def _write(data: DataSet, folder: Path, license: str) -> None:
    """Write every file of the folder."""
    rows = [sft_row(row) for row in data.sft]
    pairs = [preference_row(row) for row in data.preferences]
    write_jsonl(folder / SFT_FILE, rows)
    write_jsonl(folder / PAIRS_FILE, pairs)
    write_jsonl(folder / SINGLE_FILE, (single_row(row) for row in pairs))
    _write_parquet(folder / "data" / "sft.parquet", rows)
    _write_parquet(folder / "data" / "preference.parquet", pairs)
    write_json(folder / "dataset_info.json", llama_factory(dataset_name(data)))
    write_text(folder / "README.md", make_card(data, license))


def sft_row(row: Instruction) -> PortableRow:
    """Return a row of D_sft as a conversation.

    >>> from valign.core.records import Provenance
    >>> row = Instruction("sft-1", ("d/1",), "phrase", "Why?", "So.", Provenance("So", 0, 2, "t", "h", "m"))
    >>> sft_row(row)["messages"]
    [{'role': 'user', 'content': 'Why?'}, {'role': 'assistant', 'content': 'So.'}]
    """
    return {"messages": [_user(row.question), _assistant(row.answer)], **_origin(row)}


def preference_row(row: Preference) -> PortableRow:
    """Return a row of D_pref with its prompt and both answers as conversations."""
    turns = {"prompt": [_user(row.question)], "chosen": [_assistant(row.chosen)]}
    return {**turns, "rejected": [_assistant(row.rejected)], **_origin(row), "rejected_kind": row.rejected_kind}


def single_row(row: PortableRow) -> PortableRow:
    """Return a row of ``preference_row`` with the prompt as ``messages`` and each answer as one message."""
    rest = {key: value for key, value in row.items() if key != "prompt"}
    return {"messages": row["prompt"], **rest, "chosen": row["chosen"][-1], "rejected": row["rejected"][-1]}


def llama_factory(name: str) -> dict[str, Any]:
    """Return LLaMA-Factory's ``dataset_info.json`` for both kinds of data."""
    tags = {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    }
    common = {"formatting": "sharegpt", "tags": tags}
    answers = {"chosen": "chosen", "rejected": "rejected"}
    return {
        f"{name}_sft": {"file_name": SFT_FILE, "columns": {"messages": "messages"}, **common},
        f"{name}_preference": {
            "file_name": SINGLE_FILE,
            "ranking": True,
            "columns": {"messages": "messages", **answers},
            **common,
        },
    }


def _user(text: str) -> Message:
    return {"role": "user", "content": break_up_control_tokens(text)}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": break_up_control_tokens(text)}


def _origin(row: Instruction | Preference) -> PortableRow:
    """Return the columns that say where a row came from; settings and scores, which differ by row, as JSON texts."""
    origin = row.provenance
    return {
        "example_id": row.example_id,
        "clauses": list(row.clauses),
        "kind": row.kind,
        "verdict": row.verdict or "",
        "quote": origin.quote,
        "quote_start": origin.start,
        "quote_end": origin.end,
        "template": origin.template,
        "template_hash": origin.template_hash,
        "teacher": origin.teacher,
        "sampling": json.dumps(origin.sampling, ensure_ascii=False),
        "filters": json.dumps(row.filters, ensure_ascii=False),
    }


def _write_parquet(path: Path, rows: Sequence[PortableRow]) -> None:
    """Write rows with types that do not depend on what happens to be in them."""
    from datasets import Dataset, Features, Value, disable_progress_bars, enable_progress_bars

    turn = {"role": Value("string"), "content": Value("string")}
    features: dict[str, Any] = {}
    for name in rows[0]:
        features[name] = [turn] if name in MESSAGE_COLUMNS else Value("int64" if name in NUMBER_COLUMNS else "string")
        if name in LIST_COLUMNS:
            features[name] = [Value("string")]
    path.parent.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()
    try:
        Dataset.from_list(list(rows), features=Features(features)).to_parquet(path)
    finally:
        enable_progress_bars()
