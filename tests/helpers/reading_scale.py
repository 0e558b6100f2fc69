"""Read a document of so many clauses, and say how long that took and what memory at most: for a process of its own.

``python tests/helpers/reading_scale.py docx 20000`` prints the processor's seconds and MiB.
"""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path


def clauses(count: int) -> list[tuple[str, str]]:
    """Headings and paragraphs, no two of which are alike."""
    return [
        (f"Article {k + 1}. Rule on gifts", f"At most {k} marks may be taken from one giver, and {k + 1} go back.")
        for k in range(count)
    ]


def made(suffix: str, count: int) -> bytes:
    """A document in a format."""
    if suffix == "docx":
        return word_file(count)
    if suffix == "pdf":
        return pdf_file(count)
    form = {"txt": "{0}\n\n{1}\n\n", "md": "## {0}\n\n{1}\n\n", "html": "<h2>{0}</h2>\n<p>{1}</p>\n"}[suffix]
    body = "".join(form.format(*clause) for clause in clauses(count))
    return (f"<html><body>{body}</body></html>" if suffix == "html" else body).encode()


def word_file(count: int) -> bytes:
    import docx

    whole, out = io.BytesIO(), io.BytesIO()
    docx.Document().save(whole)
    body = "".join(
        f'<w:p><w:pPr><w:pStyle w:val="Heading2"/></w:pPr><w:r><w:t>{heading}</w:t></w:r></w:p>'
        f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"
        for heading, text in clauses(count)
    )
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            content = source.read(name)
            if name == "word/document.xml":
                content = content.replace(b"<w:body>", b"<w:body>" + body.encode(), 1)
            packed.writestr(name, content)
    return out.getvalue()


def pdf_file(count: int) -> bytes:
    from reportlab.pdfgen.canvas import Canvas

    buffer = io.BytesIO()
    canvas = Canvas(buffer, pagesize=(595, 842), invariant=1)
    for number, (heading, text) in enumerate(clauses(count)):
        base = 780 - 40 * (number % 18)
        canvas.setFont("Times-Bold", 12)
        canvas.drawString(72, base, heading)
        canvas.setFont("Times-Roman", 10)
        canvas.drawString(72, base - 16, text)
        if number % 18 == 17:
            canvas.showPage()
    canvas.save()
    return buffer.getvalue()


def main() -> None:
    """Read the file on stdin."""
    from valign.documents.read import parse_document

    suffix, count = sys.argv[1], int(sys.argv[2])
    raw = sys.stdin.buffer.read() if not sys.stdin.isatty() else made(suffix, count)
    began = time.process_time()
    found = parse_document(raw, "x", suffix=suffix)
    seconds = time.process_time() - began
    assert len(found.passages) == count, len(found.passages)
    # the kernel's own note: ``ru_maxrss`` of a child begins with what its parent held
    peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    print(f"{seconds:.2f} {int(peak) / 1024:.0f}")


if __name__ == "__main__":
    main()
