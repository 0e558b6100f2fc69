"""What fuzzing shares: damage to bytes, limits within which a reader has to answer, and where each sentence went."""

from __future__ import annotations

import io
import re
import resource
import signal
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from valign.core.errors import ValignError
from valign.core.records import Document
from valign.documents.left_out import Omissions, Reason
from valign.documents.read import parse_document

CPU_SECONDS, GROWTH = 10.0, 400 * 1024  # of one example; KiB
TOKENS = [
    *(b"<", b">", b"&", b'"', b"'", b"\n", b"\n\n", b"#", b"*", b"[", b"]", b"(", b")", b"|", b"---", b"```", b"\0"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"<!--", b"-->", b"</p>", b"<table>"),
    *(
        b"1.",
        b"&#x110000;",
        b"99999999999999999999",
        b"-1",
        b"{",
        b"}",
        b"^",
        b"~",
        b":::",
        b"obj",
        b"endobj",
        b"stream",
    ),
    *(b"[^1]", b"[^1]: ", b"=====", b" " * 50, b"$", b"!!!", b"</br>", b"\x1a", b"\x1b", b"\x08"),
    *(text.encode() for text in ("\u017f", "İ", "²", "①", "٣", "第零条", "第一条", "§ 1", "Article 1", "é", "—")),
]
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "repeat", "cut", "copy", "replace"]),
        st.floats(0, 1),
        st.integers(1, 100),
        st.sampled_from(TOKENS),
    ),
    min_size=1,
    max_size=12,
)
MARKS = {
    "html": r"(?:[\s|-]|\d+\.|X\b)*",
    "md": r"(?:[\s|-]|\d+\.|\[Note:|\]|#|5\*3 & _|\[)*",
    "docx": r"(?:[\s|-]|\d+\.|X\b)*",
    "txt": r"(?:[\s-]|\d+\.|\* \* \*|X\b)*",
    "pdf": r"(?:[\s|]|X\b)*",
}
"""What a text has beside its sentences: bullets, numbers, bars, brackets of notes; X is the title where it has none."""
Edits = list[tuple[str, float, int, bytes]]


def fuzzing(examples: int) -> settings:
    """The same examples at every run, and no folder of past ones; time is limited by ``within_limits``."""
    return settings(
        derandomize=True, max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )


def damaged(raw: bytes, edits: Edits) -> bytes:
    """Bytes after some edits, each at a place between 0 and 1."""
    for kind, place, length, token in edits:
        at = int(place * len(raw))
        end = min(len(raw), at + length)
        new = {
            "flip": bytes(byte ^ (1 << length % 8) for byte in raw[at : at + 1]) + raw[at + 1 : end],
            "insert": token + raw[at:end],
            "delete": b"",
            "repeat": raw[at:end] * 5,
            "copy": raw[-length:] + raw[at:end],
            "replace": token,
            "cut": b"",
        }[kind]
        raw = raw[:at] + new + (b"" if kind == "cut" else raw[end:])
    return raw


def damaged_inside(raw: bytes, edits: Edits, member: int) -> bytes:
    """A Word file, one part of which is damaged."""
    archive, out = zipfile.ZipFile(io.BytesIO(raw)), io.BytesIO()
    names = [name for name in archive.namelist() if name.endswith((".xml", ".rels"))]
    chosen = names[member % len(names)]
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in archive.namelist():
            content = archive.read(name)
            packed.writestr(name, damaged(content, edits) if name == chosen else content)
    return out.getvalue()


@contextmanager
def within_limits() -> Iterator[None]:
    """Fail where something takes too much of the processor's time, or of memory."""

    def stop(*_: object) -> None:
        raise AssertionError(f"more than {CPU_SECONDS} s")

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    known = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, known)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < GROWTH


def read_or_refuse(raw: bytes, suffix: str, max_words: int = 160) -> Document | str:
    """A sound document, or the one line that says why there is none."""
    with within_limits():
        try:
            found = parse_document(raw, "x", where="it", suffix=suffix, max_words=max_words)
        except ValignError as error:
            assert str(error).startswith("it")
            assert "\n" not in str(error)
            return str(error)
    ids = [passage.clause for passage in found.passages]
    assert len(set(ids)) == len(ids)
    assert all(
        passage.text.strip() and found.text[p.start : p.end] == p.text for p in found.passages for passage in [p]
    )
    return found


class Told:
    """Sentences that a made document says, each of them once, and where each has to be found."""

    def __init__(self) -> None:
        self.visible: list[str] = []
        self.hidden: list[tuple[str, Reason]] = []
        self.either: list[str] = []

    def say(self, reason: Reason | None = None) -> str:
        """Return a new sentence, which is text or left out for a reason."""
        number = len(self.visible) + len(self.hidden) + len(self.either) + 1
        sentence = f"Kale{number}x may carry {number} lamps."
        if reason is None:
            self.visible.append(sentence)
        else:
            self.hidden.append((sentence, reason))
        return sentence

    def check(self, raw: bytes, suffix: str, monkeypatch: Any) -> None:
        """Read the document, and find every sentence once, in its place, and nothing else."""
        left: dict[str, list[str]] = defaultdict(list)
        add = Omissions.add

        def noted(omissions: Omissions, why: Any, text: str) -> None:
            left[why].append(text)
            add(omissions, why, text)

        with monkeypatch.context() as patched:
            patched.setattr(Omissions, "add", noted)
            found = read_or_refuse(raw, suffix)
        assert isinstance(found, Document), found
        headings = dict.fromkeys(heading for passage in found.passages for heading in passage.heading)
        read = one_space("\n".join([*(passage.text for passage in found.passages), *headings]))
        unread = {why: one_space(" ".join(texts)) for why, texts in left.items()}
        for sentence in self.visible:
            told = sentence.rstrip(".")  # the stop at the end of a heading goes
            lone = unread.get(Reason.NO_TEXT_BELOW, "")
            assert len(re.findall(rf"\b{told}\b", f"{read} {lone}")) == 1, (sentence, read)
        for sentence, reason in self.hidden:
            assert sentence.rstrip(".") not in read, (sentence, reason, read)
            assert unread.get(reason, "").count(sentence.rstrip(".")) == 1, (sentence, reason, unread)
        counted = {part.reason: part.characters for part in found.left_out}
        assert counted == {
            str(why): size for why, texts in left.items() if (size := sum(len("".join(t.split())) for t in texts))
        }
        rest = read
        for sentence in self.visible:
            rest = rest.replace(sentence, "").replace(sentence.rstrip("."), "")
        assert re.fullmatch(MARKS[suffix], rest), rest


def one_space(text: str) -> str:
    return " ".join(text.split())
