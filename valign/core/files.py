"""Files that others read: written whole or not at all, as text, JSON or JSONL."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from valign.core.disk import describe_disk_errors, flush_path, follow_umask, partial_path
from valign.core.errors import ValignError, first_line
from valign.core.json_forms import FORMS
from valign.core.records import Original, Provenance
from valign.core.whole_text import describe_absence, read_whole_text

Record = TypeVar("Record")
HALF_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def to_dict(row: Any) -> dict[str, Any]:
    """Return the row as plain dictionaries and tuples, ready for JSON."""
    return dataclasses.asdict(row)


def from_dict(kind: type[Record], data: Mapping[str, Any], where: str = "") -> Record:
    """Build a row from its JSON form.

    Args:
        kind: The record's class.
        data: The decoded JSON object; keys that the record does not have are an error.
        where: File and line, for the message.

    Raises:
        ValignError: A key is missing or unknown, or a value has the wrong type.
    """
    fields = {f.name: f for f in dataclasses.fields(cast(Any, kind))}
    unknown = sorted(set(data) - set(fields))
    if unknown:
        raise ValignError(f"{where}: unknown key '{unknown[0]}'; a {kind.__name__} has: {', '.join(fields)}.")
    required = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [n for n in required if n not in data]
    if missing:
        raise ValignError(f"{where}: key '{missing[0]}' is missing; add it ({kind.__name__} needs {required}).")
    values = {name: _typed(name, fields[name].type, value, where) for name, value in data.items()}
    return kind(**values)


def _typed(name: str, annotation: Any, value: Any, where: str) -> Any:
    """Check one JSON value against the field's annotation and return it in the record's type."""
    expected = str(annotation)
    if expected in ("Provenance", "Provenance | None", "Original | None"):
        if value is None and expected != "Provenance":
            return None
        if not isinstance(value, Mapping):
            raise ValignError(f"{where}: '{name}' must be a JSON object, not {type(value).__name__}.")
        place = f"{where}, {name}"
        return from_dict(Original if expected.startswith("Original") else Provenance, value, place)
    if expected in FORMS:
        is_such, form, remedy = FORMS[expected]
        if not is_such(value):
            is_large = type(value) is int and "number" in form
            given = "one of more than 64 bits" if is_large else type(value).__name__
            raise ValignError(f"{where}: '{name}' must be {form}, not {given}{remedy}.")
        return tuple(value) if isinstance(value, list) else value
    if expected == "tuple[tuple[str, ...], ...]":
        if not isinstance(value, list | tuple) or not all(isinstance(v, list | tuple) and v for v in value):
            raise ValignError(f"{where}: '{name}' must be a list of lists of accepted wordings.")
        if not all(isinstance(w, str | int | float) and not isinstance(w, bool) for v in value for w in v):
            raise ValignError(f"{where}: '{name}' must be a list of lists of accepted wordings; one is no text.")
        return tuple(tuple(str(w) for w in v) for v in value)
    if name == "verdict" and value not in ("yes", "no", None):
        raise ValignError(f'{where}: \'verdict\' must be "yes", "no" or null, not {value!r}.')
    return value


def _linked(path: Path) -> Path:
    """Return the file that a path names, of a link in the same folder what it leads to.

    Raises:
        ValignError: It is a link that leads out of its folder, as a stranger's folder may hold.
    """
    real = Path(os.path.realpath(path))
    if path.is_symlink() and not real.is_relative_to(os.path.realpath(path.parent)):
        raise ValignError(
            f"{path} is a link to {real}, outside of its folder, and is not written through; delete the link, or give "
            "the path of the file itself."
        )
    return real


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give the path of a partial file; it takes the place of ``path`` when the block ends well, and goes when it fails.

    A reader sees the old file or the new one, never half of it, also after a power cut. Each writer has a partial file
    of its own, so that of several at once the last one's file stays; what a killed one left goes with a later write.

    Args:
        path: The file to write; its folder is made.

    Yields:
        The path at which the block creates the file.

    Raises:
        ValignError: A folder, a device or the like has this name, it is a link that leads out of its folder, or the
            disk is full or read-only.
    """
    with describe_disk_errors(path):
        path = _linked(path)  # a link stays, and what it names is written
        if path.exists() and not path.is_file():
            raise ValignError(f"{path} is there already and no ordinary file; choose another place.")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_path(path)
        try:
            yield partial
            if path.exists():
                shutil.copymode(path, partial)
            else:
                follow_umask(partial)
            flush_path(partial)
            os.replace(partial, path)
        except BaseException:  # only then: after the replacement nothing of this writer is left
            partial.unlink(missing_ok=True)
            raise
        flush_path(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file of bytes, whole or not at all."""
    with write_atomically(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with write_atomically(path) as partial:
        partial.write_text(text, encoding="utf-8")


def append_text(path: Path, text: str, is_durable: bool = False) -> None:
    """Add a text to the end of a file, whole or not at all; the file and its folder are made.

    Args:
        path: The file.
        text: What is added.
        is_durable: Whether it is to be on the disk, safe from a power cut, before this returns.

    Raises:
        ValignError: It is a link that leads out of its folder, or the disk is full or read-only.
    """
    with describe_disk_errors(path):
        path = _linked(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            before = file.tell()
            try:
                file.write(text.encode("utf-8"))
                file.flush()
            except BaseException:
                os.ftruncate(file.fileno(), before)
                raise
        if is_durable:
            flush_path(path)
            flush_path(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value, indented, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def as_read(value: Any) -> Any:
    """Return a value as ``read_json`` gives it back after ``write_json``: tuples as lists, keys as texts."""
    return json.loads(json.dumps(value, default=str))


def write_jsonl(path: Path, rows: Iterable[Any]) -> int:
    """Write rows, one JSON object a line, whole or not at all.

    Args:
        path: The file.
        rows: Dictionaries or records; they are written as they come, so that not all have to be in memory.

    Returns:
        Their number.
    """
    count = 0
    with write_atomically(path) as partial, partial.open("w", encoding="utf-8") as file:
        for row in rows:
            data = row if isinstance(row, dict) else to_dict(row)
            file.write(json.dumps(data, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_jsonl(path: Path, kind: type[Record]) -> list[Record]:
    """Read a JSONL file of one kind of record.

    Raises:
        ValignError: The file is missing, not UTF-8, or a line is not such a record; the line is named.
    """
    if path.is_dir():
        raise ValignError(f"{path} is a folder, not a JSONL file; give the path of the file itself.")
    if not path.is_file():
        raise ValignError(f"{path} {describe_absence(path)}; check the path.")
    rows: list[Record] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # other ends of lines may stand in a text
    except UnicodeDecodeError as error:
        raise ValignError(f"{path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    for number, line in enumerate(lines, start=1):
        if line.strip():
            rows.append(read_line(line, kind, f"{path}, line {number}"))
    return rows


def read_line(line: str, kind: type[Record], where: str) -> Record:
    """Read one line of JSONL; ``where`` names it in messages.

    Raises:
        ValignError: It is no such record.
    """
    try:
        data = json.loads(line)
        if HALF_ESCAPE.search(line):
            data = _writable(data)
    except RecursionError:
        raise ValignError(f"{where}: lists or objects are nested too deep; mend the line.") from None
    except ValueError as error:  # JSONDecodeError, or a number of thousands of digits
        said = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else first_line(error)
        raise ValignError(f"{where}: not a JSON object on one line ({said}); mend the line.") from None
    if not isinstance(data, dict):
        raise ValignError(f"{where}: a JSON object is expected, not {type(data).__name__}.")
    return from_dict(kind, data, where)


def _writable(data: Any) -> Any:
    """Return a JSON value without the halves of characters (lone surrogates) that it can name and no file can hold."""
    return json.loads(json.dumps(data, ensure_ascii=False).encode("utf-8", "replace"))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValignError: There is none, it is too large, or it is no whole JSON value, as after a power cut.
    """
    text = read_whole_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValignError(f"{path} is damaged: no whole JSON value ({error}); delete it, and make it again.") from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSONL file of plain objects.

    Raises:
        ValignError: There is none, it is too large, or a line is no such object.
    """
    rows = []
    for number, line in enumerate(read_whole_text(path).split("\n"), start=1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValignError(f"{path} is damaged: line {number} ({error}); delete it, and make it again.") from None
        if not isinstance(row, dict):
            raise ValignError(f"{path} is damaged: line {number} is no JSON object; delete it, and make it again.")
        rows.append(row)
    return rows
