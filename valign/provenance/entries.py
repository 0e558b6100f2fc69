"""The ledger's entries as plain text: an example, an answered question, or a clause with all its examples."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.records import Answer, Instruction, Preference, Provenance
from valign.core.text import one_line, printable
from valign.documents.read import read_document
from valign.documents.settings import shipped_names
from valign.documents.shipped import shipped_document
from valign.evaluation.arm_names import arm_label
from valign.evaluation.probes.policy import PolicyProbe
from valign.provenance.ledger import DataRow, Ledger, LedgerRun, passage_of, resolve_id, rows_of
from valign.synthesis.dataset import DataSet, DataSource, template_text
from valign.synthesis.frames import ADDED_BY_PERSON, FROM_FILE
from valign.synthesis.languages.choice import PACKS
from valign.synthesis.review_summary import DONE
from valign.synthesis.templates import load_template

LABEL_WIDTH = 11
LINE_WIDTH = 110


def trace_entry(ledger: Ledger, wanted: str) -> str:
    """Return the entry of an id: an example's, an evaluation question's, a probe's, or a clause's.

    Raises:
        ValignError: The id is unknown, or the beginning of several.
    """
    found = resolve_id(wanted, [*ledger.examples, *ledger.answers, *ledger.probes, *ledger.clauses])
    if found in ledger.examples:
        return example_entry(ledger, found)
    if found in ledger.probes:
        return probe_entry(ledger, found)
    return question_entry(ledger, found) if found in ledger.answers else clause_entry(ledger, found)


def example_entry(ledger: Ledger, name: str) -> str:
    """Return where an example comes from; where data sets differ in it, once for each version."""
    versions: dict[Any, list[tuple[DataRow, DataSet]]] = {}
    for row, data in ledger.examples[name]:
        versions.setdefault(repr(row), []).append((row, data))
    entries = []
    for found in versions.values():
        row, data = found[0]
        hashes = [other.folder.name for _, other in found]
        runs = [str(run.folder) for run in ledger.runs if run.data in hashes]
        kind = "D_sft" if isinstance(row, Instruction) else "D_pref"
        lines = [f"{name}: {row.kind}, {kind}"]
        lines += [line for clause in row.clauses for line in _clause(data.source, clause)]
        lines += [*_quote(row.provenance, data.source), *_prompt(row.provenance, data.source)]
        lines += _field("teacher", "none; valign wrote it" if row.provenance.teacher == "valign" else _teacher(row))
        lines += _field("filters", _pairs(row.filters) or "none apply to this kind")
        lines += [*_field("question", row.question), *_answers(row), *_review(name, [one for _, one in found])]
        lines += _field("data", "\n".join(str(other.folder) for _, other in found))
        lines += _field("used by", "\n".join(runs) or "no finished run")
        lines += _field("see also", "\n".join(f"clause={clause}" for clause in row.clauses))
        entries.append("\n".join(lines))
    gone = [line for data in ledger.data for line in _dropped(name, data)]
    return printable("\n\n".join([*entries, *(["\n".join(gone)] if gone else [])]))


def question_entry(ledger: Ledger, name: str) -> str:
    """Return an evaluation question, what each arm answered, and the training examples of its clause."""
    versions: dict[tuple[str, str], list[tuple[Answer, Any]]] = {}
    for answer, run in ledger.answers[name]:
        versions.setdefault((answer.clause, answer.question), []).append((answer, run))
    entries = []
    for (clause, question), found in versions.items():
        first, run = found[0]
        lines = [f"{name}: question of the evaluation", *_clause(run.source, clause)]
        lines += [*_field("question", question), *_field("reference", first.reference)]
        used = {run.data for _, run in found}
        data = [one for one in ledger.data if one.folder.name in used]
        lines += [*_review(name, data), *_said(found)]
        none = "the run's data are not in the store" if any(used) else "none: nothing was trained"
        lines += _examples(data, clause) if data else _field("examples", none)
        entries.append("\n".join(lines))
    return printable("\n\n".join(entries))


def probe_entry(ledger: Ledger, name: str) -> str:
    """Return a probe of the rules as people left it, who looked at it, and what each arm answered."""
    versions: dict[Any, list[tuple[PolicyProbe, DataSet]]] = {}
    for probe, data in ledger.probes[name]:
        versions.setdefault(repr(probe), []).append((probe, data))
    entries = []
    for found in versions.values():
        probe, data = found[0]
        lines = [f"{name}: {probe.kind}, probe of the rules", *_clause(data.source, probe.clause)]
        lines += [*_field("question", probe.question), *_field("right", probe.answer or "no clause decides it")]
        lines += _field("verdict", probe.verdict or "none")
        lines += _field("written by", probe.provenance.teacher if probe.provenance else "not noted")
        lines += _field("checked", probe.checked or "not checked again")
        lines += _review(name, [one for _, one in found])
        hashes = [one.folder.name for _, one in found]
        asked = [
            (answer, run)
            for run in ledger.runs
            if run.data in hashes
            for answer in run.probe_answers
            if answer.question_id == name
        ]
        entries.append("\n".join([*lines, *(_said(asked) or _field("answers", "not asked in a finished run"))]))
    return printable("\n\n".join(entries))


def _said(found: Sequence[tuple[Answer, LedgerRun]]) -> list[str]:
    """Return what each arm answered, and in which runs."""
    said: dict[tuple[str, str], list[str]] = {}
    for answer, run in found:
        said.setdefault((arm_label(answer.arm), answer.answer), []).append(str(run.folder))
    return [
        line
        for (arm, text), folders in said.items()
        for line in _field(f"[{arm}]", f"{text or '(nothing)'}\n({', '.join(folders)})")
    ]


def clause_entry(ledger: Ledger, clause: str) -> str:
    """Return a clause and every example of it; once for each version of its words, the newest first."""
    versions: dict[str | None, list[DataSet]] = {}
    for data in ledger.data:
        passage = passage_of(data.source, clause)
        if passage or any(clause in row.clauses for row in rows_of(data)):
            versions.setdefault(passage.text if passage else None, []).append(data)
    asked = {a.question_id: a.question for run in ledger.runs for a in run.answers if a.clause == clause}
    source = next((run.source for run in ledger.runs if passage_of(run.source, clause)), None)
    entries = [[*_clause(data[0].source, clause), *_examples(data, clause)] for data in versions.values()]
    entries = entries or [[*_clause(source, clause), *_field("examples", "none in the store")]]
    entries[-1] += _field("evaluation", "\n".join(f"{name}  {one_line(text)}" for name, text in asked.items()) or "-")
    return printable("\n\n".join("\n".join(lines) for lines in entries))


def _review(name: str, found: Sequence[DataSet]) -> list[str]:
    """Say who read a row, question or probe, and what it said before; by the first data set that knows."""
    decided = next((one for data in found for one in data.reviewed if one.name == name), None)
    if decided is None:
        return _field("review", "nobody is noted to have read it")
    readers = ", ".join(decided.readers)
    text = f"{DONE[decided.action]} by {decided.reviewer}, {decided.at[:16]} UTC; read by {readers}"
    before = [f"{name}, before: {value}" for name in decided.change if (value := decided.original.get(name))]
    return _field("review", "\n".join([text, *before]))


def _dropped(name: str, data: DataSet) -> list[str]:
    """Say where an example was taken out of a data set in its review."""
    gone = [one for one in data.reviewed if not one.name and one.original.get("name") == name]
    said = [one.refused or f"dropped by {one.reviewer}, {one.at[:16]} UTC" for one in gone]
    return [line for text in said for line in _field("review", f"not in {data.folder}: {text}")]


def _clause(source: DataSource | None, clause: str) -> list[str]:
    """Return document, clause, headings, page and words."""
    if source is None:
        return [*_field("document", "not recorded"), *_field("clause", clause)]
    state = {None: "not at hand", True: "unchanged since", False: "has changed since"}[present_text(source)[0]]
    lines = _field("document", f"{one_line(source.title)} (sha256 {source.sha256[:16]}, {state})")
    lines += _field("clause", clause)
    passage = passage_of(source, clause)
    if passage is None:
        return lines
    lines += _field("heading", " > ".join(one_line(heading) for heading in passage.heading))
    lines += _field("page", str(passage.page)) if passage.page is not None else []
    return lines + _field("words", passage.text)


def _quote(origin: Provenance, source: DataSource | None) -> list[str]:
    place = f"characters {origin.start} to {origin.end}: {describe_quote(origin, source)}"
    return [*_field("quote", origin.quote), *_field("", place)]


def describe_quote(origin: Provenance, source: DataSource | None) -> str:
    """Say whether the quote stands at its offsets, in the document or, where that is not at hand, in its clause."""
    same, text = present_text(source) if source else (None, "")
    if same and text[origin.start : origin.end] == origin.quote:
        return "it stands there"
    passages = source.passages if source else ()
    around = next((p for p in passages if p.start <= origin.start and origin.end <= p.end), None)
    holds = around is not None and around.text[origin.start - around.start :].startswith(origin.quote)
    if same:  # an earlier version may have counted the file's characters otherwise
        return (
            "it stands there, as counted when the data were written"
            if holds and origin.quote in text
            else "it does NOT stand there"
        )
    if around is None:
        return "not checked, the document is not at hand"
    said = "it stood there" if holds else "it did NOT stand there"
    if same is None:
        return f"{said} when the data were written"
    now = "still has these words" if origin.quote in text else "has these words no more"
    return f"{said} when the data were written; the present document {now}"


@lru_cache(maxsize=64)
def _read(name: str, path: Path | None, _: float) -> tuple[str, str] | None:
    """Return hash and text of a document as it is now, or None where it is not at hand."""
    if path is None and name not in shipped_names():
        return None
    try:
        document = read_document(path, name) if path else shipped_document(name)
    except ValignError:
        return None
    return document.sha256, document.text


def present_text(source: DataSource) -> tuple[bool | None, str]:
    """Return whether the document is still the same, None where it is not at hand, and its present text."""
    path = Path(source.path).expanduser() if source.path else None
    changed_at = path.stat().st_mtime if path and path.is_file() else 0.0
    found = _read(source.name, path, changed_at)
    return (found[0] == source.sha256, found[1]) if found else (None, "")


def _prompt(origin: Provenance, source: DataSource | None) -> list[str]:
    """Return the prompt's id, hash and words, and whether it has changed since."""
    name = origin.template
    if name.startswith("frame/"):
        return _field("prompt", f"{name}: a fixed sentence, not a prompt")
    if name == ADDED_BY_PERSON:
        return _field("prompt", "none; a person wrote the row")
    if name.startswith(f"{FROM_FILE}/"):
        return _field("prompt", f"none; a row of the file {name.removeprefix(f'{FROM_FILE}/')}")
    try:
        every = [load_template(name, language=code) for code in PACKS]
        now = next((one for one in every if one.hash == origin.template_hash), every[0])
    except ValignError:
        now = None
    kept = source.templates.get(name, ("", "")) if source else ("", "")
    same = now is not None and now.hash == origin.template_hash
    state = "unchanged since" if same else f"has changed since, now {now.hash}" if now else "no longer there"
    text = template_text(now) if now and same else kept[1] if kept[0] == origin.template_hash else ""
    head = f"{name} {origin.template_hash} ({state}{'' if text else '; its words were not kept'})"
    return [*_field("prompt", head), *textwrap.indent(text, " " * (LABEL_WIDTH + 2), lambda _: True).splitlines()]


def _teacher(row: DataRow) -> str:
    return "; ".join(filter(None, [row.provenance.teacher, _pairs(row.provenance.sampling)]))


def _pairs(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )


def _answers(row: DataRow) -> list[str]:
    if isinstance(row, Preference):
        return [*_field("chosen", row.chosen), *_field("rejected", f"({row.rejected_kind}) {row.rejected}")]
    return _field("answer", row.answer)


def _examples(data: Sequence[DataSet], clause: str) -> list[str]:
    """Return every example of a clause; with the data sets that have it where not all of several do."""
    found: dict[str, tuple[DataRow, list[str]]] = {}
    for one in data:
        for row in rows_of(one):
            if clause in row.clauses:
                found.setdefault(repr(row), (row, []))[1].append(one.folder.name)
    lines = _field("examples", f"{len(found)} in {', '.join(str(one.folder) for one in data)}")
    for row, names in found.values():
        only = "" if len(names) == len(data) else f" [{', '.join(names)}]"
        lines += ["", *_field("", f"{row.example_id}  {row.kind}{only}")]
        lines += [line for text in (row.question, *_replies(row)) for line in _field("", f"  {one_line(text)}")]
    return lines


def _replies(row: DataRow) -> list[str]:
    if isinstance(row, Preference):
        return [f"+ {row.chosen}", f"- {row.rejected} ({row.rejected_kind})"]
    return [f"= {row.answer}"]


def _field(label: str, text: str) -> list[str]:
    """Return a labelled text; only a label ever stands at the beginning of a line."""
    lines = []
    for line in printable(text).split("\n"):
        words = line.strip()
        space = " " * (LABEL_WIDTH + len(line) - len(line.lstrip()))
        lines += textwrap.wrap(
            words,
            LINE_WIDTH,
            initial_indent=space,
            subsequent_indent=space,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return [f"{label:<{LABEL_WIDTH}}{lines[0][LABEL_WIDTH:]}".rstrip(), *lines[1:]]
