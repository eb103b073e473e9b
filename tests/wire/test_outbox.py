"""Flow control of what we send: windows, turns, pieces, memory."""

from __future__ import annotations

import tracemalloc

import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.conversation import (
    acknowledge,
    data,
    greeted,
    h2_client,
    headers,
    of_kind,
    take_all,
)
from trioetcd.wire import frames
from trioetcd.wire.grpc import CALL, GrpcServer, frame
from trioetcd.wire.limits import MIB, Limits


def call(stream: int) -> bytes:
    """Give a whole unary call."""
    return headers(stream) + data(stream, frame(b""), end=True)


def bodies(written: bytes) -> dict[int, bytes]:
    """Give the DATA of each stream, put together."""
    found: dict[int, bytes] = {}
    for _, _, stream, payload in of_kind(written, frames.DATA):
        found[stream] = found.get(stream, b"") + payload
    return found


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(0, 3000), max_size=30),
    st.integers(1, 2000),
    st.lists(st.integers(1, 3000), min_size=1, max_size=10),
    st.integers(1, 300),
)
def test_any_windows_deliver_the_same_bytes(
    sizes: list[int], initial: int, updates: list[int], join: int
) -> None:
    """However the windows open, the pieces arrive in order, whole, and never above a window."""
    server = greeted(Limits(join_bytes_max=join, take_bytes_max=700))
    server.receive(frames.settings_frame({4: initial}) + call(1))
    server.take()
    pieces = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    expected = b"\0" + sum(sizes).to_bytes(4, "big") + b"".join(pieces)
    server.answer_pieces(1, pieces)
    window, got, turn = initial, b"", 0
    while True:
        written = take_all(server)
        new = bodies(written).get(1, b"")
        window -= len(new)
        got += new
        assert window >= 0
        if server.open_streams == 0:
            break
        update = updates[turn % len(updates)]
        turn += 1
        window += update
        server.receive(frames.window_frame(1, update) + frames.window_frame(0, update), turn)
    assert got == expected
    assert server.pending == 0


def test_huge_answer_is_held_as_its_pieces_only() -> None:
    """100 MiB to a reader with small windows: whole, in order, and never copied as a whole."""
    server = greeted()
    client = h2_client()
    client.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 4 * MIB})
    client.increment_flow_control_window(4 * MIB)
    piece = bytes(MIB)
    server.receive(client.data_to_send()[len(frames.PREFACE) :])
    client.receive_data(b"".join([frames.settings_frame({}), server.take()]))
    client.send_headers(
        1,
        [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", "/a/B"),
            (":authority", "h"),
            ("content-type", "application/grpc"),
        ],
    )
    client.send_data(1, frame(b""), end_stream=True)
    assert [event[0] for event in server.receive(client.data_to_send())] == [CALL]
    tracemalloc.start()
    try:
        server.answer_pieces(1, [piece] * 100)
        assert server.backlog(1) == 100 * MIB + 5
        total = 0
        while server.open_streams:
            written = server.take()
            assert len(written) <= 2 * MIB
            for event in client.receive_data(written):
                acknowledge(client, event)
                total += len(getattr(event, "data", None) or b"")
            server.receive(client.data_to_send(), 1.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 100 * MIB + 5
    assert peak < 16 * MIB


def test_streams_take_turns() -> None:
    """A large answer does not keep the others waiting: each has its turn."""
    server = greeted(Limits(take_bytes_max=128 * 1024))
    server.receive(
        frames.settings_frame({4: 2**20}) + frames.window_frame(0, 2**24) + call(1) + call(3)
    )
    server.take()
    server.answer(1, b"a" * 600_000)
    server.answer(3, b"b" * 600_000)
    assert {number: len(body) for number, body in bodies(server.take()).items()} == {
        1: 64 * 1024,
        3: 64 * 1024,
    }


def test_small_answers_pass_a_stalled_one() -> None:
    """A stream without window does not hold back the answers of others."""
    server = greeted()
    server.receive(frames.settings_frame({4: 10}) + frames.window_frame(0, 2**20) + call(1))
    server.answer(1, b"x" * 1000)
    server.receive(frames.settings_frame({4: 1000}))
    server.receive(call(3))
    server.answer(3, b"short")
    assert bodies(take_all(server))[3] == frame(b"short")


def test_connection_window_holds_everything_back() -> None:
    """The connection's window bounds all streams; the answers leave when it opens."""
    server = greeted()
    server.receive(call(1) + call(3) + call(5))
    server.answer(1, b"x" * 60_000)
    server.answer(3, b"y" * 10_000)
    server.answer(5, b"z")
    first = bodies(take_all(server))
    assert sum(map(len, first.values())) == 65_535
    server.receive(frames.window_frame(0, 100_000))
    second = bodies(take_all(server))
    assert first[1] + second.get(1, b"") == frame(b"x" * 60_000)
    assert first.get(3, b"") + second.get(3, b"") == frame(b"y" * 10_000)
    assert first.get(5, b"") + second.get(5, b"") == frame(b"z")
    assert server.open_streams == 0


def test_larger_frames_if_the_client_takes_them() -> None:
    """MAX_FRAME_SIZE of the client is used, up to 64 KiB; headers too are cut by it."""
    server = greeted()
    server.receive(frames.settings_frame({5: 2**20, 4: 2**20}) + frames.window_frame(0, 2**20))
    server.receive(call(1) + call(3))
    server.answer(1, b"x" * 100_000)
    assert max(len(found[3]) for found in of_kind(take_all(server), frames.DATA)) == 65_536
    server.receive(frames.settings_frame({5: 16_384}))
    server.fail(3, 13, "e" * 40_000)
    written = take_all(server)
    assert len(of_kind(written, frames.HEADERS)) == 1
    assert [found[1] for found in of_kind(written, frames.CONTINUATION)] == [0, 4]


def test_table_of_nothing_is_answered_by_an_update() -> None:
    """A client that takes the compression table away sees it given up in the next block."""
    server = greeted()
    client = h2_client()
    client.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: 0})
    server.receive(client.data_to_send()[len(frames.PREFACE) :])
    client.receive_data(frames.settings_frame({}) + server.take())
    for stream in (1, 3):
        client.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":path", "/a/B"),
                (":authority", "h"),
                ("content-type", "application/grpc"),
            ],
        )
        client.send_data(stream, frame(b""), end_stream=True)
        server.receive(client.data_to_send())
        server.answer(stream, b"x")
        written = server.take()
        blocks = [found[3] for found in of_kind(written, frames.HEADERS)]
        assert blocks[0].startswith(b"\x20") == (stream == 1)
        client.receive_data(written)


def test_unread_answers_refuse_new_calls() -> None:
    """A client that asks and does not read gets no new streams above the bound."""
    server = greeted(Limits(output_bytes_max=100_000))
    server.receive(call(1))
    server.answer(1, b"x" * 200_000)
    assert server.receive(call(3)) == []
    assert (3, frames.REFUSED_STREAM) in [
        (found[2], found[3][-1]) for found in of_kind(take_all(server), frames.RST_STREAM)
    ]


def test_empty_pieces_make_an_empty_message() -> None:
    """No pieces, or empty ones, are the empty message."""
    for pieces in ([], [b"", b""]):
        server: GrpcServer = greeted()
        server.receive(call(1))
        server.answer_pieces(1, pieces)
        assert bodies(take_all(server)) == {1: frame(b"")}


def test_window_of_nothing_holds_the_message_back() -> None:
    """With no window at all the head leaves and the message waits for one."""
    server = greeted()
    server.receive(frames.settings_frame({4: 0}) + call(1))
    server.answer(1, b"later")
    assert bodies(take_all(server)) == {}
    server.receive(frames.window_frame(1, 100))
    assert bodies(take_all(server)) == {1: frame(b"later")}
