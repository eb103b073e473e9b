"""Files for what is too large for memory and outlives no process: they have no name.

They lie on the volume of the data directory. The kernel takes such a file back when it is closed,
or when the process dies, however that happens.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final

__all__ = ["Spool", "SpoolFile"]

_PREFIX: Final = "SPOOL-"
"""Where the file system has no files without a name they have one for a moment."""


class Spool:
    """Where such files are made.

    Args:
        directory: ours alone.

    Raises:
        OSError: an empty file that a crash has left cannot be removed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        for path in directory.glob(f"{_PREFIX}*"):
            path.unlink()

    def open(self) -> SpoolFile:
        """Make a file that only its owner could read; blocks.

        Raises:
            OSError: it cannot be made.
        """
        return SpoolFile(TemporaryFile(buffering=0, prefix=_PREFIX, dir=self._directory))

    def room(self) -> int:
        """Give the bytes that may still be written on the volume; may block.

        Raises:
            OSError: the volume does not say.
        """
        volume = os.statvfs(self._directory)
        return volume.f_bavail * volume.f_frsize


class SpoolFile:
    """One file, whose every method blocks: for a thread.

    Attributes:
        size: bytes in it.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._descriptor = file.fileno()
        self.size = 0

    def append(self, data: bytes) -> None:
        """Write behind what is there.

        Raises:
            OSError: the disk is full, or fails.
        """
        self.write(self.size, data)
        self.size += len(data)

    def write(self, offset: int, data: bytes) -> None:
        """Write over what is there.

        Raises:
            OSError: the disk is full, or fails.
        """
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def read(self, offset: int, size: int) -> bytes:
        """Give so many bytes from `offset` on, fewer at the end of the file.

        Raises:
            OSError: the disk fails.
        """
        return os.pread(self._descriptor, size, offset)

    def sync(self) -> None:
        """Let the disk take what was written.

        Raises:
            OSError: the disk is full, or fails.
        """
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Give the room back."""
        self._file.close()
