"""Waiting for a key to be deleted, in thousands: each waits for its own few keys and costs no task.

All who wait share one session of the watch hub, which is told of the deletions of just these keys.
There is no history to read and so nothing to lose: who waits begins with a look at the store as it
stands, and whatever happens to the store afterwards, compaction and another's whole state
included, is only a reason to look again.
"""

from __future__ import annotations

import trio

from trioetcd.keyrange import KeyRange
from trioetcd.mvcc import NO_PUT, Batch, Group, Watcher, WatchHub

__all__ = ["Departures"]


class Departures:
    """Those who wait for deletions (`mvcc.watch.Session`).

    Args:
        hub: where deletions are told.
    """

    def __init__(self, hub: WatchHub) -> None:
        self._hub = hub
        self._store = hub.store
        self._waiting: dict[int, trio.Event] = {}
        self._count = 0

    def stands(self, key: bytes, revision: int) -> bool:
        """Whether this member's store has the key that was created at this revision."""
        return self._store.create_revision(key) == revision

    async def wait(self, *keys: tuple[bytes, int]) -> None:
        """Wait until one of these keys, each with its create revision, does not stand any more."""
        number = self._count = self._count + 1
        watchers = [
            Watcher(
                self,
                number,
                KeyRange.from_wire(key, b""),
                0,
                kind=NO_PUT,
                fragment=False,
                progress=False,
            )
            for key in dict.fromkeys(key for key, _ in keys)
        ]
        self._hub.sessions[self] = None
        for watcher in watchers:
            self._hub.join(watcher)
        try:
            while all(self.stands(key, revision) for key, revision in keys):
                woken = self._waiting[number] = trio.Event()
                await woken.wait()
        finally:
            for watcher in watchers:
                self._hub.leave(watcher)
            self._waiting.pop(number, None)
            if not self._waiting:
                self._hub.sessions.pop(self, None)

    # As a session of the hub

    @property
    def watchers(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def lagging(self) -> int:
        """None: nobody here reads history."""
        return 0

    def deliver(self, _revision: int, group: Group, batch: Batch, _late: list[Watcher], /) -> None:
        """Wake those who wait for what was deleted."""
        if not batch.fields(NO_PUT):
            return
        for numbers in group.kinds.values():
            for number in numbers:
                self._waiting[number].set()

    def tick(self, _now: float, /) -> None:
        """Nobody here is told of progress."""

    def lag(self, _watcher: Watcher, _revision: int, /) -> None:
        """Nobody here is ever late."""

    def reload(self, _missed: int, /) -> None:
        """Let all look at the store that has been put in place of the old one."""
        for woken in self._waiting.values():
            woken.set()

    def recheck(self) -> None:
        """Nobody here is told anything: who wakes up asks again, and may be refused."""
