"""Events leave in the turn that made them, as far as that keeps nobody waiting."""

from __future__ import annotations

import pytest
import trio

from tests.runtime.member import Caller, put, running
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.watch_feed import PUSH_BYTES, PUSHES_MAX
from trioetcd.schema import messages


class Stream:
    """A client's end that watches everything, and notes how each event came.

    Attributes:
        room: whether it can be written to on the spot.
        came: key of each event, and whether it was sent on the spot.
        caller: whose answers are looked at when something is sent on the spot.
        before: whether the answer of the call that made the event was there already.
    """

    def __init__(self, caller: Caller, *, room: bool = True) -> None:
        self.caller = caller
        self.room = room
        self.came: list[tuple[bytes, bool]] = []
        self.before: list[bool] = []
        self.changed = trio.Event()
        self.prompt = self
        self._asked = False

    @property
    def has_room(self) -> bool:
        return self.room

    async def next(self, session: WatchSession) -> bool:
        if self._asked:
            await trio.sleep_forever()
        self._asked = True
        create = messages.WatchCreateRequest(key=b"\0", range_end=b"\0")
        session.handle(messages.WatchRequest(create_request=create))
        return True

    async def send(self, messages_: list[bytes], /) -> None:
        await trio.lowlevel.checkpoint()
        self._take(messages_, prompt=False)

    def send_nowait(self, messages_: list[bytes], /) -> None:
        assert self.room
        self.before.append(bool(self.caller.answers))
        self._take(messages_, prompt=True)

    def _take(self, messages_: list[bytes], *, prompt: bool) -> None:
        for response in map(messages.WatchResponse.FromString, messages_):
            self.came += [(event.kv.key, prompt) for event in response.events]
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, count: int) -> None:
        while len(self.came) < count:
            await self.changed.wait()


async def play(streams: list[Stream], caller: Caller, *values: bytes) -> None:
    """Let streams watch a member; put the values one after the other, each when all came."""
    async with running() as server, trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(server.watch, stream, lambda _: None)
        await trio.testing.wait_all_tasks_blocked()
        for number, value in enumerate(values):
            put(server, caller, number, b"%d" % number, value)
            for stream in streams:
                await stream.wait(number + 1)
            await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_an_event_leaves_before_the_answer() -> None:
    """Of a turn's writes a lone watcher's event is the first, as with etcd."""
    caller = Caller()
    stream = Stream(caller)

    await play([stream], caller, b"v")

    assert stream.came == [(b"0", True)]
    assert stream.before == [False]


async def test_many_streams_are_written_to_by_their_tasks() -> None:
    """Only the first few are written to within the turn; all get every event once."""
    caller = Caller()
    streams = [Stream(caller) for _ in range(PUSHES_MAX + 3)]

    await play(streams, caller, b"v", b"v")

    prompt = [[at_once for _, at_once in stream.came] for stream in streams]
    assert [[key for key, _ in stream.came] for stream in streams] == [[b"0", b"1"]] * len(streams)
    assert sorted(prompt) == [[False, False]] * 3 + [[True, True]] * PUSHES_MAX


@pytest.mark.parametrize("reason", ["no room", "much"])
async def test_what_does_not_fit_is_sent_by_the_task(reason: str) -> None:
    """A stream without room, or with much to be sent, is left to its task; nothing is lost."""
    caller = Caller()
    stream = Stream(caller, room=reason != "no room")
    large = b"v" * (PUSH_BYTES + 1)

    await play([stream], caller, large if reason == "much" else b"v", b"v")

    assert stream.came == [(b"0", False), (b"1", reason == "much")]
