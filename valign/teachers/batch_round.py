"""The end of a round of batches: files with the requests that lack a result, and what is to be done with them."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from valign.core.disk import locked
from valign.core.errors import Pending, ValignError
from valign.core.files import write_text
from valign.core.store import digest
from valign.teachers.batch import ID_DIGITS, BatchTeacher, LackingCall
from valign.teachers.batch_results import REQUESTS_PREFIX, failure_lines
from valign.teachers.cache import CachedTeacher
from valign.teachers.empty_replies import MOST_EMPTY
from valign.teachers.usage import cost

log = logging.getLogger(__name__)

FILE_BYTES = 200_000_000  # what hosted endpoints take in one file
LOCK = ".requests.lock"


def stop_if_pending(teachers: Iterable[object], name: str) -> None:
    """Stop where batch teachers lack completions, with these as files of requests; go on where they lack none.

    Requests that already stand in another run's file in the same folder are left to that one.

    Args:
        teachers: The teachers of a stage; those that are no cached batch teachers have nothing pending.
        name: What tells this stage's files from those of other runs: the name of its folder.

    Raises:
        Pending: Completions are missing.
        ValignError: A file cannot be written, or a limit on tokens or cost is reached.
    """
    asked: dict[BatchTeacher, set[str]] = {}
    for cached in teachers:
        if isinstance(cached, CachedTeacher) and isinstance(cached.teacher, BatchTeacher):
            asked.setdefault(cached.teacher, set()).update(key[:ID_DIGITS] for key in cached.asked)
    if not asked:
        return
    for teacher in asked:
        _stop_if_empty(teacher)
    known = set[str]().union(*asked.values())
    places = {(teacher.folder.resolve(), teacher.id): teacher for teacher in asked}
    lines = []
    for place, teacher in places.items():
        same = [t for t in asked if (t.folder.resolve(), t.id) == place]
        lacking = {key: call for one in same for key, call in one.lacking.items()}
        lines += _hand_out(teacher, lacking, f"{_slug(teacher.id)}-{name[:8]}")
    notes = list(dict.fromkeys(line for teacher in asked for line in _notes(teacher, known)))
    if not any(teacher.lacking for teacher in asked):
        for note in notes:
            log.info("%s", note)
        return
    again = "then: the same command again (teacher.results=RESULTS where they lie elsewhere); nothing is asked twice"
    raise Pending("\n".join([*lines, again, *notes]))


def _stop_if_empty(teacher: BatchTeacher) -> None:
    """Stop where most results are without a text, and another round would be no help.

    Raises:
        ValignError: They are.
    """
    results = teacher.results
    empty = results.empty()
    if empty < MOST_EMPTY or empty < len(results.replies) or 0 < results.thought < teacher.thinking_tokens:
        return
    remedy = "check the model's chat template where the batch is run"
    if results.thought:
        remedy = f"raise teacher.thinking_tokens={teacher.thinking_tokens}, or turn the model's thinking off"
    why = "thoughts and no answer" if results.thought else "no text"
    raise ValignError(
        f"{empty} of {empty + len(results.replies)} results of {teacher.id} hold {why}; {remedy}, delete these "
        "results, and give the same command again."
    )


def _hand_out(teacher: BatchTeacher, lacking: Mapping[str, LackingCall], name: str) -> list[str]:
    """Write the files of one teacher's requests, or remove those of an earlier round; return what to do with them."""
    first = f"{REQUESTS_PREFIX}{name}"
    if not lacking and not teacher.folder.is_dir():
        return []
    teacher.folder.mkdir(parents=True, exist_ok=True)
    try:
        with locked(teacher.folder / LOCK, lambda: None):
            others = _asked_by_others(teacher.folder, first) if lacking else {}
            own = {key: call for key, call in lacking.items() if key not in others}
            _check_limits(teacher, own)
            files = _write_files(teacher.folder, first, own, teacher.per_file)
    except OSError as error:
        raise ValignError(
            f"teacher.requests={teacher.folder} is not writable ({error.strerror}); choose another folder."
        ) from None
    waiting = sorted({teacher.folder / others[key] for key in lacking if key in others})
    return _instructions(teacher, lacking, own, files, waiting)


def _check_limits(teacher: BatchTeacher, lacking: Mapping[str, LackingCall]) -> None:
    """Stop before a batch that could cross a limit.

    Raises:
        LimitReached: It could.
    """
    most = sum(call.prompt for call in lacking.values()), sum(call.most for call in lacking.values())
    if not teacher.meter.reserve(*most):
        raise teacher.meter.limit_error(*most)
    teacher.meter.release(*most)


def _asked_by_others(folder: Path, first: str) -> dict[str, str]:
    """Return the custom ids in the files of other runs, each with its file's name."""
    found = {}
    for path in sorted(folder.glob(f"{REQUESTS_PREFIX}*.jsonl")):
        if _is_part(path, first):
            continue
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if match := re.match(r'\{"custom_id": "([\w-]+)"', line):
                    found[match[1]] = path.name
    return found


def _is_part(path: Path, first: str) -> bool:
    return re.fullmatch(rf"{re.escape(first)}(-\d+)?\.jsonl", path.name) is not None


def _write_files(folder: Path, first: str, lacking: Mapping[str, LackingCall], per_file: int) -> list[Path]:
    """Write requests to as many files as they need, and remove those of an earlier round that are no longer needed."""
    files, texts = [], [call.line for call in lacking.values()]
    for number, lines in enumerate(split_lines(texts, per_file, FILE_BYTES), start=1):
        files.append(folder / (f"{first}.jsonl" if number == 1 else f"{first}-{number}.jsonl"))
        write_text(files[-1], "".join(f"{line}\n" for line in lines))
    for path in folder.glob(f"{first}*.jsonl"):
        if _is_part(path, first) and path not in files:
            path.unlink()
    return files


def split_lines(lines: Sequence[str], most_lines: int, most_bytes: int) -> Iterator[list[str]]:
    """Divide lines, in their order, into files that are not too large; a line that is too large alone is its own."""
    part: list[str] = []
    size = 0
    for line in lines:
        length = len(line.encode()) + 1
        if part and (len(part) == most_lines or size + length > most_bytes):
            yield part
            part, size = [], 0
        part.append(line)
        size += length
    if part:
        yield part


def _instructions(
    teacher: BatchTeacher,
    lacking: Mapping[str, LackingCall],
    own: Mapping[str, LackingCall],
    files: Sequence[Path],
    others: Sequence[Path],
) -> list[str]:
    """Say where the requests are, what they take, and how they are run."""
    if not lacking:
        return []
    completions = sum(call.completions for call in lacking.values())
    lines = [f"batch: {completions:,} completions of {teacher.id} are still to be written"]
    if files:
        prompt, most = (sum(getattr(call, name) for call in own.values()) for name in ("prompt", "most"))
        size = f"{len(own):,} requests, about {prompt:,} prompt tokens, at most {most:,} completion tokens"
        lines.append(f"requests: {', '.join(map(str, files))} ({size})")
        lines.append(_cost_line(teacher, prompt, most))
    if others:
        lines.append(
            f"requests: {len(lacking) - len(own):,} stand in {', '.join(map(str, others))}, which another run wrote; "
            "if that is not to be run, delete it and give this command again"
        )
    for path in (*files, *others):
        results = path.with_name(f"results-{path.name.removeprefix(REQUESTS_PREFIX)}")
        words = ("vllm", "run-batch", "-i", str(path), "-o", str(results), "--model", teacher.id)
        lines.append(f"next: {shlex.join(words)}")
    place = teacher.given or teacher.folder
    lines.append(f"or: send it to a hosted batch endpoint, and put the results (.jsonl) into {place}")
    return lines


def _cost_line(teacher: BatchTeacher, prompt: int, most: int) -> str:
    money = cost(prompt, most, teacher.meter.price_in, teacher.meter.price_out)
    if money is None:
        return "cost: unknown, set teacher.price_in and teacher.price_out; a batch takes teacher.batch_discount of them"
    return f"cost: at most {money:.2f}, at the price of a batch (teacher.batch_discount)"


def _notes(teacher: BatchTeacher, known: set[str]) -> list[str]:
    """Say in one line what the results held besides what was taken from them; nothing where there are none."""
    results = teacher.results
    if not results.replies and not results.failed and not results.unreadable:
        return []
    failed = [fault for key, fault in results.failed.items() if key in teacher.lacking]
    unknown = sum(key.rpartition("-")[0] not in known for key in {**results.replies, **results.failed})
    parts = [f"{len(results.replies):,} results read"]
    if failed:
        parts.append(f"{len(failed):,} failed and are asked for again: {failure_lines(failed)}")
    if results.unreadable:
        parts.append(f"{len(results.unreadable):,} unreadable, first {results.unreadable[0]}")
    if results.duplicates:
        parts.append(f"{results.duplicates:,} duplicates")
    if unknown:
        parts.append(f"{unknown:,} that this run does not ask for")
    return [f"results so far: {'; '.join(parts)}"]


def _slug(model: str) -> str:
    """Return a model's name as part of a file's name; a digest tells two apart whose letters are the same."""
    words = re.sub(r"[^\w.-]+", "-", model.rstrip("/").rpartition("/")[2], flags=re.ASCII).strip("-.")
    return words if words == model else f"{words[:40]}-{digest(model)[:4]}".lstrip("-")
