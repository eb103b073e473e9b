"""Tests of `trioetcd.node.machine`: what a node takes from the machine it runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from trioetcd.node.machine import HangUps

SCRIPT = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from trioetcd.node.machine import raise_files_limit
raise_files_limit()
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


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


@pytest.mark.parametrize(("soft", "hard", "after"), [(200, 900, 900), (900, 900, 900)])
def test_files_may_be_as_many_as_the_machine_lets(soft: int, hard: int, after: int) -> None:
    """The soft limit becomes the hard one; neither is ever lowered."""
    script = SCRIPT.format(soft=soft, hard=hard)
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout

    assert f"{after} {hard}\n" == said
