"""Tests of `trioetcd.runtime.audit_log`: written before it is answered, synced, rotated, ended."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import trio

from trioetcd.ports import BackendError
from trioetcd.runtime.audit_log import SYNC_SECONDS, AuditLog
from trioetcd.runtime.trace import Log
from trioetcd.schema.audit_chain import AuditCheck
from trioetcd.storage import AuditFileError
from trioetcd.values import ClusterID, MemberID


class Syncs:
    """Counts what is done in threads, and may fail."""

    def __init__(self) -> None:
        self.count = 0
        self.failure: BackendError | None = None

    async def __call__(
        self, work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> object:
        await trio.lowlevel.checkpoint()
        self.count += 1
        if self.failure is not None:
            raise self.failure
        return work()


def open_log(path: Path, syncs: Syncs | None = None) -> AuditLog:
    return AuditLog.open(
        path,
        cluster_id=ClusterID(0xC),
        member_id=MemberID(0xA),
        name="m\n1",
        wall=lambda: 1_795_329_766.25,
        log=Log((), level="fatal"),
        in_thread=syncs or Syncs(),
    )


@asynccontextmanager
async def running(path: Path, syncs: Syncs | None = None) -> AsyncIterator[AuditLog]:
    """Have an audit log, and its task, until the block is left."""
    log = open_log(path, syncs)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        yield log
        nursery.cancel_scope.cancel()
    log.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(path: Path) -> list[str]:
    """Give what each line of a file is."""
    return [line.get("event") or line["note"] for line in lines(path)]


def check(*paths: Path) -> AuditCheck:
    found = AuditCheck()
    for path in paths:
        found.read(str(path), path.read_bytes().splitlines(keepends=True))
    return found


async def test_a_record_is_in_the_file_when_it_was_written(tmp_path: Path) -> None:
    """The first line says whose log it is; a record has the wall's time as RFC 3339 has it."""
    path = tmp_path / "log"
    log = open_log(path)
    log.note('"note":"one"')
    log.note('"note":"two"')
    assert 1 == len(lines(path))
    log.write()
    assert ["begin", "one", "two"] == events(path)
    first, record, _ = lines(path)
    assert ("c", "a", "m\n1", 1) == tuple(first[at] for at in ("cluster", "member", "name", "part"))
    assert "2026-11-22T06:42:46.250000Z" == record["time"]
    assert datetime.fromisoformat(record["time"]).timestamp() == 1_795_329_766.25
    log.close()

    assert "end" == events(path)[-1]
    assert [] == check(path).breaks


async def test_a_restart_goes_on_and_tells_of_a_crash(tmp_path: Path) -> None:
    """The same chain in the same file; what was half written stays, and is told."""
    path = tmp_path / "log"
    open_log(path).close()
    log = open_log(path)
    log.note('"note":"one"')
    log.write()
    log._file.close()  # the process dies
    with path.open("ab") as file:
        file.write(b'{"seq":4,"pr')
    open_log(path).close()

    found = check(path)
    assert ([], 1, 1) == (found.breaks, found.crashes, len(found.torn))
    names = [line["log"] for line in lines_of_events(path)]
    assert 3 == len(names)
    assert 1 == len(set(names))


def lines_of_events(path: Path) -> list[dict[str, Any]]:
    """Give the lines that open a file."""
    whole = [line for line in path.read_bytes().splitlines() if line.endswith(b'"}')]
    return [line for line in map(json.loads, whole) if "log" in line]


async def test_a_crash_before_the_newline_costs_nothing(tmp_path: Path) -> None:
    """The line is whole; the newline is added."""
    path = tmp_path / "log"
    open_log(path).close()
    os.truncate(path, path.stat().st_size - 1)
    open_log(path).close()

    assert ["begin", "end", "open", "end"] == events(path)
    assert [] == check(path).breaks


async def test_what_was_written_is_synced_within_a_second(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Once for all that was written since; not at all if nothing was."""
    syncs = Syncs()
    async with running(tmp_path / "log", syncs) as log:
        await trio.sleep(10 * SYNC_SECONDS)
        assert 0 == syncs.count
        for number in range(5):
            log.note(f'"note":"{number}"')
            log.write()
        await trio.sleep(SYNC_SECONDS + 0.1)
        assert 1 == syncs.count
        await trio.sleep(10 * SYNC_SECONDS)
        assert 1 == syncs.count


async def test_a_disk_that_does_not_sync_ends_the_member(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Its failure leaves the task."""
    syncs = Syncs()
    syncs.failure = BackendError("gone")
    log = open_log(tmp_path / "log", syncs)
    log.note('"note":"one"')
    log.write()
    with pytest.raises(BackendError):
        await log.run()
    log.close()


async def test_a_record_that_cannot_be_written_is_the_last_one(tmp_path: Path) -> None:
    """Nothing is written after it, not even the end: what is in the file was answered or not."""
    path = tmp_path / "log"
    log = open_log(path)
    before = path.read_bytes()
    descriptor = os.open(path, os.O_RDONLY)
    os.dup2(descriptor, log._file._descriptor)  # a disk that takes nothing any more
    os.close(descriptor)
    for _ in range(2):
        log.note('"note":"one"')
        with pytest.raises(BackendError, match="nothing may change that is not noted"):
            log.write()
    log.close()

    assert before == path.read_bytes()


async def test_a_file_that_was_moved_is_gone_on_from(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """Within a second, or when told to look; both files are one chain, in parts."""
    path, old, older = (tmp_path / name for name in ("log", "log.1", "log.2"))
    async with running(path) as log:
        log.note('"note":"one"')
        log.write()
        path.rename(older)
        log.note('"note":"two"')
        await trio.sleep(SYNC_SECONDS + 0.1)
        log.note('"note":"three"')
        log.write()
        path.rename(old)
        log.look()
        await trio.testing.wait_all_tasks_blocked()
        log.note('"note":"four"')
        log.write()

    assert ["begin", "one", "two", "end"] == events(older)
    assert ["continue", "three", "end"] == events(old)
    assert ["continue", "four", "end"] == events(path)
    assert [1, 2, 3] == [lines(each)[0]["part"] for each in (older, old, path)]
    assert [] == check(older, old, path).breaks
    assert [0o600] * 3 == [each.stat().st_mode & 0o777 for each in (older, old, path)]


@pytest.mark.parametrize("obstacle", ["directory", "other", "symlink"])
async def test_the_old_file_goes_on_if_no_new_one_can_be_made(
    autojump_clock: trio.testing.MockClock, tmp_path: Path, obstacle: str
) -> None:
    """Nothing goes unnoted; when the obstacle is gone, the chain goes on at its place."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    async with running(path) as log:
        path.rename(old)
        match obstacle:
            case "directory":
                path.mkdir()
            case "other":
                path.write_text("something else")
            case _:
                path.symlink_to(tmp_path / "there")
        await trio.sleep(3 * SYNC_SECONDS)
        log.note('"note":"one"')
        log.write()
        assert ["begin", "one"] == events(old)
        path.rmdir() if obstacle == "directory" else path.unlink()
        await trio.sleep(3 * SYNC_SECONDS)
        log.note('"note":"two"')
        log.write()

    assert ["continue", "two", "end"] == events(path)
    assert [] == check(old, path).breaks


async def test_a_file_that_was_cut_goes_on_and_says_so(tmp_path: Path) -> None:
    """With a copy of what was cut off it is one chain (`copytruncate` of logrotate)."""
    path, copy = tmp_path / "log", tmp_path / "log.1"
    log = open_log(path)
    log.note('"note":"one"')
    log.write()
    copy.write_bytes(path.read_bytes())
    os.truncate(path, 0)
    log.note('"note":"two"')
    log.write()
    log.close()
    again = open_log(path)
    again.close()

    assert ["continue", "two", "end", "open", "end"] == events(path)
    assert copy.stat().st_size == lines(path)[0]["cut"]["bytes"]
    assert [] == check(copy, path).breaks
    assert [2, 2] == [line["part"] for line in lines_of_events(path)]


async def test_foreign_bytes_are_found_later(tmp_path: Path) -> None:
    """Who writes into the log besides the member is seen by whoever verifies it."""
    path = tmp_path / "log"
    log = open_log(path)
    with path.open("ab") as file:
        file.write(b"nothing happened\n")
    log.note('"note":"one"')
    log.write()
    log.close()

    (place,) = check(path).breaks
    assert 2 == place.line


async def test_another_file_is_not_written_to(tmp_path: Path) -> None:
    """Nor a log whose first line is gone."""
    (tmp_path / "other").write_text("precious\n")
    open_log(tmp_path / "log").close()
    data = (tmp_path / "log").read_bytes()
    (tmp_path / "headless").write_bytes(data[data.index(b"\n") + 1 :])
    for name in ("other", "headless"):
        before = (tmp_path / name).read_bytes()
        for _ in range(2):  # and it is not locked afterwards
            with pytest.raises(AuditFileError, match="cannot be gone on with"):
                open_log(tmp_path / name)
        assert before == (tmp_path / name).read_bytes()


async def test_the_members_log_tells_where_the_chain_is(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """At the beginning, every ten minutes if there is anything new, and at the end."""
    told: list[tuple[int, str]] = []

    class Telling(Log):
        def info(self, message: str, /, **fields: object) -> None:
            told.append((int(str(fields["seq"])), str(fields["hash"])))

    log = AuditLog.open(
        tmp_path / "log",
        cluster_id=ClusterID(1),
        member_id=MemberID(1),
        name="m",
        wall=lambda: 0.0,
        log=Telling((), level="fatal"),
        in_thread=Syncs(),
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run)
        await trio.sleep(1500)
        log.note('"note":"one"')
        log.write()
        await trio.sleep(3000)
        nursery.cancel_scope.cancel()
    log.close()

    found = check(tmp_path / "log")
    hashes = [(line["seq"], line["hash"]) for line in lines(tmp_path / "log")]
    assert hashes == told
    assert found.last is not None
    assert (found.last.sequence, found.last.hash) == told[-1]
