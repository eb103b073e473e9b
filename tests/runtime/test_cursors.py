"""Tests of `trioetcd.runtime.cursors`: long reads in turns, each its share."""

from __future__ import annotations

from dataclasses import dataclass, field

import trio

from trioetcd.runtime.cursors import ACTIVE_MAX, STEP_BYTES, STEP_ROWS, Cursors


@dataclass
class Steps:
    """Work of so many steps that notes whose turn it was."""

    name: str
    left: int
    log: list[str] = field(default_factory=list)
    closed: bool = False

    def step(self, rows: int, size: int, /) -> bool:
        assert (rows, size) == (STEP_ROWS, STEP_BYTES)
        self.log.append(self.name)
        self.left -= 1
        return self.left == 0

    def close(self) -> None:
        self.closed = True


async def test_cursors_take_turns_and_tell_when_done() -> None:
    """Each is stepped in turn, the short one is done first, and one added later is served too."""
    cursors = Cursors()
    log: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cursors.run)
        ended: list[str] = []
        done = trio.Event()
        cursors.add(Steps("long", 5, log), lambda: ended.append("long"), lambda: True)
        cursors.add(Steps("short", 2, log), lambda: ended.append("short"), lambda: True)
        while len(cursors):
            await trio.lowlevel.checkpoint()
        assert ["long", "short"] * 2 == log[:4]
        assert ["short", "long"] == ended
        cursors.add(Steps("late", 1), done.set, lambda: True)
        await done.wait()
        nursery.cancel_scope.cancel()


async def test_parts_take_turns_with_reads() -> None:
    """Something long that asks for its next part each time gets one step when a read gets one."""
    cursors = Cursors()
    log: list[str] = []
    parts = Steps("part", 4, log)

    def work() -> None:
        if not parts.step(STEP_ROWS, STEP_BYTES):
            cursors.soon(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cursors.run)
        cursors.add(Steps("read", 3, log), lambda: None, lambda: True)
        cursors.soon(work)
        while len(cursors):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert log == ["read", "part"] * 3 + ["part"]


async def test_parts_without_end_do_not_keep_reads_from_beginning() -> None:
    """However many answers are being written, a read that waits for others' end has its turn."""
    cursors = Cursors()
    done = trio.Event()

    def work() -> None:
        cursors.soon(work)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(cursors.run)
        for _ in range(2 * ACTIVE_MAX):
            cursors.soon(work)
        assert not cursors.busy
        cursors.queue(lambda: cursors.add(Steps("read", 1), done.set, lambda: True))
        with trio.fail_after(10):
            await done.wait()
        nursery.cancel_scope.cancel()


async def test_an_unwanted_cursor_is_closed() -> None:
    """What nobody waits for is closed without another step, and its end is not told."""
    cursors = Cursors()
    work = Steps("x", 1000)
    wanted = [True, True, False]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cursors.run)
        cursors.add(work, lambda: wanted.append(True), lambda: wanted.pop(0))
        while len(cursors):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    assert (998, True, []) == (work.left, work.closed, wanted)
