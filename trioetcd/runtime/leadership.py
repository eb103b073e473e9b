"""Streams that end when there has been no leader for long; their clients asked for that.

Whoever watches through a member that has lost its cluster hears nothing, and does not know that
it hears nothing. With `hasleader` it is told, and may go to another member.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

import trio

from trioetcd.errors import NO_LEADER, EtcdError
from trioetcd.replica import Replica

__all__ = ["Leadership"]

ELECTIONS: Final = 3
"""So many election timeouts without a leader end a stream: a new one costs more than a wait."""


class Leadership:
    """What a member knows of who leads, for those who will not be without a leader.

    Args:
        replica: the member.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._seconds = ELECTIONS * replica.config.election_seconds
        self._lost_at: float | None = None
        self._streams: dict[trio.CancelScope, None] = {}

    @property
    def known(self) -> bool:
        """Whether somebody leads."""
        return bool(self._replica.leader)

    async def while_led(self, serve: Awaitable[None]) -> None:
        """Serve a stream as long as there is a leader, or one is not missed for too long.

        Raises:
            EtcdError: NoLeader, or what `serve` raises.
        """
        with trio.CancelScope() as scope:
            self._streams[scope] = None
            try:
                await serve
            finally:
                del self._streams[scope]
        if scope.cancelled_caught:
            raise EtcdError(NO_LEADER)

    def tick(self, now: float) -> None:
        """Look whether somebody leads; to be called every now and then."""
        if self._replica.leader:
            self._lost_at = None
        elif self._lost_at is None:
            self._lost_at = now
        elif now - self._lost_at >= self._seconds:
            for scope in self._streams:
                scope.cancel()
