"""Tests of `trioetcd.runtime.compaction_pace`: pauses, and none without being asked."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.runtime.member import Caller, fill, running
from trioetcd.runtime.compaction_pace import pace
from trioetcd.runtime.server import Server
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind


async def compact(server: Server) -> None:
    """Compact to the present revision, which is 2002."""
    caller = Caller()
    request = messages.CompactionRequest(revision=server.store.revision).SerializeToString()
    server.propose(caller, 1, CommandKind.COMPACT, request, None)
    server.driver.wake()
    await caller.wait(1)


@pytest.mark.parametrize("seconds", [0.2, 1.0])
async def test_pauses(autojump_clock: trio.testing.MockClock, seconds: float) -> None:
    """Two thousand revisions, 100 a pause: at least nineteen pauses, and at most one more."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    async with running() as server, trio.open_nursery() as nursery:
        await fill(server, 2000)
        nursery.start_soon(pace, server, 100, seconds)
        await trio.testing.wait_all_tasks_blocked()
        started = trio.current_time()
        await compact(server)
        done = trio.Event()
        server.disk.when_compacted(done.set)
        await done.wait()
        assert 19 <= (trio.current_time() - started) / seconds < 22
        nursery.cancel_scope.cancel()


async def test_no_pauses(autojump_clock: trio.testing.MockClock) -> None:
    """Without them a compaction is over as soon as the disk has it, in no time of the clock's."""
    autojump_clock.autojump_threshold = 0.005
    async with running() as server:
        await fill(server, 2000)
        started = trio.current_time()
        await compact(server)
        done = trio.Event()
        server.disk.when_compacted(done.set)
        await done.wait()
        assert trio.current_time() - started < 1.0
