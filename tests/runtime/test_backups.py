"""Backups for clients: whole, of one moment, in nobody's way, and gone when nobody wants them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.api.metadata import NoMetadata
from tests.bbolt_reader import Database
from tests.runtime.member import Caller, Disk, fill, put, running
from trioetcd.api.maintenance import SnapshotAPI
from trioetcd.errors import Code, EtcdError
from trioetcd.ports import Snapshot
from trioetcd.runtime.backups import (
    CHUNK_BYTES,
    MARGIN_BYTES,
    SERVED_MAX,
    UNREAD_SECONDS,
    Backups,
    Chunk,
)
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log
from trioetcd.schema import messages
from trioetcd.storage import Spool, SpoolFile


class Pinning(Disk):
    """A disk that knows how many of its snapshots are open.

    Attributes:
        pinned: so many.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pinned = 0

    def snapshot(self) -> Snapshot:
        self.pinned += 1
        return _Pinned(self, super().snapshot())


class _Pinned:
    def __init__(self, disk: Pinning, below: Snapshot) -> None:
        self._disk = disk
        self._below = below
        self.get = below.get
        self.scan = below.scan
        self.scan_back = below.scan_back

    def close(self) -> None:
        self._disk.pinned -= 1
        self._below.close()


class Threads:
    """Runs what blocks, as the product does; each piece of it may be held up.

    Attributes:
        names: what was run, in order.
        before: called before each; may wait.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.hold_at = ""
        self.held = trio.Event()
        self.go_on = trio.Event()

    async def __call__(
        self, work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> object:
        name = getattr(getattr(work, "func", work), "__name__", "?")
        self.names.append(name)
        if name == self.hold_at:
            self.hold_at = ""
            self.held.set()
            await self.go_on.wait()
        return await trio.to_thread.run_sync(work, limiter=limiter)


class Bench:
    """A member that makes backups.

    Attributes:
        server, disk, threads, backups, spool: its parts.
        line: reads what it logs.
    """

    def __init__(self, server: Server, disk: Pinning, spool: Spool, log: Log) -> None:
        self.server = server
        self.disk = disk
        self.threads = Threads()
        self.backups = Backups(
            backend=disk,
            driver=server.driver,
            cursors=server.cursors,
            spool=spool,
            metrics=server.metrics,
            log=log,
            in_thread=self.threads,
        )

    async def save(self) -> Database:
        """Have a backup made, and take it as fast as it comes."""
        chunks: list[Chunk] = []

        async def send(some: list[Chunk]) -> None:
            chunks.extend(some)
            await trio.lowlevel.checkpoint()

        await self.backups.serve(send)
        return database_of(chunks)

    def keys(self) -> list[bytes]:
        """Give the keys that there are now."""
        return [raw[2:] for raw, _ in self.server.store.space.scan(b"\x80c", b"\x80d")]


def database_of(chunks: list[Chunk]) -> Database:
    """Check what was sent as etcdctl does, and read it."""
    *parts, (left, digest) = chunks
    data = b"".join(blob for _, blob in parts)
    assert left == 0
    assert sha256(data).digest() == digest
    total = len(data)
    for number, (remaining, blob) in enumerate(parts):
        assert remaining == total - min((number + 1) * CHUNK_BYTES, total)
        assert len(blob) == min(CHUNK_BYTES, total - number * CHUNK_BYTES)
    return Database(data)


def keys_of(database: Database) -> list[bytes]:
    return sorted(messages.KeyValue.FromString(value).key for _, value in database.buckets[b"key"])


@asynccontextmanager
async def bench(tmp_path: Path, spool: Spool | None = None) -> AsyncIterator[Bench]:
    """Run a member; at the end nothing is pinned and no file is open."""
    disk = Pinning()
    directory = tmp_path / "data"
    directory.mkdir()
    log = Log(outputs=())
    with trio.fail_after(100):
        async with running(disk) as server:
            yield Bench(server, disk, spool or Spool(directory), log)
            assert disk.pinned == 0
            assert open_files(directory) == []
            assert list(directory.iterdir()) == []


def open_files(directory: Path) -> list[str]:
    """Give the files under a directory that this process has open, also those without a name."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(str(directory)):
            found.append(target)
    return found


async def test_what_is_there_is_sent(tmp_path: Path) -> None:
    """Every acknowledged put is in it, with the revision, and the end is counted."""
    async with bench(tmp_path) as made:
        await fill(made.server, 3_000, value=b"v" * 300)
        database = await made.save()
        assert keys_of(database) == made.keys()
        assert len(made.keys()) == 3_000
        assert database.buckets[b"key"][-1][0][:8] == (3_001).to_bytes(8, "big")
        assert sum(made.server.metrics.disk_backend_snapshot_duration_seconds.counts) == 1


async def test_only_what_is_durable_is_in_it(tmp_path: Path) -> None:
    """It waits until what was applied is on the disk, and its index says what is in it."""
    async with bench(tmp_path) as made, trio.open_nursery() as nursery:
        caller = Caller()
        put(made.server, caller, 1, b"a")
        await caller.wait(1)
        made.disk.hold()
        put(made.server, caller, 2, b"b")
        await made.disk.wait_held()
        found: list[Database] = []

        async def save() -> None:
            found.append(await made.save())

        nursery.start_soon(save)
        await trio.testing.wait_all_tasks_blocked()
        assert made.disk.pinned == 0
        assert not {"append", "write"} & set(made.threads.names)
        made.disk.release()
        await caller.wait(2)
        last = made.server.replica.applied_index
        while not found:
            await made.server.driver.wait_turn()
        applied = int.from_bytes(dict(found[0].buckets[b"meta"])[b"consistent_index"], "big")
        assert keys_of(found[0]) == ([b"a", b"b"] if applied >= last else [b"a"])


@pytest.mark.parametrize("point", ["append", "sync", "read", "update"])
async def test_writing_goes_on_meanwhile(tmp_path: Path, point: str) -> None:
    """Wherever a backup waits for a file or a thread, puts are served; they are not in it."""
    async with bench(tmp_path) as made, trio.open_nursery() as nursery:
        await fill(made.server, 250, value=b"v" * 45_000)
        before = made.keys()
        made.threads.hold_at = point
        found: list[Database] = []

        async def save() -> None:
            found.append(await made.save())

        nursery.start_soon(save)
        await made.threads.held.wait()
        await fill(made.server, 50, prefix=b"later")
        assert made.disk.pinned == (1 if point in {"append", "sync"} else 0)
        made.threads.go_on.set()
        while not found:
            await made.server.driver.wait_turn()
        assert keys_of(found[0]) == before


async def test_a_slow_reader_is_in_nobody_s_way(tmp_path: Path) -> None:
    """While one client does not read, nothing is pinned, puts go on, and others get theirs."""
    async with bench(tmp_path) as made, trio.open_nursery() as nursery:
        await fill(made.server, 500, value=b"v" * 1_000)
        before = made.keys()
        chunks: list[Chunk] = []
        stuck = trio.Event()
        reading = trio.Event()
        ended = trio.Event()

        async def send(some: list[Chunk]) -> None:
            chunks.extend(some)
            stuck.set()
            await reading.wait()

        async def serve() -> None:
            await made.backups.serve(send)
            ended.set()

        nursery.start_soon(serve)
        await stuck.wait()
        assert made.disk.pinned == 0
        assert len(made.server.cursors) == 0
        await fill(made.server, 100, prefix=b"later")
        assert keys_of(await made.save()) == made.keys()
        assert not ended.is_set()
        assert sum(len(blob) for _, blob in chunks) <= 8 * CHUNK_BYTES
        reading.set()
        await ended.wait()
        assert keys_of(database_of(chunks)) == before


async def test_who_takes_nothing_is_given_up(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """A client that stands still is told so after a minute: nobody keeps a file for ever."""
    autojump_clock.autojump_threshold = 0.02  # files are written in threads

    async def never(_some: list[Chunk]) -> None:
        began.append(trio.current_time())
        await trio.sleep_forever()

    began: list[float] = []
    async with bench(tmp_path) as made:
        await fill(made.server, 250)
        with pytest.raises(EtcdError, match="read it first"):
            await made.backups.serve(never)
        assert trio.current_time() - began[0] >= UNREAD_SECONDS


async def test_those_who_wait_their_turn_hold_no_file(tmp_path: Path) -> None:
    """Of very many callers a few have files; the others get theirs later."""
    async with bench(tmp_path) as made, trio.open_nursery() as nursery:
        await fill(made.server, 250, value=b"v" * 1_000)
        made.threads.hold_at = "append"
        found: list[Database] = []

        async def save() -> None:
            found.append(await made.save())

        for _ in range(3 * SERVED_MAX):
            nursery.start_soon(save)
        await made.threads.held.wait()
        await trio.testing.wait_all_tasks_blocked(0.05)
        # One has a second one, to sort in.
        assert made.threads.names.count("open") <= SERVED_MAX + 1
        made.threads.go_on.set()
        while len(found) < 3 * SERVED_MAX:
            await trio.lowlevel.checkpoint()


async def test_one_is_built_at_a_time(tmp_path: Path) -> None:
    """Who comes second waits for his turn, and gets what was there when it came."""
    async with bench(tmp_path) as made, trio.open_nursery() as nursery:
        await fill(made.server, 2_000, value=b"v" * 1_000)
        made.threads.hold_at = "append"
        found: list[Database] = []

        async def save() -> None:
            found.append(await made.save())

        nursery.start_soon(save)
        await made.threads.held.wait()
        nursery.start_soon(save)
        nursery.start_soon(save)
        await fill(made.server, 10, prefix=b"later")
        assert made.disk.pinned == 1
        made.threads.go_on.set()
        while len(found) < 3:
            await made.server.driver.wait_turn()
        assert [len(keys_of(database)) for database in found] == [2_000, 2_010, 2_010]


@pytest.mark.parametrize("point", ["open", "room", "append", "sync", "write", "read", "update"])
async def test_a_client_that_goes_leaves_nothing(tmp_path: Path, point: str) -> None:
    """Whenever it goes, rows and files are let go of, and the next one gets its backup."""
    async with bench(tmp_path) as made:
        await fill(made.server, 250, value=b"v" * 45_000)
        made.threads.hold_at = point
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.save)
            await made.threads.held.wait()
            nursery.cancel_scope.cancel()
        assert made.disk.pinned == 0
        assert keys_of(await made.save()) == made.keys()


async def test_a_client_that_goes_between_slices_leaves_nothing(tmp_path: Path) -> None:
    """So it is when it goes while the rows are being read."""
    async with bench(tmp_path) as made:
        await fill(made.server, 3_000)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.save)
            while not len(made.server.cursors):
                await trio.lowlevel.checkpoint()
            assert made.disk.pinned == 1
            nursery.cancel_scope.cancel()
        await fill(made.server, 1, prefix=b"x")
        assert len(made.server.cursors) == 0
        assert keys_of(await made.save()) == made.keys()


class Small(Spool):
    """A volume with so much room, and files that take no byte where `full`."""

    def __init__(self, directory: Path, *, rooms: list[int], full: bool = False) -> None:
        super().__init__(directory)
        self.rooms = rooms
        self.full = full

    def open(self) -> SpoolFile:
        if self.full:
            return SpoolFile(Path("/dev/full").open("r+b", buffering=0))
        return super().open()

    def room(self) -> int:
        return self.rooms.pop(0) if len(self.rooms) > 1 else self.rooms[0]


async def refused(made: Bench) -> EtcdError:
    with pytest.raises(EtcdError) as caught:
        await made.save()
    await fill(made.server, 1, prefix=b"after")
    return caught.value


async def test_too_little_room_is_told_first(tmp_path: Path) -> None:
    """Without room for all of it and a margin for the member nothing is written."""
    spool = Small(tmp_path, rooms=[MARGIN_BYTES])
    async with bench(tmp_path, spool) as made:
        await fill(made.server, 10)
        error = await refused(made)
        assert error.code == Code.RESOURCE_EXHAUSTED
        assert str(MARGIN_BYTES) in error.text
        assert not {"append", "write"} & set(made.threads.names)


async def test_room_that_goes_meanwhile_is_noticed(tmp_path: Path) -> None:
    """The margin is left to the member also when others take the room that there was."""
    spool = Small(tmp_path, rooms=[2**50, MARGIN_BYTES - 1])
    async with bench(tmp_path, spool) as made:
        await fill(made.server, 250, value=b"v" * 45_000)
        error = await refused(made)
        assert error.code == Code.RESOURCE_EXHAUSTED
        assert f"{MARGIN_BYTES - 1} bytes of disk space are free" in error.text


async def test_a_full_disk_is_the_caller_s_trouble(tmp_path: Path) -> None:
    """ENOSPC ends the backup, not the member."""
    spool = Small(tmp_path, rooms=[2**50], full=True)
    async with bench(tmp_path, spool) as made:
        error = await refused(made)
        assert error.code == Code.RESOURCE_EXHAUSTED
        assert "the disk is full" in error.text


async def test_a_directory_that_is_gone_is_the_caller_s_trouble(tmp_path: Path) -> None:
    """Any other failure of the files is told in the disk's words."""
    directory = tmp_path / "gone"
    directory.mkdir()
    spool = Spool(directory)
    directory.rmdir()
    async with bench(tmp_path, spool) as made:
        error = await refused(made)
        assert error.code == Code.INTERNAL
        assert "No such file or directory" in error.text


class Stream:
    """A stream of a client that asks once."""

    def __init__(self, request: bytes | None) -> None:
        self.request = request
        self.sent: list[messages.SnapshotResponse] = []

    async def receive(self) -> bytes | None:
        return self.request

    async def send(self, some: list[bytes], /) -> None:
        self.sent += map(messages.SnapshotResponse.FromString, some)
        await trio.lowlevel.checkpoint()


async def test_the_handler(tmp_path: Path) -> None:
    """Each message has a chunk, what remains, the storage version, and no header (etcd)."""
    async with bench(tmp_path) as made:
        await fill(made.server, 100)
        stream = Stream(b"")
        await SnapshotAPI(made.backups).snapshot(NoMetadata(), stream)
        assert {response.version for response in stream.sent} == {"3.7.0"}
        assert not any(response.HasField("header") for response in stream.sent)
        chunks = [(response.remaining_bytes, response.blob) for response in stream.sent]
        assert keys_of(database_of(chunks)) == made.keys()
        with pytest.raises(EtcdError):
            await SnapshotAPI(made.backups).snapshot(NoMetadata(), Stream(None))
