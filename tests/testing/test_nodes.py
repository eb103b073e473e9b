"""Whole nodes in mock time: a few seeds of `trioetcd.testing.nodes`, and its parts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from trioetcd.ports import BackendError
from trioetcd.testing import nodes
from trioetcd.testing.node_clients import Ledger
from trioetcd.testing.slow_disk import SlowDisk
from trioetcd.testing.violation import Violation
from trioetcd.testing.wires import SILENCE_SECONDS, Wires
from trioetcd.transport.listener import Address

PORT = 7


@pytest.mark.slow
@pytest.mark.parametrize("seed", [3, 5])
def test_whole_nodes_keep_their_word_and_end_in_time(seed: int) -> None:
    """Nodes that are cut off, stopped, cancelled and killed lose nothing and leave nothing."""
    report = nodes.run(nodes.draw(seed, seconds=4.0))
    print(report)

    assert report.acknowledged > 0
    assert report.lives >= len(nodes.NAMES)
    assert report.compared["chain"] > 0


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_many_seeds_of_whole_nodes() -> None:
    """The same for fifteen seeds, drawn anew each time and printed, and more trouble."""
    first = int.from_bytes(os.urandom(4))
    for seed in range(first, first + 15):
        print(nodes.run(nodes.draw(seed)))


def test_nodes_without_trouble_acknowledge_everything() -> None:
    """Where no fault strikes, no put is refused or left in doubt once the cluster serves."""
    plan = replace(nodes.draw(1), faults=(), seconds=4.0, writers=2, wire_seconds=0.001)
    report = nodes.run(plan)

    assert (report.lives, report.unknown) == (len(nodes.NAMES), 0)
    assert report.acknowledged > 10
    assert report.compared["chain"] > 10
    assert report.compared["content"] > 3


def test_a_lost_key_is_found_out() -> None:
    """The ledger notices a key that is gone, or has another revision than was acknowledged."""
    ledger = Ledger()
    ledger.acknowledged[b"k"] = 7
    ledger.check({b"k": 7, b"unknown": 8}, "a")

    for found in ({}, {b"k": 6}):
        with pytest.raises(Violation, match="acknowledged at revision 7"):
            ledger.check(found, "a")


# -- the wires --------------------------------------------------------------------------------


class Pair:
    """Both ends of a connection through wires."""

    def __init__(self, wires: Wires, near: trio.SocketStream, far: trio.SocketStream) -> None:
        self.wires = wires
        self.near = near
        self.far = far


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[Pair]:
    """Connect `a` to a listener of `b`."""
    async with trio.open_nursery() as nursery:
        wires = Wires(directory, nursery, Random(1), seconds=0.01)
        wires.own("b", PORT)
        address = Address("127.0.0.1", PORT)
        (listening,) = await wires.listen(address)
        with trio.socket.from_stdlib_socket(listening) as door:
            near = await wires.connect("a", address)
            far, _ = await door.accept()
            pair = Pair(
                wires,
                trio.SocketStream(trio.socket.from_stdlib_socket(near)),
                trio.SocketStream(far),
            )
            async with pair.near, pair.far:
                yield pair
        nursery.cancel_scope.cancel()


async def test_a_wire_carries_bytes_both_ways(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """What goes in at one end comes out at the other, later, in order, and then the end does."""
    async with connected(tmp_path) as pair:
        await pair.near.send_all(b"there")
        began = trio.current_time()
        assert await pair.far.receive_some() == b"there"
        assert trio.current_time() > began
        await pair.far.send_all(b"back")
        assert await pair.near.receive_some() == b"back"
        await pair.near.send_eof()
        assert await pair.far.receive_some() == b""


async def test_a_held_wire_is_silent_until_released(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """While a direction is held nothing arrives, and nothing is lost when it is let go in time."""
    async with connected(tmp_path) as pair:
        (wire,) = pair.wires.of("a", "b")
        wire.hold(0)
        await pair.near.send_all(b"x")
        with trio.move_on_after(SILENCE_SECONDS / 2) as silence:
            await pair.far.receive_some()
        assert silence.cancelled_caught
        wire.release()
        assert await pair.far.receive_some() == b"x"


async def test_a_wire_that_is_held_for_long_ends(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Bytes that cannot be delivered end the connection at both ends, as the kernel would."""
    async with connected(tmp_path) as pair:
        pair.wires.part("a", "b")
        await pair.near.send_all(b"x")
        for end in (pair.near, pair.far):
            with trio.fail_after(2 * SILENCE_SECONDS):
                assert await end.receive_some() == b""
        with trio.move_on_after(60) as blocked:
            await pair.wires.connect("a", Address("127.0.0.1", PORT))
        assert blocked.cancelled_caught
        assert [] == pair.wires.of()


async def test_nobody_listens_at_a_dead_port(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Connecting to a port whose owner has gone is refused."""
    async with trio.open_nursery() as nursery:
        wires = Wires(tmp_path, nursery, Random(1), seconds=0.01)
        wires.own("b", PORT)
        address = Address("127.0.0.1", PORT)
        with pytest.raises(ConnectionRefusedError):
            await wires.connect("a", address)
        for sock in await wires.listen(address):
            sock.close()
        with pytest.raises(ConnectionRefusedError):
            await wires.connect("a", address)


async def test_wires_that_are_cut_before_they_carry_do_not_meet(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Connections that end in the moment they begin, one after the other, end alone."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        async with connected(tmp_path / name) as pair:
            for wire in pair.wires.of("a", "b"):
                wire.cut()
            assert await pair.far.receive_some() == b""


async def test_wires_that_are_cut_while_they_carry_do_not_meet(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Connections that end in the moment held bytes may go on, one after the other, end alone."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        async with connected(tmp_path / name) as pair:
            (wire,) = pair.wires.of("a", "b")
            wire.hold(0)
            await pair.near.send_all(b"held")
            with trio.move_on_after(1):
                await pair.far.receive_some()
            wire.release()
            wire.cut()
            assert await pair.far.receive_some() == b""


# -- the disk ---------------------------------------------------------------------------------


class Batch:
    """A batch that notes its writing."""

    def __init__(self) -> None:
        self.written = False

    def write(self) -> None:
        self.written = True


async def test_a_batch_is_written_when_its_time_has_come(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A batch is nowhere until it is told to be written; what is left is written at the stop."""
    disk = SlowDisk(Random(1), seconds=1.0)
    first, second = Batch(), Batch()
    disk.write(1, first)
    disk.write(2, second)
    with trio.move_on_after(0.001):
        await disk.wait_written()
    assert (first.written, second.written) == (False, False)
    ((number, _, error),) = await disk.wait_written()
    assert (number, error, first.written, second.written) == (1, None, True, False)
    disk.stop()
    assert second.written


async def test_a_stalled_write_is_late_and_the_next_is_not(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A stall holds up one batch for its seconds."""
    disk = SlowDisk(Random(1), seconds=0.01)
    disk.stall_seconds = 5.0
    ends = []
    for number in (1, 2):
        disk.write(number, Batch())
        await disk.wait_written()
        ends.append(trio.current_time())

    assert ends[0] >= 5.0
    assert ends[1] - ends[0] < 1.0


async def test_a_dying_disk_writes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A failed write is told, and nothing follows it."""
    disk = SlowDisk(Random(1), seconds=1.0)
    disk.failing = True
    first, second = Batch(), Batch()
    disk.write(1, first)
    disk.write(2, second)
    ((_, _, error),) = await disk.wait_written()
    disk.stop()
    assert isinstance(error, BackendError)
    assert (first.written, second.written) == (False, False)


async def test_a_killed_process_is_told_of_no_write(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Its batches are lost, and it goes on with none of them as if they were on the disk."""
    disk = SlowDisk(Random(1), seconds=1.0)
    batch = Batch()
    disk.write(1, batch)
    disk.lost = True
    with trio.move_on_after(60) as patience:
        await disk.wait_written()
    disk.stop()
    assert patience.cancelled_caught
    assert not batch.written
