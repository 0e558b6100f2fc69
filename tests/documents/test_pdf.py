"""PDF: reading order, running lines, hyphens, headings, pages, and files that cannot be read."""

from __future__ import annotations

import io
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from pdfs import column, pdf
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents import read
from valign.documents.read import parse_document, read_document
from valign.documents.readers import pdf as pdf_reader

DATA = Path(read.__file__).parent / "data"
OFFICE = Path(__file__).parent / "office"
FULL = "the makers of gauges keep this rule in every workshop and at every bench and fair and"  # a line to the margin


def opened(raw: bytes, **options: Any) -> Document:
    document = parse_document(raw, "x", where="policy.pdf", suffix="pdf", **options)
    assert all(document.text[p.start : p.end] == p.text for p in document.passages)
    return document


def blocks(raw: bytes) -> list[str]:
    return opened(raw).text.strip().split("\n\n")


@pytest.mark.parametrize(
    "path",
    [
        DATA / "conduct.pdf",
        DATA / "conduct.docx",
        OFFICE / "conduct.pdf",
        OFFICE / "conduct_columns.pdf",
        OFFICE / "conduct.docx",
        OFFICE / "conduct.html",
    ],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_code_of_conduct_has_the_same_clauses_in_every_format(path: Path) -> None:
    """As valign ships it, and as LibreOffice 7.4 writes it, also in two columns."""
    source, other = read_document(DATA / "conduct.md", "conduct"), read_document(path, "conduct")
    assert [(p.clause, p.heading, p.text.split()) for p in other.passages] == [
        (p.clause, p.heading, p.text.split()) for p in source.passages
    ]
    assert len(source.passages) == 30
    assert other.title == source.title == "Code of Conduct of Quillhaven Gauge Works"


def test_the_code_of_conduct_keeps_its_pages() -> None:
    document = read_document(DATA / "conduct.pdf", "conduct")
    pages = {p.clause: p.page for p in document.passages}
    assert (pages["conduct/section-1"], pages["conduct/section-7/1"], pages["conduct/section-20"]) == (1, 2, 3)
    assert list(pages.values()) == sorted(page or 0 for page in pages.values())
    for running in ("Third edition", "Page 1", "Page 3"):
        assert running not in document.text


def test_columns_are_read_one_after_the_other_between_lines_of_full_width() -> None:
    left = [f"left line {k} of the upper band" for k in range(6)]
    right = [f"right line {k} of the upper band" for k in range(6)]
    page = [
        (72, 800, "A statement that runs over the whole width of the page and therefore above both columns here."),
        *column([*left[:5], "and its end."], 72, 770),
        *column([*right[:5], "and its end."], 320, 767),
        (72, 670, "A second statement over the whole width, which parts the upper columns from the lower ones."),
        *column([f"lower left {k} in words" for k in range(5)] + ["left ends."], 72, 640),
        *column([f"lower right {k} in words" for k in range(5)] + ["right ends."], 320, 640),
    ]
    assert blocks(pdf(page)) == [
        "A statement that runs over the whole width of the page and therefore above both columns here.",
        " ".join(left[:5]) + " and its end.",
        " ".join(right[:5]) + " and its end.",
        "A second statement over the whole width, which parts the upper columns from the lower ones.",
        " ".join(f"lower left {k} in words" for k in range(5)) + " left ends.",
        " ".join(f"lower right {k} in words" for k in range(5)) + " right ends.",
    ]


def test_running_lines_go_and_numbered_headings_at_the_top_of_pages_stay() -> None:
    """Left and right pages have headers of their own; 'Article 1' to 'Article 6' stand in the same place, and count."""
    pages = []
    for number in range(1, 7):
        header = (72, 810, f"{number} The Code") if number % 2 else (440, 810, f"Works and Dials {number}")
        body = [(72, 770, f"Article {number}"), (72, 746, f"Rule text of page {number} is here.")]
        pages.append([header, *body, (290, 30, f"- {number} -")])
    assert [(p.clause, p.text, p.page) for p in opened(pdf(*pages)).passages] == [
        (f"x/article-{n}", f"Rule text of page {n} is here.", n) for n in range(1, 7)
    ]


def test_a_line_on_two_of_many_pages_is_no_header() -> None:
    lines = ["Keep it clean.", "Keep it clean.", "Rest well.", f"{FULL}."]
    assert blocks(pdf(*[[(72, 800, words)] for words in lines])) == lines


def test_pages_that_are_all_alike_are_no_running_lines() -> None:
    pages = [[(72, 800, "Be kind."), (72, 760, FULL), (72, 748, "it ends.")]] * 3
    assert blocks(pdf(*pages)) == ["Be kind.", f"{FULL} it ends."] * 3


def test_the_last_number_of_a_sentence_is_no_page_number() -> None:
    page = column([FULL, FULL, "35"], top=64)
    assert blocks(pdf(page)) == [f"{FULL} {FULL} 35"]
    assert blocks(pdf([*column(["One page."]), (290, 40, "Page 1 of 1")])) == ["One page."]


def test_hyphens_at_line_ends() -> None:
    """'conduct' is one word; 'walk-through' is seen elsewhere; capitals and digits keep theirs; a dash stays."""
    lines = [
        "It is a walk-through of the whole works and not a talk, says the code of con-",
        "duct, and whoever leads it, in turns, is a maker or a clerk; each weekly walk-",
        "through ends at noon, by order of the council and of the Lindqvist-",
        "Amaro office, in the hall of the works and with the whole of the COVID-",
        "19 team in its places.",
    ]
    assert blocks(pdf(column(lines))) == [
        "It is a walk-through of the whole works and not a talk, says the code of conduct, and whoever leads it, in "
        "turns, is a maker or a clerk; each weekly walk-through ends at noon, by order of the council and of the "
        "Lindqvist-Amaro office, in the hall of the works and with the whole of the COVID-19 team in its places."
    ]


def test_headings_by_size_boldness_and_number() -> None:
    page = [
        (72, 800, "The Harbour", 18),
        (72, 778, "Code", 18),
        (72, 740, "2 Gifts", 13, "b"),
        (72, 720, "2.1 Limits", 13, "b"),
        (72, 704, "Nine marks at most."),
        (72, 680, "Food", 10, "b"),
        (72, 668, "Food does not count."),
        (72, 640, "Nobody may take money from a bidder.", 10, "b"),
        (72, 616, "Note.", 10, "b"),
        (100, 616, "Ask before you take."),
        (72, 590, "3 Travel", 13, "b"),
        (72, 574, "Trains only."),
    ]
    document = opened(pdf(page))
    assert document.title == "The Harbour Code"
    assert [(p.clause, p.heading[1:], p.text) for p in document.passages] == [
        ("x/section-2.1", ("2 Gifts", "2.1 Limits"), "Nine marks at most."),
        ("x/food/1", ("2 Gifts", "2.1 Limits", "Food"), "Food does not count."),
        ("x/food/2", ("2 Gifts", "2.1 Limits", "Food"), "Nobody may take money from a bidder."),
        ("x/food/3", ("2 Gifts", "2.1 Limits", "Food"), "Note. Ask before you take."),
        ("x/section-3", ("3 Travel",), "Trains only."),
    ]


def test_labels_are_headings_where_all_letters_look_alike() -> None:
    lines = [
        "CODE OF THE PIER",
        "",
        "Article 1",
        FULL,
        "nobody breaks it.",
        "Article 2. Boats",
        FULL,
        "oil them.",
    ]
    page = [(left, base, text, 10, "m") for left, base, text in column(lines)]
    document = opened(pdf(page))
    assert document.title == "CODE OF THE PIER"
    assert [(p.clause, p.text) for p in document.passages] == [
        ("x/article-1", f"{FULL} nobody breaks it."),
        ("x/article-2", f"{FULL} oil them."),
    ]


def test_a_paragraph_goes_on_over_the_page_and_its_parts_know_their_pages() -> None:
    """17 + 8 words on page 1 and 17 + 2 on page 2 are 44; with 22 allowed, the second part begins on page 2."""
    first, second = column([FULL, FULL], top=100), column([FULL, "it ends."], top=780)
    document = opened(pdf(first, [*second, (72, 740, "Another one.")]))
    assert document.text == f"{FULL} {FULL} {FULL} it ends.\n\nAnother one.\n"
    long = opened(pdf([(72, 780, "Rule 1", 14), *first], second), max_words=27)
    assert [(p.clause, p.page, len(p.text.split())) for p in long.passages] == [
        ("x/rule-1/part-1", 1, 27),
        ("x/rule-1/part-2", 1, 26),
    ]
    assert long.passages[0].text.split() == (f"{FULL} " * 2).split()[:27]


def test_paragraphs_by_indent_and_lists_by_hanging_indent() -> None:
    lines = [
        (84, 760, FULL[12:]), (72, 748, FULL), (72, 736, FULL[:40] + "."),
        (84, 724, "Second " + FULL[12:70]), (72, 712, "it ends here."),
        (72, 690, "You must:"), (72, 678, "\u2022"), (84, 678, "wear " + FULL[4:80]), (84, 666, "at all times;"),
        (72, 654, "\u2022"), (84, 654, "rest."), (72, 632, "1."), (90, 632, "First rule."),
        (72, 620, "2."), (90, 620, "Second rule."),
    ]  # fmt: skip
    assert opened(pdf(lines)).text == (
        f"{FULL[12:]} {FULL} {FULL[:40]}.\n\nSecond {FULL[12:70]} it ends here.\n\nYou must:\n\n"
        f"- wear {FULL[4:80]} at all times;\n- rest.\n1. First rule.\n2. Second rule.\n"
    )


def test_footnotes_stand_behind_the_paragraph_that_cites_them_and_their_marks_go() -> None:
    page = [*column([FULL, "nobody takes gifts"], top=112), (146, 104.5, "1", 6), (150, 100, f"from {FULL[:44]}")]
    page += [(72, 60, "1 Gifts are things and favours.", 7)]
    document = opened(pdf([(72, 780, "Be fair."), *page], column(["bidder at all.", "", "Next."], top=780)))
    assert document.text == (
        f"Be fair.\n\n{FULL} nobody takes gifts from {FULL[:44]} bidder at all. "
        "[Note: Gifts are things and favours.]\n\nNext.\n"
    )


def test_tables_and_tables_of_contents() -> None:
    page = [
        (72, 790, "Contents"), (72, 770, "1 Gifts ...................... 2"), (72, 758, "2 Boats . . . . . . . . 3"),
        (72, 730, "The limits are these."), (72, 700, "Gift"), (300, 700, "Limit"), (72, 688, "Food and drink"),
        (300, 688, "nine marks"), (72, 650, "Nothing else."),
    ]  # fmt: skip
    assert blocks(pdf(page)) == [
        "Contents", "The limits are these.", "Gift | Limit\nFood and drink | nine marks", "Nothing else.",
    ]  # fmt: skip


def drawn(draw: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), **options)
    draw(canvas)
    canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def test_turned_pages_and_stamps() -> None:
    def turned(canvas: Canvas) -> None:
        canvas.translate(300, 100)
        canvas.rotate(90)
        canvas.drawString(0, 40, "The first line stands above")
        canvas.drawString(0, 26, "the second line of it.")
        canvas.rotate(-45)
        canvas.drawString(50, 0, "DRAFT")

    assert blocks(drawn(turned)) == ["The first line stands above the second line of it."]


def picture(canvas: Canvas) -> None:
    from PIL import Image
    from reportlab.lib.utils import ImageReader

    canvas.drawImage(ImageReader(Image.new("L", (60, 80), 200)), 50, 50, 400, 600)


def unknown_letters(canvas: Canvas) -> None:
    pdfmetrics.registerFont(TTFont("Vera", "Vera.ttf"))
    canvas.setFont("Vera", 10)
    canvas.drawString(72, 700, "\ue001\ue002\ue003\ue004 \ue005\ue006 and so on")


SOUND = pdf([(72, 700, "Be kind.")])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            drawn(lambda c: c.drawString(72, 700, "x"), encrypt=StandardEncryption("secret")),
            "is encrypted; save",
        ),
        (drawn(picture), "holds pictures of pages without text (a scan); run OCR on it"),
        (drawn(lambda c: None), "is empty"),
        (drawn(unknown_letters), "its fonts do not tell which letters they show"),
        (b"Just words.", "is not a PDF file"),
        (b"%PDF-1.7\n" + bytes(range(256)) * 20, "is a damaged PDF, or is cut off"),
        (b"%PDF-1.4\n%%EOF", "is a damaged PDF, or is cut off"),
        (b"", "is empty"),
    ],
)
def test_bad_pdf_files(raw: bytes, message: str) -> None:
    with pytest.raises(ValignError) as caught:
        opened(raw)
    assert message in str(caught.value)
    assert str(caught.value).startswith("policy.pdf")


def test_a_file_that_opens_without_a_password_is_read() -> None:
    raw = drawn(lambda c: c.drawString(72, 700, "Be kind."), encrypt=StandardEncryption("", "owner"))
    assert blocks(raw) == blocks(SOUND) == ["Be kind."]


def test_pages_of_pictures_among_pages_of_text_are_named(caplog: pytest.LogCaptureFixture) -> None:
    def mixed(canvas: Canvas) -> None:
        canvas.drawString(72, 700, "These words can be read without any trouble.")
        canvas.showPage()
        picture(canvas)

    assert blocks(drawn(mixed)) == ["These words can be read without any trouble."]
    assert "policy.pdf: pages without text, only pictures: 2" in caplog.text


def test_a_pdf_beyond_the_limit_of_characters_stops_at_its_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """'Be kind.' has 7 letters without the space, so the third page passes 20."""
    monkeypatch.setattr(read, "MAX_CHARS", 20)
    with pytest.raises(ValignError, match=r"has more than 20 characters \(at page 3\); split it into several files"):
        opened(pdf(*[[(72, 700, "Be kind.")]] * 4))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ValignError, match=r"PDF files need the package pypdfium2: pip install 'valign\[documents\]'"):
        pdf_reader.read_pdf(SOUND, "policy.pdf", 100)


@pytest.mark.slow
def test_every_word_of_random_pages_comes_back_once_and_in_order() -> None:
    """Words are unique (w0x, w1x, ...); pages of one or two columns have headings, short lines and running lines."""
    for seed in range(25):
        draw = random.Random(seed)
        count, pages = 0, []
        for number in range(1, draw.randint(2, 6)):
            columns = draw.choice([1, 2])
            page: list[tuple[Any, ...]] = [(72, 815, "A running line of the works", 8), (290, 30, str(number))]
            for left in (72, 320)[:columns]:
                base = 770.0
                while base > 70:
                    size, font = draw.choice([(10, "")] * 8 + [(13, "b")])
                    base -= draw.choice([12, 12, 12, 24]) if size == 10 else 30
                    most = (5 if columns == 2 else 10) if size == 10 else 4
                    words = [f"w{count + i}x" for i in range(draw.choice([most] * 4 + [2]))]
                    count += len(words)
                    page.append((left, base, " ".join(words) + draw.choice(["", ".", ":"]), size, font))
            pages.append(page)
        document = opened(pdf(*pages))
        assert re.findall(r"w\d+x", document.text) == [f"w{i}x" for i in range(count)], seed
        assert "running" not in document.text or len(pages) == 1
        places = [document.text.index(f"{p.text.split()[0]}") for p in document.passages]
        assert places == sorted(places)
