"""What two tasks of a stream raise comes out as if there were one."""

from __future__ import annotations

import pytest
import trio

from trioetcd.errors import TIMEOUT, EtcdError
from trioetcd.runtime.bare import bare


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_failure_beside_a_cancellation_is_the_failure(*, cancelled: bool) -> None:
    """An error of etcd's is found by its class, also if the stream was cancelled in that moment."""

    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise EtcdError(TIMEOUT)

    async def stream(scope: trio.CancelScope) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail)
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.checkpoint()
                if cancelled:
                    scope.cancel()
                await trio.sleep_forever()
        except BaseExceptionGroup as group:
            raise bare(group) from None

    with trio.CancelScope() as scope, pytest.raises(EtcdError, match=TIMEOUT.text):
        await stream(scope)


async def test_a_cancellation_alone_is_left_alone() -> None:
    """Then there is no failure, and whoever cancelled gets what it waits for."""
    with trio.CancelScope() as scope:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                scope.cancel()
        except BaseExceptionGroup as group:
            raise bare(group) from None
    assert scope.cancelled_caught
