"""Keep-alives: whoever leads renews by its own clock, once others have confirmed that it leads.

A client may ask for many before it reads an answer: they are asked for together, wherever the
leader is, and answered in the order in which they came.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioetcd.runtime.bare import bare
from trioetcd.runtime.server import Answer, Server
from trioetcd.runtime.waiter import Waiter

__all__ = ["UNDER_WAY_MAX", "keep_alive", "renew"]

UNDER_WAY_MAX: Final = 256
"""Keep-alives of one stream under way; further ones wait in the client's window."""


class _Renewal(Waiter):
    """One keep-alive under way.

    Attributes:
        lease: whose.
        revision: the store's when it was asked for. The answer tells this one, for by the time the
            answer comes here the lease may have been revoked, at a later revision.
        answered: whether the leader has answered.
        seconds: what the lease has now, 0 if there is no such lease.
    """

    def __init__(self, server: Server, lease: int) -> None:
        super().__init__()
        self.lease = lease
        self.revision = server.store.revision
        self.answered = False
        self.seconds = 0
        server.ask_leader(self, 0, lease, self._note, renew=True)

    def _note(self, seconds: int | None) -> Answer:
        self.answered = True
        self.seconds = seconds or 0
        return b""


async def renew(server: Server, lease: int) -> int:
    """Give a lease its full time again; gives the seconds, 0 if there is no such lease.

    A leader that has been deposed without knowing it must not promise time that its successor
    does not give, so others confirm first that it leads.

    Raises:
        EtcdError: nobody answered in time, or this member must not answer.
    """
    renewal = _Renewal(server, lease)
    await renewal.wait()
    return renewal.seconds


async def keep_alive(
    server: Server,
    receive: Callable[[], Awaitable[int | None]],
    send: Callable[[list[tuple[int, int, int]]], Awaitable[None]],
) -> None:
    """Serve one stream of keep-alives until the client ends it and has its answers.

    Args:
        server: the member.
        receive: gives the next lease, None after the last.
        send: takes answers in order: revision, lease and seconds of each, 0 for no such lease.

    Raises:
        EtcdError: as `renew`; what was answered before has been sent.
    """
    under_way: deque[_Renewal] = deque()
    changed = trio.Event()
    ended = False

    async def read() -> None:
        nonlocal ended, changed
        while (lease := await receive()) is not None:
            under_way.append(_Renewal(server, lease))
            changed.set()
            while len(under_way) >= UNDER_WAY_MAX:
                changed = trio.Event()
                await changed.wait()
        ended = True
        changed.set()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            while under_way or not ended:
                if not under_way:
                    changed = trio.Event()
                    await changed.wait()
                    continue
                await under_way[0].wait()
                answers = []
                while under_way and under_way[0].answered:
                    each = under_way.popleft()
                    answers.append((each.revision, each.lease, each.seconds))
                await send(answers)
                changed.set()
    except BaseExceptionGroup as group:
        raise bare(group) from None
