"""A web page as a tree of tags, however its tags are closed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from valign.core.errors import ValignError
from valign.documents.blocks import missing_package

COMMENT = "!"
END = "end-of-page"
PROLOGUE = re.compile(r"\s*<\?xml\b[^<>]{0,200}>", re.IGNORECASE)
BODY_END = re.compile(r"</(?:body|html)\b[^<>]{0,200}>", re.IGNORECASE)
PARAGRAPH_END = re.compile(r"</p\s{0,9}>", re.IGNORECASE)
CLOSING_PARAGRAPH = re.compile(
    r"<(?=(?:article|aside|details|dialog|figcaption|figure|footer|header|hgroup|main|nav|search|section|summary)\b)",
    re.IGNORECASE,
)
"""Tags that end a paragraph since HTML 5."""
BREAK_END = re.compile(r"</br\s{0,9}>", re.IGNORECASE)
MOST_STEPS = 1_000_000_000
SAFE_DEPTH = 1000
PIECE = 1 << 16
RAW = frozenset("script style textarea title xmp iframe noembed noframes plaintext".split())


@dataclass(eq=False, slots=True)
class Tag:
    """A tag, the tag around it, and what stands between its start and its end; a comment is named ``!``."""

    name: str
    attributes: Mapping[str, str]
    parent: Tag | None
    children: list[Tag | str] = field(default_factory=list)

    def get(self, attribute: str) -> str:
        """Return an attribute, empty where there is none."""
        return self.attributes.get(attribute) or ""

    def walk(self) -> Iterator[Tag]:
        """Yield this tag and those within it in reading order."""
        stack = [self]
        while stack:
            tag = stack.pop()
            yield tag
            stack.extend(child for child in reversed(tag.children) if isinstance(child, Tag))

    def text(self, most_tags: int | None = None) -> str:
        """Return the text within it, comments left out, with a space between tags; of its first tags where so asked."""
        tags = islice(self.walk(), most_tags)
        return " ".join(
            child for tag in tags if tag.name != COMMENT for child in tag.children if isinstance(child, str)
        )


class _Builder:
    """Builds the tree from the parser's events.

    Args:
        where: The page, for messages.
        tags: About how many it has. At each the parser may look at all that are open, hence the limit of depth.
    """

    def __init__(self, where: str, tags: int) -> None:
        self.top = Tag("", {}, None)
        self.open = self.top
        self.depth = 0
        self.where = where
        self.deepest = max(SAFE_DEPTH, MOST_STEPS // max(tags, 1))

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self.depth += 1
        if self.depth > self.deepest:
            raise ValignError(f"{self.where} nests tags more than {self.deepest:,} deep; simplify its layout.")
        tag = Tag(name, dict(attributes), self.open)
        self.open.children.append(tag)
        self.open = tag

    def end(self, name: str) -> None:
        self.depth -= 1
        self.open = self.open.parent or self.top

    def data(self, text: str) -> None:
        self.open.children.append(text)

    def comment(self, text: str) -> None:
        self.open.children.append(Tag(COMMENT, {}, self.open, [text]))

    def close(self) -> Tag:
        return self.top


def parse_page(text: str, where: str) -> Tag:
    """Return a page as a tree; the topmost tag has no name.

    Args:
        text: The page.
        where: Its name, for messages.

    Raises:
        ValignError: The package is missing, tags are nested too deep, or the page ends within a tag or comment.
    """
    try:
        from lxml import etree
    except ImportError:
        raise missing_package("HTML", "lxml") from None
    # The parser drops what stands behind </body>, and says nothing where a page ends within a tag: hence the last tag.
    body = BODY_END.sub("", text[match.end() if (match := PROLOGUE.match(text)) else 0 :])
    # It passes over these two where none is open; a browser begins a new line there.
    body = PARAGRAPH_END.sub(r"\g<0>\n", BREAK_END.sub("<br>", body))
    body = CLOSING_PARAGRAPH.sub("</p><", body)  # nor does it know these
    builder = _Builder(where, body.count("<"))
    parser = etree.HTMLParser(target=builder, encoding="utf-8", huge_tree=True)
    page = f"<html>{body}\n<{END}></{END}>".encode("utf-8", "replace")
    for start in range(0, len(page), PIECE):
        parser.feed(page[start : start + PIECE])
    top: Tag = parser.close()
    if any(error.type_name == "ERR_RESOURCE_LIMIT" for error in parser.error_log):
        raise ValignError(f"{where} has tags or words that are too long for the parser; simplify its layout.")
    last = _last(top)
    if last.name == END and last.parent is not None:
        last.parent.children.remove(last)
        return top
    within = f"<{last.name}>" if last.name in RAW else "a comment" if last.name == COMMENT else "a tag or its quotes"
    raise ValignError(f"{where} ends within {within} that begins further up and is not closed; close it.")


def _last(top: Tag) -> Tag:
    """Return the last tag of a page."""
    tag = top
    while inner := [child for child in tag.children if isinstance(child, Tag)]:
        tag = inner[-1]
    return tag
