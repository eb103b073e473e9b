"""A keep-alive: at the leader by its own clock, everywhere else by asking the leader."""

from __future__ import annotations

from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Answer, Server
from trioetcd.runtime.waiter import Waiter

__all__ = ["renew"]


async def renew(server: Server, lease: int) -> int:
    """Give a lease its full time again; gives the seconds, 0 if there is no such lease.

    A leader that has been deposed without knowing it must not promise time that its successor
    does not give, so others confirm first that it leads.

    Raises:
        EtcdError: nobody answered in time, or this member must not answer.
    """
    lessor = server.lessor
    if lessor.primary:
        await server.wait_current()
    if lessor.primary:  # still
        try:
            return lessor.renew(lease, server.now())
        except EtcdError:
            return 0  # of two reasons, that it is no primary does not apply
    told: list[int | None] = []
    waiter = Waiter()

    def note(seconds: int | None) -> Answer:
        told.append(seconds)
        return b""

    server.ask_leader(waiter, 0, lease, note, renew=True)
    await waiter.wait()
    return told[0] or 0
