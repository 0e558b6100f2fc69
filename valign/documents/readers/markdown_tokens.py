"""The tokens of a Markdown text, before they are rendered: notes to their paragraphs, and off with what is no text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any

from valign.core.errors import ValignError
from valign.documents.left_out import Omissions, Reason

if TYPE_CHECKING:
    from markdown_it.token import Token

ATTRIBUTE = r"[#.][\w:.-]+|[\w:-]+=(?:\"[^\"{}\n]*\"|'[^'{}\n]*'|[^\s{}\"']+)"
ATTRIBUTES = rf"\{{(?:-|:?[ \t]*(?:{ATTRIBUTE})(?:[ \t]+(?:{ATTRIBUTE}))*)[ \t]*\}}"
IN_BRACES = re.compile(ATTRIBUTES)
WITH_ATTRIBUTES = re.compile(rf"\[([^\[\]\n]*)\]({ATTRIBUTES})")
OFF_CLASS = re.compile(r"\.(deletion|comment-start)(?![\w-])")
OWN_LINE = re.compile(r"\{:[^{}\n]*\}")
DEFINITION = re.compile(r":[ \t]+(?=\S)")
ALERT = re.compile(r"\[!(?:note|tip|important|warning|caution)\][-+]?[ \t]*", re.IGNORECASE)
TAG = re.compile(r"<(?=/?([A-Za-z][A-Za-z0-9]*)(-?))")
INLINE_NAMES = frozenset(
    "a abbr acronym area audio b bdi bdo big br button canvas cite code data datalist del dfn em embed font i img "
    "input ins kbd label map mark math meta meter nobr noscript object output path picture pre progress q rp rt ruby s "
    "samp script select slot small source span strike strong style sub sup svg template textarea time tt u var video "
    "wbr".split()
)
BREAKS = ("softbreak", "hardbreak")
ROW_START = re.compile(r"[\s>]*(?:[-*+]|\d{1,9}[.)])?\s*(?=\|)|[\s>]+")
MOST_CELLS = 10_000


def place_notes(
    tokens: list[Token], env: dict[str, Any], where: str, max_chars: int, omissions: Omissions
) -> list[Token]:
    """Return the tokens with each footnote in brackets behind the paragraphs that cite it, and without marks.

    A note that no paragraph cites stays where it is.

    Args:
        tokens: Of the whole text.
        env: What the parser noted; it holds the notes that are written in a paragraph.
        where: The file, for messages.
        max_chars: The most characters that all notes may have, repeated ones included.
        omissions: Takes the marks.

    Raises:
        ValignError: The notes are longer.
    """
    cited = {
        child.meta["label"]
        for token in tokens
        for child in token.children or ()
        if child.type == "footnote_ref" and "label" in child.meta
    }
    notes, rest = _split_notes(tokens, cited)
    for number, note in env.get("footnotes", {}).get("list", {}).items():
        if "tokens" in note:
            notes[number] = note["tokens"]
    length = 0
    for token in rest:
        if not any(child.type == "footnote_ref" for child in token.children or ()):
            continue
        queue = _cited_notes(token.children or [], omissions)
        children = [child for child in token.children or () if child.type != "footnote_ref"]
        seen: set[Any] = set()
        for key in queue:
            if key in seen or key not in notes:
                continue
            seen.add(key)
            own = notes[key]
            queue.extend(_cited_notes(own, None))
            length += sum(len(child.content) for child in own)
            if length > max_chars:
                raise ValignError(f"{where}: footnotes and their repetitions have more than {max_chars:,} characters.")
            shown = [child for child in own if child.type != "footnote_ref"]
            children += [_text(" [Note: "), *(_text(" ") if c.type in BREAKS else c for c in shown), _text("]")]
        token.children = children
    return rest


def _split_notes(tokens: list[Token], cited: set[str]) -> tuple[dict[Any, list[Token]], list[Token]]:
    """Return the inline tokens of each cited note by its label, and the other tokens."""
    notes: dict[Any, list[Token]] = {}
    rest: list[Token] = []
    label: str | None = None
    for token in tokens:
        if token.type == "footnote_reference_open":
            label = token.meta["label"]
            if label in cited and label not in notes:
                notes[label] = []
            else:
                label = None
        elif token.type == "footnote_reference_close":
            label = None
        elif label is None:
            rest.append(token)
        elif token.type == "inline":
            notes[label] += [*([_text(" ")] if notes[label] else []), *(token.children or ())]
        elif token.content:
            notes[label].append(_text(f" {token.content.strip()}"))
    return notes, rest


def _cited_notes(children: list[Token], omissions: Omissions | None) -> list[Any]:
    """Return the keys of the notes that are cited, in their order: a label, or the number of one without."""
    keys = []
    for child in children:
        if child.type == "footnote_ref":
            keys.append(child.meta.get("label") or child.meta["id"])
            if omissions is not None:
                omissions.add(Reason.NOTE_MARK, str(keys[-1]))
    return keys


def clean_tokens(tokens: list[Token], omissions: Omissions) -> list[Token]:
    """Take off what is no text: attributes, addresses, pictures; and what is no tag of HTML is made text."""
    _number_items(tokens)
    bold_lines = not any(token.type == "heading_open" for token in tokens)
    for index, token in enumerate(tokens):
        if token.type == "html_block":
            token.content = escape_unknown_tags(token.content)
        if token.type != "inline":
            continue
        opening, closing = tokens[index - 1], tokens[index + 1]
        if opening.type == "heading_open" and "\n" in token.content:
            opening.tag = closing.tag = "p"  # a paragraph with a rule below it that was meant as one
        token.children = list(_clean_inline(token.children or [], omissions))
        if opening.tag[:1] == "h":
            _cut_end(token.children, omissions)
        elif bold_lines and token.level == 1 and opening.type == "paragraph_open" and _is_bold(token.children):
            token.children = [_text("**"), *token.children[1:-1], _text("**")]
    return tokens


def _number_items(tokens: list[Token]) -> None:
    """Give the items of a list the numbers that are written, where they grow: 3, 4, 7 are no 3, 4, 5."""
    lists: list[list[Token]] = []
    for token in tokens:
        if token.type == "ordered_list_open":
            lists.append([])
        elif token.type == "list_item_open" and token.info:
            lists[-1].append(token)
        elif token.type == "ordered_list_close":
            items = lists.pop()
            numbers = [int(item.info) for item in items]
            if all(early < late for early, late in pairwise(numbers)):
                for item in items:
                    item.attrSet("value", item.info)


def escape_unknown_tags(markup: str) -> str:
    """Return HTML in which ``<name>`` is text where there is no such tag; a name with a hyphen is one of a program."""
    known = _known_names()
    return TAG.sub(lambda found: "<" if found[2] or found[1].lower() in known else "&lt;", markup)


@cache
def _known_names() -> frozenset[str]:
    from markdown_it.common.html_blocks import block_names

    return INLINE_NAMES.union(block_names)


def _clean_inline(children: list[Token], omissions: Omissions) -> Iterator[Token]:
    """Yield the tokens of a paragraph or heading that are its text."""
    fresh, span = True, False  # at the beginning of a line; behind a link, picture, code or emphasis
    literal = _tildes(children) | _asterisks(children)
    link = ""
    for index, child in enumerate(children):
        if child.type == "text":
            child.content = _clean_words(child, omissions, fresh, span, index == 0)
            if not child.content:
                continue
        elif child.type == "html_inline":
            child.content = escape_unknown_tags(child.content)
        elif child.type == "image":
            omissions.add(Reason.MEDIA, f"{child.content} {child.attrs.get('src', '')} {child.attrs.get('title', '')}")
            child.attrs, child.children = {"alt": ""}, []
        elif child.type == "link_open":
            link = f"{child.attrs.get('href', '')} {child.attrs.get('title', '')}"
        elif child.type == "link_close":
            omissions.add(Reason.LINK, "" if child.info == "auto" else link)
        elif child.type in ("s_open", "s_close"):
            child.tag = "del"
            if index in literal:
                yield _text("~")
                continue
        elif index in literal:
            yield _text(child.markup)
            continue
        elif child.type == "softbreak" and index + 1 < len(children) and DEFINITION.match(children[index + 1].content):
            continue
        fresh = child.type in BREAKS
        span = child.type in ("link_close", "image", "code_inline", "strong_close", "em_close")
        yield child


def _clean_words(child: Token, omissions: Omissions, fresh: bool, span: bool, first: bool) -> str:
    """Return words without attributes in braces and without the mark of an alert."""
    words = _without_spans(child.content, omissions)
    found = IN_BRACES.match(words) if span else OWN_LINE.fullmatch(words.strip()) if fresh else None
    if found is None and first:
        found = ALERT.match(words)
    if found is None:
        return words
    omissions.add(Reason.ATTRIBUTES, found[0])
    return words[found.end() :] if found.string is words else ""


def _without_spans(words: str, omissions: Omissions) -> str:
    """Return words without the marks of spans (``[30]{.mark}``); Pandoc's deleted ones and comments go."""
    kept: list[str] = []
    end = 0
    for span in WITH_ATTRIBUTES.finditer(words):
        off = OFF_CLASS.search(span[2])
        omissions.add(Reason.ATTRIBUTES, span[2])
        if off:
            omissions.add(Reason.COMMENT if off[1] == "comment-start" else Reason.DELETED, span[1])
        kept += [words[end : span.start()], "" if off else span[1]]
        end = span.end()
    return "".join([*kept, words[end:]])


def _tildes(children: list[Token]) -> set[int]:
    """Return the places of single tildes within words, such as ``5~10``, which strike nothing through."""
    literal: set[int] = set()
    opened: list[int] = []
    for index, child in enumerate(children):
        if child.type == "s_open":
            opened.append(index)
        elif child.type == "s_close" and opened:
            start = opened.pop()
            before = children[start - 1].content[-1:] if start else ""
            after = children[index + 1].content[:1] if index + 1 < len(children) else ""
            if child.markup == "~" and (before.isalnum() or after.isalnum()):
                literal |= {start, index}
    return literal


def _asterisks(children: list[Token]) -> set[int]:
    """Return the places of asterisks between digits, such as ``5*3*2``, which emphasise nothing."""
    literal: set[int] = set()
    opened: list[int] = []
    for index, child in enumerate(children):
        if child.type in ("em_open", "strong_open"):
            opened.append(index)
        elif child.type in ("em_close", "strong_close") and opened:
            start = opened.pop()
            inner, before = children[start + 1].content[:1], children[start - 1].content[-1:] if start else ""
            if child.markup[0] == "*" and before.isdigit() and inner.isdigit():
                literal |= {start, index}
    return literal


def count_extra_cells(tokens: list[Token], text: str, omissions: Omissions) -> None:
    """Count the cells of a row behind its table's last column: no reader of Markdown shows them."""
    from markdown_it.rules_block.table import escapedSplit

    lines = text.split("\n")
    width = 0
    for index, token in enumerate(tokens):
        if token.type == "thead_open":
            cells = takewhile(lambda found: found.type != "tr_close", tokens[index : index + 4 * MOST_CELLS])
            width = sum(found.type == "th_open" for found in cells)
        elif token.type == "tr_open" and token.map and tokens[index - 1].type != "thead_open":
            row = ROW_START.sub("", lines[token.map[0]], count=1).strip().removeprefix("|")
            for cell in escapedSplit(row)[width:]:
                omissions.add(Reason.HIDDEN, cell)


def _cut_end(children: list[Token], omissions: Omissions) -> None:
    """Take the attributes off the end of a heading."""
    words = children[-1].content.rstrip() if children and children[-1].type == "text" else ""
    start = words.rfind("{")
    if start >= 0 and IN_BRACES.fullmatch(words, start):
        omissions.add(Reason.ATTRIBUTES, words[start:])
        children[-1].content = words[:start].rstrip()


def _is_bold(children: list[Token]) -> bool:
    """Tell whether a paragraph is one line in bold: in a text without headings that may be one."""
    types = [child.type for child in children]
    return (
        len(types) > 2
        and types[0] == "strong_open"
        and types[-1] == "strong_close"
        and types.count("strong_open") == 1
        and "softbreak" not in types
    )


def _text(content: str) -> Token:
    from markdown_it.token import Token

    return Token("text", "", 0, content=content)
