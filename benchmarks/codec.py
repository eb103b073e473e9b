"""What does one unary call cost the HTTP/2 codec? Microseconds, beside the h2 library.

Usage: ``python benchmarks/codec.py``. Batches of ten calls on one connection, as a busy client
sends them: receive, answer each, take. The bytes are made by h2 before the clock runs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import h2.config
import h2.connection
import h2.events
import h2.settings

from trioetcd.wire.grpc import CALL, GrpcServer, frame

BATCH = 10
BATCHES = 2000
REQUEST = b"\x0a\x08" + b"k" * 8 + b"\x12\x80\x02" + b"v" * 256
RESPONSE = b"\x0a\x1a" + b"h" * 26


def make_batches(*, timeouts: bool) -> tuple[bytes, list[bytes]]:
    """Give a client's first bytes, and batches of calls; Go's clients send a fresh timeout."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.max_inbound_frame_size = 16384
    client.remote_settings = h2.settings.Settings(
        client=False, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}
    )
    client.outbound_flow_control_window = 2**30
    first = client.data_to_send()
    batches = []
    stream = 1
    for batch in range(BATCHES):
        for call in range(BATCH):
            headers = [
                (":method", "POST"),
                (":scheme", "https"),
                (":path", "/etcdserverpb.KV/Put"),
                (":authority", "localhost:2379"),
                ("content-type", "application/grpc"),
                ("user-agent", "grpc-go/1.71.1"),
                ("te", "trailers"),
                ("client-api-version", "3.7.1"),
            ]
            if timeouts:
                headers.append(("grpc-timeout", f"{4_999_000 - batch * BATCH - call}u"))
            client.send_headers(stream, headers)
            client.send_data(stream, frame(REQUEST), end_stream=True)
            client.streams.pop(stream)
            stream += 2
        batches.append(client.data_to_send())
    return first, batches


def ours(first: bytes, batches: list[bytes]) -> None:
    """Serve all batches with our codec."""
    server = GrpcServer(streaming=frozenset())
    server.receive(first)
    server._connection.send_window = 2**40  # noqa: SLF001 - the client of this script is deaf
    server.take()
    calls = 0
    for data in batches:
        for event in server.receive(data, 1.0):
            assert event[0] == CALL
            server.answer(event[1], RESPONSE)
            calls += 1
        server.take()
    assert calls == BATCH * BATCHES


def theirs(first: bytes, batches: list[bytes]) -> None:
    """Serve some batches with h2, checks off."""
    config = h2.config.H2Configuration(
        client_side=False,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )
    server = h2.connection.H2Connection(config)
    server.initiate_connection()
    server.receive_data(first)
    for data in batches:
        for event in server.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                server.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id)
                stream = event.stream_id
                server.send_headers(
                    stream, [(b":status", b"200"), (b"content-type", b"application/grpc")]
                )
                server.outbound_flow_control_window = 2**30
                server.send_data(stream, frame(RESPONSE))
                server.send_headers(stream, [(b"grpc-status", b"0")], end_stream=True)
        server.data_to_send()


def clock(serve: Callable[[bytes, list[bytes]], None], first: bytes, batches: list[bytes]) -> float:
    """Give the best of five runs in microseconds of processor time per call."""
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        serve(first, batches)
        best = min(best, time.process_time() - begin)
    return best / (len(batches) * BATCH) * 1e6


def main() -> None:
    """Print the table."""
    for timeouts in (False, True):
        first, batches = make_batches(timeouts=timeouts)
        words = "fresh grpc-timeout each" if timeouts else "same header block"
        print(f"trioetcd.wire, {words}: {clock(ours, first, batches):.1f} µs per call")
    first, batches = make_batches(timeouts=False)
    print(f"h2, same header block: {clock(theirs, first, batches[:100]):.1f} µs per call")


if __name__ == "__main__":
    main()
