"""Tests of `trioetcd.runtime.auto_compaction`: etcd's rules, and the member that follows them."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.replica.states import follower_disk
from tests.runtime.member import Disk, fill, make_server, running
from trioetcd.runtime.auto_compaction import KeepRevisions, KeepSeconds, Rule, compact_by
from trioetcd.runtime.server import Server
from trioetcd.runtime.trace import Log

MINUTE = 60.0
HOUR = 3600.0


def compactions(
    rule: Rule, looks: int, *, fails: frozenset[int] = frozenset(), paused: int = 0, step: int = 1
) -> Iterator[tuple[float, int]]:
    """Follow a rule while the revision grows with each look; gives when it compacts, and to what.

    Args:
        rule: made at time 0.
        looks: how many.
        fails: the attempts that fail, counted from 0.
        paused: for so many looks another member leads.
        step: by how much the revision grows.
    """
    now = 0.0
    attempt = 0
    for look in range(looks):
        revision = 1 + look * step
        rule.note(revision)
        now += rule.seconds
        if look < paused:
            continue
        due = rule.due(revision, now)
        if due is None:
            continue
        if attempt not in fails:
            yield now, due
            rule.done(due, now)
        attempt += 1


@pytest.mark.parametrize(
    ("kept", "first", "every", "look"),
    [
        (24 * HOUR, 24 * HOUR, HOUR, 6 * MINUTE),
        (2 * HOUR, 2 * HOUR, HOUR, 6 * MINUTE),
        (HOUR, HOUR, HOUR, 6 * MINUTE),
        (59 * MINUTE, 59 * MINUTE, 59 * MINUTE, 5.9 * MINUTE),
        (5.0, 5.0, 5.0, 0.5),
        (1.0, 1.0, 1.0, 0.1),
    ],
)
def test_periodic(kept: float, first: float, every: float, look: float) -> None:
    """First after the time that is kept, then every hour or that time, to the revision of then."""
    rule = KeepSeconds(kept, 0.0)
    assert look == pytest.approx(rule.seconds)
    looks = round((first + 3 * every) / look)
    found = list(compactions(rule, looks))
    times = [first + number * every for number in range(4)]
    assert times == pytest.approx([at for at, _ in found])
    # The oldest of kept / look + 1 looks: at first the very first one.
    ago = round(kept / look) + 1
    assert [max(1, round(at / look) - ago + 1) for at in times] == [each for _, each in found]


def test_a_time_that_is_no_whole_number_of_looks() -> None:
    """Of 93 minutes the looks of 15 waits of 6 minutes are kept, and one more (etcd)."""
    rule = KeepSeconds(93 * MINUTE, 0.0)
    ((at, revision),) = compactions(rule, 16)
    assert at == pytest.approx(96 * MINUTE)
    assert revision == 1


def test_a_compaction_that_failed_is_tried_at_the_next_look() -> None:
    """What failed is tried again a tenth of the interval later, to the revision of so long ago."""
    found = list(compactions(KeepSeconds(HOUR, 0.0), 23, fails=frozenset({0, 1})))
    assert [(72 * MINUTE, 2), (132 * MINUTE, 12)] == found


def test_a_new_leader_compacts_at_once() -> None:
    """Who comes to lead late knows the revision of an hour ago, and compacts to it."""
    found = list(compactions(KeepSeconds(HOUR, 0.0), 34, paused=33))
    # etcd's own test of this: hour 3 and 24 minutes, the revision of 66 minutes before.
    assert [(34 * 6 * MINUTE, 24)] == found


def test_nothing_new_is_not_compacted_again() -> None:
    """While the revision stands still there is one compaction."""
    assert [(5 * MINUTE, 1)] == list(compactions(KeepSeconds(5 * MINUTE, 0.0), 80, step=0))
    found = list(compactions(KeepRevisions(0), 5, step=0))
    assert [(300.0, 1)] == found


def test_revision() -> None:
    """Every five minutes, once there are more revisions than are kept; failures wait as long."""
    found = list(compactions(KeepRevisions(10), 5, step=4, fails=frozenset({1})))
    assert [(20 * MINUTE, 3), (25 * MINUTE, 7)] == list(compactions(KeepRevisions(10), 5, step=4))
    assert [(20 * MINUTE, 3)] == found


@asynccontextmanager
async def following(server: Server, rule: Rule, path: Path) -> AsyncIterator[None]:
    """Let a member follow a rule until the block is left; its log is in a file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    log = Log([file])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(compact_by, rule, server, log)
        yield
        nursery.cancel_scope.cancel()
    log.close()
    os.close(file)


def logged(path: Path) -> list[str]:
    return [json.loads(line)["msg"] for line in path.read_text().splitlines()]


async def test_a_leader_compacts(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """A member that leads forgets by the rule, and says so."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    async with running() as server:
        await fill(server, 20)
        rule = KeepRevisions(5)
        rule.seconds = 1.0  # every tick takes a moment of real time
        async with following(server, rule, tmp_path / "log"):
            await trio.sleep(1.5)
            assert server.store.compact_revision == server.store.revision - 5
            compacted = server.store.compact_revision
            await trio.sleep(1.0)
            assert server.store.compact_revision == compacted
    assert ["starting auto revision compaction", "completed auto revision compaction"] == logged(
        tmp_path / "log"
    )


async def test_who_was_compacted_by_hand(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A revision that somebody has compacted already counts as done."""
    autojump_clock.autojump_threshold = 0.005
    async with running() as server:
        rule = KeepSeconds(10.0, server.now())
        async with following(server, rule, tmp_path / "log"):
            await trio.sleep(9.5)
            await fill(server, 3)
            server.store.compact(3)
            await trio.sleep(1)
    assert ["starting auto periodic compaction", "completed auto periodic compaction"] == logged(
        tmp_path / "log"
    )


async def test_a_follower_does_not_compact(
    autojump_clock: trio.testing.MockClock, tmp_path: Path
) -> None:
    """A member that does not lead proposes nothing, whatever its rule says."""
    autojump_clock.autojump_threshold = 0.005
    disk = Disk()
    disk.rows = follower_disk()
    server = make_server(disk)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.driver.run)
        rule = KeepRevisions(0)
        rule.seconds = 1.0
        async with following(server, rule, tmp_path / "log"):
            await trio.sleep(3.5)
        nursery.cancel_scope.cancel()
    assert [] == logged(tmp_path / "log")
