"""Markdown: CommonMark with the usual extensions, read as the web page that it describes."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from valign.core.errors import ValignError
from valign.documents.blocks import Source, missing_package
from valign.documents.left_out import Omissions, Reason
from valign.documents.readers.front_matter import split_front_matter
from valign.documents.readers.html import read_page
from valign.documents.readers.markdown_tokens import clean_tokens, count_extra_cells, place_notes
from valign.documents.readers.text import read_characters

MOST_NESTED = 100
LETTERED = re.compile(r"\(?(?:[a-zA-Z]|[ivx]{1,5})[.)]\s")
LIST_MARK = re.compile(r"(?:[-*+]|\d{1,3}[.)])\s")
COMMENT_LABELS = frozenset(("//", "#", "COMMENT"))


def read_markdown(raw: bytes, where: str, max_chars: int) -> Source:
    """Read a Markdown file: its headings, paragraphs, lists and tables, without its marks.

    The text is rendered to HTML and read as such, so that HTML inside it counts as it does in a page. A line break in a
    paragraph stays one. A footnote stands in brackets behind each paragraph that cites it. Front matter, addresses of
    links, comments and struck-through words are left out.

    Args:
        raw: The file.
        where: Its name, for messages.
        max_chars: The most characters that repeated footnotes may have.

    Raises:
        ValignError: A package is missing, the bytes are no text, or lists are nested too deep.
    """
    try:
        from markdown_it import MarkdownIt
        from mdit_py_plugins.container import container_plugin
        from mdit_py_plugins.footnote import footnote_plugin
        from mdit_py_plugins.superscript import superscript_plugin
    except ImportError:
        raise missing_package("Markdown", "mdit-py-plugins") from None
    front = split_front_matter(read_characters(raw, where))
    parser = MarkdownIt(
        "commonmark", {"html": True, "breaks": True, "maxNesting": MOST_NESTED, "strikethrough_single_tilde": True}
    )
    parser.enable(["table", "strikethrough"]).use(footnote_plugin, move_to_end=False).use(superscript_plugin)
    parser.block.ruler.at("code", _read_indented)
    parser.use(container_plugin, "box", validate=lambda *_: True, render=_render_box)
    parser.validateLink = lambda _: True  # type: ignore[method-assign,assignment]
    env: dict[str, Any] = {}
    omissions = Omissions()
    omissions.add(Reason.FRONT_MATTER, front.text)
    try:
        tokens = parser.parse(front.rest, env)
    except RecursionError:
        tokens = None
    if tokens is None or any(token.level >= MOST_NESTED - 1 for token in tokens):
        raise ValignError(f"{where}: lists and quotations are nested more than {MOST_NESTED // 2} deep; simplify them.")
    _count_definitions(env, omissions)
    count_extra_cells(tokens, front.rest, omissions)
    tokens = clean_tokens(place_notes(tokens, env, where, max_chars, omissions), omissions)
    page = parser.renderer.render(tokens, parser.options, env)
    head = ""
    if front.title:
        head = f"<title>{escape(front.title)}</title>"
        if not any(token.type == "heading_open" and token.tag == "h1" for token in tokens):
            page = f"<h1>{escape(front.title)}</h1>\n{page}"
    return read_page(f"<html><head>{head}</head><body>{page}</body></html>", omissions, where)


def _read_indented(state: Any, start: int, end: int, silent: bool) -> bool:
    """Read an indented block: code, but below ``(c) ...``, which CommonMark calls no list, the list within that item.

    Such a list begins with a marker, and so does each of its lines that is indented no further.
    """
    from markdown_it.rules_block.code import code

    before = state.tokens[-2:]
    below_item = len(before) == 2 and before[1].type == "paragraph_close" and LETTERED.match(before[0].content)
    if silent or not below_item or not state.is_code_block(start):
        return code(state, start, end, silent)
    line = start
    while line < end and (state.isEmpty(line) or state.is_code_block(line)):
        line += 1
    lines = [k for k in range(start, line) if not state.isEmpty(k)]
    outer = [k for k in lines if state.sCount[k] <= state.sCount[start]]
    if not all(LIST_MARK.match(state.src, state.bMarks[k] + state.tShift[k]) for k in outer):
        return code(state, start, end, silent)
    state.blkIndent += 4
    state.md.block.tokenize(state, start, lines[-1] + 1)
    state.blkIndent -= 4
    state.line = lines[-1] + 1
    return True


def _render_box(_: Any, tokens: Any, index: int, *__: Any) -> str:
    """Render a container (``:::note Watch out``) with the words behind its kind as its first line."""
    words = tokens[index].info.strip().partition(" ")[2] if tokens[index].nesting == 1 else ""
    words = re.sub(r"\{[^{}]*\}|[\[\]:]", "", words).strip()
    return f"<p>{escape(words)}</p>\n" if words else "\n"


def _count_definitions(env: dict[str, Any], omissions: Omissions) -> None:
    """Count the definitions of link addresses; ``[//]: # (words)`` is how comments are written."""
    for label, found in env.get("references", {}).items():
        if label.upper() in COMMENT_LABELS:
            omissions.add(Reason.COMMENT, found["title"] or found["href"])
        else:
            omissions.add(Reason.LINK, f"{found['href']} {found['title']}")
