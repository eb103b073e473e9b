"""Backups of this member for clients: built in a file of its own, then sent as it is read.

The rows are pinned only while the file is built, however slowly a client reads then. The building
is a long read among others (`trioetcd.runtime.cursors`); the file is written, read and hashed in
threads. It is synced as it grows: the log's own syncs should never wait for a large file's pages.
"""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from hashlib import sha256
from typing import Final, Protocol, cast

import trio

from trioetcd import errors
from trioetcd.cluster import CLUSTER_VERSION
from trioetcd.errors import EtcdError
from trioetcd.mvcc import Fetch
from trioetcd.ports import Backend
from trioetcd.replica import Backup
from trioetcd.runtime.cursors import Cursors
from trioetcd.runtime.driver import Driver
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.trace import Log
from trioetcd.storage import Spool, SpoolFile
from trioetcd.transport.streams import InThread, run_in_thread

__all__ = ["Backups", "Chunk"]

CHUNK_BYTES: Final = 32 * 1024
"""What one message holds (etcd)."""

READ_BYTES: Final = 8 * CHUNK_BYTES
"""Read, hashed and handed to the connection at a time."""

WRITE_BYTES: Final = 512 * 1024
"""Gathered before it is written."""

SYNC_BYTES: Final = 8 * 1024 * 1024
"""Written before the disk must have it."""

MARGIN_BYTES: Final = 128 * 1024 * 1024
"""Room that is left to the member: LevelDB's logs, and what it writes anew before it deletes."""

SERVED_MAX: Final = 8
"""Callers at a time, those who wait for another's to be built among them; each has a file."""

UNREAD_SECONDS: Final = 60.0
"""How long a client may take nothing."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

Chunk = tuple[int, bytes]
"""The bytes of the database that are left after these, and these; at last the checksum."""


class _Source(Protocol):
    """What fills a file."""

    waiting: int

    def take(self) -> bytes: ...


class Backups:
    """Serves backups: one is built at a time, as many as are wanted are sent.

    Args:
        backend: the rows.
        driver: knows when all that was applied is on the disk.
        cursors: where the work is done.
        spool: where the files are.
        metrics: where they are counted.
        log: where they are told of.
        in_thread: runs what blocks.
    """

    def __init__(
        self,
        *,
        backend: Backend,
        driver: Driver,
        cursors: Cursors,
        spool: Spool,
        metrics: Metrics,
        log: Log,
        in_thread: InThread = run_in_thread,
    ) -> None:
        self._backend = backend
        self._driver = driver
        self._cursors = cursors
        self._spool = spool
        self._metrics = metrics
        self._log = log
        self._in_thread = in_thread
        self._building = trio.Lock()
        self._served = trio.Semaphore(SERVED_MAX)

    async def serve(self, send: Callable[[list[Chunk]], Awaitable[None]]) -> None:
        """Make a backup of what has been applied by now, and send it.

        Args:
            send: sends chunks, in order; returns when there is room for more.

        Raises:
            EtcdError: there is no room for it, or the disk failed it; the member goes on.
            BackendError: the member's rows cannot be read, and it must end.
        """
        began = trio.current_time()
        with self._told():
            # What waits holds no file.
            async with self._served, self._file() as database:
                async with self._building:
                    await self._build(database)
                fields = {"total-bytes": database.size, "storage-version": CLUSTER_VERSION}
                self._log.info("sending database snapshot to client", **fields)
                await self._send(database, send)
        seconds = trio.current_time() - began
        self._metrics.disk_backend_snapshot_duration_seconds.observe(seconds)
        self._log.info(
            "successfully sent database snapshot to client", **fields, took=f"{seconds:.3f}s"
        )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Make the caller's error of what went wrong with the files, and log it."""
        try:
            yield
        except OSError as error:
            full = error.errno in _FULL
            failure = errors.disk_full() if full else errors.no_backup(error.strerror or str(error))
            self._warn(failure)
            raise failure from error
        except EtcdError as failure:
            self._warn(failure)
            raise

    def _warn(self, failure: EtcdError) -> None:
        self._log.warn("failed to send database snapshot to client", error=failure.text)

    @asynccontextmanager
    async def _file(self) -> AsyncIterator[SpoolFile]:
        file = cast("SpoolFile", await self._in_thread(self._spool.open))
        try:
            yield file
        finally:
            with trio.CancelScope(shield=True):  # giving back gigabytes takes a while
                await self._in_thread(file.close)

    # Building

    async def _build(self, database: SpoolFile) -> None:
        """Write the database of what is applied now."""
        await self._check_room(self._backend.size() + MARGIN_BYTES)
        await self._driver.wait_flushed()
        pinned = self._backend.snapshot()
        try:
            backup = Backup(pinned)
            work = _Work(backup)
            try:
                async with self._file() as scratch:
                    await self._write(backup, work, database, scratch)
            finally:
                work.end()
        finally:
            pinned.close()

    async def _write(
        self, backup: Backup, work: _Work, database: SpoolFile, scratch: SpoolFile
    ) -> None:
        unsynced = 0
        while not work.done:
            await self._step(work)
            fetch = work.fetch
            unsynced += await self._move(backup.scratch, scratch, now=fetch is not None)
            unsynced += await self._move(backup.database, database, now=work.done)
            if unsynced >= SYNC_BYTES:
                unsynced = 0
                await self._in_thread(scratch.sync)
                await self._in_thread(database.sync)
                await self._check_room(MARGIN_BYTES)
            if fetch is not None:
                work.reply = cast("bytes", await self._in_thread(partial(scratch.read, *fetch)))
        await self._in_thread(partial(database.write, 0, backup.head))

    async def _step(self, work: _Work) -> None:
        """Let slices be done, in turn with other long reads, until something is to be done here."""
        stopped = trio.Event()
        self._cursors.add(work, stopped.set, lambda: work.wanted)
        await stopped.wait()
        if work.failure is not None:
            raise work.failure

    async def _move(self, source: _Source, file: SpoolFile, *, now: bool) -> int:
        """Write what was gathered if it is enough, or if that must be now; gives its bytes."""
        size = source.waiting
        if not size or not (now or size >= WRITE_BYTES):
            return 0
        await self._in_thread(partial(file.append, source.take()))
        return size

    async def _check_room(self, needed: int) -> None:
        room = cast("int", await self._in_thread(self._spool.room))
        if room < needed:
            raise errors.no_room(room, needed)

    # Sending

    async def _send(
        self, database: SpoolFile, send: Callable[[list[Chunk]], Awaitable[None]]
    ) -> None:
        total = database.size
        digest = sha256()
        sent = 0
        while sent < total:
            data = cast("bytes", await self._in_thread(partial(database.read, sent, READ_BYTES)))
            if not data:
                raise OSError(errno.EIO, "the file is shorter than it was")
            await self._in_thread(partial(digest.update, data))
            chunks = []
            for start in range(0, len(data), CHUNK_BYTES):
                blob = data[start : start + CHUNK_BYTES]
                sent += len(blob)
                chunks.append((total - sent, blob))
            await _in_time(send, chunks)
        await _in_time(send, [(0, digest.digest())])


async def _in_time(send: Callable[[list[Chunk]], Awaitable[None]], chunks: list[Chunk]) -> None:
    """Send chunks to who takes them; who does not must not keep a file as large as the database.

    Raises:
        EtcdError: the client has taken nothing for `UNREAD_SECONDS`.
    """
    with trio.move_on_after(UNREAD_SECONDS) as waiting:
        await send(chunks)
    if waiting.cancelled_caught:
        raise errors.unread()


class _Work:
    """The steps of a backup as a long read (`trioetcd.runtime.cursors.Cursor`).

    A step is one slice. It is done when files are to be written or read; then it is added again.

    Attributes:
        fetch: what is to be sent in with the next step, as `reply`.
        reply: see there.
        done: whether nothing is left to do.
        failure: why it cannot be gone on with.
        wanted: whether anybody waits for it.
    """

    def __init__(self, backup: Backup) -> None:
        self._backup = backup
        self._steps = backup.steps()
        self._begun = False
        self.fetch: Fetch | None = None
        self.reply = b""
        self.done = False
        self.failure: EtcdError | None = None
        self.wanted = True

    def step(self, _rows: int, _size: int, /) -> bool:
        """Do one slice."""
        steps, backup = self._steps, self._backup
        try:
            self.fetch = steps.send(self.reply) if self._begun else next(steps)
        except StopIteration:
            self.fetch = None
            self.done = True
        except EtcdError as failure:
            self.failure = failure
            return True
        self._begun = True
        full = max(backup.scratch.waiting, backup.database.waiting) >= WRITE_BYTES
        return full or self.done or self.fetch is not None

    def close(self) -> None:
        """Do nothing: whoever wanted it ends it."""

    def end(self) -> None:
        """Let go of the rows."""
        self.wanted = False
        self._steps.close()
