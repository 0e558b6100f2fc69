"""The words of a Word paragraph: without hidden, deleted and struck-through ones, and with the notes that it cites."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from valign.documents.blocks import GAP, clean_text
from valign.documents.left_out import Omissions, Reason
from valign.documents.raised import exponent, place_lowered, place_numerator, place_raised
from valign.documents.readers.docx_formulas import PLACES, M, formula_parts
from valign.documents.readers.docx_styles import RunLook, Styles, W, child_value
from valign.documents.readers.docx_symbols import SYMBOL_FONT

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}"
VML = "{urn:schemas-microsoft-com:vml}"
MC = "{http://schemas.openxmlformats.org/markup-compatibility/2006}"
SKIPPED = frozenset(f"{W}{name}" for name in ("pPr", "rPr", "sdtPr", "sdtEndPr", "instrText", "delInstrText"))
DELETED = frozenset((f"{W}del", f"{W}moveFrom"))
DRAWN = frozenset((f"{A}t", f"{VML}textpath"))
TEXT_TAGS = (f"{W}t", f"{W}delText", f"{M}t", f"{CHART}v", *sorted(DRAWN))
IN_LINE = frozenset((f"{W}object", "{http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing}inline"))
"""Pictures and the like that stand between words as a letter does."""
LINE_BREAKS = (None, "textWrapping")
PRIVATE_USE = 0xF000
IN_SYMBOL_FONT = re.compile("[\uf020-\uf0ff]")


class _Piece(NamedTuple):
    """Words of one look; ``place`` is empty on the line, else superscript, subscript or exponent."""

    text: str
    place: str = ""
    is_note: bool = False


@dataclass
class ParagraphText:
    """A paragraph's words, and the text boxes that hang on it."""

    text: str
    boxes: list[Any] = field(default_factory=list)


class TextReader:
    """Reads paragraphs one after the other; each note is read once, behind the first paragraph that cites it.

    Args:
        styles: The file's styles.
        notes: The file's notes, by kind and id.
        omissions: Takes what is left out.
    """

    def __init__(self, styles: Styles, notes: dict[tuple[str, str], Any], omissions: Omissions) -> None:
        self.styles = styles
        self.notes = notes
        self.omissions = omissions
        self._cited: list[tuple[str, str]] = []
        self._boxes: list[Any] = []

    def read(self, paragraph: Any) -> ParagraphText:
        """Return the words of a paragraph."""
        self._cited, self._boxes = [], []
        text = self._words(paragraph)
        boxes = self._boxes
        for key in self._cited:  # grows while notes cite notes
            note = self.notes.pop(key, None)
            if note is not None:
                lines = (clean_text(self._words(p).replace("\n", " ")) for p in note.iter(f"{W}p"))
                if words := " ".join(line for line in lines if line):
                    text += f" [Note: {words}]"
        return ParagraphText(text, boxes)

    def omit(self, reason: Reason, element: Any) -> None:
        """Count all words of an element as left out."""
        self.omissions.add(reason, raw_words(element))

    def _words(self, paragraph: Any) -> str:
        properties = paragraph.find(f"{W}pPr")
        style = self.styles.paragraph(None if properties is None else child_value(properties, "pStyle"))
        return self._join(self._pieces(paragraph, style.look))

    def _join(self, pieces: list[_Piece]) -> str:
        """Join the pieces of a paragraph, raised and lowered ones as the words before them ask for."""
        joined: list[str] = []
        tail = ""
        merged = [*_merged(pieces), _Piece(""), _Piece("")]
        for index, piece in enumerate(merged[:-2]):
            placed: str | None = piece.text
            if piece.place == "superscript":
                after, last = merged[index + 1 : index + 3]
                placed = place_numerator(tail, piece.text, after.text + last.text, last.place == "subscript")
                placed = placed or place_raised(tail, piece.text, piece.is_note)
            elif piece.place == "subscript":
                placed = place_lowered(tail, piece.text)
            elif piece.place == "exponent":
                placed = exponent(piece.text.strip())
            if placed is None:
                self.omissions.add(Reason.NOTE_MARK, piece.text)
            elif placed:
                joined.append(placed)
                tail = (tail + placed[-80:]).rpartition("\n")[2][-80:]
        return "".join(joined)

    def _pieces(self, paragraph: Any, base: RunLook) -> list[_Piece]:
        """Return the words below a paragraph with their looks; text boxes and cited notes are kept for later."""
        pieces: list[_Piece] = []
        fields: list[int | None] = []
        stack: list[tuple[Any, _Piece]] = [(child, _Piece("")) for child in reversed(paragraph)]
        while stack:
            element, look = stack.pop()
            if isinstance(element, str):
                pieces.append(look._replace(text=element))
                continue
            tag = element.tag
            if not isinstance(tag, str) or tag in SKIPPED:
                continue
            if reason := _reason(element):
                self.omit(reason, element)
            elif tag == f"{W}txbxContent":
                self._boxes.append(element)
            elif tag in (f"{W}footnoteReference", f"{W}endnoteReference"):
                kind = tag.removeprefix(W).removesuffix("Reference")
                self._cited.append((kind, element.get(f"{W}id", "")))
            elif tag in (f"{W}r", f"{M}r"):
                found = self.styles.look(element.find(f"{W}rPr"), base)
                if found.is_hidden or found.is_struck:
                    self.omit(Reason.HIDDEN if found.is_hidden else Reason.DELETED, element)
                    continue
                raised = found.place if found.place in ("superscript", "subscript") else look.place
                inner = look._replace(place=raised, is_note=bool(found.is_note))
                stack.extend((child, inner) for child in reversed(element))
            elif tag == f"{W}fldChar":
                pieces += [look._replace(text=_chosen_entry(choices)) for choices in element.iter(f"{W}ddList")]
                self._follow_field(element.get(f"{W}fldCharType"), fields, pieces)
            elif (text := self._own_text(element)) is not None:
                pieces.append(look._replace(text=text))
            else:
                if tag in IN_LINE:
                    pieces.append(look._replace(text=GAP))
                stack.extend(reversed([*_inside(element, look)]))
        return pieces

    def _follow_field(self, kind: str | None, fields: list[int | None], pieces: list[_Piece]) -> None:
        """Begin or end a field or its instruction, which is not shown, nor is a field within it.

        ``fields`` holds those that are open: where the pieces of an instruction begin, None behind it.
        """
        if kind == "begin":
            fields.append(len(pieces))
        elif fields and (start := fields.pop()) is not None:
            self.omissions.add(Reason.HIDDEN, "".join(piece.text for piece in pieces[start:]))
            del pieces[start:]
        if kind == "separate":
            fields.append(None)

    def _own_text(self, element: Any) -> str | None:
        """Return what an element without children stands for, or None for any other one."""
        name = element.tag.removeprefix(W)
        if element.tag == f"{M}t" or name == "t":
            return _shown(element).replace("\n", " ")
        if name in ("tab", "ptab"):
            return " "
        if name in ("br", "cr"):
            return "\n" if element.get(f"{W}type") in LINE_BREAKS else " "
        if name == "sym":
            return self._symbol(element)
        return "-" if name == "noBreakHyphen" else None

    def _symbol(self, element: Any) -> str:
        """Return the character that a symbol of a special font shows, where that is known."""
        try:
            code = int(element.get(f"{W}char", ""), 16)
        except ValueError:
            return ""
        if code < PRIVATE_USE:
            return chr(code) if code not in range(0xD800, 0xE000) else ""
        known = SYMBOL_FONT.get(code & 0xFF) if element.get(f"{W}font", "").lower() == "symbol" else None
        if known is None:
            self.omissions.add(Reason.MEDIA, "\N{WHITE SQUARE}")
        return known or ""


def _shown(element: Any) -> str:
    """Return the words of a run; of those in the font Symbol, the characters that it shows."""
    words: str = element.text or ""
    if not IN_SYMBOL_FONT.search(words):
        return words
    fonts = element.find(f"../{W}rPr/{W}rFonts")
    if fonts is None or "symbol" not in (fonts.get(f"{W}ascii", "").lower(), fonts.get(f"{W}hAnsi", "").lower()):
        return words
    return IN_SYMBOL_FONT.sub(lambda found: SYMBOL_FONT.get(ord(found[0]) & 0xFF, found[0]), words)


def raw_words(element: Any) -> str:
    """Return all words below an element, whatever they look like; a paragraph ends with a space."""
    return "".join(_raw_text(found) for found in element.iter(f"{W}p", *TEXT_TAGS))


def _raw_text(element: Any) -> str:
    if element.tag == f"{W}p":
        return " "
    if element.tag == f"{VML}textpath":
        return str(element.get("string", ""))
    return f" {element.text or ''}" if element.tag == f"{CHART}v" else element.text or ""


def _reason(element: Any) -> Reason | None:
    """Return why an element is left out, whatever its words look like."""
    if element.tag in DELETED:
        return Reason.DELETED
    if element.tag in DRAWN:
        return Reason.MEDIA
    return Reason.CONTROL if element.tag == f"{W}sdt" and is_placeholder(element) else None


def is_placeholder(control: Any) -> bool:
    """Tell whether a content control shows only what Word asks one to fill in."""
    return control.find(f"{W}sdtPr/{W}showingPlcHdr") is not None


def chosen(alternate: Any) -> Any:
    """Return the one of several forms of a drawing that is read: the first, or what older programs show in words."""
    first, fallback = alternate.find(f"{MC}Choice"), alternate.find(f"{MC}Fallback")
    is_silent = first is None or not raw_words(first).strip()
    return fallback if is_silent and fallback is not None else first


def _chosen_entry(choices: Any) -> str:
    """Return the entry that a form's list shows."""
    entries = [entry.get(f"{W}val", "") for entry in choices.iterfind(f"{W}listEntry")]
    place = child_value(choices, "result") or child_value(choices, "default") or "0"
    return entries[int(place)] if re.fullmatch(r"\d{1,4}", place) and int(place) < len(entries) else ""


def _merged(pieces: list[_Piece]) -> Iterator[_Piece]:
    """Yield the pieces with neighbours of the same look as one: Word cuts runs anywhere."""
    last: list[_Piece] = []
    for piece in pieces:
        if last and piece[1:] != last[-1][1:]:
            yield last[0]._replace(text="".join(p.text for p in last))
            last = []
        last.append(piece)
    if last:
        yield last[0]._replace(text="".join(p.text for p in last))


def _inside(element: Any, look: _Piece) -> Iterator[tuple[Any, _Piece]]:
    """Yield the children of an element in the order in which they are read, and how they stand on the line."""
    tag = element.tag
    if tag == f"{MC}AlternateContent":
        found = chosen(element)
        yield from [] if found is None else [(found, look)]
    elif tag == f"{W}ruby":
        base, above = element.find(f"{W}rubyBase"), element.find(f"{W}rt")
        yield from [] if base is None else [(base, look)]
        yield from [] if above is None else [("(", look), (above, look), (")", look)]
    else:
        for child in formula_parts(element):
            place = look.place if isinstance(child, str) else PLACES.get(child.tag, look.place)
            yield child, look._replace(place=place)
