"""What readers lost or glued together before: each is read, or counted for its reason."""

from __future__ import annotations

import io

import pytest
from pdfs import column, pdf
from test_word import NS, body, paragraph, run, saved

from valign.core.records import Document
from valign.documents.read import parse_document

OPENING = "Guests may row."


def read(raw: str | bytes, suffix: str) -> tuple[list[str], dict[str, int]]:
    found: Document = parse_document(raw.encode() if isinstance(raw, str) else raw, "x", suffix=suffix)
    return [p.text for p in found.passages], {part.reason: part.characters for part in found.left_out}


@pytest.mark.parametrize(
    ("raw", "texts", "counts"),
    [
        ("---\nauthor: Kale\n---\nGuests row.\n", ["Guests row."], {"front matter": 17}),
        ("---\n- No fire\n- No dogs\n---\nGuests row.\n", ["- No fire\n- No dogs\n---\nGuests row."],
         {"without a letter or digit": 3}),
        ("Guests row.\n\n-----\n\n1. Two oars.\n\n\u2705\n", ["Guests row.", "Two oars."],
         {"without a letter or digit": 6}),
        ("Row at dawn.\fRest at ten.\v30 oars\x8550 boats\u2028or\u2029none", None, {}),
        ("N\bNA\bAM\bM_\be sup\xadplier \ufb01nd.", ["NAMe supplier find."], {}),
        ("Article 1\n\nArticle 2\n", ["Article 1\n\nArticle 2"], {}),
    ],
)  # fmt: skip
def test_plain_text(raw: str, texts: list[str] | None, counts: dict[str, int]) -> None:
    found, left = read(raw.replace("\x85", "\u0085"), "txt")
    assert left == counts
    assert found == (texts or ["Row at dawn.\nRest at ten.\n30 oars\n50 boats\nor\n\nnone"])


@pytest.mark.parametrize(
    ("markup", "text", "counts"),
    [
        ("<p>50<img alt='a boat' src=b>30 oars<img>.</p>", "50 30 oars.", {"drawing or media": 5}),
        ("<div>At 50</p>30 go<br>on</br>land</div>", "At 50 30 go\non\nland", {}),
        ("At 50<nav>Home</nav>30 go", "At 50\n\n30 go", {"navigation": 4}),
        ("<p>At 50<nav><p>Home</p></p>Top</nav>30 go", "At 50\n\n30 go", {"navigation": 7}),
        ("At 50<select><option>9</select>30 go", "At 50 30 go", {"form field": 1}),
        ("<p>f<math><mfenced><mi>x</mi><mn>1</mn></mfenced><msqrt><mn>2</mn></msqrt><mroot><mn>8</mn><mn>3</mn></mroot>"
         "</math></p>", "f(x,1)√2³√8", {}),
        ("<ruby>漢<rt>kan</rt></ruby> <ruby>字<rp>[</rp><rt>ji</rt><rp>]</rp></ruby>", "漢(kan) 字[ji]", {}),
        ("<iframe srcdoc='a rule'></iframe><input value='Send' type=submit><input type=hidden value=x>Go.", "Go.",
         {"drawing or media": 5, "form field": 4}),
        ("<details><summary>Oars</summary><p hidden>Two</p>Three</details>", "Three", {"hidden": 3}),
        ("<p>30 oars\u202850 boats\x0bor none</p>", "30 oars 50 boats\nor none", {}),
        ("<p>One<br>***<br>two</p>", "One\n\ntwo", {"without a letter or digit": 3}),
    ],
)  # fmt: skip
def test_web_pages(markup: str, text: str, counts: dict[str, int]) -> None:
    found, left = read(f"<h1>Boats</h1><h2>Rules</h2><p>{OPENING}</p>{markup}", "html")
    assert "\n\n".join(found[1:]) == text
    assert left == counts


def test_headings_of_a_page_keep_their_signs_and_a_second_title_is_counted() -> None:
    found = parse_document(
        b"<h1>Boats</h1><h2># 1 of `C*`</h2><p>Row.</p><h1>Boats</h1><p>Rest.</p>", "x", suffix="html"
    )
    assert [p.heading for p in found.passages] == [("Boats", "# 1 of `C*`")] * 2
    assert [(part.reason, part.characters) for part in found.left_out] == [("title again", 5)]
    late = parse_document(b"<p>First.</p><h1>Boats</h1><ul><li>Row.</ul>", "x", suffix="html")
    assert [p.text for p in late.passages] == ["First.", "- Row."]


@pytest.mark.parametrize(
    ("text", "read_as", "counts"),
    [
        ("5*3*2 oars, 2**3**2, an*oth*er", "5*3*2 oars, 2**3**2, another", {}),
        ("50![boat](b.png 'Our boat')30 oars", "50 30 oars", {"drawing or media": 16}),
        ("[oar](o 'Two oars')", "oar", {"link address": 8}),
        ("| a | b |\n|---|---|\n| 1 | 2 | 3 \\| 4 | |\n", "a | b\n1 | 2", {"hidden": 3}),
    ],
)
def test_markdown(text: str, read_as: str, counts: dict[str, int]) -> None:
    found, left = read(f"# Boats\n\n{text}\n", "md")
    assert (found, left) == ([read_as], counts)


MC = "xmlns:mc='http://schemas.openxmlformats.org/markup-compatibility/2006'"
PLACED = "xmlns:wp='http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing'"
MATH = "xmlns:m='http://schemas.openxmlformats.org/officeDocument/2006/math'"


def math(text: str) -> str:
    return f"<m:e><m:r><m:t>{text}</m:t></m:r></m:e>"


@pytest.mark.parametrize(
    ("inner", "text", "counts"),
    [
        (f"{run('50')}<w:r><w:drawing><wp:inline {PLACED}/></w:drawing></w:r>{run('30 oars')}", "50 30 oars", {}),
        (f"<m:oMath {MATH}><m:d>{math('x')}{math('y')}</m:d><m:rad><m:deg/>{math('2')}</m:rad><m:nary><m:naryPr>"
         f"<m:chr m:val='∑'/></m:naryPr>{math('k')}</m:nary></m:oMath>", "(x|y)√2∑k", {}),
        (f"<w:r><mc:AlternateContent {MC}><mc:Choice/><mc:Fallback>{run('For all.')}</mc:Fallback>"
         "</mc:AlternateContent></w:r>", "For all.", {}),
        ("<w:r><w:pict><v:textpath xmlns:v='urn:schemas-microsoft-com:vml' string='DRAFT'/></w:pict></w:r>"
         f"{run('For all.')}", "For all.", {"drawing or media": 5}),
        ("<w:r><w:fldChar><w:ffData><w:ddList><w:result w:val='1'/><w:listEntry w:val='A'/><w:listEntry w:val='B'/>"
         f"</w:ddList></w:ffData></w:fldChar></w:r>{run(' boat')}", "B boat", {}),
    ],
)  # fmt: skip
def test_word_files(inner: str, text: str, counts: dict[str, int]) -> None:
    assert NS
    assert read(saved(body(paragraph(inner))), "docx") == ([text], counts)


def drawn(mode: int, picture: bool) -> bytes:
    """A page with a line that is painted, one in a mode of painting, and perhaps a picture."""
    from PIL import Image
    from reportlab.lib.utils import ImageReader
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), invariant=1)
    canvas.drawString(72, 760, "Guests may row on the lake at any time of day.")
    text = canvas.beginText(72, 700)
    text.setTextRenderMode(mode)
    text.textOut("Kale may not.")
    canvas.drawText(text)
    if picture:
        canvas.drawImage(ImageReader(Image.new("L", (9, 9))), 72, 100)
    canvas.save()
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "picture", "is_read"), [(0, False, True), (3, False, False), (7, False, False), (3, True, True)]
)
def test_what_a_pdf_does_not_paint_is_read_below_a_picture_only(mode: int, picture: bool, is_read: bool) -> None:
    found, left = read(drawn(mode, picture), "pdf")
    assert ("Kale" in " ".join(found)) is is_read
    assert left == ({} if is_read else {"hidden": 11})


def test_what_is_off_the_page_or_noted_on_it_is_counted() -> None:
    from reportlab.pdfgen.canvas import Canvas

    off = pdf(
        [*column(["Guests may row on the lake."]), (-300, 600, "Left."), (72, 900, "Above."), (72, -30, "Below.")]
    )
    assert read(off, "pdf") == (["Guests may row on the lake."], {"turned, or off the page": 17})
    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), invariant=1)
    canvas.drawString(72, 760, "Guests may row on the lake.")
    canvas.acroForm.textfield(name="who", value="Kale", x=72, y=600, width=90, height=20)
    canvas.textAnnotation("Is it so?", (72, 500, 90, 520))
    canvas.save()
    assert read(buffer.getvalue(), "pdf") == (["Guests may row on the lake."], {"comment": 7, "form field": 4})
