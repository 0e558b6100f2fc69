"""What a web page's style sheet says of a class or id and changes what is read: raised, struck and hidden words."""

from __future__ import annotations

import re
from collections.abc import Iterator

from valign.documents.readers.html_parts import WHOLE
from valign.documents.readers.html_tree import Tag

BRACES = re.compile(r"([{}])")
SELECTOR = re.compile(r"[a-z0-9]*[.#][\w-]+", re.IGNORECASE)
CLASS_OR_ID = re.compile(r"[.#][\w-]+")
LOOK = re.compile(
    r"vertical-align\s*:[^;]*|text-decoration(?:-line)?\s*:[^;]*line-through|list-style(?:-type)?\s*:[^;]*"
    r"|font-size\s*:[^;]*|float\s*:[^;]*|display\s*:\s*(?!none)[^;]*",
    re.IGNORECASE,
)
HIDES = re.compile(r"display\s*:\s*none\b|visibility\s*:\s*(?:hidden|collapse)\b", re.IGNORECASE)
SHOWS = re.compile(r"display\s*:(?!\s*none)|visibility\s*:\s*visible", re.IGNORECASE)
ON_SCREEN = re.compile(r"@media\s+(?:only\s+)?(?:screen|all)|@(?:layer|supports)\b.*", re.IGNORECASE | re.DOTALL)
LONGEST_SELECTOR, LONGEST_RULE = 500, 2000


def apply_classes(top: Tag) -> None:
    """Give each tag the looks of its class or id that change what is read, as if its own ``style`` said so.

    Only rules for one class or id count (``.c3 {vertical-align: super}``), as Google Docs and LibreOffice write them.
    A class that another rule shows, as on a wide screen or when it is open, hides nothing.

    Args:
        top: The page; its tree is changed.
    """
    looks: dict[str, str] = {}
    hidden: dict[str, str] = {}
    shown: set[str] = set()
    tags = list(top.walk())
    for sheet in (tag for tag in tags if tag.name == "style"):
        for selectors, declarations, is_certain in _rules(sheet.text()):
            if SHOWS.search(declarations):
                shown.update(CLASS_OR_ID.findall(selectors))
            names = [name for name in map(str.strip, selectors.split(",")) if SELECTOR.fullmatch(name)]
            if found := LOOK.findall(declarations):
                looks.update(dict.fromkeys(names, "; ".join(found)))
            if is_certain and (hides := HIDES.search(declarations)):
                hidden.update(dict.fromkeys(names, hides[0]))
    hidden = {name: look for name, look in hidden.items() if shown.isdisjoint(CLASS_OR_ID.findall(name))}
    if not looks and not hidden:
        return
    for tag in tags:
        own = tag.get("style")
        names = [f".{name}" for name in tag.get("class").split()] + [f"#{name}" for name in tag.get("id").split()]
        names += [f"{tag.name}{name}" for name in names]
        found = [looks[name] for name in names if name in looks]
        if tag.name not in WHOLE and not SHOWS.search(own):
            found += [hidden[name] for name in names if name in hidden]
        if found:
            tag.attributes = {**tag.attributes, "style": "; ".join([*found, own])}


def _rules(sheet: str) -> Iterator[tuple[str, str, bool]]:
    """Yield the selectors and declarations of each rule, and whether it holds on every screen."""
    first, *commented = sheet.split("/*")
    pieces = BRACES.split(first + "".join(part.partition("*/")[2] for part in commented))
    around: list[str] = []
    for text, brace in zip(pieces[::2], pieces[1::2], strict=False):
        if brace == "{":
            around.append(text.rpartition(";")[2].strip())
            continue
        selectors = around.pop() if around else "@"
        if selectors[:1] != "@" and len(selectors) <= LONGEST_SELECTOR and len(text) <= LONGEST_RULE:
            yield selectors, text, all(map(ON_SCREEN.fullmatch, around))
