"""Renders the code of conduct to PDF and DOCX: python experiments/conduct/make_files.py (needs valign[dev])."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

DATA = Path(__file__).parents[2] / "valign" / "documents" / "data"
# Where a line may be broken within a word, so that the PDF has such places.
BREAKS = {"apprentices": "appren-tices", "measurements": "measure-ments", "hospitality": "hospi-tality",
          "supervisor": "super-visor", "calendar": "calen-dar", "recalibration": "recali-bration",
          "employee": "employ-ee", "supplier": "sup-plier", "company": "com-pany", "customers": "custom-ers",
          "announcement": "announce-ment", "instruments": "instru-ments", "photographed": "photo-graphed"}  # fmt: skip


class Piece(NamedTuple):
    """A paragraph of the source: its kind (``h1`` to ``h3``, ``p``, ``li``, ``ol``), its number and its text."""

    kind: str
    number: int
    text: str


def pieces(markdown: str) -> Iterator[Piece]:
    """Yield the paragraphs of the source."""
    for line in filter(None, markdown.split("\n")):
        if match := re.match(r"(#+) (.*)", line):
            yield Piece(f"h{len(match[1])}", 0, match[2])
        elif match := re.match(r"(\d+)\. (.*)", line):
            yield Piece("ol", int(match[1]), match[2])
        elif line.startswith("- "):
            yield Piece("li", 0, line[2:])
        else:
            yield Piece("p", 0, line)


def make_pdf(source: list[Piece]) -> bytes:
    """Return the code on A5 pages of two columns, with a running header and page numbers."""
    from reportlab.lib.pagesizes import A5
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate, Paragraph

    width, height = A5
    body = ParagraphStyle("p", fontName="Times-Roman", fontSize=9, leading=11, spaceAfter=5, alignment=4)
    body.embeddedHyphenation = 1
    hanging = ParagraphStyle("li", body, leftIndent=13)
    bold = {"fontName": "Times-Bold", "alignment": 0, "keepWithNext": 1, "embeddedHyphenation": 0}
    styles = {
        "p": body,
        "li": hanging,
        "ol": hanging,
        "h1": ParagraphStyle("h1", body, fontSize=15, leading=18, **bold),
        "h2": ParagraphStyle("h2", body, fontSize=11, leading=13, spaceBefore=5, **bold),
        "h3": ParagraphStyle("h3", body, **bold),
    }

    def running(canvas: Any, document: Any) -> None:
        canvas.setFont("Times-Italic", 8)
        canvas.drawString(34, height - 30, source[0].text)
        canvas.drawRightString(width - 34, height - 30, "Third edition")
        canvas.drawCentredString(width / 2, 24, f"Page {document.page}")

    column = (width - 68 - 16) / 2
    frames = [Frame(x, 40, column, height - 84, 0, 0, 0, 0) for x in (34, 34 + column + 16)]
    buffer = io.BytesIO()
    template = BaseDocTemplate(buffer, pagesize=A5, title=source[0].text, invariant=1)
    template.addPageTemplates(PageTemplate("two", frames, onPage=running))
    flow = []
    for piece in source:
        text = re.sub(r"\w+", lambda m: BREAKS.get(m[0], m[0]).replace("-", "\u00ad"), piece.text)
        text = text.replace("\u00ad", "") if piece.kind[0] == "h" else text
        bullet = {"li": "\u2022", "ol": f"{piece.number}."}.get(piece.kind)
        flow.append(Paragraph(text, styles[piece.kind], bulletText=bullet))
    template.build(flow)
    return buffer.getvalue()


def make_docx(source: list[Piece]) -> bytes:
    """Return the code as a Word file with heading styles, and numbers and bullets that Word computes."""
    import docx

    document = docx.Document()
    document.core_properties.title = source[0].text
    fixed = datetime(2026, 1, 1, tzinfo=UTC)
    document.core_properties.created = document.core_properties.modified = fixed
    document.sections[0].header.paragraphs[0].text = source[0].text
    document.sections[0].footer.paragraphs[0].text = "Third edition"
    styles = {"h1": "Title", "h2": "Heading 1", "h3": "Heading 2", "p": None, "li": "List Bullet", "ol": "List Number"}
    for piece in source:
        paragraph = document.add_paragraph(piece.text, styles[piece.kind])
        if piece.kind == "ol":
            if piece.number == 1:
                own = _new_list(document)
            properties = paragraph._p.get_or_add_pPr().get_or_add_numPr()
            properties.get_or_add_ilvl().val = 0
            properties.get_or_add_numId().val = own
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def _new_list(document: Any) -> int:
    """Return a list that counts from 1 again, in the numbering of the style ``List Number``."""
    numbering = document.part.numbering_part.element
    style = document.styles["List Number"].element.pPr.numPr.numId.val
    number = numbering.add_num(numbering.num_having_numId(style).abstractNumId.val)
    number.add_lvlOverride(0).add_startOverride(1)
    return int(number.numId)


def main(folder: Path) -> None:
    """Write both files beside the source, or to another folder."""
    source = list(pieces((DATA / "conduct.md").read_text(encoding="utf-8")))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "conduct.pdf").write_bytes(make_pdf(source))
    (folder / "conduct.docx").write_bytes(make_docx(source))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA)
