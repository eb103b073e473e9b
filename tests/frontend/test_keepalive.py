"""Tests of the member's own pings: who is silent is asked, who answers stays, who does not goes."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from tests.frontend.foreign import Client, front
from tests.runtime.member import put_message
from trioetcd.wire import Limits

PUT = "/etcdserverpb.KV/Put"
LIMITS = Limits(quiet_seconds_max=7200.0, ping_answer_seconds_max=20.0)


class Pinged(Client):
    """Counts the pings that it is sent, and answers them or not."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.pings = 0
        self.answers = True

    async def flush(self) -> None:
        if self.answers:
            await super().flush()

    def _on(self, event: object) -> None:
        self.pings += type(event).__name__ == "PingReceived"
        super()._on(event)


async def come(stream: trio.abc.Stream, nursery: trio.Nursery) -> Pinged:
    client = Pinged(stream)
    await client.flush()
    nursery.start_soon(client.read)
    answer = await client.call(PUT, put_message(b"k"))
    assert (0, "") == answer.status
    return client


async def pass_time(clock: trio.testing.MockClock, seconds: float) -> None:
    """Let mock time pass in steps, and real sockets do what they have to."""
    step = 0.5
    for _ in range(round(seconds / step)):
        clock.jump(step)
        await trio.testing.wait_all_tasks_blocked(0.0005)


async def test_who_answers_stays_and_who_does_not_goes(mock_clock: trio.testing.MockClock) -> None:
    """A silent client is pinged once in an interval and closed only if nothing comes back."""
    async with front(limits=LIMITS, seconds=100_000) as found:
        lively = await come(await found.connect(), found.nursery)
        dead = await come(await found.connect(), found.nursery)
        dead.answers = False
        await pass_time(mock_clock, 3)  # mock time begins at 0, which means "never heard of"
        mock_clock.jump(LIMITS.quiet_seconds_max - 10)
        await pass_time(mock_clock, 5)
        assert [0, 0] == [lively.pings, dead.pings]
        await pass_time(mock_clock, 10)
        assert [1, 1] == [lively.pings, dead.pings]
        await pass_time(mock_clock, 10)
        assert not dead.closed
        await pass_time(mock_clock, 15)
        assert dead.closed
        assert not lively.closed
        assert (0, "") == (await lively.call(PUT, put_message(b"k"))).status
        await lively.close()


async def test_who_talks_is_not_pinged(mock_clock: trio.testing.MockClock) -> None:
    """Bytes of a client say that it lives, so that nobody asks."""
    async with front(limits=LIMITS, seconds=100_000) as found:
        client = await come(await found.connect(), found.nursery)
        for _ in range(4):
            mock_clock.jump(LIMITS.quiet_seconds_max / 2)
            await pass_time(mock_clock, 3)
            assert (0, "") == (await client.call(PUT, put_message(b"k"))).status
        assert client.pings == 0
        await client.close()


@pytest.mark.parametrize("limits", [(0.0, 20.0), (7200.0, 0.0)])
async def test_nobody_is_asked_when_it_is_off(
    mock_clock: trio.testing.MockClock, limits: tuple[float, float]
) -> None:
    """An interval or a timeout of 0 turns the pings off."""
    quiet, answer = limits
    off = Limits(quiet_seconds_max=quiet, ping_answer_seconds_max=answer)
    async with front(limits=off, seconds=100_000) as found:
        client = await come(await found.connect(), found.nursery)
        mock_clock.jump(10_000)
        await pass_time(mock_clock, 30)
        assert (client.pings, client.closed) == (0, False)
        await client.close()


async def test_who_says_nothing_at_all_goes(mock_clock: trio.testing.MockClock) -> None:
    """HTTP/2 was agreed on and the preface never comes: the connection ends after ten seconds."""
    async with front(seconds=1000) as found:
        stream = await found.connect()
        clock = mock_clock
        await pass_time(clock, 9)
        async with trio.open_nursery() as nursery:
            ended = trio.Event()

            async def read() -> None:
                assert await stream.receive_some() == b""
                ended.set()

            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked(0.0005)
            assert not ended.is_set()
            clock.jump(1.5)
            await ended.wait()
