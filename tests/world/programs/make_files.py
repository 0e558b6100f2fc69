"""Makes files from the sources here with other people's programs: python tests/world/programs/make_files.py.

It needs pandoc, LibreOffice, Chromium and LaTeX; docs/documents.md says which versions made what is here.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).parent
FILES = HERE / "files"
PORT = 8765
AS_TITLE = ("--standalone", "--shift-heading-level-by=-1")
LATEX = (
    r"\DeclareUnicodeCharacter{2212}{\textminus}\usepackage{fancyhdr}\pagestyle{fancy}\fancyhf{}"
    r"\renewcommand{\headheight}{14pt}"
    r"\fancyhead[L]{\scriptsize\nouppercase{\leftmark}}\fancyhead[R]{\scriptsize TITLE}\fancyfoot[C]{\thepage}"
)
HEADER = """<style:header><text:p text:style-name="MP1">TITLE</text:p></style:header>
<style:footer><text:p text:style-name="MP1">Page <text:page-number text:select-page="current">1</text:page-number> of
<text:page-count>1</text:page-count></text:p></style:footer>"""
OUTLINE = """<text:outline-level-style text:level="{0}" style:num-format="1" text:display-levels="{0}">
<style:list-level-properties text:list-level-position-and-space-mode="label-alignment">
<style:list-level-label-alignment text:label-followed-by="space"/></style:list-level-properties>"""


def run(*command: str, stdin: str | None = None) -> None:
    """Run a program, and stop where it fails."""
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1741046400"}
    subprocess.run(command, check=True, input=stdin, text=True, env=environment, stdout=subprocess.DEVNULL)


def unnumbered(source: str) -> str:
    """Return a source without the numbers of its headings, for programs that number headings themselves."""
    return re.sub(r"^(##+) \d+(?:\.\d+)* ", r"\1 ", source, flags=re.MULTILINE)


def reference_odt(title: str, is_numbered: bool) -> bytes:
    """Return pandoc's model of an OpenDocument file with a header, a footer and, where asked for, numbered headings."""
    model = subprocess.run(
        ("pandoc", "--print-default-data-file", "reference.odt"), check=True, capture_output=True
    ).stdout
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(model)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            content = old.read(member)
            if member.filename == "styles.xml":
                styles = content.decode()
                styles = re.sub(r"<style:footer>.*?</style:footer>", HEADER.replace("TITLE", title), styles, flags=re.S)
                styles = styles.replace('style:font-name="Times New Roman"', 'style:font-name="Liberation Serif"')
                for level in (1, 2, 3) if is_numbered else ():
                    old_level = rf'<text:outline-level-style text:level="{level}".*?</style:list-level-properties>|'
                    old_level += (
                        rf'<text:outline-level-style text:level="{level}".*?<style:list-level-properties[^>]*/>'
                    )
                    styles = re.sub(old_level, OUTLINE.format(level), styles, count=1, flags=re.S)
                content = styles.encode()
            new.writestr(member, content)
    return made.getvalue()


def make_with_pandoc(name: str, source: str, title: str, is_numbered: bool) -> None:
    """Make the files that pandoc writes, and with pandoc and LaTeX a PDF."""
    marked = unnumbered(source) if is_numbered else source
    number = ("--number-sections",) if is_numbered else ()
    for kind in ("docx", "html"):
        run("pandoc", *AS_TITLE, *number, "-o", str(FILES / f"{name}-pandoc.{kind}"), stdin=marked)
    for kind, suffix in (("markdown", "md"), ("gfm", "md"), ("commonmark_x", "md"), ("plain", "txt")):
        run("pandoc", "-t", kind, "-o", str(FILES / f"{name}-pandoc-{kind}.{suffix}"), stdin=source)
    latex = (
        "-V",
        "papersize=a4",
        "-V",
        "fontfamily=mathptmx",
        "-V",
        f"header-includes={LATEX.replace('TITLE', title)}",
        "-V",
        "fontsize=11pt",
    )
    run("pandoc", *AS_TITLE, *number, *latex, "-o", str(FILES / f"{name}-latex.pdf"), stdin=marked)
    two = (*latex, "-V", "classoption=twocolumn")
    if "|---" not in source:  # pandoc's tables need a page of one column
        run("pandoc", *AS_TITLE, *number, *two, "-o", str(FILES / f"{name}-latex-columns.pdf"), stdin=marked)


def make_with_libreoffice(name: str, source: str, title: str, is_numbered: bool) -> None:
    """Make the files that LibreOffice writes from an OpenDocument file whose headings and pages it numbers."""
    with tempfile.TemporaryDirectory() as folder:
        model, odt = Path(folder, "model.odt"), Path(folder, f"{name}.odt")
        model.write_bytes(reference_odt(title, is_numbered))
        marked = unnumbered(source) if is_numbered else source
        run("pandoc", *AS_TITLE, f"--reference-doc={model}", "-o", str(odt), stdin=marked)
        profile = f"-env:UserInstallation={Path(folder, 'profile').as_uri()}"
        for kind, suffix in (
            ("docx", ".docx"),
            ("pdf", ".pdf"),
            ("html:HTML (StarWriter)", ".html"),
            ("txt:Text (encoded):UTF8", ".txt"),
        ):
            run("soffice", profile, "--headless", "--convert-to", kind, "--outdir", folder, str(odt))
            made = Path(folder, f"{name}.{kind.partition(':')[0]}")
            (FILES / f"{name}-libreoffice{suffix}").write_bytes(made.read_bytes())


def print_with_chromium(name: str) -> None:
    """Print pandoc's page to PDF, with the browser's own header and footer."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("localhost", PORT), partial(Quiet, directory=str(FILES)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as profile:
        made = f"--print-to-pdf={FILES / f'{name}-chromium.pdf'}"
        url = f"http://localhost:{PORT}/{name}-pandoc.html"
        run("chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", made, url)
    server.shutdown()


def main() -> None:
    """Make all files."""
    FILES.mkdir(exist_ok=True)
    for path in sorted((HERE / "source").glob("*.md")):
        source = path.read_text(encoding="utf-8")
        title = source.partition("\n")[0].removeprefix("# ")
        is_numbered = re.search(r"^## \d", source, re.MULTILINE) is not None
        make_with_pandoc(path.stem, source, title, is_numbered)
        make_with_libreoffice(path.stem, source, title, is_numbered)
        print_with_chromium(path.stem)


if __name__ == "__main__":
    main()
