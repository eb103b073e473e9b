"""What do one lone put and one lone get cost between a connection's read and its write?

Usage: ``python benchmarks/call.py [--calls N]``

A client on Go's library sends a PING, then HEADERS with a fresh ``grpc-timeout`` and DATA in one
record; both go through a real connection, codec and handler, over a stream that is a list. The
put's way in ends at the driver's door, its way out begins with the outcome; replica, Trio and the
socket are not in it. Microseconds of the thread's CPU time, the lower quartile: once with nothing
in between, and once with the caches swept before every call, as they are when a lone client's
calls are a millisecond apart.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable
from statistics import quantiles
from time import thread_time
from typing import cast

import h2.config
import h2.connection
import h2.settings

from trioetcd.api.router import Router
from trioetcd.frontend.grpc import GrpcConnection
from trioetcd.frontend.http import HttpDoor
from trioetcd.replica import Outputs
from trioetcd.runtime.clock import SystemEntropy
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.server import Server, ServerLimits
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.transport.streams import ByteStream
from trioetcd.wire import Limits, frame
from trioetcd.wire.frames import ping_frame

KEY = b"key00042"
PUT = messages.PutRequest(key=KEY, value=b"v" * 256).SerializeToString()
GET = messages.RangeRequest(key=KEY).SerializeToString()
SERIALIZABLE = messages.RangeRequest(key=KEY, serializable=True).SerializeToString()
PING = ping_frame(b"\2\4\x10\x10\t\x0e\7\7", ack=False)  # as Go measures the line
WINDOW = 1 << 30
SWEEP = b"\1" * (2 << 20)


class Wire:
    """A stream without a kernel."""

    parked_bytes = 0

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send_nowait(self, data: bytes) -> bool:
        """Take the bytes."""
        self.sent.append(data)
        return True


class Standing:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Give `now`."""
        return self.now

    def wall(self) -> float:
        """Give `now`."""
        return self.now


class Turns:
    """A member with little to do, whose disk works for ever: a PING's answer leaves by itself."""

    crowded = False

    def flush_later(self, _flush: Callable[[], None], /) -> None:
        """Leave it for later."""

    def not_alone(self) -> None:
        """Take no note: nothing is ever written."""


class Client:
    """Makes the bytes of one connection's calls, before the clock runs."""

    def __init__(self) -> None:
        self._h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self._h2.initiate_connection()
        self._h2.remote_settings = h2.settings.Settings(
            client=False, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20}
        )
        self._h2.outbound_flow_control_window = WINDOW
        self._h2.increment_flow_control_window(WINDOW)
        self.first = self._h2.data_to_send()
        self._stream = -1

    def call(self, path: str, message: bytes) -> bytes:
        """Give HEADERS and DATA of the next call."""
        self._stream += 2
        headers = [
            (":method", "POST"),
            (":scheme", "https"),
            (":path", path),
            (":authority", "localhost:2379"),
            ("content-type", "application/grpc"),
            ("user-agent", "grpc-go/1.71.1"),
            ("te", "trailers"),
            ("client-api-version", "3.7.1"),
            ("grpc-timeout", f"{4_999_000 - self._stream}u"),
        ]
        self._h2.send_headers(self._stream, headers)
        self._h2.send_data(self._stream, frame(message), end_stream=True)
        self._h2.streams.pop(self._stream)
        return self._h2.data_to_send()


class Bench:
    """A member with one key, and one connection to it."""

    def __init__(self) -> None:
        backend = MemoryBackend()
        member = Synchronous(backend).start()
        member.done(CommandKind.PUT, messages.PutRequest(key=KEY, value=b"v" * 256))
        clock = Standing()
        metrics = Metrics()
        self.clock = clock
        self.server = Server(
            replica=member.replica,
            backend=backend,
            clock=clock,
            entropy=SystemEntropy(),
            limits=ServerLimits(),
            metrics=metrics,
        )
        self.wire = Wire()
        self.client = Client()
        self.connection = GrpcConnection(
            cast("ByteStream", self.wire),
            router=Router.of(self.server),
            door=HttpDoor(self.server),
            limits=Limits(),
            metrics=metrics,
            now=clock.monotonic,
            turns=Turns(),
            soon=self.server.cursors.soon,
        )
        self.turn = self.connection._turn  # noqa: SLF001 - what the reader's task calls
        self.turn(self.client.first)
        self.turn(b"")
        self.wire.sent.clear()

    def run(self, method: str, message: bytes, calls: int, *, sweep: bool) -> str:
        """Do calls one by one; give the medians of their parts."""
        records = [self.client.call(f"/etcdserverpb.KV/{method}", message) for _ in range(calls)]
        turn = self.turn
        answer = self.server._answer  # noqa: SLF001 - what the driver's turn calls
        proposals = self.server.driver._proposals  # noqa: SLF001 - where the way in ends
        sent = self.wire.sent
        times: list[tuple[float, float, float]] = []
        for record in records:
            if sweep:
                SWEEP.count(b"\0")
            self.clock.now += 0.001
            started = thread_time()
            turn(PING)
            pinged = thread_time()
            turn(record)
            heard = thread_time()
            if proposals:
                self.connection.flush()
                outputs = Outputs(resolved=[(proposals[0][0], (3, b""))])
                proposals.clear()
                begun = thread_time()
                answer(outputs)
                answered = thread_time() - begun
            else:
                answered = 0.0
            times.append((pinged - started, heard - pinged, answered))
            assert sent, "every call is answered"
            sent.clear()
        parts = [1e6 * quantiles(part, n=4)[0] for part in zip(*times, strict=True)]
        ping, way_in, way_out = parts
        if not times[0][2]:
            return f"ping {ping:.1f} + call {way_in:.1f} = {ping + way_in:.1f}"
        return (
            f"ping {ping:.1f} + in {way_in:.1f} + out {way_out:.1f} = {ping + way_in + way_out:.1f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5_000)
    options = parser.parse_args()
    bench = Bench()
    gc.freeze()
    for sweep in (False, True):
        caches, calls = ("swept", options.calls // 4) if sweep else ("warm", options.calls)
        for name, method, message in (
            ("put", "Put", PUT),
            ("get", "Range", GET),
            ("serializable get", "Range", SERIALIZABLE),
        ):
            print(f"{caches} {name}: {bench.run(method, message, calls, sweep=sweep)}")


if __name__ == "__main__":
    main()
