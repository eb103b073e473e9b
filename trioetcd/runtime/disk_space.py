"""How much disk a member takes, what of it is in use, and how the rest is given back.

*Total* is what the database's files take. *In use* is what is in rows that count: those of keys,
their history and their leases (exactly, `mvcc.layout`), and the Raft log. What lies between is what
deletes, compactions and overwrites have left behind: a `Defragment` gives it back, and so does
LevelDB by itself, bit by bit. Neither number is got by reading rows (docs/adr/0016).

The quota is held against the total without the Raft log, which is a file of its own in etcd, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

import trio

from trioetcd import errors
from trioetcd.errors import EtcdError
from trioetcd.ports import FIRST_ROW, LAST_ROW, Backend
from trioetcd.replica import Replica
from trioetcd.runtime.driver import Driver
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.transport.streams import InThread

__all__ = ["SIZE_SECONDS", "SPACE_MARGIN_BYTES", "DiskSpace", "Size"]

SPACE_MARGIN_BYTES: Final = 64 * 1024 * 1024
"""Below this much room the cost of each write is counted; above it, nothing is."""

SIZE_SECONDS: Final = 1.0
"""The files are looked at so often."""


class Size(NamedTuple):
    """Bytes on disk, and how many of them hold rows that count."""

    total: int
    in_use: int


class _Job(NamedTuple):
    """A stretch of rows to compact; `whole` waits until all that is to go has gone."""

    start: bytes
    stop: bytes
    done: Callable[[], object]
    whole: bool


def _nothing() -> None:
    """Nobody waits for this."""


class DiskSpace:
    """The disk of one member.

    Attributes:
        waiting: those who wait until no compacted row is left; while there are any, every turn is
            to be told of (`turned`).

    Args:
        backend: its rows.
        replica: what of them counts, and who complains.
        driver: takes the alarm, and says when rows are on the disk.
        quota_bytes: the size that raises NOSPACE; 0 or less is no quota.
        in_thread: runs what blocks.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        replica: Replica,
        driver: Driver,
        quota_bytes: int,
        in_thread: InThread,
    ) -> None:
        self._backend = backend
        self._replica = replica
        self._driver = driver
        self._quota = quota_bytes
        self._in_thread = in_thread
        self._jobs: deque[_Job] = deque()
        self._has_jobs = trio.Event()
        self.waiting: list[Callable[[], object]] = []
        self.look()

    # What there is

    def size(self) -> Size:
        """Give the bytes of the files, and those in use, as they stand."""
        replica = self._replica
        total = self._backend.size()
        in_use = replica.store.kept_bytes + replica.statistics().log_bytes
        # Rows that are not on the disk yet count, and LevelDB leaves out what keys that follow each
        # other share: little data may seem larger than its files.
        return Size(total, min(total, in_use))

    def look(self) -> None:
        """Look at the files."""
        log_bytes = self._replica.statistics().log_bytes
        self._left = self._quota - (self._backend.size() - log_bytes)
        self._alarm_proposed = False

    def check(self, cost: Callable[[], int]) -> None:
        """Refuse a write that the quota has no room for, and raise the alarm.

        Args:
            cost: gives the bytes that the write is taken to need; 0 is never refused.

        Raises:
            EtcdError: NoSpace.
        """
        if self._left > SPACE_MARGIN_BYTES or self._quota <= 0:
            return
        needed = cost()
        if needed < self._left or not needed:
            # Until the files are looked at again.
            self._left -= needed
            return
        me = self._replica.member_id
        if not (self._alarm_proposed or (messages.NOSPACE, me) in self._replica.alarms.get()):
            # Once a second at most; again if it was cleared and there is still no room.
            self._alarm_proposed = True
            request = messages.AlarmRequest(
                action=messages.AlarmRequest.ACTIVATE, memberID=me, alarm=messages.NOSPACE
            )
            self._driver.propose_own(None, CommandKind.ALARM, request.SerializeToString())
            self._driver.wake()
        raise EtcdError(errors.NO_SPACE)

    # What goes

    def defragment(self, done: Callable[[], object]) -> None:
        """Give back the room of all rows that are gone or going, then call `done`.

        A compaction under way is waited for. Requests are served meanwhile.
        """
        self._add(_Job(FIRST_ROW, LAST_ROW, done, whole=True))

    def give_back(self, start: bytes, stop: bytes) -> None:
        """Give back the room of the rows that are gone from a stretch of raw keys."""
        self._add(_Job(start, stop, _nothing, whole=False))

    def _add(self, job: _Job) -> None:
        self._jobs.append(job)
        self._has_jobs.set()

    def when_compacted(self, done: Callable[[], object]) -> None:
        """Call `done` when no compacted row is left to be deleted, at the end of a turn."""
        self.waiting.append(done)

    def turned(self) -> None:
        """See, at the end of a turn, whether they need wait no longer."""
        if not self._replica.store.compaction.pending:
            waiting, self.waiting = self.waiting, []
            for done in waiting:
                done()

    async def run(self) -> None:
        """Do what is to be done, one after the other, on a thread that runs C only."""
        while True:
            while self._jobs:
                job = self._jobs.popleft()
                if job.whole:
                    await self._wait_gone()
                await self._in_thread(partial(self._backend.compact_range, job.start, job.stop))
                self.look()
                job.done()
            self._has_jobs = trio.Event()
            await self._has_jobs.wait()

    async def _wait_gone(self) -> None:
        """Wait until what has been compacted is deleted, and the deletions are on the disk."""
        if self._replica.store.compaction.pending:
            compacted = trio.Event()
            self.when_compacted(compacted.set)
            await compacted.wait()
        await self._driver.wait_flushed()
