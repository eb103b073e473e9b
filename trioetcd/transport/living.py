"""Files that are read again when they change: verified first, and kept out when they are bad.

Each set of files has a stamp (time of change, inode and size of every file), looked at four times
a second in a thread: a directory may be on a network, and may hang. A set is read when two looks
find the same new stamp, so that a copy under way is not taken for the whole; with that a change is
in force within a second. A set that fails a check changes nothing: what was in force stays, and
one line says which check failed, once, until it fails otherwise. It is tried again when the files
change, and from time to time, since some checks depend on the clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import trio

from trioetcd.pki import PkiError
from trioetcd.transport.streams import InThread, run_in_thread

__all__ = ["LOOK_SECONDS", "RETRY_SECONDS", "FileSet", "LivingFiles", "Witness"]

LOOK_SECONDS: Final = 0.25
RETRY_SECONDS: Final = 10.0
"""How often a set that failed is tried again though no file has changed."""

Stamp = tuple[tuple[int, int, int] | None, ...]


class FileSet(Protocol):
    """Files that belong together, such as a certificate with its key and CAs."""

    @property
    def name(self) -> str:
        """What the log calls them."""

    def paths(self) -> Sequence[Path]:
        """Give the files."""

    def load(self) -> Callable[[], bool]:
        """Read and verify them, in a thread; give what puts them in force, to be run in the loop.

        That says whether anything is different from before.

        Raises:
            PkiError: a check failed; the sentence names the file and the check.
        """


class Witness(Protocol):
    """Who is told what became of changes."""

    def reloaded(self, name: str, /) -> None:
        """A set was read anew and is in force."""

    def refused(self, name: str, sentence: str, /) -> None:
        """A set failed a check, and the one before stays in force; told once for each reason."""


class _Watched:
    """A set, and what is known of it."""

    def __init__(self, files: FileSet) -> None:
        self.files = files
        self.seen = _stamp_of(files)
        self.loaded: Stamp | None = None  # they may have changed since they were read
        self.sentence = ""
        self.retry_at = 0.0

    def is_due(self, now: float, *, at_once: bool) -> bool:
        """Look, and say whether the files are to be read.

        A few calls of stat, 0.1 ms: Python in a thread beside the loop could keep it from the
        GIL for 5 ms, four times a second.
        """
        stamp = _stamp_of(self.files)
        settled = stamp == self.seen or at_once
        self.seen = stamp
        retry = bool(self.sentence) and now >= self.retry_at
        if not settled or (stamp == self.loaded and not retry and not at_once):
            return False
        self.loaded = stamp
        self.retry_at = now + RETRY_SECONDS
        return True


class LivingFiles:
    """Sets of files that are followed; they are in force already when this is made.

    Args:
        sets: the sets.
        witness: told what becomes of changes.
        in_thread: runs what blocks.
    """

    def __init__(
        self, sets: Sequence[FileSet], *, witness: Witness, in_thread: InThread = run_in_thread
    ) -> None:
        self._watched = [_Watched(files) for files in sets]
        self._witness = witness
        self._in_thread = in_thread
        self._at_once = False
        self._hasten = trio.Event()

    def hasten(self) -> None:
        """Read everything now, changed or not (SIGHUP)."""
        self._at_once = True
        self._hasten.set()

    async def run(self) -> None:
        """Follow the files, for ever."""
        while True:
            with trio.move_on_after(LOOK_SECONDS):
                await self._hasten.wait()
            self._hasten = trio.Event()
            await self.look()

    async def look(self) -> None:
        """Look at every set once, and put in force what has changed and is good."""
        at_once, self._at_once = self._at_once, False
        now = trio.current_time()
        for watched in self._watched:
            name = watched.files.name
            if not watched.is_due(now, at_once=at_once):
                continue
            try:
                put_in_force = await self._in_thread(watched.files.load)
            except PkiError as error:
                if str(error) != watched.sentence:
                    watched.sentence = str(error)
                    self._witness.refused(name, watched.sentence)
                continue
            watched.sentence = ""
            assert callable(put_in_force)
            if put_in_force():
                self._witness.reloaded(name)


def _stamp_of(files: FileSet) -> Stamp:
    return tuple(_stamp(path) for path in files.paths())


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
