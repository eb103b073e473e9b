"""Pauses in physical compaction, where somebody wants them (``--compaction-sleep-interval``).

Without this it goes on as fast as it can beside everything else: each turn of the loop has 2 ms for
it, when nothing more urgent is to be done.
"""

from __future__ import annotations

from typing import Final

import trio

from trioetcd.replica import Tick
from trioetcd.runtime.server import Server

__all__ = ["pace"]

IDLE_SECONDS: Final = 0.1
"""How often it is looked whether there is anything to pace; a compaction may begin with a pause."""


async def pace(server: Server, revisions: int, seconds: float) -> None:
    """Let a compaction forget at most so many revisions in so many seconds, until cancelled."""
    while True:
        # Another one after a snapshot was installed.
        compaction = server.store.compaction
        compaction.allowance = revisions
        if compaction.pending:
            server.driver.put_in(Tick(server.now()))
            await trio.sleep(seconds)
        else:
            await trio.sleep(max(seconds, IDLE_SECONDS))
