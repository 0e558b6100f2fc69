"""Two documents as the programs of others write them: the same clauses from every file (tests/world/programs)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from valign.core.records import Document
from valign.documents.read import parse_document

HERE = Path(__file__).parent / "programs"
FILES = sorted(path.name for path in (HERE / "files").iterdir())
IDS = {
    "toolshed": ["paragraph-1", *(f"rule-{number}" for number in range(1, 22))],
    "fieldwork": (
        "paragraph-1 section-1.1 section-1.2 section-2.1/1 section-2.1/2 section-2.2 section-2.3 section-2.4 "
        "section-3.1/1 section-3.1/2 section-3.2 section-3.3.1 section-3.3.2 section-3.3.3 section-3.4 section-4.1/1 "
        "section-4.1/2 section-4.2 section-4.3 section-5.1 section-5.2 section-5.3 section-6"
    ).split(),
}
GUSTS = "Gusts are those forecast for the nearest station, which for most of our sites is Harrow Point."
BOARDS = (
    "Duckboards are in the long shed at Fenwick; the key hangs in the office. Each board weighs 14 kilograms, and two "
    "people carry it."
)
LEFT_OUT = {
    "fieldwork-chromium.pdf": {"header or footer": 10, "note mark": 2},
    "fieldwork-latex.pdf": {"header or footer": 7, "note mark": 2},
    "fieldwork-libreoffice.docx": {"header or footer": 2},
    "fieldwork-libreoffice.html": {"script or style": 1, "header or footer": 2, "note mark": 4},
    "fieldwork-libreoffice.pdf": {"header or footer": 8, "note mark": 2},
    "fieldwork-pandoc-commonmark_x.md": {"attributes of markup": 26, "note mark": 2},
    "fieldwork-pandoc-gfm.md": {"note mark": 2},
    "fieldwork-pandoc-markdown.md": {"note mark": 2},
    "fieldwork-pandoc-plain.txt": {"without a letter or digit": 1},
    "fieldwork-pandoc.html": {"script or style": 1, "note mark": 4},
    "toolshed-chromium.pdf": {"header or footer": 6},
    "toolshed-latex-columns.pdf": {"header or footer": 3},
    "toolshed-latex.pdf": {"header or footer": 3},
    "toolshed-libreoffice.docx": {"header or footer": 2},
    "toolshed-libreoffice.html": {"script or style": 1, "header or footer": 2},
    "toolshed-libreoffice.pdf": {"header or footer": 4},
    "toolshed-pandoc-commonmark_x.md": {"attributes of markup": 6},
    "toolshed-pandoc.html": {"script or style": 1},
}

Clauses = dict[str, str]


def read(path: Path) -> Document:
    name = re.split(r"[-.]", path.name)[0]
    return parse_document(path.read_bytes(), name, suffix=path.suffix[1:])


def clauses(document: Document) -> Clauses:
    return {p.clause.partition("/")[2]: " ".join(p.text.split()) for p in document.passages}


def source(name: str) -> Document:
    return read(HERE / "source" / f"{name}.md")


def expected(file: str) -> Clauses:
    """What a file should give: the source's clauses, but for what its program writes otherwise."""
    name = file.partition("-")[0]
    found = clauses(source(name))
    if "pandoc-markdown" in file or "commonmark_x" in file:  # quotes and dashes as one types them
        found = {key: _typed(text) for key, text in found.items()}
    if name == "toolshed":
        return found
    lists = {"(a)": "a.", "(b)": "b.", "(c)": "c.", "(d)": "d."}
    if "gfm" in file:  # it has no lettered lists
        found["section-2.1/1"] = _replaced(
            found["section-2.1/1"], dict(zip(lists, ("1.", "2.", "3.", "4."), strict=True))
        )
    if file.endswith(".html") or "chromium" in file:  # HTML has no brackets around the numbers of a list
        found["section-2.1/1"] = _replaced(found["section-2.1/1"], lists)
    if "chromium" in file:  # a browser draws the inner bullets as circles, and prints notes behind the text
        found["section-2.1/1"] = _replaced(found["section-2.1/1"], {"- probes": "probes", "- anything": "anything"})
        return _ended(found, "", ["/0", "/1", "/2"], [f"{GUSTS}↩︎", f"{BOARDS}↩︎"])
    if file == "fieldwork-pandoc-plain.txt":
        found = _ended(found, "[{}]", ["/1", "/2", "/3"], [f"[1] {GUSTS}", f"[2] {BOARDS}"])
    if file in ("fieldwork-pandoc-plain.txt", "fieldwork-pandoc-markdown.md"):  # a table drawn with spaces and dashes
        head, rows = "Work Footwear Also needed", found["section-3.1/2"].replace(" |", "")
        keys = list(found)
        cut = keys.index("section-3.1/2")
        below = {key: found[key] for key in keys[cut + 1 :]}
        found = {key: found[key] for key in keys[:cut]}
        found |= {"section-3.1/2": head, "section-3.1/3": rows.removeprefix(f"{head} ")} | below
    return _one_line_a_paragraph(found) if file == "fieldwork-libreoffice.txt" else found


def _one_line_a_paragraph(found: Clauses) -> Clauses:
    """LibreOffice's text has no blank lines, so paragraphs below a heading are one; what was raised is on the line."""
    found["section-2.1/1"] = _replaced(found["section-2.1/1"], {"- probes": "◦ probes", "- anything": "◦ anything"})
    found["section-3.1/2"] = found["section-3.1/2"].replace(" |", "")
    for key in ("section-2.1", "section-3.1", "section-4.1"):
        found[key] = f"{found.pop(f'{key}/1')} {found.pop(f'{key}/2')}"
    for key, raised, flat in (("3.3.1", "m²", "m2"), ("3.3.2", "10⁶ m²", "106 m2"), ("5.2", "10⁻³", "10−3")):
        found[f"section-{key}"] = found[f"section-{key}"].replace(raised, flat)
    return {key: _replaced(text, {f" [Note: {GUSTS}]": "1", f" [Note: {BOARDS}]": "2"}) for key, text in found.items()}


def _ended(found: Clauses, mark: str, keys: list[str], notes: list[str]) -> Clauses:
    """Move the notes behind the last clause; ``mark`` is what stays of their marks."""
    for key, note, number in (("section-2.3", GUSTS, 1), ("section-3.3.3", BOARDS, 2)):
        found[key] = found[key].replace(f" [Note: {note}]", mark.format(number))
    last = found.pop("section-6")
    return found | {f"section-6{key}": text for key, text in zip(keys, [last, *notes], strict=True)}


def _replaced(text: str, pairs: dict[str, str], is_whole: bool = True) -> str:
    for old, new in pairs.items():
        assert not is_whole or old in text or "Note" in old
        text = text.replace(old, new)
    return text


def _typed(text: str) -> str:
    return _replaced(text, {"“": '"', "”": '"', "’": "'", "—": "---"}, is_whole=False)


@pytest.mark.parametrize("name", sorted(IDS))
def test_the_source_is_read_whole(name: str) -> None:
    document = source(name)
    assert [passage.clause for passage in document.passages] == [f"{name}/{key}" for key in IDS[name]]
    written = (HERE / "source" / f"{name}.md").read_text(encoding="utf-8")
    marks = re.compile(r"^\W+|\W+$|[\^|*#]")
    words = {marks.sub("", word) for word in re.sub(r"\[\^\w+\]:?|^#.*$|^Rule \d+\.", "", written, flags=re.M).split()}
    read_words = {marks.sub("", word) for passage in document.passages for word in passage.text.split()}
    assert {word for word in words - read_words if re.search(r"\w", word)} <= {"m^2", "m2", "106", "10−3"}


@pytest.mark.parametrize("file", FILES)
def test_every_file_gives_the_clauses_of_its_source(file: str) -> None:
    document = read(HERE / "files" / file)
    wanted = expected(file)
    assert clauses(document) == wanted
    assert list(clauses(document)) == list(wanted) or file == "fieldwork-libreoffice.txt"
    assert {part.reason: part.places for part in document.left_out} == LEFT_OUT.get(file, {})
    original = source(file.partition("-")[0])
    assert document.title == original.title
    headings = {p.clause.split("/")[1]: p.heading for p in original.passages}
    assert all(headings[p.clause.split("/")[1]] == p.heading for p in document.passages)


def test_the_files_of_every_format_come_from_two_programs_at_least() -> None:
    made = {(name.rpartition(".")[2], re.split(r"[-.]", name)[1]) for name in FILES}
    for suffix in ("docx", "html", "pdf", "txt"):
        assert len([program for ending, program in made if ending == suffix]) >= 2
    assert len([name for name in FILES if name.endswith(".md")]) == 6
    assert len(FILES) == 25
    assert all((HERE / "files" / name).stat().st_size < 85_000 for name in FILES)
