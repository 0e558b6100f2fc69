"""Raised, lowered and struck-through words that a web page marks with a class of its style sheet."""

from __future__ import annotations

import re

from valign.documents.readers.html_tree import Tag

STYLE_RULE = re.compile(r"([^{}]{1,500})\{([^{}]{0,2000})\}")
SELECTOR = re.compile(r"[a-z]*\.([\w-]+)", re.IGNORECASE)
LOOK = re.compile(
    r"(?:vertical-align\s*:\s*(?:super|sub)\b|text-decoration(?:-line)?\s*:[^;]*line-through)", re.IGNORECASE
)


def apply_classes(top: Tag) -> None:
    """Give each tag the looks of its class that change what is read, as if its own ``style`` said so.

    Only rules for one class count (``.c3 {vertical-align: super}``), as Google Docs and LibreOffice write them.

    Args:
        top: The page; its tree is changed.
    """
    looks: dict[str, str] = {}
    tags = list(top.walk())
    for sheet in (tag for tag in tags if tag.name == "style"):
        for rule in STYLE_RULE.finditer(sheet.text()):
            if found := LOOK.findall(rule[2]):
                names = (SELECTOR.fullmatch(selector.strip()) for selector in rule[1].split(","))
                looks.update((name[1], "; ".join(found)) for name in names if name)
    if not looks:
        return
    for tag in tags:
        if found := [looks[name] for name in tag.get("class").split() if name in looks]:
            tag.attributes = {**tag.attributes, "style": "; ".join([*found, tag.get("style")])}
