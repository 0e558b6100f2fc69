"""The files of a data set: written by synthesis, read by whoever looks into it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import from_dict, read_json, read_jsonl, write_json, write_jsonl
from valign.core.records import Document, Fact, Instruction, Passage, Preference, Question
from valign.core.store import MANIFEST, is_complete
from valign.evaluation.probes.policy import PolicyProbe
from valign.runs.layout import POLICY_PROBES
from valign.synthesis.templates import Template

DATA_STAGE = "data"
SFT, PREFERENCES, QUESTIONS, FUNNEL = "sft.jsonl", "preferences.jsonl", "questions.jsonl", "funnel.json"
FACTS = "facts.jsonl"
SOURCE = "source.json"
DECISIONS = "review.jsonl"
REVIEWED = "reviewed.jsonl"


@dataclass(frozen=True)
class Reviewed:
    """What came of the decisions about one row when the data were built: a line of ``reviewed.jsonl``.

    Attributes:
        set: ``D_sft``, ``D_pref``, ``questions`` or ``probes``.
        key: The row's key as synthesised, by which decisions name it.
        name: The row's id in these data; empty where it is not in them.
        action: ``keep``, ``drop``, ``edit`` or ``add``, by the last decision.
        reviewer: Who made it; of a row that stays edited or added, who wrote what it says now.
        at: When, in UTC.
        clause: Id of the row's clause.
        readers: All who decided on the row.
        refused: The filter that dropped the row after it was edited or added; empty where it passed.
        change: What is changed of the row as synthesised; of an added one, all its texts.
        original: The row as synthesised (``ReviewRow``); empty for one that was added.
    """

    set: str
    key: str
    name: str
    action: str
    reviewer: str
    at: str
    clause: str
    readers: tuple[str, ...] = ()
    refused: str = ""
    change: dict[str, Any] = field(default_factory=dict)
    original: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DataSource:
    """A document and the prompts about it, as they were when the data was written.

    Attributes:
        name: First part of the clause ids.
        title: The document's title.
        sha256: SHA-256 (hex) of the document's file.
        path: The document's file; None for a shipped document.
        passages: All clauses, in reading order.
        templates: ``(hash, text)`` of each prompt template, by id.
        without_value: Ids of the clauses that, by the teacher, carry no value.
    """

    name: str
    title: str
    sha256: str
    path: str | None
    passages: tuple[Passage, ...]
    templates: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    without_value: tuple[str, ...] = ()


def write_source(
    folder: Path,
    document: Document,
    path: str | None,
    templates: Sequence[Template],
    without_value: Sequence[str] = (),
) -> None:
    """Write ``source.json`` to the folder of a data set."""
    texts = {template.id: (template.hash, template_text(template)) for template in templates}
    known = document.name, document.title, document.sha256, path, document.passages
    source = DataSource(*known, texts, tuple(without_value))
    write_json(folder / SOURCE, asdict(source))


def read_source(folder: Path) -> DataSource | None:
    """Read the source of a data set; None where it was written without one.

    Raises:
        ValignError: It is damaged, or of another version.
    """
    file = folder / SOURCE
    if not file.is_file():
        return None
    try:
        data: dict[str, Any] = read_json(file)
        data["passages"] = tuple(from_dict(Passage, passage, str(file)) for passage in data["passages"])
        data["templates"] = {name: (pair[0], pair[1]) for name, pair in data["templates"].items()}
        data["without_value"] = tuple(data.get("without_value", ()))
        return DataSource(**data)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ValignError(f"{file} is damaged ({error}); delete its folder and have the data made again.") from None


def latest_source(artifacts: Path, name: str) -> tuple[Path, DataSource] | None:
    """Return the newest complete data set of a document in the store, and its source; damaged ones do not count."""
    folders = [file.parent for file in (artifacts / DATA_STAGE).glob(f"*/{SOURCE}") if is_complete(file.parent)]
    for folder in sorted(folders, key=lambda f: (f / SOURCE).stat().st_mtime_ns, reverse=True):
        try:
            source = read_source(folder)
        except ValignError:
            continue
        if source is not None and source.name == name:
            return folder, source
    return None


def template_text(template: Template) -> str:
    """Return a template's turns as its file has them."""
    return "\n\n".join(f"### {turn['role']}\n{turn['content']}" for turn in template.turns)


@dataclass(frozen=True)
class DataRows:
    """The rows of a data set: D_sft, D_pref and the evaluation questions."""

    instructions: list[Instruction]
    preferences: list[Preference]
    questions: list[Question]


def write_rows(folder: Path, rows: DataRows, facts: Sequence[Fact], probes: Sequence[PolicyProbe] = ()) -> None:
    """Write the rows of a data set, the facts that they teach and the probes from which they are kept apart."""
    write_jsonl(folder / SFT, rows.instructions)
    write_jsonl(folder / PREFERENCES, rows.preferences)
    write_jsonl(folder / QUESTIONS, rows.questions)
    write_jsonl(folder / FACTS, facts)
    if probes:
        write_jsonl(folder / POLICY_PROBES, probes)
    else:
        (folder / POLICY_PROBES).unlink(missing_ok=True)  # an interrupted build may have left it


@dataclass(frozen=True)
class DataSet:
    """The data of one synthesis, as they lie in the store.

    Attributes:
        folder: The stage's folder; its name is the data's hash.
        manifest: How the stage was run.
        source: What the data were written from; None where nothing says so.
        sft: D_sft.
        preferences: D_pref.
        questions: The evaluation questions, which are not for training.
        funnel: What the filters dropped.
        reviewed: What people decided about rows, where the data were built with their decisions.
        probes: The probes of the policy from which the rows for training were kept apart, as they were made.
    """

    folder: Path
    manifest: dict[str, Any]
    source: DataSource | None
    sft: list[Instruction]
    preferences: list[Preference]
    questions: list[Question]
    funnel: dict[str, Any]
    reviewed: tuple[Reviewed, ...] = ()
    probes: tuple[PolicyProbe, ...] = ()


def read_data(folder: Path, run: Mapping[str, Any] | None = None) -> DataSet:
    """Read a data set.

    Args:
        folder: The synthesis stage's folder.
        run: The ``run.json`` of a run that used it, which knows the document where the folder itself does not.

    Raises:
        ValignError: The folder does not hold a complete data set, or a row of it is damaged.
    """
    if not is_complete(folder) or not (folder / SFT).is_file():
        raise ValignError(f"{folder} holds no complete data set; give a folder such as artifacts/data/<hash>.")
    return DataSet(
        folder,
        read_json(folder / MANIFEST),
        read_source(folder) or (source_of_run(run) if run else None),
        read_jsonl(folder / SFT, Instruction),
        read_jsonl(folder / PREFERENCES, Preference),
        read_jsonl(folder / QUESTIONS, Question),
        read_json(folder / FUNNEL),
        read_reviewed(folder),
        tuple(read_jsonl(folder / POLICY_PROBES, PolicyProbe)) if (folder / POLICY_PROBES).is_file() else (),
    )


def read_reviewed(folder: Path) -> tuple[Reviewed, ...]:
    """Read what came of people's decisions; nothing where the data were built without any."""
    file = folder / REVIEWED
    return tuple(read_jsonl(file, Reviewed)) if file.is_file() else ()


def source_of_run(details: Mapping[str, Any]) -> DataSource:
    """Return what a run's ``run.json`` says about its document; the prompts are not in it."""
    document = details["document"]
    passages = tuple(from_dict(Passage, passage, "run.json") for passage in details["passages"])
    path = details["config"]["document"]["path"]
    name, title, sha256 = document["name"], document["title"], document["sha256"]
    if not all(isinstance(text, str) for text in (name, title, sha256, path or "")):
        raise TypeError("the document's name, title, sha256 or path is no text")
    return DataSource(name, title, sha256, path, passages)
