"""The dataset card: what the data are about, how they were made, how good they are, and how to load them."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from typing import Any

import yaml

from valign.config.earlier_versions import with_new_names
from valign.core.records import Instruction, Preference
from valign.core.text import markdown, one_line
from valign.evaluation.leakage import question_overlap
from valign.synthesis.coverage import coverage_lines
from valign.synthesis.dataset import DataSet
from valign.synthesis.frames import FROM_FILE
from valign.synthesis.funnel_table import funnel_table
from valign.synthesis.review_summary import review_sentence
from valign.synthesis.settings import FilterSettings

SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
LARGEST_SIZE = "n>1M"
NOT_RECORDED = "unknown"
NO_THRESHOLDS = ("relevance", "relevance_clauses", "faithfulness", "faithfulness_model", "waive")
JUDGE_WORDS = {
    "embedding": "nearness of meaning to the clause",
    "judge": "by the teacher",
    "nli": "probability of an entailment model",
}
TEXT = """# {title}

Training data written by valign from one document that states values, to align a language model to it (method: Padhi et
al., "Value Alignment from Unstructured Text", EMNLP 2024): questions with answers that are faithful to the document
(`sft`), and situations with a faithful and an unfaithful answer (`preference`). Every row names its clause and the
words of the document that it rests on. The questions of the evaluation are not in here.

| | |
| --- | --- |
{facts}

Clauses covered: those with a row in `sft`. Quotes verified: share that stands word for word at its offsets. Leak rate:
share of the evaluation questions of which six words in a row occur in training.

## What the filters did

```text
{funnel}
```

{waived}{decided}Thresholds: {thresholds}. Faithfulness of answers: {faithfulness}. Each row's scores are in its column
`filters`.

## Columns

| column | meaning |
| --- | --- |
| `messages` | `sft`: the conversation, a user turn and an assistant turn |
| `prompt`, `chosen`, `rejected` | `preference`: the user turn, the faithful answer, the other one |
| `rejected_kind` | `preference`: how the rejected answer came about |
| `example_id`, `clauses`, `kind` | the row's name, the clauses it is about, the kind of row |
| `verdict` | `yes` or `no` where the question has a verdict that is known, else empty |
| `quote`, `quote_start`, `quote_end` | the document's words behind the answer, and their offsets in its text |
| `template`, `template_hash` | the prompt, and the hash of its words; `frame/...`: a fixed sentence, no teacher |
| `teacher`, `sampling` | who wrote the question, who edited or added the row, and how it was drawn (JSON) |
| `filters` | the filters' scores (JSON) |

## Loading

`datasets` and TRL (`SFTTrainer` and `DPOTrainer` take the rows as they are):

```python
from datasets import load_dataset

sft = load_dataset("path/of/this/folder", "sft", split="train")
preference = load_dataset("path/of/this/folder", "preference", split="train")
```

Axolotl, for SFT:

```yaml
datasets:
  - {{path: sft.jsonl, ds_type: json, type: chat_template, field_messages: messages}}
```

and for DPO:

```yaml
rl: dpo
datasets:
  - {{path: preference_single.jsonl, ds_type: json, split: train, type: chat_template.default}}
```

LLaMA-Factory: `dataset_dir` is this folder, `dataset` is `{name}_sft` or `{name}_preference`.
"""


def make_card(data: DataSet, license: str) -> str:
    """Return ``README.md``: YAML front matter for machines, and text for people."""
    facts = measure_data(data)
    front = {
        "license": license,
        "pretty_name": _title(data),
        "task_categories": ["text-generation"],
        "size_categories": [size_category(len(data.sft) + len(data.preferences))],
        "tags": ["alignment", "instruction-tuning", "preference", "dpo", "synthetic"],
        "configs": [_config("sft", default=True), _config("preference")],
        "valign": facts,
    }
    filters = with_new_names(data.manifest["config"])["synthesis"]["filters"]
    thresholds = [
        f.name for f in dataclasses.fields(FilterSettings) if f.name in filters and f.name not in NO_THRESHOLDS
    ]
    text = TEXT.format(
        title=markdown(_title(data)),
        facts="\n".join(f"| {name.replace('_', ' ')} | {_cell(value)} |" for name, value in facts.items()),
        funnel="\n".join([funnel_table(data.funnel), *coverage_lines(data.manifest["counts"].get("coverage", {}))]),
        thresholds=", ".join(f"{name} {filters[name]}" for name in thresholds),
        waived=f"Given rows were not put through: {', '.join(filters['waive'])}. " if filters.get("waive") else "",
        decided="Which clause decides a question: by the teacher. " if filters.get("relevance") == "judge" else "",
        faithfulness=JUDGE_WORDS[filters.get("faithfulness", "embedding")],
        name=dataset_name(data),
    )
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{text}"


def measure_data(data: DataSet) -> dict[str, Any]:
    """Return counts, origin and quality of a data set."""
    counts, source = data.manifest["counts"], data.source
    rows: list[Instruction | Preference] = [*data.sft, *data.preferences]
    trained = [row.question for row in rows]
    leak = question_overlap([q.question for q in data.questions], trained, n=6)
    return {
        "document": one_line(document_name(data)),
        "document_sha256": source.sha256 if source else NOT_RECORDED,
        "examples": len(data.sft),
        "example_kinds": dict(Counter(row.kind for row in data.sft)),
        "pairs": len(data.preferences),
        "given_rows": sum(row.provenance.teacher.startswith(FROM_FILE) for row in rows),
        "rejected_kinds": dict(Counter(row.rejected_kind for row in data.preferences)),
        "clauses": counts["clauses"],
        "clauses_covered": len({clause for row in data.sft for clause in row.clauses}),
        "quotes_verified": round(counts["quotes_verified"] / max(1, counts["quotes"]), 4),
        "leak_rate": round(leak["rate"], 4),
        "evaluation_questions": len(data.questions),
        "read_by_a_person": one_line(review_sentence(data.funnel)),
        "teacher": one_line(data.manifest["inputs"]["teacher"]),
        "base_model": one_line(data.manifest["inputs"]["base_model"]),
        "answers": data.manifest["config"]["synthesis"]["answers"],
        "system_prompt": one_line(data.manifest["config"]["system_prompt"] or "none"),
        "seed": data.manifest["config"]["seed"],
        "data": data.folder.name,
    }


def dataset_name(data: DataSet) -> str:
    """Return the name from which LLaMA-Factory's names are made: letters, digits, ``_`` and ``-``."""
    return re.sub(r"[^\w-]+", "_", document_name(data))


def size_category(rows: int) -> str:
    """Return the hub's name for a number of rows.

    >>> size_category(999), size_category(1000), size_category(10**7)
    ('n<1K', '1K<n<10K', 'n>1M')
    """
    return next((name for limit, name in SIZES if rows < limit), LARGEST_SIZE)


def document_name(data: DataSet) -> str:
    """Return the document's name, which starts every clause id."""
    return data.source.name if data.source else data.sft[0].clauses[0].partition("/")[0]


def _title(data: DataSet) -> str:
    return f"{one_line(data.source.title if data.source else document_name(data))}: alignment data"


def _config(name: str, *, default: bool = False) -> dict[str, Any]:
    files = [{"split": "train", "path": f"data/{name}.parquet"}]
    return {"config_name": name, **({"default": True} if default else {}), "data_files": files}


def _cell(value: Any) -> str:
    """Return a value as a cell of a Markdown table."""
    text = ", ".join(f"{n} {kind}" for kind, n in value.items()) if isinstance(value, dict) else str(value)
    return markdown(text)
