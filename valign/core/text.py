"""Texts of unknown origin: made safe for a terminal and for Markdown, their words and marks, whether they refuse."""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

IDEOGRAPHS = "\u3005-\u3007\u3040-\u30ff\u3100-\u312f\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
IDEOGRAPHS += "\U00020000-\U0003ffff"
_SYLLABLES = "\u0e01-\u0eff\u0f00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
UNSPACED = f"{IDEOGRAPHS}{_SYLLABLES}"
"""Ranges of letters, for a regular expression, of scripts that put no spaces between words."""
LONGEST_WORD = 40
CELLS = " | "
"""What stands between the cells of a table's row, which is a line."""
WIDE_ENDS = "\u3002\uff01\uff1f\uff1b\uff61"
"""Full-width marks that end a sentence, with or without a space behind."""
ENDS = ".!?;\u037e\u0589\u061b\u061f\u06d4\u0964\u0965\u104a\u104b\u1362\u1367\u1368\u17d4\u17d5"
"""Marks that end a sentence before a space: Latin, Greek, Armenian, Arabic, Urdu, Hindi, Burmese, Ethiopic, Khmer."""
_WIDE_MARKS = "\u3001\u3002\u300a-\u3011\uff01-\uff0f\uff1a-\uff1f\u201c\u201d"
_WIDE = re.compile(
    "[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\uffe0-\uffe6\U00020000-\U0003ffff]"
)
_CLOSING = f"{WIDE_ENDS}\uff0c\u3001\uff1a\u201d\u2019\u300d\u300f\uff09\u300b\u3011,.;:!?)\\]\"'"
_WORD = re.compile(rf"(?:[{IDEOGRAPHS}]{{1,2}}|[{_SYLLABLES}]{{1,5}})[{_CLOSING}]*|[^\s{UNSPACED}]{{1,{LONGEST_WORD}}}")
_LETTER = re.compile(f"[{UNSPACED}]")
_TOKEN = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_QUESTION = re.compile(
    r"[?\uff1f\u061f\u1367\u2e2e]$|\u055e\S*$|\u304b[\u3002\uff61]$|[\u0370-\u03ff\u1f00-\u1fff]\s*[;\u037e]$"
)
REFUSAL = re.compile(
    r"^\W*(?:i'm|i am) (?:sorry|afraid)\b"
    r"|\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\b(?:i (?:can't|cannot|can not|won't|will not)|(?:i am|i'm) (?:unable|not able) to) "
    r"(?:help|assist|answer|provide|comply|discuss|fulfil|give (?:you )?(?:legal|medical|any) advice)"
    r"|^\W*(?:(?:je suis |toutes mes )?(?:désolée?|navrée?|excuses)|je regrette)\b"
    r"|\ben tant qu(?:e |')(?:ia|intelligence artificielle|(?:grand )?modèle (?:de langage|linguistique))\b"
    r"|\bje ne (?:peux|puis|suis) pas (?:en mesure |capable )?(?:d(?:e |'))?(?:vous |t'|te )?"
    r"(?:aider|assister|répondre|fournir|discuter|donner (?:de )?conseils?)",
    re.I,
)
NO_WIDTH = "\u200b"
_ADDRESS = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=[\w-]+\.[\w-])|(?<=(?<!\w)@)(?=\w)", re.I)
"""Where a reader of Markdown sees a web or mail address, or a person's name, in plain text."""
_LOGIN = re.compile(r"(?<=://)(?:(?!://)[^\s'\"\]])*@")  # up to the last @: a password may hold one
_QUERY = re.compile(r"(\bhttps?://[^\s'\",\]?]*)\?[^\s'\",\]]+")
REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def printable(text: str) -> str:
    """Return a text without control characters, marks that reorder it, and halves of characters; line breaks stay."""
    spaced = re.sub(r"\r\n?|[\v\f\x1c-\x1e\x85\u2028\u2029]", "\n", text).replace("\t", "    ")
    return "".join(c for c in spaced if c == "\n" or _shown(c))


def one_line(text: str) -> str:
    """Return a printable text on one line."""
    return " ".join(printable(text).split())


def markdown(text: str) -> str:
    """Return a text on one line in which Markdown's marks and HTML's brackets mean themselves.

    No address becomes a link, and no mark at the beginning a heading or a list: an address gets a space of no width,
    which alone keeps those readers of Markdown from it that look for addresses in finished text.
    """
    escaped = re.sub(r"([\\`*_\[\]<>|#!~&$])", r"\\\1", one_line(text))
    escaped = re.sub(r"^(\d*)([-+=.)])(?=[-=]*(?:\s|$))", r"\1\\\2", escaped)
    return _ADDRESS.sub(NO_WIDTH, escaped)


def hide_logins(text: str) -> str:
    """Return a text without the logins and queries of the URLs in it, as somebody may have typed them.

    >>> hide_logins("base_urls=['http://me:p@ss@host:8/v1','https://host/v1?key=1'] seed=1")
    "base_urls=['http://***@host:8/v1','https://host/v1?***'] seed=1"
    """
    return _QUERY.sub(r"\1?***", _LOGIN.sub("***@", text))


def _shown(character: str) -> bool:
    return character not in REORDERING and unicodedata.category(character) not in ("Cc", "Cs")


def typed(key: str, value: str) -> str:
    r"""Return a setting as it is typed in a shell and printed on one line, whatever characters its text has.

    >>> print(typed("document.path", "a, b's.txt"))
    'document.path="a, b'"'"'s.txt"'
    """
    backslashes = re.sub(r"(\\+)(?=\"|$)", r"\1\1", value)
    is_plain = re.fullmatch(r"[\w./:@%+-]*[./][\w./:@%+-]*", value, re.ASCII)
    quoted = value if is_plain else '"' + backslashes.replace('"', '\\"') + '"'
    whole = f"{key}={quoted}"
    if one_line(whole) == whole:
        return shlex.quote(whole)
    return f"\"$(printf '{''.join(map(_printed, whole))}')\""  # a message has one line, and would change such signs


def _printed(character: str) -> str:
    """Return a character as the shell's printf prints it."""
    if character == "%":
        return "%%"
    if character in "\\'" or character.isspace() or not _shown(character):
        return "".join(f"\\{byte:03o}" for byte in character.encode())
    return character


def words(text: str) -> tuple[str, ...]:
    """Return the lower-case words of a text, of scripts without spaces the letters.

    >>> words("Gifts go back."), words("礼物 50 欧元")
    (('gifts', 'go', 'back'), ('礼', '物', '50', '欧', '元'))
    """
    return tuple(_TOKEN.findall(text.lower()))


def word_spans(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield the offsets of what counts as a word in sizes.

    It is what stands between spaces, 40 characters at most. Where a script puts no spaces between words, it is two
    ideographs or kana, or five letters of Thai, Lao, Tibetan, Burmese or Khmer, with the marks behind them.

    Args:
        text: The text.
        start: Where to begin.
        end: Where to end; by default at the text's end.
    """
    for match in _WORD.finditer(text, start, len(text) if end is None else end):
        yield match.span()


def count_words(text: str) -> int:
    """Count the words of a text as ``word_spans`` has them.

    >>> count_words("Gifts go back."), count_words("礼物必须退还。")
    (3, 3)
    """
    if text.isascii():
        return sum(1 + (len(word) - 1) // LONGEST_WORD for word in text.split())
    return sum(1 for _ in word_spans(text))


def columns(text: str) -> int:
    """Return how wide a text is in columns, of which an ideograph takes two."""
    return len(text) if text.isascii() else len(text) + len(_WIDE.findall(text))


def runs_of(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return the runs of n words; of 2 n where most of the words are letters of a script without spaces."""
    letters = sum(_LETTER.match(token) is not None for token in tokens)
    n *= 2 if 2 * letters > len(tokens) else 1
    return [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def is_question(text: str) -> bool:
    """Tell whether a text ends with a question mark, of any script, or with the Japanese particle."""
    return _QUESTION.search(text) is not None


def join_lines(text: str) -> str:
    """Return a text on one line; between letters of scripts without spaces a line break becomes nothing."""
    return " ".join(re.sub(rf"(?<=[{UNSPACED}{_WIDE_MARKS}])\s*\n\s*(?=[{UNSPACED}{_WIDE_MARKS}])", "", text).split())


def is_table_row(text: str) -> bool:
    """Tell whether a text is a line with a table's cells side by side, as the readers write them."""
    return CELLS in text and "\n" not in text.strip()


def row_breaks(text: str) -> list[int]:
    r"""Return the offsets of the line breaks around a table's rows: two lines or more with cells, one below the other.

    >>> row_breaks("Limits:\nChair | 300\nDesk | 450\nAll in euros, as in\na | b.")
    [7, 19, 30]
    """
    lines = text.split("\n")
    cells = [CELLS in line for line in lines]
    rows = [own and any(cells[max(0, i - 1) : i] + cells[i + 1 : i + 2]) for i, own in enumerate(cells)]
    ends = list(accumulate(len(line) + 1 for line in lines))
    return [end - 1 for i, end in enumerate(ends[:-1]) if rows[i] or rows[i + 1]]


def cut_at_rows(text: str) -> list[str]:
    """Return a text in parts: a table's rows, and what is before, between and behind them; no part is empty."""
    parts = (text[start:end] for start, end in pairwise([0, *row_breaks(text), len(text)]))
    return [part for part in parts if part.strip()]


def join_sentence_lines(text: str) -> str:
    r"""Return a text with its lines joined as ``join_lines`` does, but each row of a table on a line of its own.

    >>> join_sentence_lines("Limits are\nthese:\nChair | 300\nDesk | 450")
    'Limits are these:\nChair | 300\nDesk | 450'
    """
    return "\n".join(map(join_lines, cut_at_rows(text)))


def refuses(text: str) -> bool:
    """Tell whether a text refuses to answer, in one of the usual English or French phrases.

    >>> refuses("I'm sorry, but I can't help with that."), refuses("A guest cannot help at the counter.")
    (True, False)
    """
    return REFUSAL.search(text.replace("\u2019", "'")) is not None
