"""Damaged files of every format: each is read or refused in one line, in bounded time and memory."""

from __future__ import annotations

from typing import Any

import docx
import pytest
from fuzzed import EDITS, Edits, damaged, damaged_inside, fuzzing, read_or_refuse
from hypothesis import example, given
from hypothesis import strategies as st
from pdfs import column, pdf
from test_word import NS, cell, listed, paragraph, run, saved

from valign.core.records import Document

PROSE = """Rules of the boat

Article 1
Everyone may row, but for 50 euros a day: (a) alone or (b) with others.

§ 2 Oars
1. Two oars are lent.
2. They go back.

- [ ] wash it | dry it
-----
第一条 总则
"""
MARKDOWN = """---
title: Boats
---
# Rules {#r}

Two[^1] *oars* for ~~50~~ **30** [euros](http://x.org "t") &amp; a ![picture](p.png).

[^1]: A note with `code`.

| a | b |
|---|---|
| 1 | 2 | 3 |

> - quoted <b>words</b>
>   1. inner <!-- comment -->

:::note Watch
```
x = 1
```
:::

[x]: y 'z'
"""
HTML = """<!doctype html><html><head><meta charset="utf-8"><title>Boats</title><style>p{}</style></head><body>
<nav>Home</nav><h1>Rules</h1><p>Two<sup>2</sup> <b>oars</b> &euro;50 <del>60</del><ins>30</ins><br>m<sup>2</sup>
<ul><li>one<ol type=a start=3><li>two</ol></ul><table><tr><th rowspan=2>a<th colspan=2>b<tr><td>1</table>
<details><summary>More</summary><div hidden id=p>Panel</div></details><button aria-controls=p>Open</button>
<math><mfrac><mi>x</mi><mn>2</mn></mfrac></math><!-- note --><script>x()</script><select><option>o</select>
</body></html>
"""


def word_file() -> bytes:
    document = docx.Document()
    document.add_heading("Rules", 1)
    for xml in (
        paragraph(run("Two oars"), run("2", "<w:vertAlign w:val='superscript'/>"), run("gone", "<w:vanish/>")),
        f"<w:tbl><w:tr>{cell('a')}{cell('b')}</w:tr><w:tr>{cell('c')}</w:tr></w:tbl>",
        listed("item", 1),
    ):
        element = docx.oxml.parse_xml(f"<w:body {NS}>{xml}</w:body>")[0]
        document.element.body.insert(len(document.element.body) - 1, element)
    document.add_paragraph("Two more", "List Number")
    document.sections[0].header.paragraphs[0].text = "Running"
    return saved(document)


def pdf_file(**options: int) -> bytes:
    first = [*column(["Article 1", "Everyone may row and has to bring", "two oars of their own."]), (300, 40, "7", 8)]
    return pdf(first, [(72, 760, "Oars", 18, "b"), *column(["They go back."], top=700), (300, 40, "8", 8)], **options)


SEEDS: dict[str, list[bytes]] = {
    "txt": [PROSE.encode(), MARKDOWN.encode(), b"\xff\xfe" + PROSE.encode("utf-16-le")],
    "md": [MARKDOWN.encode(), PROSE.encode()],
    "html": [HTML.encode(), b"\xfe\xff" + HTML.encode("utf-16-be")],
    "docx": [word_file()],
    "pdf": [pdf_file(), pdf_file(pageCompression=0)],
}
FOUND = [
    ("txt", "第零条"),  # a label with nothing behind it was a passage without a word
    ("md", ":::\n第零条"),
    ("txt", "Article 1\n\nArticle 2\n"),
    ("html", "<p>\x1a</p>"),
]


@pytest.mark.parametrize(("suffix", "text"), FOUND)
def test_what_fuzzing_found_is_read_or_refused(suffix: str, text: str) -> None:
    read_or_refuse(text.encode(), suffix)


def attack(suffix: str, seed: int, edits: Edits, member: int, max_words: int) -> Document | str:
    raw = SEEDS[suffix][seed % len(SEEDS[suffix])]
    is_inside = suffix == "docx" and member % 6
    return read_or_refuse(damaged_inside(raw, edits, member) if is_inside else damaged(raw, edits), suffix, max_words)


CHOICES: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 5),
    "edits": EDITS,
    "member": st.integers(0, 30),
    "max_words": st.sampled_from([1, 7, 160]),
}


@pytest.mark.parametrize("suffix", SEEDS)
def test_damaged_files_are_read_or_refused(suffix: str) -> None:
    assert isinstance(read_or_refuse(SEEDS[suffix][0], suffix), Document)
    answers: list[Document | str] = []

    @fuzzing(20)
    @example({"seed": 0, "edits": [("insert", 1.0, 1, b"\n")], "member": 0, "max_words": 160})  # read in every format
    @given(st.fixed_dictionaries(CHOICES))
    def check(chosen: dict[str, Any]) -> None:
        answers.append(attack(suffix, **chosen))

    check()
    assert any(isinstance(answer, Document) for answer in answers)
    assert any(isinstance(answer, str) for answer in answers)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SEEDS)
def test_many_damaged_files_are_read_or_refused(suffix: str) -> None:

    @fuzzing(300 if suffix == "docx" else 1200)
    @given(st.fixed_dictionaries(CHOICES))
    def check(chosen: dict[str, Any]) -> None:
        attack(suffix, **chosen)

    check()


@pytest.mark.parametrize("suffix", SEEDS)
def test_any_bytes_are_read_or_refused(suffix: str) -> None:
    magic = {"pdf": b"%PDF-1.7\n", "docx": b"PK\x03\x04"}.get(suffix, b"")

    @fuzzing(30)
    @example(b"")
    @example(b"\xff\xfe\x00")
    @given(st.binary(max_size=300) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
    def check(raw: bytes) -> None:
        read_or_refuse(raw, suffix)
        read_or_refuse(magic + raw, suffix)

    check()
