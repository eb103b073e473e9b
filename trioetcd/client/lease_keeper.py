"""Holding a lease for the length of a block."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import trio

from trioetcd import errors
from trioetcd.client.errors import DisconnectedError, OutcomeUnknownError
from trioetcd.client.results import Lease
from trioetcd.errors import Code, EtcdError

__all__ = ["FAREWELL_SECONDS", "kept_alive"]

FAREWELL_SECONDS: Final = 2.0
"""How long the end of a block may wait for its lease to be revoked; it ends by itself anyway."""


@asynccontextmanager
async def kept_alive(
    lease: Lease,
    *,
    nursery: trio.Nursery,
    refresh: Callable[[Lease], Awaitable[int]],
    revoke: Callable[[Lease], Awaitable[None]],
) -> AsyncIterator[Lease]:
    """Refresh `lease` while the block runs, revoke it after.

    Raises:
        EtcdError: the lease was lost, and the block cancelled therefore.
    """
    losses: list[EtcdError] = []
    keeper = trio.CancelScope()
    with trio.CancelScope() as block:

        async def keep() -> None:
            with keeper:
                losses.append(await _refresh_until_lost(lease, refresh))
                block.cancel()

        nursery.start_soon(keep)
        try:
            yield lease
        finally:
            keeper.cancel()
            if not losses:
                with (
                    trio.move_on_after(FAREWELL_SECONDS, shield=True),
                    suppress(EtcdError, DisconnectedError, OutcomeUnknownError),
                ):
                    await revoke(lease)
    if losses:
        raise losses[0]


async def _refresh_until_lost(
    lease: Lease,
    refresh: Callable[[Lease], Awaitable[int]],
) -> EtcdError:
    deadline = trio.current_time() + lease.ttl
    pause = lease.ttl / 3
    while True:
        await trio.sleep(pause)
        asked = trio.current_time()
        try:
            deadline = asked + await refresh(lease)
            pause = lease.ttl / 3
        except DisconnectedError:
            if trio.current_time() >= deadline:
                return EtcdError(errors.LEASE_NOT_FOUND)
            pause = lease.ttl / 10
        except EtcdError as error:
            if error.code is not Code.UNAVAILABLE or trio.current_time() >= deadline:
                return error
            pause = lease.ttl / 10
