"""What a browser draws around the words of a tag: brackets and roots of a formula, the reading above a word."""

from __future__ import annotations

from itertools import islice

from valign.documents.readers.html_tree import Tag

_WITHIN = frozenset(("mfenced", "mfrac", "mroot"))


def signs(tag: Tag) -> tuple[str, str]:
    """Return what is drawn before and behind the words of a tag."""
    before = behind = ""
    if tag.name == "mfenced":
        before, behind = tag.attributes.get("open", "("), tag.attributes.get("close", ")")
    elif tag.name == "msqrt":
        before = "√"
    elif tag.name == "rt" and not any(_is_named(child, "rp") for child in (tag.parent.children if tag.parent else ())):
        before, behind = "(", ")"
    parent = tag.parent
    if parent is not None and parent.name in _WITHIN:
        if parent.name == "mfenced" and not _is_nth(tag, 0):
            before = f"{parent.attributes.get('separators', ',').strip()[:1]}{before}"
        elif parent.name == "mfrac" and _is_nth(tag, 1):
            before = f"/{before}"
        elif parent.name == "mroot" and _is_nth(tag, 0):
            before = f"√{before}"
    return before, behind


def is_exponent(tag: Tag) -> bool:
    """Tell whether a tag is an exponent in a formula, or the number of a root, which is read first."""
    return tag.parent is not None and tag.parent.name in ("msup", "mroot") and _is_nth(tag, 1)


def _is_nth(tag: Tag, place: int) -> bool:
    """Tell whether a tag is the first (0) or second (1) of those within the tag around it."""
    around = tag.parent.children if tag.parent else []
    return next(islice((child for child in around if isinstance(child, Tag)), place, None), None) is tag


def _is_named(child: Tag | str, name: str) -> bool:
    return isinstance(child, Tag) and child.name == name
