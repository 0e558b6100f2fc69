"""PDF: raised marks and exponents, scripts from right to left, what is left out, and hostile files."""

from __future__ import annotations

import io
import time
from pathlib import Path
from typing import Any

import pytest
from pdfs import column, pdf
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from valign.core.errors import ValignError
from valign.documents.blocks import Source
from valign.documents.limits import call_limited
from valign.documents.read import parse_document
from valign.documents.readers.pdf import read_pdf

FULL = "The makers of gauges keep this rule in every workshop and at every bench and fair and pier."


def opened(raw: bytes) -> Source:
    return read_pdf(raw, "policy.pdf", 1_000_000)


def raised(line: str, small: int = 6, rise: float = 3.5) -> bytes:
    """Return a page of text in which what stands between ``^`` is smaller and raised, by this many points."""
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), invariant=1)
    left = 72.0
    for index, words in enumerate(line.split("^")):
        size = small if index % 2 else 10
        canvas.setFont("Times-Roman", size)
        canvas.drawString(left, 740 + rise if index % 2 else 740, words)
        left += stringWidth(words, "Times-Roman", size)
    canvas.setFont("Times-Roman", 10)
    for row in range(4):
        canvas.drawString(72, 700 - 12 * row, FULL)
    canvas.save()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("drawn", "read", "marks"),
    [
        ("Gifts above 50^2^ euros go back within 30^3^ days.", "Gifts above 50 euros go back within 30 days.", 2),
        ("Gifts above 50^2,3^ euros go back.^4^", "Gifts above 50 euros go back.", 2),
        ("In 2024^12^ it was 1,000.50^1^ euros.", "In 2024 it was 1,000.50 euros.", 2),
        ("A room of 9 m^2^ holds 10^6^ grains.", "A room of 9 m² holds 10⁶ grains.", 0),
        ("On the 1^st^ of May.", "On the 1st of May.", 0),
        ("Add 5 ^1^/2 cups.", "Add 5 1/2 cups.", 0),
        ("Add 5^1^/2 cups.", "Add 5 1/2 cups.", 0),
        ("Gifts above 50 ^2^ euros go back.", "Gifts above 50 euros go back.", 1),
    ],
)
def test_marks_of_notes_go_and_exponents_stay(drawn: str, read: str, marks: int) -> None:
    source = opened(raised(drawn))
    assert source.text.split("\n\n")[0] == read
    assert {part.reason: part.places for part in source.left_out} == ({"note mark": marks} if marks else {})


def hebrew(canvas: Canvas) -> None:
    from matplotlib import get_data_path
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    pdfmetrics.registerFont(TTFont("DejaVu", str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")))
    canvas.setFont("DejaVu", 11)
    canvas.drawRightString(500, 700, "\u05d0\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd")


def test_a_script_from_right_to_left_is_refused_in_one_line() -> None:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), invariant=1)
    hebrew(canvas)
    canvas.save()
    with pytest.raises(ValignError, match=r"policy.pdf is written from right to left.*; save it as .docx"):
        opened(buffer.getvalue())


def test_what_is_left_out_is_counted() -> None:
    pages = [[(72, 815, "Code of the Pier"), *column([f"{FULL} {word}."], top=700)] for word in ("So", "Be", "It")]
    pages[0].append((72, 640, "1 Gifts ............ 3"))
    found = {part.reason: (part.places, part.example) for part in opened(pdf(*pages)).left_out}
    assert found == {"header or footer": (3, "Code of the Pier"), "table of contents": (1, "1 Gifts ............ 3")}


def small_pdf(
    stream: str, resources: str = "", objects: tuple[str, ...] = (), size: tuple[int, int] = (595, 842)
) -> bytes:
    """Return a PDF of one page of a size in points with this content; further objects have the numbers from 6 on."""
    font = "/Font<</F 5 0 R>>"
    box = f"/MediaBox[0 0 {size[0]} {size[1]}]"
    page = f"<</Type/Page/Parent 2 0 R{box}/Contents 4 0 R/Resources<<{font}{resources}>>>>"
    bodies = [
        "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", page,
        f"<</Length {len(stream)}>>stream\n{stream}\nendstream", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        *objects,
    ]  # fmt: skip
    out, offsets = "%PDF-1.4\n", []
    for number, body in enumerate(bodies, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj{body}endobj\n"
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    end = f"trailer<</Size {len(bodies) + 1}/Root 1 0 R>>\nstartxref\n{len(out)}\n%%EOF"
    return f"{out}xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}{end}".encode()


KIND = "BT /F 10 Tf 72 700 Td (Be kind.) Tj ET "


@pytest.mark.parametrize(
    "far",
    [
        "BT /F 1000000000 Tf 72 600 Td (to all) Tj ET",
        "BT /F 10 Tf 1000000 600 Td (to) Tj -2000000 0 Td (all) Tj ET",
    ],
)
def test_letters_beyond_any_page_are_left_out(far: str) -> None:
    source = opened(small_pdf(f"{KIND}{far}"))
    assert source.text == "Be kind.\n"
    assert [(part.reason, part.characters) for part in source.left_out] == [("turned, or off the page", 5)]


def test_more_words_than_a_page_can_have_is_one_line() -> None:
    words = "".join(f"BT /F 8 Tf {x} {y} Td (ab) Tj ET " for x in (0, 7_000, 14_000) for y in range(0, 30_000, 5))
    with pytest.raises(ValignError, match=r"policy.pdf: page 1 has .* words on one page that is .* points wide"):
        opened(small_pdf(words, size=(14_400, 30_000)))


def test_forms_in_forms_end_at_the_limit_of_time() -> None:
    """Ten forms in each of ten: without a limit, 10^9 pieces of text."""

    def form(number: int) -> str:
        body, inner = ("/X Do " * 10, f"/XObject<</X {number + 1} 0 R>>") if number < 14 else (KIND, "")
        return (
            f"<</Type/XObject/Subtype/Form/BBox[0 0 595 842]/Resources<</Font<</F 5 0 R>>{inner}>>"
            f"/Length {len(body)}>>stream\n{body}\nendstream"
        )

    raw = small_pdf("/X Do", "/XObject<</X 6 0 R>>", tuple(form(number) for number in range(6, 15)))
    with pytest.raises(ValignError, match=r"policy.pdf cannot be read in 2 s, which no ordinary document takes"):
        call_limited(parse_document, raw, "policy", None, 160, "policy.pdf", "pdf", where="policy.pdf", seconds=2)


def test_the_most_characters_are_counted_by_page() -> None:
    raw = pdf([(72, 800, "The Pier", 18), *column([FULL, FULL], top=700)])
    with pytest.raises(ValignError, match=r"policy.pdf has more than 20 characters \(at page 1\)"):
        read_pdf(raw, "policy.pdf", 20)


def test_a_long_paragraph_and_a_long_word_take_no_time() -> None:
    """The words of 8 full pages that are one paragraph, and lines of 40,000 dots and letters."""
    line = FULL.rstrip(".")
    pages: list[Any] = [column([line] * 60, top=790) for _ in range(8)]
    pages[0][0] = (72, 790, "." * 40_000)
    pages[0][1] = (72, 778, "a" * 40_000)
    raw = pdf(*pages)
    start = time.process_time()
    source = read_pdf(raw, "policy.pdf", 10_000_000)
    assert source.text.count("gauges") > 400
    assert time.process_time() - start < 10


def test_the_document_is_read_through_the_process() -> None:
    assert parse_document(small_pdf(KIND), "x", suffix="pdf").passages[0].text == "Be kind."
