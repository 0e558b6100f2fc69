"""PDF files are read in a process of their own, with limits of time and memory: a tiny file can ask for hours.

The process takes the file from its input, and prints the page that it begins and, at the end, what it has read as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import asdict

from valign.core.errors import ValignError
from valign.core.records import LeftOut
from valign.documents.blocks import Source
from valign.documents.readers.pdf import read_pdf

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PAGE_SECONDS, FILE_SECONDS = 10.0, 300
"""Processor time; a page of a thousand words takes 0.02 s."""
MEMORY = 3 << 30


def read_pdf_apart(raw: bytes, where: str, max_chars: int) -> Source:
    """Read a PDF in a process of its own.

    Args:
        raw: The file.
        where: Its name, for messages.
        max_chars: The most characters that it may have.

    Raises:
        ValignError: It cannot be read, see ``read_pdf``, or would take too much time or memory.
    """
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    done = subprocess.run(
        [sys.executable, "-m", __name__, where, str(max_chars), str(PAGE_SECONDS)],
        input=raw,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    if done.returncode:
        at = f" at page {lines[-1]}" if lines and lines[-1].isdigit() and lines[-1] != "0" else ""
        raise ValignError(f"{where} {_reason(done.returncode)}{at}; open it and print it to a new PDF.")
    found = json.loads(lines[-1])
    for line in found["warnings"]:
        log.warning("%s", line)
    if "error" in found:
        raise ValignError(found["error"])
    return Source(
        found["text"],
        found["title"],
        {int(offset): level for offset, level in found["headings"].items()},
        tuple((offset, page) for offset, page in found["pages"]),
        tuple(LeftOut(**part) for part in found["left_out"]),
    )


def _reason(code: int) -> str:
    """Say why the process ended, from its exit code."""
    if code == -getattr(signal, "SIGPROF", 0):
        return f"takes more than {PAGE_SECONDS:g} s for one page"
    if code == -getattr(signal, "SIGXCPU", 0):
        return f"takes more than {FILE_SECONDS} s"
    return "is damaged, or needs more memory than a PDF may,"


def main() -> None:
    """Read the PDF on the input; its name, its most characters and the seconds a page are the arguments."""
    where, max_chars, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])

    def begin_page(number: int) -> None:
        _begin_page(number, seconds)

    raw = sys.stdin.buffer.read()
    if resource is not None:
        _limit(resource.RLIMIT_AS, MEMORY + 4 * len(raw))
        _limit(resource.RLIMIT_CPU, FILE_SECONDS)
        _limit(resource.RLIMIT_CORE, 0)
    warnings = _Gathered()
    logging.getLogger().addHandler(warnings)
    begin_page(1)
    try:
        found = asdict(read_pdf(raw, where, max_chars, begin_page))
    except ValignError as error:
        found = {"error": str(error)}
    print()
    print(json.dumps({**found, "warnings": warnings.lines}))


def _limit(kind: int, most: int) -> None:
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _begin_page(number: int, seconds: float) -> None:
    """Give the page its time, which ends the process when it is over; page 0 is what comes behind the last."""
    print(number, flush=True)
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds if number else 0)


class _Gathered(logging.Handler):
    """Keeps what is logged, for the process that asked."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


if __name__ == "__main__":
    main()
