"""What of a web page is text: the closed panels that a reader opens are, menus, scripts and hidden words are not."""

from __future__ import annotations

import re
from itertools import islice, pairwise

from valign.documents.left_out import Reason
from valign.documents.lines import LETTER
from valign.documents.readers.html_tree import COMMENT, Tag

HEADING_TAGS = frozenset("h1 h2 h3 h4 h5 h6".split())
BLOCKS = HEADING_TAGS | frozenset(
    "address article aside blockquote body caption center dd details div dl dt fieldset figcaption figure form header "
    "hgroup hr html legend li listing main marquee menu ol p plaintext pre search section summary table tbody tfoot "
    "thead tr ul xmp".split()
)
NAMES = {
    **dict.fromkeys(("script", "style", "noscript", "template"), Reason.SCRIPT),
    **dict.fromkeys("svg iframe object audio video canvas noembed noframes".split(), Reason.MEDIA),
    **dict.fromkeys(("select", "textarea", "input", "datalist", "progress", "meter"), Reason.CONTROL),
    **dict.fromkeys(("del", "s", "strike"), Reason.DELETED),
    **dict.fromkeys(("dialog", "annotation", "annotation-xml"), Reason.HIDDEN),
    "nav": Reason.NAVIGATION,
    "footer": Reason.FOOTER,
}
ROLES = {
    **dict.fromkeys(("navigation", "menu", "menubar", "search"), Reason.NAVIGATION),
    **dict.fromkeys(("contentinfo", "banner"), Reason.FOOTER),
    **dict.fromkeys(("dialog", "alertdialog"), Reason.HIDDEN),
}
RUNNING = frozenset(("header", "footer"))  # of a page, as LibreOffice marks them
INVISIBLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)", re.IGNORECASE)
WHOLE = frozenset(("html", "body"))
"""Not shown until a script runs, if at all."""
NOT_SHOWN = frozenset(("hidden", "d-none", "is-hidden", "hide"))
FOR_SCREEN_READERS = frozenset(
    "sr-only visually-hidden visuallyhidden screen-reader-text screen-reader-only screenreader-only a11y-hidden".split()
)
"""Classes of well-known style sheets, which a page does not hold itself."""
AT_WIDTHS = re.compile(r"(?:d-)?(?:sm|md|lg|xl|2xl|xxl)[:-](?!none|hidden)\w", re.IGNORECASE)
STRUCK = re.compile(r"text-decoration(?:-line)?\s*:[^;]*line-through", re.IGNORECASE)
PANEL = re.compile(
    r"panel|accordion|collaps|\btabs?\b|tab-?pane|tab-?content|toggle|expand|disclos|faq|answer|content|body|detail",
    re.IGNORECASE,
)
POPUP = re.compile(
    r"dialog|modal|cookie|consent|pop-?up|overlay|tooltip|lightbox|\bmenu|dropdown|search|banner|toast|offcanvas|\bnav",
    re.IGNORECASE,
)
READ_MORE = re.compile(r"\b(?:read-?)?more(?:-?text)?\b|\bfull-?text\b", re.IGNORECASE)
OPENER = re.compile(r"accordion|collaps|disclos|expand|faq", re.IGNORECASE)
GENERIC = re.compile(
    r"\W*(?:(?:read|show|see|view|learn) (?:more|less|all)|more|less|(?:expand|collapse|open|close|show|hide)(?: all)?"
    r"|menu|toggle(?: \w+)?)?\W*",
    re.IGNORECASE,
)
CONTAINERS = frozenset("div section article aside ul ol dl dd table fieldset form main blockquote".split())
MOST_TITLE_TAGS = 50
UNLABELLED = frozenset(("hidden", "checkbox", "radio", "color", "range"))


class PageParts:
    """Tells of each tag of a page whether it holds text, and what is a title.

    Attributes:
        title: The tag of the page's title, where there is one.
        main: The main part, where the page has just one with words.
        above_main: The tags around it.
        layout: Tables that hold tables, headings or lists; they only place things on the page.
        panel_titles: The words of the tab that opens a panel, by the panel.

    Args:
        top: The page.
    """

    def __init__(self, top: Tag) -> None:
        self.title: Tag | None = None
        self.layout: set[Tag] = set()
        self.panel_titles: dict[Tag, str] = {}
        self._named: dict[str, Tag] = {}
        self._targets: set[str] = set()
        self._before: dict[Tag, Tag] = {}
        self._in_heading: set[Tag] = set()
        self._with_heading: set[Tag] = set()
        self._with_block: set[Tag] = set()
        self._with_words: set[Tag] = set()  # beside links
        self._tabs: dict[Tag, Reason | None] = {}
        mains: list[Tag] = []
        tabs: list[Tag] = []
        stack: list[tuple[Tag, Tag | None, bool, bool]] = [(top, None, False, False)]
        while stack:
            tag, table, linked, headed = stack.pop()
            self._note(tag, table, linked)
            if headed:
                self._in_heading.add(tag)
            if tag.name == "main" or tag.get("role") == "main":
                mains.append(tag)
            if tag.get("role") == "tab" or (tag.get("data-bs-toggle") or tag.get("data-toggle")) in ("tab", "pill"):
                tabs.append(tag)
            inner = tag if tag.name == "table" else table
            tags = [child for child in tag.children if isinstance(child, Tag)]
            self._before.update((late, early) for early, late in pairwise(tags))
            linked = linked or tag.name == "a"
            headed = is_heading(tag) or (headed and tag.name not in BLOCKS)
            stack.extend((child, inner, linked, headed) for child in reversed(tags))
        for tab in tabs:
            self._settle_tab(tab)
        self.main = mains[0] if len(mains) == 1 and mains[0].text().strip() else None
        self.above_main: set[Tag] = set()
        if self.main is not None:
            _mark_above(self.main, self.above_main)

    def _note(self, tag: Tag, table: Tag | None, linked: bool) -> None:
        if self.title is None and tag.name == "title":
            self.title = tag
        if is_heading(tag):
            _mark_above(tag, self._with_heading)
        if tag.name in BLOCKS:
            _mark_above(tag, self._with_block)
        if table is not None and tag.name in ("table", "h1", "h2", "h3", "h4", "ul", "ol"):
            self.layout.add(table)
        if name := tag.get("id"):
            self._named.setdefault(name, tag)
        self._targets.update(_targets(tag))
        if not linked and tag.name != "a" and any(isinstance(c, str) and c.strip() for c in tag.children):
            self._with_words.add(tag)
            _mark_above(tag, self._with_words)

    def _settle_tab(self, tab: Tag) -> None:
        """Give a panel the title on its tab; a panel with headings of its own needs none."""
        panel = next((self._named[name] for name in _targets(tab) if name in self._named), None)
        inner = list(islice(tab.walk(), MOST_TITLE_TAGS))
        if panel is None or panel in self.panel_titles or panel in inner or len(inner) == MOST_TITLE_TAGS:
            return
        if panel not in self._with_heading:
            self.panel_titles[panel] = " ".join(tab.text().split())
        self._tabs[tab] = None if panel in self.panel_titles else Reason.NAVIGATION

    def is_moved(self, tag: Tag) -> bool:
        """Tell whether it is a tab whose words stand above its panel."""
        return tag in self._tabs and self._tabs[tag] is None

    def is_opener(self, tag: Tag) -> bool:
        """Tell whether it is the line above a panel that opens it, and no heading: its words are the panel's title."""
        if tag.name == "summary":
            return tag not in self._with_heading
        if not _is_button(tag) or tag in self._with_heading or tag in self._in_heading or POPUP.search(_names(tag)):
            return False
        if "aria-expanded" not in tag.attributes and not _targets(tag) and not OPENER.search(tag.get("class")):
            return False
        panels = [self._named[name] for name in _targets(tag) if name in self._named]
        if any(panel.name == "nav" or panel.get("role") in ROLES or POPUP.search(_names(panel)) for panel in panels):
            return False
        return GENERIC.fullmatch(tag.text(MOST_TITLE_TAGS)) is None and all(
            panel in self._with_words for panel in panels
        )

    def reason(self, tag: Tag) -> Reason | None:
        """Return why a tag and all within it is no text of the page, or None where it is."""
        if tag.name == COMMENT:
            return Reason.SCRIPT if str(tag.children[0]).startswith("?") else Reason.COMMENT
        if tag.name == "title":
            return None if tag is self.title else Reason.MARGIN
        found = NAMES.get(tag.name)
        if tag.attributes:
            found = found or ROLES.get(tag.get("role")) or self._tabs.get(tag) or self._unseen(tag)
        is_read = tag in self._with_heading or tag in self._in_heading or tag in self._tabs
        if not found and tag.name == "a" and tag in self._in_heading and tag.get("href")[:1] == "#":
            found = None if LETTER.search(tag.text(MOST_TITLE_TAGS)) else Reason.NAVIGATION  # such as "¶"
        if not found and tag.name == "button" and not is_read and not self.is_opener(tag):
            found = Reason.CONTROL
        return found

    def _unseen(self, tag: Tag) -> Reason | None:
        """Return why a tag is left out by its attributes, if it is."""
        style = tag.get("style")
        if tag.name == "div" and tag.get("title") in RUNNING:
            return Reason.FOOTER
        if STRUCK.search(style):
            return Reason.DELETED
        if _is_off(tag):
            return self._closed(tag)
        if not FOR_SCREEN_READERS.isdisjoint(tag.get("class").split()) and not self._is_titled(tag):
            return Reason.HIDDEN
        return Reason.HIDDEN if tag.get("aria-hidden").lower() == "true" and not self._is_large(tag) else None

    def _is_titled(self, tag: Tag) -> bool:
        return is_heading(tag) or tag in self._with_heading or tag in self._in_heading

    def _is_large(self, tag: Tag) -> bool:
        """Tell whether a tag that is hidden from screen readers only is more than an ornament within a line."""
        return (tag.name in BLOCKS or tag.name in ("td", "th") or tag in self._with_block) and not POPUP.search(
            _names(tag)
        )

    def _closed(self, tag: Tag) -> Reason | None:
        """Return why a tag that is not shown at first is no text, or None for a panel that a reader opens."""
        names = _names(tag)
        if POPUP.search(names):
            return Reason.HIDDEN
        if READ_MORE.search(names) and tag in self._with_words:
            return None
        if tag.get("id") in self._targets or tag.get("role") == "tabpanel" or tag.get("aria-labelledby"):
            return None if tag in self._with_words else Reason.NAVIGATION
        before = self._before.get(tag)
        titled = before is not None and (
            is_heading(before) or before.name == "summary" or _is_button(before) or before in self._with_heading
        )
        held = titled or tag in self._with_heading or PANEL.search(names) is not None
        inside = tag.parent is not None and tag.parent.name == "details"
        return None if (inside or held) and tag.name in CONTAINERS else Reason.HIDDEN


def unread_words(tag: Tag) -> str:
    """Return what is counted of a tag that is left out: its text, or what stands in an attribute and is shown."""
    if tag.name == COMMENT:
        return str(tag.children[0] if tag.children else "")
    if tag.name == "input" and tag.get("type").lower() in UNLABELLED:
        return ""
    words = (tag.get("srcdoc"), tag.text(), *(tag.get(name) for name in ("alt", "value", "placeholder")))
    return next((text for text in words if text.strip()), "")


def is_heading(tag: Tag) -> bool:
    """Tell whether a tag is a heading, by its name or its role."""
    return tag.name in HEADING_TAGS or tag.get("role") == "heading"


def _mark_above(tag: Tag, marked: set[Tag]) -> None:
    """Add the tags around a tag, up to one that is there already: all of them are, further up."""
    around = tag.parent
    while around is not None and around not in marked:
        marked.add(around)
        around = around.parent


def _targets(tag: Tag) -> list[str]:
    """Return the ids of the parts of the page that a tag opens or leads to."""
    names = tag.get("aria-controls").split()
    for attribute in ("href", "data-target", "data-bs-target"):
        if (value := tag.get(attribute)).startswith("#") and len(value) > 1:
            names.append(value[1:])
    return names


def _is_off(tag: Tag) -> bool:
    """Tell whether a tag is not shown at first."""
    hidden, classes = tag.attributes.get("hidden"), tag.get("class").split()
    by_class = tag.name not in WHOLE and not NOT_SHOWN.isdisjoint(classes) and not any(map(AT_WIDTHS.match, classes))
    by_attribute = (hidden is not None and hidden.lower() != "until-found") or "popover" in tag.attributes
    return by_attribute or by_class or INVISIBLE.search(tag.get("style")) is not None


def _is_button(tag: Tag) -> bool:
    return tag.name == "button" or tag.get("role") == "button"


def _names(tag: Tag) -> str:
    return f"{tag.get('class')} {tag.get('id')} {tag.get('role')}"
