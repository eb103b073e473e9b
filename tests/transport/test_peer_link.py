"""Tests of `trioetcd.transport.peer_link`: what is sent arrives, what cannot is told once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
import trio.testing

from tests.transport.pairs import plain_sockets
from tests.transport.peers import (
    HELLO,
    Dice,
    Door,
    Owner,
    dialler,
    dialler_context,
    door,
    heartbeat,
    proposal,
)
from trioetcd.pki import Role
from trioetcd.transport.listener import Address
from trioetcd.transport.peer_dial import DialError
from trioetcd.transport.peer_link import BACKOFF_SECONDS_MAX, PeerLink
from trioetcd.transport.peer_outbox import PeerOutbox
from trioetcd.transport.streams import ByteStream
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Welcome

NOWHERE = Address("10.9.8.7", 1)


@asynccontextmanager
async def link_to(
    addresses: Sequence[Address],
    *,
    dial: Callable[[Address], Awaitable[ByteStream]] | None = None,
    write_seconds: float = 5.0,
    dial_seconds: float = 2.0,
    outbox: PeerOutbox | None = None,
) -> AsyncIterator[tuple[PeerLink, Owner]]:
    owner = Owner()
    link = PeerLink(
        dial or dialler().dial,
        HELLO,
        addresses,
        entropy=Dice(1),
        owner=owner,
        limits=PeerLimits(),
        write_seconds=write_seconds,
        dial_seconds=dial_seconds,
        outbox=outbox,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
        yield link, owner
        nursery.cancel_scope.cancel()


async def test_messages_arrive_in_order() -> None:
    """Over real TLS, before the connection stands and after, one turn after the other."""
    async with door() as found, link_to([found.address]) as (link, owner):
        link.send([heartbeat(1), heartbeat(2)])
        await owner.wait(lambda: link.active)
        for turn in range(3, 50):
            link.send([heartbeat(turn)])
        await found.wait(lambda: len(found.heard) == 49)

        assert [heartbeat(at) for at in range(1, 50)] == found.heard
        assert Welcome(9, "3.7.1") == owner.welcome
        assert (0, 0) == (owner.unreachables, owner.lost_messages)
        assert owner.sent_bytes > 49 * 10


async def test_a_turn_is_written_at_once() -> None:
    """A connection that takes bytes gets a turn's messages before `send` returns."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        await trio.testing.wait_all_tasks_blocked()
        before = owner.sent_bytes
        link.send([heartbeat(1)])

        assert owner.sent_bytes > before


async def test_a_slow_peer_gets_everything() -> None:
    """What the kernel does not take at once waits and arrives whole and in order."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        sent = [proposal(at, 600_000) for at in range(30)]
        link.send(sent)
        link.send([heartbeat(30)])
        await found.wait(lambda: len(found.heard) == 31)

        assert sent == [each for each in found.heard if each.sequence < 30]
        assert found.heard[-1].sequence != 30, "control goes first"
        assert owner.lost_messages == 0


async def test_a_broken_connection_is_told_once_and_made_anew() -> None:
    """The peer's end is one `unreachable`; then messages flow again."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        found.connections[0].close()
        await owner.wait(lambda: owner.unreachables == 1)
        await owner.wait(lambda: link.active)
        link.send([heartbeat(5)])
        await found.wait(lambda: bool(found.heard))

        assert [heartbeat(5)] == found.heard
        assert owner.unreachables == 1
        there = f"connected {found.address}"
        assert [there, f"{found.address}: the peer closed the connection", there] == owner.told


async def test_what_was_queued_for_a_lost_connection_is_lost() -> None:
    """Messages for a peer that cannot be reached are counted and not kept for later."""
    async with link_to([NOWHERE], dial=fails) as (link, owner):
        link.send([heartbeat(1), proposal(2, 10)])
        await owner.wait(lambda: owner.unreachables > 0)

        assert owner.lost_messages == 2


async def test_what_fits_no_frame_is_told_and_counted() -> None:
    """It could never leave, so it is not silently tried again; the count outlives a connection."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        for sequence in (1, 2):
            link.send([proposal(sequence, PeerLimits().frame_bytes_max)])
        await owner.wait(lambda: owner.lost_messages == 2)
        assert ["too long"] * 2 == owner.told[1:]
        found.connections[0].close()
        await owner.wait(lambda: owner.unreachables == 1 and link.active)
        link.send([proposal(3, PeerLimits().frame_bytes_max), heartbeat(4)])
        await found.wait(lambda: bool(found.heard))

        assert [heartbeat(4)] == found.heard
        assert owner.lost_messages == 3


async def fails(address: Address) -> ByteStream:
    await trio.lowlevel.checkpoint()
    raise DialError(f"{address}: nobody is there")


async def test_addresses_are_tried_in_turn() -> None:
    """A dead address does not keep a peer from being reached by its next one."""
    async with door() as found:
        there = dialler()

        async def dial(address: Address) -> ByteStream:
            return await (fails(address) if address == NOWHERE else there.dial(address))

        async with link_to([NOWHERE, found.address], dial=dial) as (link, owner):
            await owner.wait(lambda: link.active)

            assert [f"{NOWHERE}: nobody is there", f"connected {found.address}"] == owner.told
            assert owner.unreachables == 1


async def test_new_addresses_and_credentials_are_used_at_once() -> None:
    """`reconnect` leaves a good connection for one with what is current now."""
    async with door() as first, door() as second, link_to([first.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        link.reconnect([second.address])
        await owner.wait(lambda: f"connected {second.address}" in owner.told)

        assert (second.address,) == link.addresses
        assert len(second.connections) == 1
        assert owner.unreachables == 1


async def test_a_wrong_certificate_is_a_sentence() -> None:
    """A member that the listener does not trust is turned away, and both sides say something.

    What the dialler hears depends on the moment: with TLS 1.3 the verdict may come after its
    hello, which the closed socket answers by a reset.
    """
    context = dialler_context(ca="other")
    async with door() as found:
        async with link_to([found.address], dial=dialler(lambda: context).dial) as (_, owner):
            await owner.wait(lambda: bool(owner.told))
            await found.wait(lambda: bool(found.rejected))

        assert owner.told[0].startswith(f"{found.address}: ")
        assert owner.unreachables > 0
        assert "the client certificate was refused" in found.rejected[0]


async def test_a_clients_certificate_does_not_come_in() -> None:
    """A certificate without the usage of a client side ends in the handshake."""
    context = dialler_context(role=Role.SERVER)
    async with door() as found:
        async with link_to([found.address], dial=dialler(lambda: context).dial) as (_, owner):
            await owner.wait(lambda: bool(owner.told))

        assert [] == found.heard
        assert owner.unreachables > 0


async def test_pauses_grow_and_reasons_are_told_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Attempts at a peer that is gone come every second at most; the reason is told once."""
    at: list[float] = []

    async def dial(address: Address) -> ByteStream:
        at.append(trio.current_time())
        return await fails(address)

    async with link_to([NOWHERE], dial=dial) as (_, owner):
        await trio.sleep(60)
    pauses = [after - before for before, after in pairwise(at)]

    assert [f"{NOWHERE}: nobody is there"] == owner.told
    assert owner.unreachables in {len(at), len(at) + 1}
    assert 0.03 < pauses[0] < 0.07
    assert all(0.6 < pause < 1.4 * BACKOFF_SECONDS_MAX for pause in pauses[6:])
    assert len(set(pauses[6:])) > 10, "no two members dial in step"


async def test_a_peer_that_shows_itself_is_dialled_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A long pause ends when the peer is known to live; an attempt under way is left alone."""
    at: list[float] = []

    async def dial(address: Address) -> ByteStream:
        at.append(trio.current_time())
        return await fails(address)

    async with link_to([NOWHERE], dial=dial) as (link, _):
        await trio.sleep(30)
        await trio.sleep_until(at[-1] + 0.1)
        before = len(at)
        link.hasten()
        await trio.sleep(0.01)

        assert before + 1 == len(at)


async def test_a_peer_that_does_not_answer_costs_a_bounded_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A dial that hangs is given up, and the next address has its turn."""
    tried: list[Address] = []

    async def dial(address: Address) -> ByteStream:
        tried.append(address)
        return await trio.sleep_forever()

    other = Address("10.9.8.6", 1)
    async with link_to([NOWHERE, other], dial=dial, dial_seconds=2.0) as (_, owner):
        await trio.sleep(10)

    assert [NOWHERE, other, NOWHERE, other] == tried[:4]
    assert owner.told[0] == f"{NOWHERE}: no answer within 2 s"


async def test_a_refusal_is_no_storm(autojump_clock: trio.testing.MockClock) -> None:
    """A peer that refuses is asked about once a second; code at each, reason once."""
    found = Door(NOWHERE, refuse_with="removed")
    async with trio.open_nursery() as nursery:

        async def dial(address: Address) -> ByteStream:
            ours, theirs = plain_sockets()
            nursery.start_soon(found.serve_stream, ByteStream(theirs))
            return ByteStream(ours)

        async with link_to([NOWHERE], dial=dial) as (_, owner):
            # The clock jumps only while the sockets are silent, as they are between attempts.
            await owner.wait(lambda: owner.told.count("code removed") == 20, seconds=99)
            taken = trio.current_time()
        for stream in found.connections:
            stream.close()
        nursery.cancel_scope.cancel()

    assert 9 < taken < 25
    assert 1 == owner.told.count(f"{NOWHERE}: refused: it is not wanted")


async def test_a_peer_that_takes_nothing_is_given_up() -> None:
    """A connection that stands and moves no byte ends after its time."""
    ours, theirs = plain_sockets(buffer=4096)
    quiet = ByteStream(theirs)
    streams = [ByteStream(ours)]

    async def dial(address: Address) -> ByteStream:
        if not streams:
            return await fails(address)
        return streams.pop()

    async with link_to([NOWHERE], dial=dial, write_seconds=0.05) as (link, owner):
        silent = Door(NOWHERE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(silent.serve_stream, quiet)
            await owner.wait(lambda: link.active)
            nursery.cancel_scope.cancel()
        link.send([proposal(1, 5_000_000)])
        await owner.wait(lambda: owner.unreachables > 0)
        quiet.close()

    assert f"{NOWHERE}: the peer took nothing for 0.05 s" in owner.told


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x02\x81\x06"])
async def test_a_listener_that_speaks_otherwise_is_left(said: bytes) -> None:
    """Bytes that are no answer end the attempt with a sentence."""
    ours, theirs = plain_sockets()
    theirs.send(said)

    async def dial(address: Address) -> ByteStream:
        if owner.unreachables:
            return await fails(address)
        return ByteStream(ours)

    async with link_to([NOWHERE], dial=dial) as (link, owner):
        await owner.wait(lambda: bool(owner.told))

        assert not link.active
        assert owner.told[0].startswith(f"{NOWHERE}: ")
    theirs.close()


async def test_a_full_outbox_drops_entries_and_keeps_heartbeats() -> None:
    """While the peer reads nothing, entries beyond the bound are lost and counted."""
    ours, theirs = plain_sockets(buffer=4096)
    peer = Door(NOWHERE)

    async def dial(address: Address) -> ByteStream:
        return ByteStream(ours)

    outbox = PeerOutbox(messages_max=5)
    async with link_to([NOWHERE], dial=dial, outbox=outbox) as (link, owner):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.serve_stream, ByteStream(theirs))
            await owner.wait(lambda: link.active)
            nursery.cancel_scope.cancel()
        link.send([proposal(0, 5_000_000)])
        for at in range(1, 11):
            link.send([proposal(at, 10)])
        link.send([heartbeat(11)])

        assert owner.lost_messages == 5
        assert outbox.waiting == 6
    peer.connections[0].close()


async def test_a_renewed_connection_loses_and_repeats_nothing() -> None:
    """While messages are sent all the time, each arrives once and in order."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        sent = 0
        for turn in range(5):
            while len(found.connections) <= turn + 1:
                sent += 1
                link.send([heartbeat(sent)])
                if sent % 50 == 0:
                    link.renew()
                await trio.lowlevel.checkpoint()
        await found.wait(lambda: len(found.heard) >= sent)

        assert [heartbeat(at) for at in range(1, sent + 1)] == found.heard
        assert (0, 0) == (owner.unreachables, owner.lost_messages)
        assert owner.told[:1] * len(owner.told) == owner.told
        assert link.active


async def test_what_does_not_fit_any_more_is_written_before_the_connection_is_renewed() -> None:
    """Large messages that wait in the kernel and in the outbox go out, on one or the other."""
    async with door() as found, link_to([found.address]) as (link, owner):
        await owner.wait(lambda: link.active)
        messages = [proposal(at, 1_000_000) for at in range(1, 9)]
        for message in messages:
            link.send([message])
        link.renew()
        await found.wait(lambda: len(found.heard) == len(messages))

        assert messages == found.heard
        assert (0, 0) == (owner.unreachables, owner.lost_messages)


async def test_a_renewal_that_fails_keeps_the_connection(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """It is tried again and again, and meanwhile the old one serves."""
    autojump_clock.autojump_threshold = float("inf")
    failing = False
    attempts = 0

    async def dial(address: Address) -> ByteStream:
        nonlocal attempts
        attempts += 1
        if failing:
            raise DialError("the certificate there is bad")
        return await dialler().dial(address)

    async with door() as found, link_to([found.address], dial=dial) as (link, owner):
        await owner.wait(lambda: link.active)
        failing = True
        link.renew()
        autojump_clock.autojump_threshold = 0.01
        await trio.sleep(5)
        autojump_clock.autojump_threshold = float("inf")
        link.send([heartbeat(1)])
        await found.wait(lambda: len(found.heard) == 1)

        assert attempts >= 5
        assert (1, 0) == (len(found.connections), owner.unreachables)
