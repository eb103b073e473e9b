"""Tests of `trioetcd.node.machine`: what a node takes from the machine it runs on."""

from __future__ import annotations

import os
import signal

import trio

from trioetcd.node.machine import HangUps


async def test_every_hang_up_is_told_to_all() -> None:
    """However many want to know of SIGHUP; nobody is ended by it meanwhile."""
    hang_ups = HangUps()
    told: list[str] = []
    heard = trio.Event()

    def third() -> None:
        told.append("third")
        heard.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(hang_ups, lambda: told.append("first"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hang_ups, lambda: told.append("second"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(hang_ups, third)
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGHUP)
            await heard.wait()
            heard = trio.Event()
        nursery.cancel_scope.cancel()

    assert ["first", "second", "third"] * 2 == told
    assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
