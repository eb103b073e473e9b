"""Simulated time: one queue of what is to happen, and a record of what has happened."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from hashlib import sha256
from heapq import heappop, heappush
from typing import TextIO

__all__ = ["Schedule", "Trace"]

REMEMBERED = 300
"""Events kept for the report of a violation."""


class Schedule:
    """What is to happen, by time, in the order in which it was asked for.

    Attributes:
        now: microseconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def after(self, micros: int, act: Callable[[], None]) -> None:
        """Let something happen some time from now."""
        self._count += 1
        heappush(self._queue, (self.now + micros, self._count, act))

    def at(self, micros: int, act: Callable[[], None]) -> None:
        """Let something happen at a time, or now if that has passed."""
        self._count += 1
        heappush(self._queue, (max(micros, self.now), self._count, act))

    def run(self, until: int, *, enough: Callable[[], bool] | None = None) -> None:
        """Let everything happen up to a time, or until there is enough."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, act = heappop(queue)
            act()
            if enough is not None and enough():
                return
        self.now = max(self.now, until)


class Trace:
    """The run as a hash: equal runs have equal ones.

    Attributes:
        recent: the last events, oldest first.
        events: how many there were.

    Args:
        schedule: tells the time.
        file: where every event is written, if anywhere.
    """

    def __init__(self, schedule: Schedule, file: TextIO | None = None) -> None:
        self.recent: deque[tuple[int, str, tuple[object, ...]]] = deque(maxlen=REMEMBERED)
        self.events = 0
        self._schedule = schedule
        self._file = file
        self._lines: list[str] = []
        self._hash = sha256()

    def event(self, name: str, *facts: object) -> None:
        """Note an event; facts must look the same in every process."""
        now = self._schedule.now
        self.events += 1
        self.recent.append((now, name, facts))
        self._lines.append(f"{now} {name} {facts}\n")
        if len(self._lines) >= 256:
            self._flush()

    def _flush(self) -> None:
        text = "".join(self._lines)
        self._lines.clear()
        self._hash.update(text.encode())
        if self._file is not None:
            self._file.write(text)

    def digest(self) -> str:
        """Give the hash of all events so far."""
        self._flush()
        return self._hash.hexdigest()
