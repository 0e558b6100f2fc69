"""The notes of a web page: from below the text to the paragraphs that cite them, as in Word files."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from itertools import islice

from valign.documents.left_out import Omissions, Reason
from valign.documents.raised import is_mark
from valign.documents.readers.html_parts import BLOCKS
from valign.documents.readers.html_tree import Tag

NOTE_CLASS = re.compile(r"foot-?note|note-?ref|fn-?ref|backref|sdfootnote|sdendnote|\breference\b", re.IGNORECASE)
NOTE_TARGET = re.compile(r"[^#]*#_?(?:fn|ftn|edn|note|foot|end|cite_?note|sdfoot|sdend)[\w:.-]*", re.IGNORECASE)
FEW_TAGS, MOST_NOTE_TAGS = 10, 500
HOLDERS = BLOCKS | {"td", "th"}


def is_note_link(tag: Tag) -> bool:
    """Tell whether a link leads to a note, or from it back."""
    return tag.name == "a" and bool(
        tag.get("role") in ("doc-noteref", "doc-backlink")
        or NOTE_CLASS.search(tag.get("class"))
        or NOTE_TARGET.fullmatch(tag.get("href"))
    )


def place_linked_notes(top: Tag, omissions: Omissions) -> None:
    """Move each note that leads back to its mark behind the paragraph with the mark, in brackets.

    A note that nothing cites, that another note cites, or that leads nowhere, stays where it is.

    Args:
        top: The page; its tree is changed.
        omissions: Takes the links back.
    """
    named: dict[str, Tag] = {}
    links: list[Tag] = []
    for tag in top.walk():
        for name in (tag.get("id"), tag.get("name") if tag.name == "a" else ""):
            if name:
                named.setdefault(name, tag)
        if is_note_link(tag):
            links.append(tag)
    placed: dict[Tag, dict[Tag, list[Tag]]] = defaultdict(lambda: defaultdict(list))
    parents: dict[Tag, Tag | None] = {}
    for link in links:
        paragraph = _holder(link)
        note = _note_of(link, named) if is_mark(link.text(FEW_TAGS)) and not _is_moved(link, parents) else None
        if paragraph is None or note is None or note in parents or _is_within(paragraph, note):
            continue
        parents[note] = note.parent
        _take_back_links(note, _marks(link), named, omissions)
        below = link
        while below.parent is not None and below.parent is not paragraph:
            below = below.parent
        placed[paragraph][below].append(note)
    for parent in {parent for parent in parents.values() if parent is not None}:
        parent.children = [child for child in parent.children if child not in parents]
    for paragraph, notes in placed.items():
        _insert(paragraph, notes)


def _is_moved(link: Tag, moved: Mapping[Tag, object]) -> bool:
    """Tell whether a link stands in a note that is moved, such as the link back."""
    found: Tag | None = link
    while found is not None and found not in moved:
        found = found.parent
    return found is not None


def _note_of(link: Tag, named: dict[str, Tag]) -> Tag | None:
    """Return the note to which a link leads: the block with its anchor, where one of its links leads back."""
    target = _target(link, named)
    note = None if target is None else _holder(target)
    if note is None:
        return None
    if note.parent is not None and note.parent.name in ("div", "aside", "li") and note.parent.get("id"):
        note = note.parent
    marks = _marks(link)
    leads_back = any(tag.name == "a" and _target(tag, named) in marks for tag in islice(note.walk(), MOST_NOTE_TAGS))
    return note if leads_back and not _is_within(link, note) else None


def _target(link: Tag, named: dict[str, Tag]) -> Tag | None:
    return named.get(link.get("href").rpartition("#")[2])


def _holder(tag: Tag) -> Tag | None:
    """Return the block in which a tag stands, or which it is."""
    found: Tag | None = tag
    while found is not None and found.name not in HOLDERS:
        found = found.parent
    return None if found is None or found.name in ("body", "html") else found


def _marks(link: Tag) -> set[Tag]:
    """Return a link to a note with the tags around and in it on the line: what the note leads back to."""
    marks = {link, *(child for child in link.children if isinstance(child, Tag))}
    around = link.parent
    while around is not None and around.name not in HOLDERS and len(marks) < FEW_TAGS:
        marks.add(around)
        around = around.parent
    return marks


def _is_within(tag: Tag, around: Tag) -> bool:
    found: Tag | None = tag
    while found is not None and found is not around:
        found = found.parent
    return found is around


def _take_back_links(note: Tag, marks: set[Tag], named: dict[str, Tag], omissions: Omissions) -> None:
    """Take the links back to its mark out of a note."""
    for tag in list(note.walk()):
        if tag.name == "a" and tag.parent is not None and _target(tag, named) in marks:
            omissions.add(Reason.NOTE_MARK, tag.text())
            tag.parent.children = [child for child in tag.parent.children if child is not tag]


def _insert(paragraph: Tag, notes: dict[Tag, list[Tag]]) -> None:
    """Put notes behind the words of a paragraph in which their marks stand, before a list or table in it."""
    children: list[Tag | str] = []
    waiting: list[Tag] = []
    for child in [*paragraph.children, None]:
        if child is None or (isinstance(child, Tag) and child.name in HOLDERS):
            children += [_on_the_line(note, paragraph) for note in waiting]
            waiting = []
        if child is not None:
            children.append(child)
            waiting += notes.get(child, []) if isinstance(child, Tag) else []
    paragraph.children = children


def _on_the_line(note: Tag, parent: Tag) -> Tag:
    """Return a note as words in brackets on a line: its blocks have only a space between them."""
    for tag in list(note.walk()):
        if tag.name in BLOCKS:
            tag.name = "span"
            tag.children.insert(0, " ")
    whole = Tag("span", {}, parent)
    _cut_ends(note)
    whole.children = [" [Note: ", note, "]"]
    note.parent = whole
    return whole


def _cut_ends(note: Tag) -> None:
    """Take the white space off both ends of a note's words."""
    for end, cut in ((0, str.lstrip), (-1, str.rstrip)):
        tag = note
        while tag.children:
            child = tag.children[end]
            if isinstance(child, Tag) and child.children:
                tag = child
            elif isinstance(child, str) and child.strip():
                tag.children[end] = cut(child)
                break
            else:
                tag.children.pop(end)
                tag = note
