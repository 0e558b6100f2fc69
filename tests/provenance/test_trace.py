"""The ledger: from an id to document, clause, quote, prompt, teacher, filters, and to every example of a clause."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from stored import ANSWER, HASH, RULES, harbour, origin, write_data, write_run

from valign.core.errors import ValignError
from valign.core.files import read_jsonl, write_json, write_jsonl
from valign.core.records import Instruction
from valign.provenance.entries import clause_entry, describe_quote, trace_entry
from valign.provenance.ledger import Ledger, read_ledger, resolve_id
from valign.synthesis.dataset import DataSource, read_source
from valign.synthesis.templates import load_template

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a store of one data set, and two runs on it whose document is ``harbour.txt``."""
    document = tmp_path / "harbour.txt"
    document.write_text(RULES)
    write_data(tmp_path / "artifacts", source=False)
    for name in ("sft", "sft_dpo"):
        write_run(tmp_path / "runs" / "harbour" / name, tmp_path / "artifacts", document)
    return tmp_path


def ledger(place: Path) -> Ledger:
    """Read what lies in a folder."""
    return read_ledger(place / "artifacts", place / "runs")


def field(text: str, label: str) -> str:
    """Return the lines of an entry that belong to a label, joined."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"{label} "))
    rest = []
    for line in lines[start + 1 :]:
        if line[:1] not in ("", " "):
            break
        rest.append(line)
    return " ".join(" ".join([lines[start].removeprefix(label), *rest]).split())


def test_an_example_leads_back_to_document_prompt_and_teacher(place: Path) -> None:
    text = trace_entry(ledger(place), "sft-1111aaaa")
    template = load_template("question")
    assert text.startswith("sft-1111aaaa: question, D_sft\n")
    assert field(text, "document") == f"Harbour [code] (sha256 {harbour().sha256[:16]}, unchanged since)"
    assert field(text, "clause") == "harbour/rule-1"
    assert field(text, "heading") == "Harbour [code] > Rule 1. Helmets"
    assert field(text, "words") == ANSWER
    start = RULES.index(ANSWER)
    assert field(text, "quote") == f"{ANSWER} characters {start} to {start + len(ANSWER)}: it stands there"
    assert field(text, "prompt").startswith(f"question {template.hash} (unchanged since) ### user")
    assert "Rule: {passage}" in field(text, "prompt")
    assert field(text, "teacher") == "parrot@1; temperature 0.6, seed 7"
    assert field(text, "filters") == "rank 1"
    assert (field(text, "question"), field(text, "answer")) == ("What do I wear?", ANSWER)
    assert field(text, "data") == str(place / "artifacts" / "data" / HASH)
    assert field(text, "used by") == " ".join(str(place / "runs" / "harbour" / run) for run in ("sft", "sft_dpo"))
    assert "\npage " not in text


def test_a_pair_and_a_row_without_a_teacher(place: Path) -> None:
    pair = trace_entry(ledger(place), "pref-2222")
    assert (field(pair, "chosen"), field(pair, "rejected")) == ("No.", "(edit) Yes.")
    assert field(pair, "filters") == "overlap 0.125"
    claim = trace_entry(ledger(place), "sft-1111b")
    assert field(claim, "teacher") == "none; valign wrote it"
    assert field(claim, "prompt") == "frame/claim: a fixed sentence, not a prompt"


def test_a_page_is_named_where_there_is_one(place: Path) -> None:
    for run in ("sft", "sft_dpo"):
        file = place / "runs" / "harbour" / run / "run.json"
        details = json.loads(file.read_text())
        details["passages"][0]["page"] = 12
        write_json(file, details)
    assert field(trace_entry(ledger(place), "sft-1111aaaa"), "page") == "12"


def test_an_answer_shows_every_arm_and_the_examples_of_its_clause(place: Path) -> None:
    """Both runs have the same answers, so each is shown once, with both folders."""
    text = trace_entry(ledger(place), "own-1")
    runs = ", ".join(str(place / "runs" / "harbour" / run) for run in ("sft", "sft_dpo"))
    assert (field(text, "clause"), field(text, "reference")) == ("harbour/rule-2", "No.")
    assert field(text, "[base]") == f"Yes, of course. ({runs})"
    assert field(text, "[SFT]") == f"Nobody may. ({runs})"
    assert text.count("Yes, of course.") == 1
    assert field(text, "examples").startswith("1 in ")
    assert "pref-2222 situation My neighbour feeds a goose. Is she right? + No. - Yes. (edit)" in field(
        text, "examples"
    )
    assert "sft-1111" not in text


def test_a_clause_lists_every_example_once(place: Path) -> None:
    """A second data set repeats one of the two rows; the other is marked with the set that has it."""
    other = write_data(place / "artifacts", "00000000000000bb")
    write_jsonl(other / "sft.jsonl", read_jsonl(other / "sft.jsonl", Instruction)[:1])
    text = clause_entry(ledger(place), "harbour/rule-1")
    assert field(text, "examples").startswith("2 in ")
    assert text.count("sft-1111aaaa  question\n") == 1
    assert text.count(f"sft-1111bbbb  claim [{HASH}]\n") == 1
    assert field(text, "evaluation") == "-"
    assert field(clause_entry(ledger(place), "harbour/rule-2"), "evaluation") == "own-1 May I feed one?"


def test_other_words_of_a_clause_are_another_version(place: Path) -> None:
    other = write_data(place / "artifacts", "00000000000000bb")
    source = json.loads((other / "source.json").read_text())
    source["passages"][0]["text"] = "Every guard wears a red helmet."
    write_json(other / "source.json", source)
    text = clause_entry(ledger(place), "harbour/rule-1")
    assert text.count("clause     harbour/rule-1") == 2
    assert len(re.findall(r"examples   2 in\s", text)) == 2
    assert "red helmet" in text


def test_quotes_are_checked_against_their_offsets(place: Path) -> None:
    """Shifted by one the quote does not stand there; a longer document moves nothing that was written before."""
    document = harbour()
    path = place / "harbour.txt"
    source = DataSource("harbour", "Harbour", document.sha256, str(path), document.passages)
    good = origin(ANSWER)
    bad = replace(good, quote="E" + ANSWER[:-1])
    assert describe_quote(good, source) == "it stands there"
    assert describe_quote(bad, source) == "it does NOT stand there"
    away = replace(source, path=str(place / "gone.md"))
    assert describe_quote(good, away) == "it stood there when the data were written"
    assert describe_quote(bad, away) == "it did NOT stand there when the data were written"
    assert describe_quote(good, None) == "not checked, the document is not at hand"
    path.write_text("New.\n\n" + RULES)
    os.utime(path, (1, 1))
    assert describe_quote(good, source).endswith("written; the present document still has these words")
    path.write_text(RULES.replace("yellow", "red"))
    os.utime(path, (2, 2))
    assert describe_quote(good, source).endswith("written; the present document has these words no more")
    assert "has changed since)" in trace_entry(ledger(place), "sft-1111aaaa")


def test_quotes_of_data_by_an_earlier_version_are_found(place: Path) -> None:
    """It counted the marks of a Markdown file, too."""
    path = place / "harbour.md"
    path.write_text(RULES)
    source = DataSource("harbour", "Harbour", harbour().sha256, str(path), harbour().passages)
    good = origin(ANSWER)
    assert describe_quote(good, source) == "it stands there, as counted when the data were written"
    assert describe_quote(replace(good, quote="E" + ANSWER[:-1]), source) == "it does NOT stand there"


def test_a_prompt_that_has_changed_is_shown_as_it_was(place: Path) -> None:
    """The words that are kept beside the data have the row's hash; without them only the hashes can be compared."""
    folder = write_data(place / "artifacts", "00000000000000bb")
    now = load_template("question").hash
    rows = [
        replace(row, provenance=replace(row.provenance, template_hash="0ld"))
        for row in read_jsonl(folder / "sft.jsonl", Instruction)[:1]
    ]
    write_jsonl(folder / "sft.jsonl", rows)
    alone = read_ledger(place / "artifacts", place / "nowhere")
    mixed = trace_entry(alone, "sft-1111aaaa")
    assert f"prompt     question 0ld (has changed since, now {now}; its words were not kept)" in mixed
    source = json.loads((folder / "source.json").read_text())
    source["templates"] = {"question": ["0ld", "### user\nAsk about {passage} in the old way."]}
    write_json(folder / "source.json", source)
    text = trace_entry(read_ledger(place / "artifacts", place / "nowhere"), "sft-1111aaaa")
    assert f"prompt     question 0ld (has changed since, now {now})" in text
    assert "             Ask about {passage} in the old way." in text


def test_texts_cannot_play_tricks_on_the_terminal(place: Path) -> None:
    """Control characters go, and no line of a text begins where labels do."""
    folder = place / "artifacts" / "data" / HASH
    (row, *_) = read_jsonl(folder / "sft.jsonl", Instruction)
    write_jsonl(folder / "sft.jsonl", [replace(row, answer="\x1b]0;owned\x07Fine.\r\nteacher    somebody\u202e")])
    text = trace_entry(ledger(place), row.example_id)
    assert all(character.isprintable() or character == "\n" for character in text)
    assert field(text, "answer") == "]0;ownedFine. teacher somebody"
    assert [line for line in text.splitlines() if line.startswith("teacher")] == [
        "teacher    parrot@1; temperature 0.6, seed 7"
    ]


def test_ids_may_be_shortened_and_mistakes_name_the_nearest() -> None:
    known = ["sft-12", "sft-13", "sft-2", "udhr/article-1", "udhr/article-14"]
    assert resolve_id("sft-2", known) == resolve_id("sft-2", known[2:]) == "sft-2"
    assert resolve_id("udhr/article-1", known) == "udhr/article-1"
    with pytest.raises(ValignError, match=r"id=sft-1 is the beginning of 2 ids; write one out: sft-12, sft-13$"):
        resolve_id("sft-1", known)
    with pytest.raises(ValignError, match=r"begin.* of 5 ids; write one out: a1, a2, a3, \.\.\.$"):
        resolve_id("a", [f"a{i}" for i in range(1, 6)])
    with pytest.raises(ValignError, match=r"clause=udhr/artcle-14 is unknown; the nearest ids: udhr/article-14, udhr"):
        resolve_id("udhr/artcle-14", known, "clause")
    with pytest.raises(ValignError, match=r"id=x is unknown; the nearest ids: none"):
        resolve_id("x", [])


def test_damaged_data_are_left_out_and_an_empty_store_is_named(
    place: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    folder = write_data(place / "artifacts", "00000000000000bb")
    (folder / "sft.jsonl").write_text("{}\n")
    (place / "runs" / "harbour" / "sft" / "run.json").write_text('{"artifacts": {}}')
    (place / "runs" / "harbour" / "sft_dpo" / "run.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert [data.folder.name for data in ledger(place).data] == [HASH]
    assert caplog.text.count("left out: ") == 3
    assert "sft.jsonl, line 1" in caplog.text
    with pytest.raises(ValignError, match=r"hold no data and no finished run; run python -m valign\.synthesize"):
        read_ledger(tmp_path / "a", tmp_path / "b")


def test_a_shipped_document_is_at_hand(tmp_path: Path) -> None:
    """Data keep their source, so they need no run; the fictional harbour is not among the shipped documents."""
    source = read_source(write_data(tmp_path / "artifacts"))
    assert source is not None
    assert describe_quote(origin(ANSWER), source) == "it stood there when the data were written"
    assert "not at hand" in trace_entry(read_ledger(tmp_path / "artifacts", tmp_path), "sft-1111aaaa")


@pytest.mark.slow
def test_the_entry_points_print_one_entry_and_write_one_folder(place: Path) -> None:
    """From the folder that the runs were started from, with the default folders."""

    def run(module: str, *arguments: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", f"valign.{module}", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout, done.stderr

    code, stdout, stderr = run("trace", "clause=harbour/rule-2")
    assert (code, stderr) == (0, "")
    assert "pref-2222" in stdout
    code, stdout, stderr = run("trace", "id=pref-3333")
    assert (code, stdout) == (2, "")
    assert stderr == "error: id=pref-3333 is unknown; the nearest ids: pref-2222\n"
    code, stdout, stderr = run("export", "run=runs/harbour/sft", "output=data")
    assert (code, stderr) == (0, "")
    assert stdout.startswith("2 examples and 1 pairs: data\n")
    assert (place / "data" / "dataset_info.json").is_file()
