"""Exported data load with the formats that other trainers document, and their card says what they are."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from stored import ANSWER, FILTERS, HASH, RULES, write_data, write_run

from valign.core.errors import ValignError
from valign.core.text import markdown, one_line, printable
from valign.provenance.dataset_card import make_card
from valign.provenance.formats import write_portable
from valign.provenance.runs import data_of_run
from valign.synthesis.dataset import read_data

ORIGIN = [
    "example_id", "clauses", "kind", "verdict", "quote", "quote_start", "quote_end", "template", "template_hash",
    "teacher", "sampling", "filters",
]  # fmt: skip


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """The small data set, exported."""
    output = tmp_path / "out" / "harbour"
    write_portable(read_data(write_data(tmp_path / "artifacts")), output, "cc-by-4.0")
    return output


def rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def check_turns(turns: list[dict[str, str]], *roles: str) -> None:
    """Check a list of messages against the conversational format: role and content, texts both."""
    assert [turn["role"] for turn in turns] == list(roles)
    assert all(set(turn) == {"role", "content"} and isinstance(turn["content"], str) for turn in turns)


def test_the_folder_loads_with_datasets_as_trl_documents_it(exported: Path, tmp_path: Path) -> None:
    """Language modelling has ``messages``; preference has ``prompt``, ``chosen`` and ``rejected``, as messages."""
    from datasets import load_dataset

    cache = str(tmp_path / "cache")
    sft = load_dataset(str(exported), "sft", split="train", cache_dir=cache)
    preference = load_dataset(str(exported), "preference", split="train", cache_dir=cache)
    assert sft.column_names == ["messages", *ORIGIN]
    assert preference.column_names == ["prompt", "chosen", "rejected", *ORIGIN, "rejected_kind"]
    assert (len(sft), len(preference)) == (2, 1)
    check_turns(sft[0]["messages"], "user", "assistant")
    assert [turn["content"] for turn in sft[0]["messages"]] == ["What do I wear?", ANSWER]
    check_turns(preference[0]["prompt"], "user")
    check_turns(preference[0]["chosen"], "assistant")
    check_turns(preference[0]["rejected"], "assistant")
    assert (preference[0]["chosen"][0]["content"], preference[0]["rejected"][0]["content"]) == ("No.", "Yes.")
    if importlib.util.find_spec("trl"):
        from trl import is_conversational

        assert is_conversational(sft[0])
        assert is_conversational(preference[0])


def test_the_json_lines_hold_the_same_rows(exported: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    for name, file in (("sft", "sft.jsonl"), ("preference", "preference.jsonl")):
        loaded = load_dataset(str(exported), name, split="train", cache_dir=str(tmp_path / "cache"))
        assert loaded.to_list() == rows(exported / file)


def test_every_row_keeps_where_it_came_from(exported: Path) -> None:
    """The quote stands at its offsets; settings and scores differ from row to row, so they are JSON texts."""
    asked, claim = rows(exported / "sft.jsonl")
    for row in (asked, claim, *rows(exported / "preference.jsonl")):
        assert RULES[row["quote_start"] : row["quote_end"]] == row["quote"]
    assert (asked["example_id"], asked["clauses"], asked["teacher"]) == ("sft-1111aaaa", ["harbour/rule-1"], "parrot@1")
    assert json.loads(asked["sampling"]) == {"temperature": 0.6, "seed": 7}
    assert json.loads(asked["filters"]) == {"rank": 1.0}
    assert (claim["sampling"], claim["template"]) == ("{}", "frame/claim")


def test_llama_factory_finds_both_files(exported: Path) -> None:
    """Its sharegpt converter takes turns user, assistant, ... for SFT (an even number) and an odd number before a pair.

    Of a pair it takes only answers that are one object each, with the tags' keys; other ones it would train on as SFT.
    """
    info = json.loads((exported / "dataset_info.json").read_text())
    assert set(info) == {"harbour_sft", "harbour_preference"}
    for entry in info.values():
        tags, columns = entry["tags"], entry["columns"]
        assert entry["formatting"] == "sharegpt"
        for row in rows(exported / entry["file_name"]):
            turns = row[columns["messages"]]
            expected = [tags["user_tag"], tags["assistant_tag"]][: len(turns)]
            assert [turn[tags["role_tag"]] for turn in turns] == expected
            assert all(turn[tags["content_tag"]] for turn in turns)
            assert len(turns) % 2 == (1 if entry.get("ranking") else 0)
            for answer in (row[columns[side]] for side in ("chosen", "rejected") if entry.get("ranking")):
                assert answer[tags["role_tag"]] == tags["assistant_tag"]
                assert answer[tags["content_tag"]]


def test_axolotl_finds_its_default_columns(exported: Path) -> None:
    """``chat_template.default`` reads ``messages``, and ``chosen`` and ``rejected`` as one message each."""
    (row,) = rows(exported / "preference_single.jsonl")
    check_turns(row["messages"], "user")
    check_turns([row["chosen"], row["rejected"]], "assistant", "assistant")
    assert row["rejected_kind"] == "edit"


def test_the_card_counts(exported: Path) -> None:
    """Two rows on one of two clauses, one pair; the question "May I feed one?" shares no six words with them."""
    text = (exported / "README.md").read_text()
    front = yaml.safe_load(text.split("---\n")[1])
    assert (front["license"], front["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    facts = front["valign"]
    assert facts["example_kinds"] == {"question": 1, "claim": 1}
    assert facts["rejected_kinds"] == {"edit": 1}
    assert (facts["examples"], facts["pairs"], facts["clauses"], facts["clauses_covered"]) == (2, 1, 2, 1)
    assert facts["given_rows"] == 0
    assert (facts["quotes_verified"], facts["leak_rate"], facts["teacher"]) == (1.0, 0.0, "parrot@1")
    assert len(facts["document_sha256"]) == 64
    assert "# Harbour \\[code\\]: alignment data\n" in text
    assert "D_sft: 3 made, 2 kept" in text
    assert "min_relevance 0.3, max_rank 2" in text
    assert "May I feed one?" not in text + (exported / "sft.jsonl").read_text()


def test_the_card_names_the_contract_and_the_judge(tmp_path: Path) -> None:
    """Limits, judge and contract of newer data; data that know of none of them are told by what they have."""
    write_data(tmp_path)
    data = read_data(tmp_path / "data" / HASH)
    old = make_card(data, "unknown")
    assert "max_overlap 0.5. Faithfulness of answers: nearness of meaning" in old and "coverage" not in old
    filters = FILTERS | {"max_wording": 0.85, "faithfulness": "judge"}
    short = {"preferences": {"least": 2, "short": {"harbour/rule-1": 0}}}
    counts = data.manifest["counts"] | {"coverage": short}
    flat = {"answers": "quote", **filters}  # as earlier versions had it
    for synthesis in ({"answers": "quote", "filters": filters}, flat):
        manifest = data.manifest | {"config": data.manifest["config"] | {"synthesis": synthesis}, "counts": counts}
        new = make_card(replace(data, manifest=manifest), "unknown")
        assert "max_wording 0.85, max_overlap 0.5. Faithfulness of answers: by the teacher." in new
    assert "coverage asked of every clause: 2 D_pref\n" in new
    assert "WARNING: short of synthesis.coverage.min_preferences=2: harbour/rule-1 (0)" in new


def test_the_card_counts_given_rows_and_names_what_they_were_spared(tmp_path: Path) -> None:
    write_data(tmp_path)
    data = read_data(tmp_path / "data" / HASH)
    assert "were not put through" not in make_card(data, "unknown")
    first = replace(data.sft[0], provenance=replace(data.sft[0].provenance, teacher="given: the clerk"))
    synthesis = {"answers": "quote", "filters": FILTERS | {"waive": ["relevance", "grounding"]}}
    manifest = data.manifest | {"config": data.manifest["config"] | {"synthesis": synthesis}}
    card = make_card(replace(data, sft=[first, *data.sft[1:]], manifest=manifest), "unknown")
    assert "Given rows were not put through: relevance, grounding. Thresholds" in card
    assert yaml.safe_load(card.split("---\n")[1])["valign"]["given_rows"] == 1


def test_a_folder_that_holds_something_is_left_alone(exported: Path, tmp_path: Path) -> None:
    data = read_data(tmp_path / "artifacts" / "data" / "00000000000000aa")
    before = {file: file.read_bytes() for file in exported.rglob("*") if file.is_file()}
    with pytest.raises(ValignError, match="is there already and not an empty folder; choose another"):
        write_portable(data, exported, "unknown")
    with pytest.raises(ValignError, match="is there already and not an empty folder; choose another"):
        write_portable(data, exported / "README.md", "unknown")
    assert {file: file.read_bytes() for file in exported.rglob("*") if file.is_file()} == before
    assert [path.name for path in exported.parent.iterdir()] == ["harbour"]
    (tmp_path / "empty").mkdir()
    write_portable(data, tmp_path / "empty", "unknown")
    assert (tmp_path / "empty" / "README.md").is_file()


def test_a_run_leads_to_its_data(tmp_path: Path) -> None:
    """Data without a source of their own get the document from the run."""
    store = tmp_path / "artifacts"
    folder = write_data(store, source=False)
    run = write_run(tmp_path / "runs" / "harbour" / "sft", store)
    assert read_data(folder).source is None
    data = data_of_run(run)
    assert data.folder == folder
    assert data.source is not None
    assert (data.source.name, data.source.title) == ("harbour", "Harbour [code]")
    with pytest.raises(ValignError, match=r"not the folder of a finished run; give one such as runs/udhr/sft_dpo"):
        data_of_run(tmp_path / "runs")
    (folder / "manifest.json").unlink()
    with pytest.raises(ValignError, match=r"is not there; start from the folder .* artifact=FOLDER"):
        data_of_run(run)
    with pytest.raises(ValignError, match="holds no complete data set; give a folder such as"):
        read_data(folder)


def test_texts_are_made_fit_for_a_terminal_and_for_markdown() -> None:
    """Escape and bell go, so do marks that turn the reading order round; line ends become one kind."""
    assert printable("a\x1b[31mb\x07c\u202ed\r\ne\u2028f\x9bg\ud800h") == "a[31mbcd\ne\nfgh"
    assert printable("tab\there") == "tab    here"
    assert one_line(" a\n\n b\x00 ") == "a b"
    assert markdown("![x](y) <b> a|b") == r"\!\[x\](y) \<b\> a\|b"
