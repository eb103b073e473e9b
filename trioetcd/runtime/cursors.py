"""Long reads, a bounded step at a time, so that a range of everything holds up nobody.

A handler that finds more than one step's work leaves its cursor here, and a connection what it has
to write of a large answer; all of them together get `TURN_SECONDS` of each turn of the loop, one
after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import trio

__all__ = ["STEP_BYTES", "STEP_ROWS", "TURN_SECONDS", "Cursor", "Cursors"]

STEP_ROWS: Final = 512
"""Rows a step; about 0.3 ms."""

STEP_BYTES: Final = 256 * 1024
"""Bytes a step, so that few large values do not make a long one."""

ACTIVE_MAX: Final = 8
"""Long reads at a time: each holds what it has read so far, a few megabytes or many."""

TURN_SECONDS: Final = 0.002
"""What all long reads together take of one turn (heartbeats come every 0.1 s)."""


class Cursor(Protocol):
    """Work that can be done in steps."""

    def step(self, rows: int, size: int, /) -> bool:
        """Do one step of at most about `rows` rows and `size` bytes; True when done."""

    def close(self) -> None:
        """Let go of what the cursor pins."""


class Cursors:
    """The long reads under way."""

    def __init__(self) -> None:
        self._active: deque[tuple[Cursor, Callable[[], None], Callable[[], bool]]] = deque()
        self._waiting: deque[Callable[[], None]] = deque()
        self._event = trio.Event()
        self._parts = 0

    def __len__(self) -> int:
        return len(self._active) + len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether as many are under way as there should be; more may wait (`queue`)."""
        return len(self._active) - self._parts >= ACTIVE_MAX

    def add(self, cursor: Cursor, done: Callable[[], None], wanted: Callable[[], bool]) -> None:
        """Step `cursor` until it is done, then call `done`; stop when nobody wants it."""
        self._active.append((cursor, done, wanted))
        self._event.set()

    def queue(self, start: Callable[[], None]) -> None:
        """Call `start`, which may add a cursor, when one of those under way has ended."""
        self._waiting.append(start)

    def soon(self, work: Callable[[], None]) -> None:
        """Call `work`, a part of something long, when it is its turn among the reads."""
        self._parts += 1
        self.add(_Part(work), self._part_ended, _always)

    def _part_ended(self) -> None:
        self._parts -= 1

    async def run(self) -> None:
        """Step for ever."""
        while True:
            if not self._active and not self._waiting:
                self._event = trio.Event()
                await self._event.wait()
            deadline = trio.current_time() + TURN_SECONDS
            while trio.current_time() < deadline and self._step():
                pass
            await trio.lowlevel.checkpoint()

    def _step(self) -> bool:
        """Do one step of one read; False if there is none."""
        if self._waiting and not self.busy:
            self._waiting.popleft()()
            return True
        if not self._active:
            return False
        cursor, done, wanted = self._active.popleft()
        if not wanted():
            cursor.close()
        elif cursor.step(STEP_ROWS, STEP_BYTES):
            done()
        else:
            self._active.append((cursor, done, wanted))
        return True


class _Part:
    """One step of something that asks again for its next."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work

    def step(self, _rows: int, _size: int, /) -> bool:
        self._work()
        return True

    def close(self) -> None:
        pass


def _always() -> bool:
    return True
