"""Made documents of every format: each sentence is read once, or counted as left out for its reason."""

from __future__ import annotations

import io
from collections.abc import Callable
from html import escape
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from fuzzed import Told, fuzzing
from hypothesis import given
from hypothesis import strategies as st
from pdfs import pdf

from valign.documents.left_out import Reason

INLINE = ["plain", "strong", "link", "code", "struck", "comment", "hidden", "picture", "break", "glued"]
LEAVES = ["p", "heading", "code", "table", "hidden", "note"]
Node = tuple[str, Any, list[Any]]
WORDS = st.lists(st.sampled_from(INLINE), min_size=1, max_size=4).map(lambda kinds: ["plain", *kinds])
LEAF: st.SearchStrategy[Any] = st.tuples(st.sampled_from(LEAVES), WORDS, st.just([]))
NODES = st.lists(
    st.recursive(
        LEAF,
        lambda inner: st.tuples(
            st.sampled_from(["list", "ordered", "quote", "box", "layout", "nav"]),
            WORDS,
            st.lists(inner, min_size=1, max_size=3),
        ),
        max_leaves=8,
    ),
    min_size=1,
    max_size=6,
)

HTML_INLINE: dict[str, Callable[[Told, Reason | None], str]] = {
    "plain": lambda told, why: told.say(why),
    "strong": lambda told, why: f"<strong>{told.say(why)}</strong> <em>{told.say(why)}",
    "link": lambda told, why: f'<a href="#x">{told.say(why)}</a> <span><u>{told.say(why)}</u></span>',
    "code": lambda told, why: f"<code>{told.say(why)}</code> <sub>{told.say(why)}</sub>",
    "struck": lambda told, why: f"<del>{told.say(why or Reason.DELETED)}</del> <ins>{told.say(why)}</ins>",
    "comment": lambda told, why: "<!-- a --> <script>x</script>",
    "hidden": lambda told, why: f"<span hidden>{told.say(why or Reason.HIDDEN)}</span>",
    "picture": lambda told, why: f'<img src="x" alt="{told.say(None if why else Reason.MEDIA) if not why else ""}">',
    "break": lambda told, why: "<br>",
    "glued": lambda told, why: f"<wbr>{told.say(why)}<select><option>{told.say(why or Reason.CONTROL)}</select>",
}


def html_words(kinds: list[str], told: Told, why: Reason | None) -> str:
    return " ".join(HTML_INLINE[kind](told, why) + ("</em>" if kind == "strong" else "") for kind in kinds)


def html_node(node: Node, told: Told, why: Reason | None) -> str:
    """A part of a page; of some kinds the end tags are left out, as HTML allows."""
    kind, kinds, inner = node
    why = Reason.NAVIGATION if kind == "nav" and why is None else why
    hidden = why or Reason.HIDDEN
    forms: dict[str, Callable[[], str]] = {
        "p": lambda: f"<p>{html_words(kinds, told, why)}",
        "heading": lambda: f"<h{2 + len(kinds) % 4}>{told.say(why)}</h{2 + len(kinds) % 4}>",
        "code": lambda: f"<pre><code>{told.say(why)}\n\n  {told.say(why)}</code></pre>",
        "table": lambda: "<table>" + f"<tr><td>{told.say(why)}<td>{html_words(kinds, told, why)}" * 1 + "</table>",
        "hidden": lambda: f"<p hidden>{told.say(hidden)}</p><p style='display:none'>{told.say(hidden)}</p>",
        "note": lambda: f"<p>{told.say(why)}<a href='#fn1'><sup>1</sup></a></p></p>{told.say(why)}</br>{told.say(why)}",
    }
    if kind in forms:
        return forms[kind]()
    parts = [html_node(child, told, why) for child in inner]
    if kind in ("list", "ordered"):
        tag = "ul" if kind == "list" else "ol"
        return f"<{tag}>{''.join(f'<li>{told.say(why)} {part}' for part in parts)}</{tag}>"
    if kind == "quote":
        return f"<blockquote>{''.join(parts)}</blockquote>"
    if kind == "box":
        return f"<details><summary>{told.say(why)}</summary>{''.join(parts)}</details>"
    if kind == "layout":
        return f"<table><tr><td>{'</td><td>'.join(parts)}</td></tr></table>"
    return f"<nav>{''.join(parts)}</nav>"


def html_page(nodes: list[Node]) -> tuple[bytes, Told]:
    told = Told()
    body = "\n".join(html_node(node, told, None) for node in nodes)
    return f"<body><p>{told.say()}</p>{body}<p>{told.say()}</p></body>".encode(), told


MD_INLINE: dict[str, Callable[[Told], str]] = {
    "plain": lambda told: told.say(),
    "strong": lambda told: f"**{told.say()}** _{told.say()}_ ***{told.say()}***",
    "link": lambda told: f"[{told.say()}](http://x.org 'title') [*{told.say()}*][ref]",
    "code": lambda told: f"`{told.say()}` <kbd>{told.say()}</kbd>",
    "struck": lambda told: f"~~{told.say(Reason.DELETED)}~~",
    "comment": lambda told: f"{told.say()} <!-- {told.say(Reason.COMMENT)} --> {told.say()}",
    "hidden": lambda told: f"<span hidden>{told.say(Reason.HIDDEN)}</span>",
    "picture": lambda told: f"![{told.say(Reason.MEDIA)}](picture.png)",
    "break": lambda told: "  \n",
    "glued": lambda told: f"5\\*3 &amp; \\_ {told.say()} -- \\[ {told.say()}",
}


def md_words(kinds: list[str], told: Told) -> list[str]:
    words = " ".join(MD_INLINE[kind](told) for kind in [*kinds, "plain"])
    return [line.strip() + "  " for line in words.split("\n")]


def md_leaf(kind: str, kinds: list[str], told: Told) -> list[str]:
    if kind == "heading":
        return [f"{'#' * (2 + len(kinds) % 4)} {told.say()} {{#a .b}}"]
    if kind == "code":
        return ["```text", told.say(), "", "# " + told.say(), "```"]
    if kind == "table":
        extra = f" | {told.say(Reason.HIDDEN)}" if len(kinds) > 3 else ""
        return [f"| {told.say()} | {told.say()} |", "|---|:-:|", f"| {told.say()} | **{told.say()}**{extra} |"]
    if kind == "hidden":
        return [f"<!-- {told.say(Reason.COMMENT)} -->", "", f"<p hidden>{told.say(Reason.HIDDEN)}</p>"]
    if kind == "note":
        name = len(told.visible)
        return [f"{told.say()}[^{name}]", "", f"[^{name}]: {told.say()}", f"    {told.say()}", "", f"    {told.say()}"]
    return md_words(kinds, told)


def md_node(node: Node, told: Told) -> list[str]:
    kind, kinds, inner = node
    if not inner:
        return md_leaf(kind, kinds, told)
    parts = [md_node(child, told) for child in inner]
    if kind in ("list", "ordered"):
        mark = "- " if kind == "list" else "1. "
        indent = " " * len(mark)
        items = [[mark + told.say(), "", *(indent + line for line in part)] for part in parts]
        return [line for item in items for line in [*item, ""]]
    lines = [line for part in parts for line in [*part, ""]]
    if kind == "quote":
        return [f"> {line}" for line in lines]
    if kind == "box":
        return [f":::note {told.say()}", "", *lines, ":::"]
    return ["<div>", "", *lines, "</div>"] if kind == "layout" else ["***", "", *lines]


def md_file(nodes: list[Node]) -> tuple[bytes, Told]:
    told = Told()
    front = ["---", f"summary: {told.say(Reason.FRONT_MATTER)}", "---", f"# {told.say()}", "", told.say(), ""]
    body = [line for node in nodes for line in [*md_node(node, told), ""]]
    return "\n".join([*front, *body, told.say(), "", "[ref]: http://y.org"]).encode(), told


def docx_run(text: str, look: str = "") -> str:
    return f"<w:r><w:rPr>{look}</w:rPr><w:t xml:space='preserve'>{escape(text)} </w:t></w:r>"


def docx_words(kinds: list[str], told: Told) -> str:
    forms: dict[str, Callable[[], str]] = {
        "plain": lambda: docx_run(told.say()),
        "strong": lambda: docx_run(told.say(), "<w:b/>") + f"<w:smartTag>{docx_run(told.say())}</w:smartTag>",
        "link": lambda: f"<w:hyperlink>{docx_run(told.say())}</w:hyperlink>",
        "code": lambda: f"<w:fldSimple w:instr='REF x'>{docx_run(told.say())}</w:fldSimple>",
        "struck": lambda: f"<w:ins>{docx_run(told.say())}</w:ins>" + docx_run(told.say(Reason.DELETED), "<w:strike/>"),
        "comment": lambda: (
            f"<w:moveFrom>{docx_run(told.say(Reason.DELETED))}</w:moveFrom><w:sdt><w:sdtContent>"
            f"{docx_run(told.say())}</w:sdtContent></w:sdt>"
        ),
        "hidden": lambda: docx_run(told.say(Reason.HIDDEN), "<w:vanish/>"),
        "picture": lambda: f"<w:r><w:drawing><a:t>{told.say(Reason.MEDIA)}</a:t></w:drawing></w:r>",
        "break": lambda: "<w:r><w:br/></w:r>",
        "glued": lambda: (
            f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{docx_run(told.say(Reason.CONTROL))}"
            "</w:sdtContent></w:sdt>"
        ),
    }
    return "".join(forms[kind]() for kind in kinds)


def docx_leaf(kind: str, kinds: list[str], told: Told) -> str:
    if kind == "heading":
        return f"<w:p><w:pPr><w:pStyle w:val='Heading{2 + len(kinds) % 3}'/></w:pPr>{docx_run(told.say())}</w:p>"
    if kind == "table":
        cells = [f"<w:tc><w:p>{docx_words(kinds, told)}</w:p><w:p>{docx_run(told.say())}</w:p></w:tc>" for _ in "ab"]
        return f"<w:tbl><w:tr>{cells[0]}<w:sdt><w:sdtContent>{cells[1]}</w:sdtContent></w:sdt></w:tr></w:tbl><w:p/>"
    if kind == "hidden":
        return f"<w:p><w:del>{docx_run(told.say(Reason.DELETED))}</w:del></w:p>"
    return f"<w:p>{docx_words(kinds, told)}</w:p>"


def docx_node(node: Node, told: Told) -> str:
    kind, kinds, inner = node
    if not inner:
        return docx_leaf(kind, kinds, told)
    parts = [docx_node(child, told) for child in inner]
    if kind in ("list", "ordered"):
        style = "ListBullet" if kind == "list" else "ListNumber"
        mark = f"<w:p><w:pPr><w:pStyle w:val='{style}'/></w:pPr>"
        return "".join(f"{mark}{docx_run(told.say())}</w:p>{part}" for part in parts)
    if kind in ("quote", "box"):
        box = f"<w:txbxContent>{''.join(parts)}</w:txbxContent>"
        fallback = f"<mc:Fallback><w:pict>{box}</w:pict></mc:Fallback>"
        choice = f"<mc:Choice Requires='x'><w:drawing>{box}</w:drawing></mc:Choice>"
        alternates = f"<mc:AlternateContent>{choice}{fallback}</mc:AlternateContent>"
        return f"<w:p>{docx_run(told.say())}<w:r>{alternates}</w:r>{docx_run(told.say())}</w:p>"
    if kind == "layout":
        return f"<w:tbl><w:tr><w:tc>{''.join(parts)}</w:tc></w:tr></w:tbl><w:p/>"
    return f"<w:sdt><w:sdtContent>{''.join(parts)}</w:sdtContent></w:sdt>"


SPACES = " ".join(
    f'xmlns:{name}="{address}"'
    for name, address in (
        ("w", "http://schemas.openxmlformats.org/wordprocessingml/2006/main"),
        ("mc", "http://schemas.openxmlformats.org/markup-compatibility/2006"),
        ("a", "http://schemas.openxmlformats.org/drawingml/2006/main"),
    )
)


def docx_file(nodes: list[Node]) -> tuple[bytes, Told]:
    told, document, out = Told(), docx.Document(), io.BytesIO()
    made = "".join(docx_node(node, told) for node in nodes)
    body = f"<w:body {SPACES}><w:p>{docx_run(told.say())}</w:p>{made}<w:p>{docx_run(told.say())}</w:p></w:body>"
    for element in list(parse_xml(body)):
        document.element.body.insert(len(document.element.body) - 1, element)
    document.sections[0].header.paragraphs[0].text = told.say(Reason.FOOTER)
    document.save(out)
    return out.getvalue(), told


def txt_node(node: Node, told: Told, indent: str = "") -> list[str]:
    kind, kinds, inner = node
    if kind == "heading":
        return ["", indent + told.say().rstrip("."), ""]
    if not inner:
        rule = ["* * *", ""] if kind == "code" else []
        return ["", *rule, indent + " ".join(told.say() for _ in kinds), ""]
    lines = [line for child in inner for line in txt_node(child, told, f"{indent}  ")]
    return [f"{indent}{'1.' if kind == 'ordered' else '-'} {told.say()}", *lines, f"{indent}- {told.say()}"]


def txt_file(nodes: list[Node], suffix: str = "") -> tuple[bytes, Told]:
    told = Told()
    front = ["---", f"summary: {told.say(Reason.FRONT_MATTER)}", "---"]
    body = [line for node in nodes for line in txt_node(node, told)]
    return "\n".join([*front, *body, "", told.say()]).encode("utf-16" if len(nodes) % 2 else "utf-8"), told


def pdf_file(nodes: list[Node]) -> tuple[bytes, Told]:
    told, base = Told(), 760
    page: list[Any] = []
    for kind, kinds, _ in [("p", ["plain"], []), *nodes, ("p", ["plain"], [])]:
        size, font = (16, "b") if kind == "heading" else (10, "")
        texts = [told.say() for _ in kinds] if kind != "heading" else [told.say()]
        if kind == "table":
            page += [(72 + 180 * index, base, text) for index, text in enumerate(texts[:3])]
            texts = texts[3:]
            base -= 12
        for text in texts:
            page.append((72, base, text, size, font))
            base -= 12
        base -= 24
    page += [(-400, 300, told.say(Reason.TURNED)), (72, 900, told.say(Reason.TURNED))]
    return pdf(page), told


FORMATS: dict[str, Callable[[list[Node]], tuple[bytes, Told]]] = {
    "html": html_page,
    "md": md_file,
    "docx": docx_file,
    "txt": txt_file,
    "pdf": pdf_file,
}


def check(suffix: str, monkeypatch: Any, nodes: list[Node]) -> None:
    raw, told = FORMATS[suffix](nodes)
    told.check(raw, suffix, monkeypatch)


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_sentence_is_read_once_or_counted(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzing(25)(given(nodes=NODES)(lambda nodes: check(suffix, monkeypatch, nodes)))()


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_sentence_of_many_documents_is_read_once_or_counted(suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fuzzing(400)(given(nodes=NODES)(lambda nodes: check(suffix, monkeypatch, nodes)))()
