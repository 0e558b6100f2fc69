"""``valign.clauses`` shows how a document is split."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from valign.clauses import main
from valign.core.errors import ValignError


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
        "harbour/section-2\t3\tDogs stay [31mashore.",
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
