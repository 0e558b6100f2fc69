"""What writing to a disk needs: partial names, flushing, locks, and errors (full, read-only) as one line."""

from __future__ import annotations

import contextlib
import errno
import glob
import logging
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from valign.core.errors import ValignError

log = logging.getLogger(__name__)

SECONDS_LEFT = 3600.0  # untouched for so long, a partial file is what a killed process left
_FULL = "make room on its disk and start the same command again, which goes on from what is complete"
_CLOSED = "check its permissions, or choose another folder"
_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: _FULL,
    errno.EIO: "check its disk and start the same command again",
    errno.EROFS: _CLOSED,
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.ELOOP: "give a path whose links lead to a file or a folder",
    errno.ENAMETOOLONG: "check the path: a name has at most 255 bytes, and all of it 4,095",
}
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL)
_READ_TOO = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG)  # met also where nothing is written
_SAID_BY_LIBRARIES = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")  # of Rust, as in safetensors, and of Python
_NO_TEMPORARY = "No usable temporary directory"
_TORCH = re.compile(r"PytorchStreamWriter failed|inline_container\.cc.*(?:unexpected pos|write)")


def disk_error(error: BaseException, place: Path | str | None = None) -> ValignError | None:
    """Return the one line for a disk that is full, read-only or broken, a path that is too long, or no home folder.

    Args:
        error: What was raised: an OSError, or an error of a library (torch, safetensors, PyArrow) that wraps one.
        place: What was being written; by default the file that the error names.

    Returns:
        The line; None for any other error.
    """
    if isinstance(error, RuntimeError) and "determine home directory" in str(error):  # pathlib's, of ~ in a path
        return ValignError(
            "~ in a path names no home folder; set HOME to a folder, or give paths without ~ (./~NAME for that name)."
        )
    if isinstance(error, FileNotFoundError) and _NO_TEMPORARY in str(error):  # tempfile's
        return ValignError(
            "no folder for temporary files can be written (TMPDIR, /tmp, /var/tmp, the current one); set TMPDIR to one."
        )
    number = _number(error)
    if number not in _REMEDIES or isinstance(error, ValignError):
        return None
    named = getattr(error, "filename", None)
    where = place or (named.decode(errors="replace") if isinstance(named, bytes) else named) or "a file"
    done = "written" if place or number not in _READ_TOO else "opened"
    return ValignError(f"{where} cannot be {done} ({os.strerror(number)}); {_REMEDIES[number]}.")


def _number(error: BaseException) -> int:
    """Return the system's number of an error; 0 where it has none."""
    if isinstance(error, OSError):
        return error.errno or 0
    if found := _SAID_BY_LIBRARIES.search(str(error)):
        return int(found[1] or found[2])
    return errno.ENOSPC if isinstance(error, RuntimeError) and _TORCH.search(str(error)) else 0


@contextmanager
def describe_disk_errors(place: Path | str | None = None) -> Iterator[None]:
    """Turn an error of the disk inside into one line.

    Args:
        place: What is written inside; by default the file that the error names.

    Raises:
        ValignError: The disk is full, read-only or broken.
    """
    try:
        yield
    except Exception as error:
        if (line := disk_error(error, place)) is None:
            raise
        raise line from error


@contextmanager
def locked(file: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Hold a lock between processes; the lock of a process that was killed is free.

    On a file system without locks, as some of clusters are, a file that exists only while it is held stands for one.
    That of a process that was killed is free only where it ran on this machine; a warning names the file.

    Args:
        file: The lock's file; its folder is made.
        waiting: Called once where another process holds the lock, before this one waits for it.

    Raises:
        ValignError: The file cannot be written.
    """
    with describe_disk_errors(file.parent):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError:  # the folder that a relative path starts from is gone, or takes no folders
            raise ValignError(f"{file.parent} cannot be made; choose another folder.") from None
        lock: BaseFileLock = FileLock(file, fallback_to_soft=False)
        try:
            _acquire(lock, waiting)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            held = file.with_name(f"{file.name}.held")
            _warn_of_no_locks(file.parent, held)
            lock = SoftFileLock(held)
            _acquire(lock, waiting)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: BaseFileLock, waiting: Callable[[], object]) -> None:
    """Wait for a lock; where that takes time, ``waiting`` is called first."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()


@cache
def _warn_of_no_locks(folder: Path, held: Path) -> None:
    log.warning(
        "%s is on a file system without locks; %s stands for one, to be deleted where a process on another machine "
        "was killed",
        folder,
        held.name,
    )


def flush_folder(folder: Path) -> None:
    """See that the files in a folder are on the disk, so that a power cut does not empty them, and follow the umask."""
    for place, _, names in os.walk(folder):
        for name in names:
            follow_umask(Path(place, name))
            flush_path(Path(place, name))
        flush_path(Path(place))


def follow_umask(path: Path) -> None:
    """Give a file that only its owner can read what the umask allows others, as for files that are simply opened.

    Libraries write some files, such as safetensors, under a private name first, and leave them so.
    """
    mode = 0 if path.is_symlink() or not path.is_file() else stat.S_IMODE(path.stat().st_mode)
    if not mode or mode & 0o077:
        return
    umask = os.umask(0o077)  # Python cannot ask for it without setting it
    os.umask(umask)
    with contextlib.suppress(PermissionError):
        path.chmod(mode | (0o666 & ~umask))


def flush_path(path: Path) -> None:
    """See that a file, or the names in a folder, are on the disk, where its system can do that."""
    if not path.is_dir() and not path.is_file():
        return  # a link to nothing, a socket
    with contextlib.suppress(PermissionError):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # some network folders know no fsync
                raise
        finally:
            os.close(opened)


def partial_path(path: Path) -> Path:
    """Return a new name for what is written before it is complete: beside its place, so that it can be renamed.

    What killed processes left of the same file or folder, untouched for an hour, is removed.
    """
    absolute = path.absolute()
    for left in absolute.parent.glob(f".{glob.escape(absolute.name)}*.part"):
        if re.fullmatch(r"(?:[.-][0-9a-f]+)?\.part", left.name.removeprefix(f".{absolute.name}")) and _is_left(left):
            _remove(left)
    return absolute.with_name(f".{absolute.name}.{secrets.token_hex(4)}.part")


def _is_left(partial: Path) -> bool:
    """Tell whether nobody has written to a partial file or folder for an hour."""
    try:
        touched = [partial.stat().st_mtime, *(inner.stat().st_mtime for inner in partial.rglob("*"))]
    except OSError:
        return False  # it was just renamed
    return max(touched) < time.time() - SECONDS_LEFT


def _remove(path: Path) -> None:
    """Remove a file or a folder; what is not there, or cannot be removed, is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
