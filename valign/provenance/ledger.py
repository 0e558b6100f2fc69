"""What the store and the runs know: examples, answers and clauses by their ids."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from valign.core.errors import ValignError
from valign.core.files import read_json, read_jsonl
from valign.core.records import Answer, Instruction, Passage, Preference
from valign.core.store import is_complete, is_digest
from valign.core.text import one_line
from valign.documents.clauses import ClauseIndex
from valign.evaluation.probes.policy import PolicyProbe
from valign.runs.layout import POLICY_ANSWERS, RUN
from valign.synthesis.dataset import DATA_STAGE, DataSet, DataSource, read_data, source_of_run
from valign.synthesis.reviewed_probes import mend_probes

log = logging.getLogger(__name__)

DataRow = Instruction | Preference
NEAREST = 3
DAMAGE = (ValignError, OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)


@dataclass(frozen=True)
class LedgerRun:
    """A finished run or evaluation.

    Attributes:
        folder: Its folder.
        data: Hash of the data that it used; empty where it trained nothing and its questions were given.
        source: Its document.
        answers: What each arm answered.
        probe_answers: What each arm answered to the probes of the rules.
    """

    folder: Path
    data: str
    source: DataSource
    answers: list[Answer]
    probe_answers: tuple[Answer, ...] = ()


@dataclass(frozen=True)
class Ledger:
    """All data sets of a store, the newest first, and all runs of a folder."""

    data: list[DataSet]
    runs: list[LedgerRun]

    @cached_property
    def examples(self) -> dict[str, list[tuple[DataRow, DataSet]]]:
        """Every version of an example, with a data set that has it, by the example's id."""
        found: dict[str, list[tuple[DataRow, DataSet]]] = {}
        for data in self.data:
            for row in rows_of(data):
                found.setdefault(row.example_id, []).append((row, data))
        return found

    @cached_property
    def answers(self) -> dict[str, list[tuple[Answer, LedgerRun]]]:
        """Every answer to an evaluation question, with its run, by the question's id."""
        found: dict[str, list[tuple[Answer, LedgerRun]]] = {}
        for run in self.runs:
            for answer in run.answers:
                found.setdefault(answer.question_id, []).append((answer, run))
        return found

    @cached_property
    def probes(self) -> dict[str, list[tuple[PolicyProbe, DataSet]]]:
        """Every version of a probe of the rules, as people left it, with a data set beside which it was made, by id."""
        found: dict[str, list[tuple[PolicyProbe, DataSet]]] = {}
        for data in self.data:
            index = ClauseIndex(data.source.passages if data.source else ())
            for probe in mend_probes(data.probes, data.reviewed, index)[0]:
                found.setdefault(probe.probe_id, []).append((probe, data))
        return found

    @cached_property
    def clauses(self) -> set[str]:
        """The ids of all clauses that a document, an example or a question names."""
        sources = [*(data.source for data in self.data), *(run.source for run in self.runs)]
        named = {passage.clause for source in sources if source for passage in source.passages}
        named |= {clause for data in self.data for row in rows_of(data) for clause in row.clauses}
        return named | {answer.clause for run in self.runs for answer in run.answers}


def read_ledger(artifacts: Path, runs: Path) -> Ledger:
    """Read the store and the runs; what is damaged or of another version is named in the log and left out.

    Raises:
        ValignError: There is nothing in either.
    """
    files = sorted(runs.rglob(RUN)) if runs.is_dir() else []
    details = {file.parent: values for file in files if (values := _details(file))}
    by_data = {values["artifacts"].get("data", ""): values for values in details.values()}
    folders = [folder for folder in (artifacts / DATA_STAGE).glob("*") if is_complete(folder)]
    folders.sort(key=lambda folder: (folder / "manifest.json").stat().st_mtime_ns, reverse=True)
    data = [found for folder in folders if (found := _data(folder, by_data.get(folder.name)))]
    finished = [run for folder, values in details.items() if (run := _run(folder, values))]
    if not data and not finished:
        raise ValignError(
            f"artifacts={artifacts} and runs={runs} hold no data and no finished run; "
            "run python -m valign.synthesize +experiment=udhr first, or name other folders."
        )
    return Ledger(data, finished)


def _details(file: Path) -> dict[str, Any] | None:
    """Read a ``run.json``, as far as it is one."""
    try:
        values: dict[str, Any] = read_json(file)
        missing = [key for key in ("arms", "document", "passages", "config") if key not in values]
        name = values["artifacts"].get("data", "")  # a run that trained nothing may have none
        if missing or (name != "" and not is_digest(name)):
            raise KeyError(*missing)
        return values
    except DAMAGE as error:
        log.warning("left out: %s (%r)", file, error)
        return None


def _data(folder: Path, run: Mapping[str, Any] | None) -> DataSet | None:
    try:
        return read_data(folder, run)
    except DAMAGE as error:
        log.warning("left out: %s (%s)", folder, error)
        return None


def _run(folder: Path, details: Mapping[str, Any]) -> LedgerRun | None:
    try:
        names = [arm["name"] for arm in details["arms"]]

        def answers(file_name: str) -> list[Answer]:
            files = sorted((folder / "arms").glob(f"*/{file_name}"))
            files.sort(key=lambda file: names.index(file.parent.name) if file.parent.name in names else len(names))
            return [answer for file in files for answer in read_jsonl(file, Answer)]

        asked = answers("answers.jsonl"), tuple(answers(POLICY_ANSWERS))
        return LedgerRun(folder, details["artifacts"].get("data", ""), source_of_run(details), *asked)
    except DAMAGE as error:
        log.warning("left out: %s (%s)", folder, error)
        return None


def rows_of(data: DataSet) -> list[DataRow]:
    """Return both kinds of rows of a data set."""
    return [*data.sft, *data.preferences]


def passage_of(source: DataSource | None, clause: str) -> Passage | None:
    """Return a clause of a document, or None where the document or the clause is not known."""
    passages = source.passages if source else ()
    return next((passage for passage in passages if passage.clause == clause), None)


def resolve_id(wanted: str, known: Iterable[str], key: str = "id") -> str:
    """Return the id that was meant: written out, or its beginning where only one id begins so.

    Ids of one sort begin alike (``sft-``, ``pref-``), so the nearest are looked for among those first.

    Args:
        wanted: What was asked for.
        known: All ids.
        key: The setting, for the message.

    Raises:
        ValignError: No id or several begin so; the message names the nearest.
    """
    ids = sorted(set(known))
    if wanted in ids:
        return wanted
    begin = [one for one in ids if wanted and one.startswith(wanted)]
    if len(begin) == 1:
        return begin[0]
    sort, dash, _ = wanted.partition("-")
    alike = [one for one in ids if dash and "/" not in wanted and one.startswith(f"{sort}-")]
    near = begin or difflib.get_close_matches(wanted, alike or ids, NEAREST, 0.0)
    named = ", ".join(one_line(one) for one in near[:NEAREST]) + (", ..." if len(near) > NEAREST else "")
    if begin:
        raise ValignError(f"{key}={wanted} is the beginning of {len(begin)} ids; write one out: {named}")
    raise ValignError(f"{key}={wanted} is unknown; the nearest ids: {named or 'none'}")
