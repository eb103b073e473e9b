"""File systems that can lose power, run full, and vanish with the proof that made them.

Mounts are made in a mount namespace of the proof's own, so a killed proof leaves none behind.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import random
import shutil
import struct
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from tests.proof.outcome import MissingMeansError

__all__ = ["LoopDisk", "SmallDisk", "private_mounts"]

CLONE_NEWNS: Final = 0x00020000
SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, that is _IOR('X', 125, __u32)."""
NO_LOG_FLUSH: Final = 2
IMAGE_BYTES: Final = 768 << 20
BUSY_SECONDS: Final = 10.0


def private_mounts() -> None:
    """Give this process a mount namespace of its own; call it before any thread is started.

    Raises:
        MissingMeansError: not root, or the kernel refuses.
    """
    if os.geteuid() != 0:
        raise MissingMeansError("root, which mounting a file system needs")
    library = ctypes.CDLL(None, use_errno=True)
    if library.unshare(CLONE_NEWNS) != 0:
        name = errno.errorcode.get(ctypes.get_errno(), "?")
        raise MissingMeansError(f"a mount namespace of its own (unshare says {name})")
    _command("mount", "--make-rprivate", "/")


def _command(*command: str) -> None:
    if shutil.which(command[0]) is None:
        raise MissingMeansError(f"the command {command[0]}")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise MissingMeansError(f"`{' '.join(command)}`: {done.stderr.strip()}")


class LoopDisk:
    """An ext4 file system in a file, whose power can be cut.

    Args:
        directory: where the image and the mount point are made.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "mount"
        self._image = directory / "disk.img"
        self._mounted = False
        self.path.mkdir()
        with self._image.open("wb") as image:
            image.truncate(IMAGE_BYTES)
        if not Path("/dev/loop-control").exists():
            raise MissingMeansError("loop devices (/dev/loop-control)")
        _command("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1", str(self._image))

    def mount(self) -> None:
        """Mount it; after a cut this replays the journal as after a loss of power."""
        _command("mount", "-o", "loop", str(self._image), str(self.path))
        self._mounted = True

    def cut(self) -> None:
        """Cut the power: nothing that is not on the disk by now will ever get there."""
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(handle, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(handle)

    def unmount(self) -> None:
        """Unmount it, waiting for the last user to go."""
        if not self._mounted:
            return
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                _command("umount", str(self.path))
            except MissingMeansError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                self._mounted = False
                return

    def __enter__(self) -> Self:
        self.mount()
        return self

    def __exit__(self, *_: object) -> None:
        self.unmount()


class SmallDisk:
    """A tmpfs of a given size that can be filled up to a chosen rest.

    Args:
        directory: where the mount point is made.
        size: bytes in all.
    """

    def __init__(self, directory: Path, size: int) -> None:
        self.path = directory / "small"
        self._size = size
        self._filler = self.path / "filler"
        self.path.mkdir(exist_ok=True)

    def __enter__(self) -> Self:
        _command("mount", "-t", "tmpfs", "-o", f"size={self._size}", "tmpfs", str(self.path))
        return self

    def fill(self, rest: int) -> None:
        """Take all space but about `rest` bytes."""
        state = os.statvfs(self.path)
        take = state.f_bavail * state.f_frsize - rest
        if take > 0:
            with self._filler.open("ab") as filler:
                filler.write(bytes(take))

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)

    def __exit__(self, *_: object) -> None:
        _command("umount", "-l", str(self.path))


def moment(chance: random.Random, bounds: tuple[float, float]) -> None:
    """Wait a random while: the harness chooses moments, the member does not know them."""
    time.sleep(chance.uniform(*bounds))
