"""The directory a member lives in: whose it is, who may open it, what lies in it.

::

    <data directory>/     0700, ours alone
        FORMAT            one line: what this directory is, and the version of its layout
        IDENTITY          whose database it is, once there is one (`storage.recovery`)
        LOCK              held (flock) by the process that uses the directory
        db/               LevelDB, with its own LOG, LOG.old and LOCK (`storage.leveldb`)
        set-aside/        log files kept by the last repair of a torn tail (`storage.recovery`)

Files are written whole or not at all (`DataDir.replace_file`). Nothing here knows rows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from enum import IntEnum
from pathlib import Path
from typing import Final

__all__ = ["DATABASE", "FORMAT_VERSION", "SET_ASIDE", "DataDir", "DataDirError", "ExitCode"]

FORMAT_VERSION: Final = 1
"""The layout above and the rows of `trioetcd.ports`."""

DATABASE: Final = "db"
"""The directory of the LevelDB."""

SET_ASIDE: Final = "set-aside"
"""The directory of log files kept after a repair."""

_FORMAT: Final = "FORMAT"
_LOCK: Final = "LOCK"
_NEW: Final = ".new"
_FORMAT_WORDS: Final = b"trioetcd data directory, format "

_HARMLESS: Final = frozenset({_LOCK, _FORMAT + _NEW, "lost+found"})
"""What may lie in a directory that is still new: ours of an interrupted start, a volume's own."""


class ExitCode(IntEnum):
    """What the process ends with if it cannot use its data directory (numbers of sysexits.h)."""

    DAMAGED = 65
    """The database is damaged: restore a backup, or remove the member and let it join anew."""
    FOREIGN = 66
    """The directory belongs to something else."""
    CANNOT_CREATE = 73
    """The directory or a file in it cannot be made."""
    IO_FAILED = 74
    """The disk does not do what it is asked."""
    LOCKED = 75
    """Another process uses the directory; trying again later may work."""
    FORMAT_UNKNOWN = 76
    """A newer trioetcd has written the directory."""
    NOT_PRIVATE = 77
    """The directory belongs to another user or cannot be closed to others."""
    OTHER_MEMBER = 78
    """The directory belongs to another member or another cluster than the configuration names."""


class DataDirError(Exception):
    """The data directory cannot be used.

    Attributes:
        sentence: what is wrong and what to do, for the operator.
        exit_code: what the process ends with.
    """

    def __init__(self, sentence: str, exit_code: ExitCode) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.exit_code = exit_code


class DataDir:
    """An open, locked data directory.

    Attributes:
        path: the directory with every symbolic link resolved.
        fresh: the directory was empty before it was opened.
        warnings: sentences for the log, about what was put right.
    """

    def __init__(self, path: Path, *, directory: int) -> None:
        self.path = path
        self.fresh = False
        self.warnings: list[str] = []
        self._directory = directory
        self._lock = -1

    @classmethod
    def open(cls, path: Path) -> DataDir:
        """Open and lock the data directory `path`, making it if there is none.

        Args:
            path: may be a symbolic link, which is followed once.

        Returns:
            The directory, to be closed after everything in it.

        Raises:
            DataDirError: why it cannot be used.
        """
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = path.resolve(strict=True)
            # Whoever exchanges the directory for a link between these two lines is refused; after
            # them everything goes through the descriptor, or (LevelDB's part) is compared with it.
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            directory = os.open(path, flags)
        except OSError as error:
            raise DataDirError(
                f"the data directory {path} cannot be made or opened: {error.strerror}",
                ExitCode.CANNOT_CREATE,
            ) from error
        data_dir = cls(path, directory=directory)
        try:
            data_dir._check_privacy()
            data_dir._check_content()
            data_dir._take_lock()
            data_dir._check_format()
        except OSError as error:
            data_dir.close()
            raise DataDirError(
                f"the data directory {path} cannot be used: {error}",
                ExitCode.IO_FAILED,
            ) from error
        except DataDirError:
            data_dir.close()
            raise
        return data_dir

    def close(self) -> None:
        """Let go of the lock; safe to call again."""
        for descriptor in (self._lock, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._lock = self._directory = -1

    def replace_file(self, name: str, data: bytes, *, mode: int = 0o600) -> None:
        """Replace the file `name` so that after a crash it holds the old bytes or the new.

        Args:
            name: a plain name within the directory.
            data: the whole content.
            mode: permissions of the file, whatever the umask.

        Raises:
            OSError: the old content stands.
        """
        assert "/" not in name, "files lie in the directory itself"
        new = name + _NEW
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(new, flags, mode=0o600, dir_fd=self._directory)
        try:
            os.fchmod(descriptor, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(new, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self.sync()

    def read_file(self, name: str) -> bytes | None:
        """Give the content of the file `name`, None if there is none; follows no link."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._directory)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            return file.read()

    def database(self) -> Path:
        """Give the path of the database, for LevelDB, which takes no descriptors.

        Raises:
            DataDirError: the path does not lead to the open directory any more.
        """
        here = os.fstat(self._directory)
        there = self.path.lstat()
        if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
            raise DataDirError(
                f"the data directory {self.path} was exchanged while it was being opened",
                ExitCode.FOREIGN,
            )
        return self.path / DATABASE

    def sync(self) -> None:
        """Make names that were made, moved or removed in the directory durable."""
        os.fsync(self._directory)

    def _check_privacy(self) -> None:
        status = os.fstat(self._directory)
        if status.st_uid != os.geteuid():
            raise DataDirError(
                f"the data directory {self.path} belongs to user {status.st_uid}, but this process "
                f"runs as user {os.geteuid()}: run it as the owner or change the owner",
                ExitCode.NOT_PRIVATE,
            )
        mode = stat.S_IMODE(status.st_mode)
        if not mode & 0o077:
            return
        try:
            os.fchmod(self._directory, mode & ~0o077)
        except OSError as error:
            raise DataDirError(
                f"the data directory {self.path} is open to other users (mode {mode:04o}) and "
                f"cannot be closed to them: {error.strerror}",
                ExitCode.NOT_PRIVATE,
            ) from error
        self.warnings.append(
            f"the data directory {self.path} was open to other users (mode {mode:04o}); "
            f"it is {mode & ~0o077:04o} now",
        )

    def _check_content(self) -> None:
        """Refuse a foreign directory before anything is made in it."""
        names = set(os.listdir(self._directory))  # noqa: PTH208 - pathlib takes no descriptor
        if _FORMAT in names:
            return
        if not names - _HARMLESS:
            self.fresh = True
            return
        if "member" in names and (self.path / "member" / "snap" / "db").exists():
            raise DataDirError(
                f"{self.path} is a data directory of etcd itself, which trioetcd cannot open: save "
                f"a snapshot with etcdctl and restore it into a new directory",
                ExitCode.FOREIGN,
            )
        raise DataDirError(
            f"{self.path} holds files but is no data directory of trioetcd: name another or an "
            f"empty one",
            ExitCode.FOREIGN,
        )

    def _take_lock(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(_LOCK, flags, mode=0o600, dir_fd=self._directory)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
                raise
            raise DataDirError(
                f"the data directory {self.path} is in use by another process",
                ExitCode.LOCKED,
            ) from error

    def _check_format(self) -> None:
        # Read under the lock: two processes that meet in a fresh directory agree on who made it.
        content = self.read_file(_FORMAT)
        if content is None:
            if not self.fresh:
                raise DataDirError(f"{self.path}/{_FORMAT} vanished", ExitCode.FOREIGN)
            self.replace_file(_FORMAT, _FORMAT_WORDS + b"%d\n" % FORMAT_VERSION)
            self._sync_parent()
            return
        self.fresh = False
        version = content.removeprefix(_FORMAT_WORDS).removesuffix(b"\n")
        if content[: len(_FORMAT_WORDS)] != _FORMAT_WORDS or not version.isdigit():
            raise DataDirError(
                f"{self.path}/{_FORMAT} is damaged or not trioetcd's",
                ExitCode.FOREIGN,
            )
        if int(version) != FORMAT_VERSION:
            raise DataDirError(
                f"the data directory {self.path} has format {int(version)}, and this trioetcd "
                f"knows only {FORMAT_VERSION}: use the version that wrote it or a newer one",
                ExitCode.FORMAT_UNKNOWN,
            )

    def _sync_parent(self) -> None:
        try:
            descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except PermissionError:
            return  # we may enter the parent but not list it; then its owner made our directory
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
