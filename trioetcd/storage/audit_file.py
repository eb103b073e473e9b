"""One file of an audit log: opened for its one writer, read at its end, appended to, synced.

It is only ever appended to, so that it may be a file that the file system lets nobody change
(``chattr +a``). What stands in it is `trioetcd.schema.audit_chain`'s matter.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import Final

from trioetcd.ports import BackendError
from trioetcd.schema.audit_chain import AuditLine, ChainEnd, DamagedAuditError, find_end, read_line

__all__ = ["AuditFile", "AuditFileError"]

_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_MODE: Final = 0o600
_TAIL_BYTES: Final = 64 * 1024
_GROWTH: Final = 16
"""A tail without a whole line is read again, so many times as long."""
_HEAD_BYTES: Final = 1 << 20


class AuditFileError(Exception):
    """The file cannot be used; the sentence says why and what to do."""


class AuditFile:
    """An open, locked file.

    Attributes:
        path: where it was opened; it may have been moved since.
        size: what it should hold: what was in it, and what was written to it since.
        tightened: whether others could read it before it was opened.
    """

    def __init__(self, path: Path, descriptor: int, *, size: int, tightened: bool) -> None:
        self.path = path
        self.size = size
        self.tightened = tightened
        self._descriptor = descriptor
        opened = os.fstat(descriptor)
        self._inode = opened.st_dev, opened.st_ino

    @classmethod
    def open(cls, path: Path) -> AuditFile:
        """Open the file at `path`, making it if there is none, for this process alone.

        Raises:
            AuditFileError: it is no regular file, or another process has it.
            OSError: it cannot be opened or made, or does not become private.
        """
        if path.is_symlink():
            raise AuditFileError(
                f"--audit-log: {path} is a symbolic link; give the place of the file itself"
            )
        made = False
        try:
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            descriptor = os.open(path, _FLAGS | os.O_CREAT | os.O_EXCL, _MODE)
            made = True
        try:
            found = os.fstat(descriptor)
            _take(path, descriptor, found.st_mode)
            tightened = bool(found.st_mode & 0o077)
            if tightened:
                os.fchmod(descriptor, _MODE)
            if made:
                _sync_directory(path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(path, descriptor, size=found.st_size, tightened=tightened and not made)

    def opening(self) -> AuditLine | None:
        """Give the line that tells which chain the file belongs to; None if it has none."""
        for line in os.pread(self._descriptor, _HEAD_BYTES, 0).split(b"\n"):
            found = read_line(line)
            if found is not None:
                return found if found.event in {"begin", "continue"} else None
        return None

    def end(self) -> ChainEnd:
        """Give how the file ends.

        Raises:
            AuditFileError: it is no audit log, or its end was changed.
        """
        length = _TAIL_BYTES
        while True:
            start = max(0, self.size - length)
            tail = os.pread(self._descriptor, self.size - start, start)
            try:
                found = find_end(tail, whole=start == 0)
            except DamagedAuditError as error:
                raise AuditFileError(
                    f"--audit-log: {self.path} cannot be gone on with: {error}; look at it with "
                    f"`trioetcdutl audit verify`, and move it away to begin a new one"
                ) from None
            if found is not None:
                return found
            length *= _GROWTH

    def lost_bytes(self) -> int:
        """Give how many bytes were cut off, or, below zero, added by somebody else.

        Raises:
            BackendError: nobody can say, so that nothing can be written either.
        """
        return self.size - self._found_size()

    def _found_size(self) -> int:
        try:
            return os.fstat(self._descriptor).st_size
        except OSError as error:
            raise self._failed(error) from error

    def append(self, data: bytes) -> None:
        """Write at the end.

        Raises:
            BackendError: not everything could be written.
        """
        view = memoryview(data)
        try:
            while view:
                written = os.write(self._descriptor, view)
                self.size += written
                view = view[written:]
        except OSError as error:
            raise self._failed(error) from error

    def sync(self) -> None:
        """Have everything that was written on the disk; blocks.

        Raises:
            BackendError: it may not be there.
        """
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> BackendError:
        return BackendError(
            f"the audit log {self.path} cannot be written: {error.strerror}; nothing may change "
            f"that is not noted there"
        )

    def accept_size(self) -> None:
        """Take the size that the file has for the one that it should have."""
        self.size = self._found_size()

    def is_moved(self) -> bool:
        """Say whether there is another file at its place, or none."""
        try:
            there = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return True
        except OSError:
            return False  # nobody can say
        return (there.st_dev, there.st_ino) != self._inode

    def close(self) -> None:
        """Close it, and let others have it."""
        os.close(self._descriptor)


def _take(path: Path, descriptor: int, mode: int) -> None:
    """Have the file for this process alone."""
    if not stat.S_ISREG(mode):
        raise AuditFileError(f"--audit-log: {path} is no file that can be read again")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AuditFileError(
            f"--audit-log: another member writes to {path}; every member needs its own"
        ) from None


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
