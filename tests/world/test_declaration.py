"""The declaration in French, Spanish and Chinese: the same 58 clauses as in English, from every format."""

from __future__ import annotations

import hashlib
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from valign.core.records import Document
from valign.documents.read import parse_document, read_document
from valign.documents.shipped import shipped_document

TEXTS = Path(__file__).parent / "languages"
LANGUAGES = ("fr", "es", "zh")
ENGLISH = [passage.clause for passage in shipped_document("udhr").passages]
FIRST = {
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos",
    "zh": "人人生而自由,在尊严和权利上一律平等。",
}
ASYLUM = {
    "fr": "Devant la persécution, toute personne a le droit de chercher asile et de bénéficier de l’asile en d’autres "
    "pays.",
    "es": "En caso de persecución, toda persona tiene derecho a buscar asilo, y a disfrutar de él, en cualquier país.",
    "zh": "人人有权在其他国家寻求和享受庇护以避免迫害。",
}


class Words(HTMLParser):
    """What stands between the tags of a page's body."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []
        self.is_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note whether the page's own title begins, which is the language's name."""
        self.is_title = tag == "title"

    def handle_data(self, data: str) -> None:
        """Keep the words."""
        if data.strip() and not self.is_title:
            self.said.append(data)


def text_of(language: str) -> str:
    return (TEXTS / f"udhr_{language}.txt").read_text(encoding="utf-8")


def paragraphs(language: str) -> list[str]:
    return text_of(language).strip().split("\n\n")


def is_heading(text: str) -> bool:
    return len(text) < 17 and not text.startswith("(") and not text.endswith((",", "générale", "。"))


def as_docx(parts: list[str]) -> bytes:
    docx = pytest.importorskip("docx")
    file, document = io.BytesIO(), docx.Document()
    for index, text in enumerate(parts):
        document.add_paragraph(text, "Title" if index == 0 else "Heading 1" if is_heading(text) else None)
    document.save(file)
    return file.getvalue()


def as_pdf(parts: list[str], language: str) -> bytes:
    pytest.importorskip("pypdfium2")
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.cidfonts import UnicodeCIDFont
    from reportlab.platypus import Paragraph, SimpleDocTemplate

    pdfmetrics.registerFont(UnicodeCIDFont("STSong-Light"))
    wrap = "CJK" if language == "zh" else None
    font = "STSong-Light" if language == "zh" else "Times-Roman"
    body = ParagraphStyle("b", fontName=font, fontSize=11, leading=15, wordWrap=wrap, spaceAfter=8)
    head = ParagraphStyle("h", parent=body, fontSize=14, leading=18, spaceBefore=8)
    file = io.BytesIO()
    story = [Paragraph(text, head if i == 0 or is_heading(text) else body) for i, text in enumerate(parts)]
    SimpleDocTemplate(file, title="").build(story)
    return file.getvalue()


def as_markdown(parts: list[str]) -> bytes:
    marked = [f"# {parts[0]}", *(f"## {text}" if is_heading(text) else text for text in parts[1:])]
    return "\n\n".join(marked).encode()


def read_as(suffix: str, language: str) -> Document:
    parts = paragraphs(language)
    if suffix == "html":
        return read_document(TEXTS / f"udhr_{language}.html", "udhr")
    made = {
        "txt": lambda: text_of(language).encode(),
        "md": lambda: as_markdown(parts),
        "docx": lambda: as_docx(parts),
        "pdf": lambda: as_pdf([text.replace("\u2010", "-") for text in parts], language),
    }
    return parse_document(made[suffix](), "udhr", suffix=suffix)


def plain(text: str) -> str:
    return re.sub(r"\s+", "" if re.search("[\u4e00-\u9fff]", text) else " ", text.replace("\u2010", "-"))


@pytest.mark.parametrize("suffix", ["txt", "md", "html", "docx", "pdf"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_format_gives_the_58_clauses_of_the_english_text(language: str, suffix: str) -> None:
    document = read_as(suffix, language)
    assert [passage.clause for passage in document.passages] == ENGLISH
    assert len(ENGLISH) == 58
    texts = {passage.clause: plain(passage.text) for passage in document.passages}
    assert texts["udhr/article-1"].startswith(plain(FIRST[language]))
    assert texts["udhr/article-14/1"] == plain(ASYLUM[language])
    as_text = {passage.clause: plain(passage.text) for passage in read_as("txt", language).passages}
    assert texts == as_text


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_plain_texts_are_the_source_word_for_word(language: str) -> None:
    page = (TEXTS / f"udhr_{language}.html").read_bytes()
    assert hashlib.sha256(page).hexdigest() in (TEXTS / "README.md").read_text(encoding="utf-8")
    words = Words()
    words.feed(page.decode())
    ours = re.sub(r"^\(\d\) ", "", text_of(language), flags=re.M)
    assert ours.split() == " ".join(words.said).split()


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_left_beside_the_passages_is_headings_and_numbers(language: str) -> None:
    document = read_as("txt", language)
    left = list(document.text)
    for passage in document.passages:
        left[passage.start : passage.end] = " " * (passage.end - passage.start)
    parts = [part for part in "".join(left).split("\n") if part.strip()]
    headings = [text for text in paragraphs(language)[1:] if is_heading(text)]
    assert len(headings) == 31
    numbers = [part for part in parts if re.fullmatch(r"\(\d\) +", part)]
    assert sorted(parts) == sorted([paragraphs(language)[0], *headings, *numbers])
    assert len(numbers) == 32
