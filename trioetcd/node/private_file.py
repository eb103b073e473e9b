"""Files with secrets: written wholly or not at all, for their owner's eyes, and durably.

Who runs as root keeps a file its owner: a key that root renews is still the member's to read. A
file that its group could read stays so; nobody else ever may.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

__all__ = [
    "alone_in",
    "make_private_directory",
    "remove_leftovers",
    "sync_directory",
    "write_link",
    "write_private",
]

_OWNER_MODE: Final = 0o600
_GROUP_READS: Final = 0o040


def write_private(path: Path, data: bytes, *, like: Path | None = None) -> None:
    """Write a file, wholly or not at all.

    Args:
        path: where; what is there is replaced.
        data: what.
        like: whose owner and mode it takes where that is another file than the replaced one.

    Raises:
        OSError: the disk does not do it.
    """
    make_private_directory(path.parent)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    mode, owner = _inherited(like or path)
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if owner is not None:
                os.fchown(file.fileno(), *owner)
            if mode != _OWNER_MODE:
                os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)


def write_link(path: Path, target: str) -> None:
    """Make a symbolic link, in the place of whatever is there.

    Raises:
        OSError: the disk does not do it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    beside.unlink(missing_ok=True)
    try:
        beside.symlink_to(target)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)


def remove_leftovers(directory: Path) -> None:
    """Remove what processes that died here meanwhile have left half-written.

    Raises:
        OSError: the disk does not do it.
    """
    for path in directory.glob(".*.new"):
        process = path.name.split(".")[-2]
        if process.isdecimal() and not Path("/proc", process).exists():
            path.unlink(missing_ok=True)


def make_private_directory(path: Path) -> None:
    """Make a directory, and those above it, where there is none.

    Raises:
        OSError: the disk does not do it.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)
    above = path.parent.stat()
    if os.geteuid() == 0 and (above.st_uid, above.st_gid) != (0, 0):
        os.chown(path, above.st_uid, above.st_gid)


def sync_directory(path: Path) -> None:
    """Make durable what a directory holds.

    Raises:
        OSError: the disk does not do it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inherited(path: Path) -> tuple[int, tuple[int, int] | None]:
    """Give the mode, and the owner if it must be set, of what is about to be written."""
    try:
        model = path.stat()
        mode = _OWNER_MODE | (model.st_mode & _GROUP_READS)
    except OSError:
        model = path.parent.stat()
        mode = _OWNER_MODE
    if os.geteuid() == 0 and (model.st_uid, model.st_gid) != (0, 0):
        return mode, (model.st_uid, model.st_gid)
    return mode, None


@contextmanager
def alone_in(directory: Path) -> Iterator[None]:
    """Let no other command change the certificates of a directory meanwhile.

    Raises:
        OSError: the disk does not do it.
    """
    path = directory / ".lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _OWNER_MODE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
