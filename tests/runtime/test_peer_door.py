"""Tests of `trioetcd.runtime.peer_door`: who is let in, who is not, and what that costs."""

from __future__ import annotations

from contextlib import closing

import pytest
import trio

from tests.runtime.peering import CLUSTER, LIMITS, Peering, heartbeat, peering
from tests.transport.peers import dialler, dialler_context
from trioetcd.pki import Role
from trioetcd.transport.peer_dial import DialError, TlsDialler
from trioetcd.transport.peer_link import PeerRefusedError, greet
from trioetcd.transport.streams import ByteStream
from trioetcd.values import ClusterID, MemberID
from trioetcd.wire.peer import Hello, Numbered, PeerDialler, Purpose

HELLO = Hello(Purpose.MESSAGES, CLUSTER, MemberID(2), MemberID(1), 7, "3.7.1", ("https://h:1",))


async def come_in(
    member: Peering, hello: Hello = HELLO, *, dial: TlsDialler | None = None
) -> tuple[ByteStream, PeerDialler]:
    """Dial a member and be welcomed."""
    stream = await (dial or dialler()).dial(member.address)
    speaker = PeerDialler(hello, limits=LIMITS)
    try:
        await greet(stream, speaker, member.address)
    except BaseException:
        stream.close()
        raise
    return stream, speaker


@pytest.mark.parametrize(
    ("hello", "code", "sentence"),
    [
        (HELLO._replace(cluster=ClusterID(9)), "cluster", "this is cluster c1, not 9"),
        (HELLO._replace(receiver=MemberID(3)), "receiver", "this is member 1, not 3"),
        (HELLO._replace(sender=MemberID(1)), "unknown", "nobody here knows a member 1"),
        (HELLO._replace(sender=MemberID(0)), "unknown", "nobody here knows a member 0"),
        (HELLO._replace(peer_urls=("nonsense",)), "unknown", "nobody here knows a member 2"),
    ],
    ids=["cluster", "receiver", "self", "none", "unknown"],
)
async def test_who_does_not_belong_is_refused(hello: Hello, code: str, sentence: str) -> None:
    """A code for the program, a sentence for its log, and one line in ours."""
    async with peering(1) as one:
        for _ in range(3):
            with pytest.raises(PeerRefusedError, match=sentence) as refusal:
                await come_in(one, hello)
            assert code == refusal.value.code
        lines = [line for line in one.logged() if line["msg"] == "refused a peer"]

    assert [sentence] == [line["error"] for line in lines]
    assert [] == one.received


async def test_another_version_is_refused() -> None:
    """A member of a later protocol is told which one is spoken here."""
    async with peering(1) as one:
        stream = await dialler().dial(one.address)
        with closing(stream):
            await stream.send_all(b"\0\0\0\x03\x82\x01\x02")
            answer = await stream.receive_some()

    assert b"this member speaks version 1 of the protocol, not 2" in answer


@pytest.mark.parametrize(
    ("ca", "role", "sentence"),
    [
        ("other", Role.PEER, "the client certificate was refused: "),
        ("peer", Role.CLIENT, "its certificate is not a member's"),
    ],
)
async def test_only_members_certificates_come_in(ca: str, role: Role, sentence: str) -> None:
    """Another CA ends in the handshake; a client's certificate of the same CA right behind it."""
    context = dialler_context(ca, role)
    async with peering(1) as one:
        with pytest.raises(DialError):
            await come_in(one, dial=dialler(lambda: context))
        await one.wait(lambda: one.metrics.trioetcd_handshake_failures_total.value > 0)
        errors = [line["error"] for line in one.logged() if "error" in line]

    assert len(errors) == 1
    assert sentence in errors[0]


async def test_garbage_ends_only_its_connection() -> None:
    """Who breaks the protocol is closed and counted; the next connection is served."""
    async with peering(1) as one:
        stream, _ = await come_in(one)
        await stream.send_all(b"\0\0\0\x01\xff")
        with trio.fail_after(5):
            assert await ended(stream)
        stream.close()
        stream, speaker = await come_in(one)
        speaker.send([Numbered(5, heartbeat(2, 1, 5).message)])
        await stream.send_all(speaker.take())
        await one.wait(lambda: bool(one.received))
        stream.close()

        assert one.metrics.trioetcd_protocol_errors_total.value == 1
        assert one.metrics.network_peer_received_failures_total.labels("2").value == 1
        said = [line["msg"] for line in one.logged()]
        assert "closed a connection of a peer that broke the protocol" in said


async def ended(stream: ByteStream) -> bool:
    """Wait for the other side's end, however it comes."""
    try:
        return not await stream.receive_some()
    except trio.BrokenResourceError:
        return True


async def test_messages_before_garbage_are_heard() -> None:
    """What came whole before the protocol was broken counts."""
    async with peering(1) as one:
        stream, speaker = await come_in(one)
        speaker.send([Numbered(5, heartbeat(2, 1, 5).message)])
        await stream.send_all(speaker.take() + b"\0\0\0\x01\xff")
        await one.wait(lambda: bool(one.received))
        stream.close()

        assert [(2, 7, Numbered(5, heartbeat(2, 1, 5).message))] == one.received


async def test_a_newer_connection_takes_the_place_of_the_older() -> None:
    """A member that dials again, having lost a connection we still hold, is served at once."""
    async with peering(1) as one:
        older, _ = await come_in(one)
        newer, speaker = await come_in(one)
        with trio.fail_after(5):
            assert await ended(older)
        speaker.send([Numbered(1, heartbeat(2, 1, 1).message)])
        await newer.send_all(speaker.take())
        await one.wait(lambda: bool(one.received))
        assert one.peers.addresses(MemberID(2)), "the stranger is still there"
        older.close()
        newer.close()


async def test_strangers_are_bounded() -> None:
    """Only so many members that the table does not hold are answered at a time."""
    async with peering(1) as one:
        streams = []
        for number in range(2, 18):
            stream, _ = await come_in(one, HELLO._replace(sender=MemberID(number)))
            streams.append(stream)
        with pytest.raises(PeerRefusedError) as refusal:
            await come_in(one, HELLO._replace(sender=MemberID(18)))
        assert refusal.value.code == "unknown"
        for stream in streams:
            stream.close()
        await one.wait(lambda: not one.peers.addresses(MemberID(17)))
        stream, _ = await come_in(one, HELLO._replace(sender=MemberID(18)))
        stream.close()


async def test_silence_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who says no hello in its time is closed, and that is logged."""
    monkeypatch.setattr("trioetcd.runtime.peer_door.HELLO_SECONDS", 0.05)
    async with peering(1) as one:
        stream = await dialler().dial(one.address)
        with trio.fail_after(5):
            assert await ended(stream)
        stream.close()
        errors = [line["error"] for line in one.logged() if "error" in line]

    assert ["no hello within 0.05 s"] == errors


async def test_those_without_a_hello_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many connections may be silent at a time, and no more."""
    monkeypatch.setattr("trioetcd.runtime.peer_door.GREETINGS_MAX", 2)
    async with peering(1) as one:
        silent = [await dialler().dial(one.address) for _ in range(3)]
        with trio.fail_after(5):
            assert await ended(silent[2])
        for stream in silent:
            stream.close()


async def test_a_member_stopped_in_the_middle_leaves_nothing() -> None:
    """Leaving while peers are connected ends everything."""
    async with peering(1) as one:
        stream, _ = await come_in(one)
    with trio.fail_after(5):
        assert await ended(stream)
    stream.close()
