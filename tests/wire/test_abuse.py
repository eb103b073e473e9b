"""Each limit on abuse closes the connection, and none of them hits honest use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.wire.conversation import (
    BLOCK,
    PUT,
    WATCH,
    block,
    data,
    goaway_code,
    greeted,
    headers,
    of_kind,
    raw,
    resets,
    take_all,
)
from trioetcd.wire import frames
from trioetcd.wire.abuse import NoiseBudget, PingPolicy, ResetBudget
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.grpc import CALL, GrpcServer, frame
from trioetcd.wire.limits import Limits

CALM = frames.ENHANCE_YOUR_CALM
PING = frames.ping_frame(b"12345678", ack=False)


def closes(server: GrpcServer, sent: Iterator[bytes], *, most: int) -> int:
    """Feed until the server closes; give after how many pieces, and fail above `most`."""
    count = 0
    for count, piece in enumerate(sent):
        try:
            server.receive(piece, 1.0)
        except RemoteProtocolError:
            break
        assert count < most, "it is never closed"
    assert goaway_code(server.take()) == CALM
    return count


def streams() -> Iterator[int]:
    """Give the stream numbers of a client."""
    yield from range(1, 2**31, 2)


def test_rapid_reset_closes() -> None:
    """Opening and cancelling without end is closed after the burst (CVE-2023-44487)."""
    sent = (headers(stream) + frames.reset_frame(stream, 8) for stream in streams())
    assert closes(greeted(), sent, most=1001) == 1000


def test_provoked_resets_close() -> None:
    """Making us reset counts the same (CVE-2025-8671)."""
    sent = (headers(stream) + frames.window_frame(stream, 0) for stream in streams())
    assert closes(greeted(), sent, most=1001) == 1000


def test_malformed_requests_close() -> None:
    """So do requests that are refused as malformed, one after the other."""
    sent = (headers(stream, block=BLOCK + b"\x00\x01A\x01b") for stream in streams())
    assert closes(greeted(), sent, most=1001) == 1000


def test_answered_calls_pay_for_cancelled_ones() -> None:
    """A client that finishes as many calls as it cancels is never closed."""
    server = greeted()
    number = streams()
    for _ in range(3000):
        done, dropped = next(number), next(number)
        sent = headers(done) + data(done, frame(b""), end=True)
        for event in server.receive(sent + headers(dropped) + frames.reset_frame(dropped, 8)):
            if event[0] == CALL:
                server.answer(event[1], b"")
        server.receive(frames.window_frame(0, 10))
        server.take()


def test_too_many_streams_are_refused() -> None:
    """Streams above the agreed number are refused, the connection goes on."""
    server = greeted(Limits(streams_max=2))
    server.receive(headers(1) + headers(3) + headers(5))
    assert resets(server.take()) == [(5, frames.REFUSED_STREAM)]
    assert [event[0] for event in server.receive(data(1, frame(b""), end=True))] == [CALL]
    assert server.receive(data(5, frame(b""), end=True)) == []


@pytest.mark.parametrize(
    "piece",
    [
        frames.settings_frame({}),
        frames.SETTINGS_ACK,
        raw(frames.PRIORITY, 0, 1, b"\0\0\0\3\0"),
        raw(0x77, 0, 0, b"x"),
        frames.window_frame(0, 1),
        raw(frames.GOAWAY, 0, 0, bytes(8)),
        data(1, b""),
        frames.ping_frame(b"12345678", ack=True),
        frames.window_frame(1, 1),
    ],
    ids=["settings", "ack", "priority", "unknown", "window", "goaway", "data", "ping", "stream"],
)
def test_floods_of_frames_without_use_close(piece: bytes) -> None:
    """Frames that carry nothing are bounded in what useful ones and time pay for."""
    server = greeted(streaming=(PUT,))
    server.receive(headers(1))
    assert closes(server, iter(lambda: piece, None), most=2100) >= 1900


def test_time_and_use_forgive_noise() -> None:
    """A few control frames a second, or a few per call, go on for ever."""
    server = greeted()
    for second in range(30_000):
        server.receive(frames.window_frame(0, 1) * 2, float(second))
    server = greeted()
    server.receive(headers(1, block=block(path=WATCH)))
    for _ in range(10_000):
        server.receive(data(1, frame(b"")) + frames.window_frame(0, 1))


def test_answers_to_our_pings_are_no_noise() -> None:
    """A peer that acknowledges what it was asked may do so for ever, without any clock."""
    server = greeted()
    for _ in range(5000):
        server.ping()
        server.take()
        server.receive(frames.ping_frame(b"trioetcd", ack=True))


def test_reading_a_large_answer_is_no_noise() -> None:
    """A client that only reads sends windows all the time; what we send pays for them."""
    server = greeted()
    server.receive(headers(1, block=block(path=WATCH)))
    for _ in range(10_000):
        server.send_messages(1, frame(b"x" * 1000))
        take_all(server)
        server.receive(frames.window_frame(0, 1005) + frames.window_frame(1, 1005))
    assert server.pending == 0


def test_answers_that_pile_up_unread_close() -> None:
    """A client that provokes control frames and never reads is closed."""
    server = greeted(Limits(control_frames_pending_max=10))
    assert closes(server, iter(lambda: frames.settings_frame({}), None), most=20) == 10


def test_pings_too_close_close() -> None:
    """The third early ping in a row ends the connection as Go's library words it."""
    server = greeted()
    server.receive(headers(1), 1.0)
    server.take()
    server.receive(PING, 10.0)
    server.receive(PING, 16.0)
    server.receive(PING, 17.0)
    server.receive(PING, 18.0)
    assert len(of_kind(server.take(), frames.PING)) == 4
    with pytest.raises(RemoteProtocolError, match="too_many_pings"):
        server.receive(PING, 19.0)
    farewell = of_kind(server.take(), frames.GOAWAY)[0]
    assert farewell[3][8:] == b"too_many_pings"
    assert int.from_bytes(farewell[3][4:8], "big") == CALM


def test_answers_clear_the_strikes() -> None:
    """A ping after something was sent is never early: BDP probes of busy clients."""
    server = greeted()
    now = 0.0
    for stream in range(1, 2000, 2):
        now += 0.001
        for event in server.receive(headers(stream) + data(stream, frame(b""), end=True), now):
            server.answer(event[1], b"")
        server.receive(PING, now)
        server.take()


def test_pings_without_calls() -> None:
    """Without a call open a ping every ten seconds is too many; with one it is not."""
    idle, busy = PingPolicy(Limits()), PingPolicy(Limits())
    idle.ping(0.0, open_streams=0)
    assert [idle.ping(second, open_streams=0) for second in (10.0, 20.0, 30.0)] == [
        True,
        True,
        False,
    ]
    assert all(busy.ping(float(second), open_streams=1) for second in range(0, 1000, 10))


def test_continuation_without_end_closes() -> None:
    """A header block of endless frames, or of endless bytes, is closed."""
    server = greeted()
    server.receive(raw(frames.HEADERS, 0, 1, b""))
    empty = iter(lambda: raw(frames.CONTINUATION, 0, 1, b""), None)
    assert closes(server, empty, most=65) == 64
    server = greeted()
    server.receive(raw(frames.HEADERS, 0, 1, b""))
    full = iter(lambda: raw(frames.CONTINUATION, 0, 1, b"\x82" * 16_384), None)
    assert closes(server, full, most=5) == 4


def test_header_bomb_closes() -> None:
    """A block that unfolds to more than the bound is closed, not answered."""
    server = greeted()
    bomb = BLOCK + b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 12_000
    assert closes(server, iter([headers(1, block=bomb)]), most=1) == 0


def test_large_block_in_one_frame_closes() -> None:
    """A block above the bound of its list is not even decoded."""
    server = greeted(Limits(header_list_bytes_max=100))
    assert closes(server, iter([headers(1, block=BLOCK * 2)]), most=1) == 0


def test_more_than_the_windows_is_an_error() -> None:
    """DATA above the stream's window costs the stream, above the connection's everything."""
    small = greeted(Limits(stream_window_bytes=10_000))
    small.receive(headers(1) + data(1, b"\0\0\x0f\0\0" + b"x" * 10_000))
    assert resets(small.take()) == [(1, frames.FLOW_CONTROL_ERROR)]
    tight = greeted(Limits(connection_window_bytes=10_000))
    with pytest.raises(RemoteProtocolError):
        tight.receive(headers(1) + data(1, b"x" * 10_001))
    assert goaway_code(tight.take()) == frames.FLOW_CONTROL_ERROR


def test_windows_are_given_back_in_bulk() -> None:
    """One WINDOW_UPDATE per half window, not per frame, for stream and connection."""
    server = greeted(Limits(stream_window_bytes=100_000, connection_window_bytes=200_000))
    server.receive(headers(1, block=block(path=WATCH)))
    sent = 0
    for _ in range(100):
        server.receive(data(1, frame(b"x" * 9_995)))
        sent += 10_000
    updates = of_kind(server.take(), frames.WINDOW_UPDATE)
    given = dict.fromkeys((0, 1), 0)
    for _, _, number, payload in updates:
        given[number] += int.from_bytes(payload, "big")
    assert len(updates) <= 2 * sent / 50_000
    assert sent - given[1] <= 50_000
    assert sent - given[0] <= 100_000


def test_budgets_refill_with_time() -> None:
    """Tokens come back at their rate, never above the burst."""
    resets_left = ResetBudget(Limits(resets_burst=2, resets_per_second=1.0))
    assert [resets_left.spend(0.0) for _ in range(3)] == [True, True, False]
    assert [resets_left.spend(100.0) for _ in range(3)] == [True, True, False]
    noise = NoiseBudget(Limits(noise_frames_max=2, noise_per_second=1.0))
    noise.level = 3  # one more than the bound

    assert not noise.forgive(0.0)
    assert noise.forgive(3.0)
