"""Plain text in pages, as printers and pdftotext have it: headers, footers and page numbers go, paragraphs go on."""

from __future__ import annotations

import re
from collections import Counter

from valign.documents.left_out import Omissions, Reason
from valign.documents.lines import LETTER
from valign.documents.readers.pdf_running import LONGEST_RUNNING, PAGES_FOR_PROOF

OUTER_LINES = 2
NUMBERS = re.compile(r"\d+")
UNFINISHED = re.compile(r"[\w,;\u2013\u2014-]\Z")
LOWER = re.compile(r"\s*[^\W\d_A-Z]")

COUNTED = "\f"
ENDED_SENTENCE = re.compile(r"[^\W\d_]{2}[.!?;:]\Z")
COUNTED_PAGE = re.compile(
    rf"(?:[\W_]*(?:page|seite|p\.|p\u00e1gina|pagina))?[\W_]*{COUNTED}(?:\s*(?:of|/|von|de|sur)\s*\d+)?[\W_]*", re.I
)
COLUMNS = re.compile(r"\S(?: {3,}|\t)\s*\S")
TITLE = "top 0: "

Key = tuple[str, int]
Edge = tuple[int, Key]


def join_pages(text: str, omissions: Omissions) -> str:
    """Return a text without the form feeds between its pages, and without what its pages repeat at their edges.

    That is the first or last line of a page, or the one that touches it, where it stands on three pages in the same
    words and is no sentence; and where it is a number that counts the pages, or one beside words that a gap parts from
    it. The words at the top of the first page stay, as they may be the title. A paragraph whose last line has no end
    goes on with a line in lower case on the next page. Where nothing else would be left, all lines stay.

    Args:
        text: With LF line ends, and a form feed where a page begins.
        omissions: What is left out is added.
    """
    pages = [page.split("\n") for page in text.split("\f")]
    if len(pages) < PAGES_FOR_PROOF:
        return text.replace("\f", "\n")
    seen = Counter(key for number, page in enumerate(pages) for key in {key for _, key in _edges(page, number)})
    kept: list[str] = []
    for number, page in enumerate(pages):
        edges = [edge for edge in _edges(page, number) if seen[edge[1]] >= PAGES_FOR_PROOF]
        running = {index for index, (words, _) in edges if number or not words.startswith(TITLE) or _is_number(words)}
        for index in sorted(running):
            omissions.add(Reason.FOOTER, page[index])
        rest = "\n".join(line for index, line in enumerate(page) if index not in running)
        if kept and UNFINISHED.search(kept[-1].rstrip()) and LOWER.match(rest):
            kept[-1], rest = kept[-1].rstrip(), rest.lstrip("\n")
        kept.append(rest)
    joined = "\n".join(kept)
    return joined if LETTER.search(joined) else text.replace("\f", "\n")


def _edges(page: list[str], number: int) -> list[Edge]:
    """Return what the outer lines of a page may have in common with those of other pages, with the lines' indices."""
    filled = [index for index, line in enumerate(page) if line.strip()]
    found: list[Edge] = []
    for side, indices in (("top", filled[:OUTER_LINES]), ("bottom", filled[::-1][:OUTER_LINES])):
        touching = [index for index in indices if abs(index - indices[0]) < OUTER_LINES]
        for place, index in enumerate(touching):
            words = " ".join(page[index].split())
            if len(words) > LONGEST_RUNNING or ENDED_SENTENCE.search(words):
                continue
            found.append((index, (f"{side} {place}: {words}", 0)))
            for match in NUMBERS.finditer(words):
                counted = f"{words[: match.start()]}{COUNTED}{words[match.end() :]}"
                if len(match[0]) < 6 and (COLUMNS.search(page[index].strip()) or COUNTED_PAGE.fullmatch(counted)):
                    found.append((index, (f"{side} {place}: {counted}", int(match[0]) - number)))
    return found


def _is_number(key: str) -> bool:
    return COUNTED_PAGE.fullmatch(key.partition(": ")[2]) is not None
