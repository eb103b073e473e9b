"""Quiet watches are told of progress in time, and not all at the same moment."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio

from tests.runtime.member import Caller, put, running
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.progress import with_jitter
from trioetcd.runtime.server import ServerLimits
from trioetcd.schema import messages


class Stream:
    """A client's end of a watch stream that asks for one quiet watch."""

    def __init__(self) -> None:
        self.progress: list[float] = []
        self.prompt = None
        self._asked = False

    async def next(self, session: WatchSession) -> bool:
        if self._asked:
            await trio.sleep_forever()
        self._asked = True
        create = messages.WatchCreateRequest(key=b"quiet", progress_notify=True)
        session.handle(messages.WatchRequest(create_request=create))
        return True

    async def send(self, messages_: list[bytes], /) -> None:
        await trio.lowlevel.checkpoint()
        for each in map(messages.WatchResponse.FromString, messages_):
            if not each.created:
                assert not each.events
                self.progress.append(trio.current_time())


@pytest.mark.parametrize("interval", [0.1, 60.0])
async def test_quiet_watches_are_told_in_time(
    interval: float, autojump_clock: trio.testing.MockClock
) -> None:
    """Once an interval, a tenth more at most, and as often as streams are looked after later."""
    autojump_clock.autojump_threshold = 0.005
    look = min(1.0, interval / 10)
    async with running(limits=ServerLimits(progress_seconds=interval)) as server:
        caller = Caller()
        put(server, caller, 1, b"other")
        await caller.wait(1)
        streams = [Stream() for _ in range(3)]
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(server.watch, stream, lambda _: None)
            await trio.sleep(6 * interval)
            nursery.cancel_scope.cancel()
        for stream in streams:
            told = stream.progress
            assert len(told) >= 4
            between = [after - before for before, after in pairwise(told)]
            assert min(between) >= interval - look / 10
            assert max(between) <= interval * 1.1 + 2 * look


def test_jitter_is_a_tenth_at_most() -> None:
    """As etcd draws it."""
    assert with_jitter(600.0, lambda _bits: 0) == 600.0
    assert 659.9 < with_jitter(600.0, lambda bits: (1 << bits) - 1) < 660.0
