"""Tests of `trioetcd.runtime.snapshot_stream`: a state arrives, or both sides know why not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from tests.runtime.peering import Peering, cluster_of, some_rows
from trioetcd.ports import Row
from trioetcd.runtime.snapshot_stream import SnapshotIntake, send_snapshot
from trioetcd.values import Index, MemberID, Term
from trioetcd.wire.peer import SnapshotHead

HEAD = SnapshotHead(Term(5), Index(100), Term(4), b"meta")
TWO = MemberID(2)


async def send(one: Peering, rows: Iterator[Row] | None = None) -> str:
    with trio.fail_after(20):
        return await send_snapshot(one.peers, TWO, HEAD, rows or some_rows())


async def test_a_snapshot_arrives_and_is_installed() -> None:
    """All rows in order, the head as it was, success on both sides."""
    async with cluster_of([1, 2]) as (one, two):
        assert await send(one) == ""

        assert [(MemberID(1), HEAD)] == two.offered
        assert list(some_rows()) == two.rows
        assert [True] == two.ended
        assert one.metrics.network_snapshot_send_success.labels("2").value == 1
        assert two.metrics.network_snapshot_receive_success.labels("1").value == 1
        assert one.metrics.network_snapshot_send_inflights_total.labels("2").value == 0


async def test_a_snapshot_that_is_not_wanted_is_refused() -> None:
    """The sender learns so, and no row is sent."""
    async with cluster_of([1, 2]) as (one, two):
        two.accepts = False
        reason = await send(one)

        assert "does not take this snapshot now" in reason
        assert ([], []) == (two.rows, two.ended)
        assert one.metrics.network_snapshot_send_failures.labels("2").value == 1
        two.accepts = True
        assert await send(one) == ""


async def test_a_sender_that_fails_is_an_end_that_is_not_whole() -> None:
    """A connection that ends in the middle of the rows ends the receiver's snapshot as failed."""
    async with cluster_of([1, 2]) as (one, two):
        scope = trio.CancelScope()

        def broken() -> Iterator[Row]:
            yield from some_rows()
            scope.cancel()
            yield from some_rows(50_000)

        with scope:
            await send(one, broken())
        await two.wait(lambda: bool(two.ended))

        assert [False] == two.ended
        await two.wait(lambda: two.metrics.network_snapshot_receive_failures.labels("1").value == 1)
        assert await send(one) == ""


async def test_one_snapshot_at_a_time() -> None:
    """While one is being taken another one is refused."""
    async with cluster_of([1, 2, 3]) as (one, two, three):
        refused: list[str] = []

        def meanwhile() -> Iterator[Row]:
            yield from some_rows()

        await two.intake.offer(MemberID(3), HEAD)
        refused.append(await send(one, meanwhile()))
        two.intake.abort()

        assert "does not take" in refused[0]
        assert await send(one) == ""
        assert three.offered == []


async def test_a_member_that_cannot_be_reached_is_a_reason() -> None:
    """Nobody there, or nobody known: a sentence."""
    async with cluster_of([1]) as (one,):
        assert await send(one) == "it has told no address"


async def test_an_answer_for_somebody_who_left_ends_the_snapshot() -> None:
    """A replica that accepts after the sender has gone is told that nothing comes."""
    ended: list[bool] = []
    intake = SnapshotIntake(
        offered=lambda sender, head: None,
        piece=lambda rows: None,
        ended=ended.append,
        installed=lambda index: True,
        wait_turn=trio.sleep_forever,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(intake.offer, MemberID(1), HEAD)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    intake.answer(accepting=True)

    assert [False] == ended


@pytest.mark.parametrize("installs", [True, False])
async def test_a_change_on_the_way_is_found(*, installs: bool) -> None:
    """An end that is not whole is told to the replica and to the sender."""
    async with cluster_of([1, 2]) as (_, two):
        assert await two.intake.offer(MemberID(1), HEAD)
        assert installs == await two.intake.end(whole=installs)

        assert [installs] == two.ended


async def test_what_waits_to_be_installed_is_in_nobodys_way() -> None:
    """A snapshot that came whole but is never installed gives way to the next one."""
    ended: list[bool] = []
    results: list[bool] = []
    intake = SnapshotIntake(
        offered=lambda sender, head: intake.answer(accepting=True),
        piece=lambda rows: None,
        ended=ended.append,
        installed=lambda index: False,
        wait_turn=trio.lowlevel.checkpoint,
    )

    async def end() -> None:
        results.append(await intake.end(whole=True))

    assert await intake.offer(MemberID(1), HEAD)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        while not ended:
            await trio.lowlevel.checkpoint()
        assert await intake.offer(MemberID(2), HEAD._replace(last_index=Index(200)))
    intake.abort()

    assert [False] == results
    assert [True, False] == ended
