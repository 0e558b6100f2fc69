"""A PDF of 1,000 pages is read page by page: its memory must not grow with what the pages hold open."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PAGES, LINES = 1000, 58
MEGABYTES = 200
SCRIPT = """
import json, re, sys, time
from pathlib import Path
from valign.documents.read import read_document
start = time.monotonic()
document = read_document(Path(sys.argv[1]), "x")
seconds = time.monotonic() - start
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
last = document.passages[-1]
print(json.dumps([peak, seconds, len(document.text), last.clause, last.page]))
"""


def make_pdf(path: Path) -> None:
    """Write pages of one heading and 58 lines of 16 words each, with a running header and page numbers."""
    from reportlab.pdfgen.canvas import Canvas

    canvas = Canvas(str(path), pagesize=(595, 842))
    for page in range(1, PAGES + 1):
        canvas.setFont("Helvetica", 8)
        canvas.drawString(72, 815, "Code of the Works")
        canvas.drawString(290, 30, f"Page {page} of {PAGES}")
        canvas.setFont("Helvetica-Bold", 13)
        canvas.drawString(72, 785, f"Rule {page}. Name")
        canvas.setFont("Times-Roman", 10)
        line = " ".join(["makers", "of", f"g{page:05d}", "may"] * 4)
        for row in range(LINES):
            canvas.drawString(72, 765 - 12 * row, line)
        canvas.showPage()
    canvas.save()


def test_a_pdf_of_a_thousand_pages_is_read_in_bounded_memory(tmp_path: Path) -> None:
    """Text: 1,000 headings of 'Rule N. Name' and 58,000 lines of 83 characters, joined by spaces and blank lines.

    A line is 4 times 'makers of g00001 may' (20 characters) and 3 spaces = 83; 58 of them with 57 spaces are 4,871.
    'Rule N. Name' is 11 characters and the digits of N: 2,893 digits from 1 to 1,000. Each rule adds two gaps of 2.
    The interpreter alone takes about 20 MB. The peak is the kernel's own note, as ``ru_maxrss`` of a child begins with
    what its parent had.
    """
    path = tmp_path / "large.pdf"
    make_pdf(path)
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(path)], capture_output=True, text=True, check=True)
    peak, seconds, characters, clause, page = json.loads(done.stdout)
    print(f"{peak:.0f} MB, {seconds:.1f} s")
    assert characters == 1000 * (4871 + 11 + 4) + 2893 - 2 + 1
    assert (clause.split("/")[:2], page) == (["x", "rule-1000"], PAGES)
    assert peak < MEGABYTES
