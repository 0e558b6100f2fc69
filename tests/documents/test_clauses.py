"""``valign.clauses`` shows how a document is split."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from valign.clauses import main
from valign.core.errors import ValignError
from valign.documents.read import parse_document


def config(path: Path) -> dict[str, object]:
    """The part of the config that is read."""
    return {"document": {"name": "harbour", "path": str(path), "title": None, "max_words": 160}}


def test_each_passage_is_a_line_that_a_question_file_can_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Marks that a terminal would obey are left out."""
    path = tmp_path / "harbour.md"
    path.write_text("# 1 Boats\n\nBoats keep left.\n\n# 2 Dogs\n\nDogs stay \x1b[31mashore.\n", encoding="utf-8")
    main(OmegaConf.create(config(path)))
    assert capsys.readouterr().out.splitlines() == [
        "clause\twords\tbegins with",
        "harbour/section-1\t3\tBoats keep left.",
        "harbour/section-2\t3\tDogs stay ashore.",
    ]


def test_pages_are_shown_where_there_are_any(capsys: pytest.CaptureFixture[str]) -> None:
    """The fictional code of conduct has one as a PDF."""
    pdf = Path(__file__).parents[2] / "valign" / "documents" / "data" / "conduct.pdf"
    main(OmegaConf.create(config(pdf)))
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head == "clause\tpage\twords\tbegins with"
    assert first.split("\t")[:2] == ["harbour/paragraph-1", "1"]


def test_what_is_left_out_is_counted_by_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Below the passages: characters without white space, places, and the first of them."""
    path = tmp_path / "harbour.html"
    path.write_text("<h1>Code</h1><p>Boats keep left.</p><p>* * *</p><p>~ / ~</p>", encoding="utf-8")
    main(OmegaConf.create(config(path)))
    assert capsys.readouterr().out.splitlines() == [
        "clause\twords\tbegins with",
        "harbour/paragraph-1\t3\tBoats keep left.",
        "",
        "left out\tcharacters\tplaces\tbegins with",
        "without a letter or digit\t6\t2\t* * *",
    ]


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """Nothing is printed before it."""
    with pytest.raises(ValignError, match="does not exist"):
        main(OmegaConf.create(config(tmp_path / "none.md")))


def clauses_of(markdown: str) -> dict[str, str]:
    document = parse_document(markdown.encode(), "p", suffix="md")
    return {passage.clause: passage.text for passage in document.passages}


def test_a_list_that_goes_on_with_a_sentence_belongs_to_it() -> None:
    """An exception alone would be a clause that allows what the rule forbids; rules below a name are clauses still."""
    rule = "Private devices stay apart, except\n\n1. for the guest network,\n2. for a phone, and\n3. in an emergency."
    names = "Duties of staff\n\n1. Everyone wears a helmet.\n2. Nobody runs."
    assert clauses_of(f"# P\n\n## 3. Devices\n\n{rule}\n\n## 4. Duties\n\n{names}\n") == {
        "p/section-3": rule,
        "p/section-4/0": "Duties of staff",
        "p/section-4/1": "Everyone wears a helmet.",
        "p/section-4/2": "Nobody runs.",
    }


def test_an_empty_annex_takes_no_other_heading() -> None:
    """A name does belong to the label above it."""
    text = "# P\n\n## Annex X\n\n## 9. Zeta\n\nAll is well here.\n\n## Article 1\n\n## Freedom\n\nAll are free.\n"
    text += "\n## Article 2\n\n## 30 days notice\n\nLeave is asked for.\n"
    document = parse_document(text.encode(), "p", suffix="md")
    assert [(p.clause, p.heading[1:]) for p in document.passages] == [
        ("p/section-9", ("9. Zeta",)),
        ("p/article-1", ("Article 1. Freedom",)),
        ("p/article-2", ("Article 2. 30 days notice",)),
    ]
    assert [(entry.reason, entry.example) for entry in document.left_out] == [("heading without text", "Annex X")]


def test_a_long_table_is_cut_between_its_rows() -> None:
    rows = [f"| Item {n} | {10 * n} euros a year | line manager {n} and head of unit |" for n in range(1, 40)]
    found = clauses_of("# P\n\n## 1. Limits\n\n| Item | Limit | Who |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    assert len(found) > 2
    lines = [line for text in found.values() for line in text.split("\n")]
    assert lines == ["Item | Limit | Who", *(row.strip("| ") for row in rows)]
