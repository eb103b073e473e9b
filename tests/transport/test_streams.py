"""Tests of `trioetcd.transport.streams`: nothing lost, nothing out of order, nobody held up."""

from __future__ import annotations

import socket
import ssl
import struct
from random import Random

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transport.pairs import plain_sockets, secure_sockets, streams
from trioetcd.transport.streams import READ_BYTES_MAX, ByteStream, PrefixedStream

both = pytest.mark.parametrize("kind", ["plain", "tls"])

BUFFER = 4096
"""The kernel makes at least a few kilobytes of it, which is little enough."""


async def receive_exactly(stream: ByteStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = await stream.receive_some()
        assert piece, "the stream ended too early"
        data += piece
    return data


async def fill(stream: ByteStream) -> int:
    """Hand over data until the kernel takes no more; gives the bytes handed over."""
    size = 0
    while stream.send_nowait(b"x" * 50_000):
        size += 50_000
    return size + 50_000


@both
@settings(max_examples=15, deadline=None)
@given(
    sizes=st.lists(
        st.one_of(st.integers(0, 40), st.integers(16_380, 16_390), st.integers(0, 150_000)),
        max_size=12,
    ),
    seed=st.integers(0, 2**32),
)
async def test_what_is_parked_arrives_whole_and_in_order(
    kind: str, sizes: list[int], seed: int
) -> None:
    """Whatever sizes are handed over with a full buffer, and whenever, all of it arrives once."""
    random = Random(seed)
    expected = b"".join(random.randbytes(size) for size in sizes)
    with streams(kind, buffer=BUFFER) as (above, below):
        received = b""
        at = 0
        for size in sizes:
            above.send_nowait(expected[at : at + size])
            at += size
            if random.random() < 0.3:
                received += below.receive_nowait() or b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(above.wait_sent)
            received += await receive_exactly(below, len(expected) - len(received))

        assert expected == received
        assert (0, len(expected)) == (above.parked_bytes, above.sent_bytes)
        assert len(expected) == below.received_bytes


@both
async def test_a_reader_takes_a_bounded_piece(kind: str) -> None:
    """One read gives at most READ_BYTES_MAX, and nothing when nothing is there."""
    with streams(kind) as (above, below):
        assert below.receive_nowait() is None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(above.send_all, b"y" * 500_000)
            left = 500_000
            largest = 0
            while left:
                piece = await below.receive_some()
                largest = max(largest, len(piece))
                left -= len(piece)

        assert 16_384 < largest <= READ_BYTES_MAX


async def test_one_read_takes_many_records() -> None:
    """With TLS several records that have arrived are one read, not one read each."""
    with streams("tls") as (above, below):
        above.send_nowait(b"z" * 48_000)
        await below.wait_readable()

        assert below.receive_nowait() == b"z" * 48_000


async def test_decrypted_bytes_are_readable_at_once() -> None:
    """What a read left of a record waits inside TLS: it is told, although no kernel knows of it."""
    with streams("tls") as (above, below):
        for _ in range(7):
            assert above.send_nowait(b"x" * 10_000)
        await below.wait_readable()

        assert below.receive_nowait() == b"x" * READ_BYTES_MAX
        await below.wait_readable()
        assert below.receive_nowait() == b"x" * (70_000 - READ_BYTES_MAX)


@pytest.mark.parametrize(
    "pieces",
    [[50_000], [16_384] * 3 + [16_383], [16_384] * 4, [10_000] * 6 + [READ_BYTES_MAX - 60_000]],
    ids=["three records", "one byte less than a read", "a whole read", "a read in small records"],
)
async def test_who_has_read_everything_waits(pieces: list[int]) -> None:
    """After however many records were read the next wait ends when something comes, not before."""
    with streams("tls") as (above, below):
        for size in pieces:
            assert above.send_nowait(b"x" * size)
        received = 0
        while received < sum(pieces):
            await below.wait_readable()
            received += len(below.receive_nowait() or b"")
        assert (below.receive_nowait(), received) == (None, sum(pieces))
        woken = []

        async def wait() -> None:
            await below.wait_readable()
            woken.append(below.receive_nowait())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            assert woken == []
            above.send_nowait(b"more")
        assert woken == [b"more"]


@both
async def test_the_end_of_the_stream_is_no_bytes(kind: str) -> None:
    """After the other side closed, what it sent comes first and then b"", again and again."""
    with streams(kind) as (above, below):
        above.send_nowait(b"last")
        above.close()

        assert [b"last", b"", b""] == [await below.receive_some() for _ in range(3)]


async def test_closing_says_so_in_tls() -> None:
    """A close sends close_notify: the other side can tell it from a cut."""
    server, client = secure_sockets()
    ByteStream(server).close()

    assert b"" == client.recv(1)  # a ragged end would raise here
    client.close()


async def test_an_end_without_notice_is_an_end() -> None:
    """A TLS connection cut without close_notify ends like any other."""
    server, client = secure_sockets()
    stream = ByteStream(server)
    socket.socket(fileno=client.detach()).close()

    assert b"" == await stream.receive_some()
    stream.close()


@both
async def test_closing_wakes_who_waits(kind: str) -> None:
    """Who waits to read, or for parked bytes that are lost now, learns of a close."""
    with streams(kind, buffer=BUFFER) as (above, _):
        await fill(above)
        assert above.parked_bytes
        raised = []

        async def wait(what: str) -> None:
            try:
                await (above.wait_readable() if what == "read" else above.wait_sent())
            except trio.ClosedResourceError:
                raised.append(what)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, "read")
            nursery.start_soon(wait, "write")
            await trio.testing.wait_all_tasks_blocked()
            above.close()

        assert ["read", "write"] == sorted(raised)
        with pytest.raises(trio.ClosedResourceError):
            await above.wait_sent()


@both
async def test_a_closed_stream_says_so(kind: str) -> None:
    """Every use after a close raises ClosedResourceError, and a second close does nothing."""
    with streams(kind) as (above, _):
        above.close()
        await above.aclose()
        with pytest.raises(trio.ClosedResourceError):
            above.receive_nowait()
        with pytest.raises(trio.ClosedResourceError):
            above.send_nowait(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await above.wait_readable()
        with pytest.raises(trio.ClosedResourceError):
            await above.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await above.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await above.wait_send_all_might_not_block()


async def test_a_broken_connection_is_told() -> None:
    """A reset breaks reading and writing, and what was parked is dropped."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        foreign = socket.create_connection(listening.getsockname())
        accepted, _ = listening.accept()
    accepted.setblocking(False)
    stream = ByteStream(accepted)
    await fill(stream)
    assert stream.parked_bytes
    foreign.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    foreign.close()
    await stream.wait_readable()

    with pytest.raises(trio.BrokenResourceError, match="reset by peer"):
        stream.receive_nowait()
    with pytest.raises(trio.BrokenResourceError):
        stream.send_nowait(b"")
    assert stream.parked_bytes == 0
    stream.close()


@both
async def test_two_senders_do_not_mix(kind: str) -> None:
    """Each of two `send_all` at a time goes out in one piece."""
    size = 300_000
    with streams(kind, buffer=BUFFER) as (above, below):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(above.send_all, b"1" * size)
            nursery.start_soon(above.send_all, bytearray(b"2" * size))
            received = await receive_exactly(below, 2 * size)

        pieces = [b"1" * size, b"2" * size]
        assert received in {b"".join(pieces), b"".join(reversed(pieces))}


async def test_room_is_told() -> None:
    """`wait_send_all_might_not_block` waits for a reader."""
    with streams("plain", buffer=BUFFER) as (above, below):
        await fill(above)
        with trio.move_on_after(0.01) as scope:
            await above.wait_send_all_might_not_block()
        assert scope.cancelled_caught
        while below.receive_nowait():
            pass
        await above.wait_send_all_might_not_block()


async def test_a_prefix_comes_first() -> None:
    """A stream with a prefix gives it once, and is its stream in everything else."""
    with streams("plain") as (above, below):
        stream = PrefixedStream(b"first", above)
        below.send_nowait(b"second")
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"answer")

        assert [b"first", b"second"] == [await stream.receive_some() for _ in range(2)]
        assert b"answer" == await below.receive_some()
        await stream.aclose()
        assert b"" == await below.receive_some()


async def test_an_unencrypted_byte_is_no_tls() -> None:
    """Garbage amid a TLS stream breaks it instead of being read."""
    server, client = secure_sockets()
    stream = ByteStream(server)
    bare = socket.socket(fileno=client.detach())
    bare.send(b"GET / HTTP/1.1\r\n\r\n")
    await stream.wait_readable()

    with pytest.raises(trio.BrokenResourceError) as caught:
        stream.receive_nowait()
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    stream.close()
    bare.close()


async def test_the_socket_is_shown() -> None:
    """Addresses and certificates are asked of the socket itself."""
    one, two = plain_sockets()
    stream = ByteStream(one)
    assert stream.socket is one
    stream.close()
    two.close()


@both
async def test_what_is_cut_ends_for_reader_and_writer(kind: str) -> None:
    """Who waits to read meets the end, though bytes have arrived; who writes meets a broken one."""
    with streams(kind) as (above, below):
        ended = trio.Event()

        async def read() -> None:
            assert await above.receive_some() == b""
            ended.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            below.send_nowait(b"too late")
            above.cut()
            await ended.wait()
        with pytest.raises(trio.BrokenResourceError):
            await above.send_all(b"x" * 100_000)
        above.cut()
        above.close()
        above.cut()


@both
async def test_who_has_ended_still_reads_and_never_writes(kind: str) -> None:
    """The other side reads to the end and may go on; nothing is sent least of all bare."""
    with streams(kind) as (above, below):
        above.send_nowait(b"last words")
        above.end()
        with pytest.raises(trio.ClosedResourceError):
            above.send_nowait(b"more")
        assert await receive_exactly(below, 10) == b"last words"
        assert await below.receive_some() == b""
        below.send_nowait(b"still here")
        assert await receive_exactly(above, 10) == b"still here"
        below.close()
        assert await above.receive_some() == b""


async def test_both_sides_may_end_at_once() -> None:
    """Two farewells that cross: each side meets the end, and nothing else."""
    with streams("tls") as (above, below):
        above.end()
        below.end()
        above.end()
        assert (b"", b"") == (await above.receive_some(), await below.receive_some())
