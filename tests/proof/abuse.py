"""Abuse of HTTP/2 and TLS: the abuser is shut out within 2 s, the others hardly notice.

Each case opens a connection of its own with raw frames and goes on until it is closed; meanwhile
another connection reads a key again and again, and its p99 may at most double (and must not be
judged below 20 ms, where two cores shared with the attack itself are the noise).

Usage: python -m tests.proof.abuse [--only CASE] [--cycles N] [--target /usr/bin/etcd]
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from tests.proof.kv import RpcFailedError
from tests.proof.member import Member
from tests.proof.outcome import Budget, Options, Outcome, run

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
CLOSE_SECONDS: Final = 2.0
HELLO_SECONDS: Final = 11.0
"""A TLS handshake may take as long as etcd allows it, 10 s."""
FLOOR_SECONDS: Final = 0.02
ATTEMPTS: Final = 3
REPEAT_SECONDS: Final = 1.0
BASE_SAMPLES: Final = 300


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Build a raw frame."""
    return (
        struct.pack(">I", len(payload))[1:]
        + bytes([kind, flags])
        + struct.pack(">I", stream)
        + payload
    )


def literal(name: bytes, value: bytes) -> bytes:
    """Build a header field without indexing."""
    return b"\x00" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes([len(text)])
    out, rest = bytearray([127]), len(text) - 127
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    return bytes(out) + bytes([rest])


CALL: Final = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"https"),
        (b":path", b"/etcdserverpb.KV/Range"),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)
RANGE_A: Final = b"\x00\x00\x00\x00\x03\x0a\x01a"
RANGE_ALL: Final = b"\x00\x00\x00\x00\x06\x0a\x01\x00\x12\x01\x00"


def rapid_reset() -> Iterator[bytes]:
    """Open calls and cancel them at once, without end."""
    stream = 1
    while True:
        yield b"".join(
            frame(HEADERS, END_HEADERS, s, CALL) + frame(RESET, 0, s, b"\x00\x00\x00\x08")
            for s in range(stream, stream + 200, 2)
        )
        stream += 200


def made_you_reset() -> Iterator[bytes]:
    """Open calls and make the member reset them by zero window increments."""
    stream = 1
    while True:
        yield b"".join(
            frame(HEADERS, END_HEADERS, s, CALL) + frame(WINDOW, 0, s, bytes(4))
            for s in range(stream, stream + 200, 2)
        )
        stream += 200


def continuation() -> Iterator[bytes]:
    """Begin a header block and never end it."""
    yield frame(HEADERS, 0, 1, CALL)
    while True:
        yield frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 1000)) * 10


def empty_continuation() -> Iterator[bytes]:
    """Begin a header block and go on with nothing."""
    yield frame(HEADERS, 0, 1, CALL)
    while True:
        yield frame(CONTINUATION, 0, 1) * 100


def settings_flood() -> Iterator[bytes]:
    """Send SETTINGS, each of which asks for an acknowledgement."""
    while True:
        yield frame(SETTINGS, 0, 0) * 500


def ping_flood() -> Iterator[bytes]:
    """Send PINGs, each of which asks for an answer."""
    while True:
        yield frame(PING, 0, 0, bytes(8)) * 500


def priority_flood() -> Iterator[bytes]:
    """Send PRIORITY frames, which mean nothing."""
    while True:
        yield frame(PRIORITY, 0, 1, bytes(3) + b"\x03\x10") * 500


def window_flood() -> Iterator[bytes]:
    """Open the connection's window byte by byte."""
    while True:
        yield frame(WINDOW, 0, 0, b"\x00\x00\x00\x01") * 500


def empty_data() -> Iterator[bytes]:
    """Send a body that never comes."""
    yield frame(HEADERS, END_HEADERS, 1, CALL)
    while True:
        yield frame(DATA, 0, 1) * 500


def header_bomb() -> Iterator[bytes]:
    """Put a large field into the table and name it again and again."""
    stream = 1
    big = b"\x40" + _length(b"x") + b"x" + _length(b"y" * 3900) + b"y" * 3900
    yield frame(HEADERS, END_HEADERS | END_STREAM, stream, CALL + big)
    while True:
        stream += 2
        yield frame(HEADERS, END_HEADERS | END_STREAM, stream, CALL + b"\xbe" * 12_000)


def huge_headers() -> Iterator[bytes]:
    """Send a header list of a megabyte."""
    yield frame(HEADERS, 0, 1, CALL)
    for number in range(64):
        last = END_HEADERS if number == 63 else 0
        yield frame(CONTINUATION, last, 1, literal(b"h%d" % number, b"v" * 16_000))
    while True:
        yield b""


def zero_window() -> Iterator[bytes]:
    """Ask for large answers and allow no byte of them."""
    yield frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    stream = 1
    while True:
        yield b"".join(
            frame(HEADERS, END_HEADERS, s, CALL) + frame(DATA, END_STREAM, s, RANGE_ALL)
            for s in range(stream, stream + 100, 2)
        )
        stream += 100


def garbage() -> Iterator[bytes]:
    """Send frames of wrong lengths on wrong streams."""
    yield frame(SETTINGS, 0, 0, b"xyz")
    while True:
        yield frame(PING, 0, 1, b"short")


CASES: Final[dict[str, tuple[Callable[[], Iterator[bytes]], bool]]] = {
    # name: the abuse, and whether it must be shut out (a full window is only not to be harmful)
    "rapid reset": (rapid_reset, True),
    "made you reset": (made_you_reset, True),
    "continuation flood": (continuation, True),
    "empty continuation flood": (empty_continuation, True),
    "settings flood": (settings_flood, True),
    "ping flood": (ping_flood, True),
    "priority flood": (priority_flood, True),
    "window update flood": (window_flood, True),
    "empty data flood": (empty_data, True),
    "header bomb": (header_bomb, True),
    "huge header list": (huge_headers, True),
    "zero window": (zero_window, False),
    "garbage": (garbage, True),
}
HELLO: Final = "no TLS hello"


class Bystander:
    """Another connection that reads a key all the time and remembers how long it took."""

    def __init__(self, member: Member) -> None:
        self._client = member.client()
        self._client.put(b"bystander", b"x")
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._times: list[float] = []
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self._client.range(b"bystander", timeout=10)
            except RpcFailedError as error:
                self.errors.append(str(error))
                return
            with self._lock:
                self._times.append(time.monotonic() - began)
            self._stop.wait(0.003)

    def samples(self) -> list[float]:
        """Give the times since the last call."""
        with self._lock:
            times, self._times = self._times, []
        return times

    def stop(self) -> None:
        """Stop reading."""
        self._stop.set()
        self._thread.join()
        self._client.close()


def p99(times: list[float]) -> float:
    """Give the 99th percentile."""
    return sorted(times)[int(len(times) * 0.99)] if times else 0.0


def connect(member: Member) -> ssl.SSLSocket:
    """Open a TLS connection with a good client certificate."""
    context = ssl.create_default_context(cafile=str(member.ca))
    context.load_cert_chain(str(member.cert), str(member.key))
    context.set_alpn_protocols(["h2"])
    plain = socket.create_connection(("127.0.0.1", member.client_port), timeout=5)
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def shut_out_after(member: Member, abuse: Iterator[bytes], seconds: float) -> float | None:
    """Abuse a connection until it is closed; give how long that took, None if it was not."""
    connection = connect(member)
    began = time.monotonic()
    try:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        connection.settimeout(0.02)
        for data in abuse:
            if time.monotonic() - began > seconds:
                return None
            if data:
                connection.settimeout(1.0)
                with contextlib.suppress(TimeoutError):
                    connection.sendall(data)
            connection.settimeout(0.001 if data else 0.05)
            with contextlib.suppress(TimeoutError):
                while connection.recv(65536):
                    pass
                return time.monotonic() - began
    except OSError:
        return time.monotonic() - began
    finally:
        connection.close()
    return None


def silent(member: Member, count: int, seconds: float) -> float | None:
    """Open connections that never say hello; give when the last one was closed."""
    sockets = [
        socket.create_connection(("127.0.0.1", member.client_port), timeout=5) for _ in range(count)
    ]
    began = time.monotonic()
    try:
        for each in sockets:
            each.settimeout(max(0.01, began + seconds - time.monotonic()))
            try:
                if each.recv(1):
                    return None
            except TimeoutError:
                return None
            except OSError:
                continue
        return time.monotonic() - began
    finally:
        for each in sockets:
            each.close()


def prove(options: Options, outcome: Outcome) -> None:
    """Go through all cases against one member."""
    budget = Budget(options)
    names = [name for name in (*CASES, HELLO) if options.only in {"", name}]
    with tempfile.TemporaryDirectory(prefix="trioetcd-abuse-") as directory:
        member = Member(options.target, Path(directory))
        try:
            member.start()
            client = member.client()
            for number in range(20):
                client.put(b"large-%d" % number, bytes(100_000))
            client.close()
            bystander = Bystander(member)
            for number in range(min(options.cycles, 1000)):
                if budget.spent():
                    break
                one_case(names[number % len(names)], member, bystander, outcome, options.seed)
                outcome.done += 1
            bystander.stop()
        finally:
            member.kill()


def one_case(name: str, member: Member, bystander: Bystander, outcome: Outcome, seed: int) -> None:
    """Measure the bystander at rest, abuse, measure again, judge.

    A bystander that was slow is measured again: the machine may have had other work, and what an
    abuser does to others it does every time.
    """
    must_close = name == HELLO or CASES[name][1]
    limit = HELLO_SECONDS if name == HELLO else CLOSE_SECONDS
    base, hit, closed = measured(name, member, bystander)
    for _ in range(ATTEMPTS - 1):
        if hit > max(2 * base, FLOOR_SECONDS):
            base, hit, closed = measured(name, member, bystander)
    outcome.figures[f"{name}, closed after s"] = -1 if closed is None else round(closed, 3)
    outcome.figures[f"{name}, bystander p99 ms"] = round(hit * 1000, 1)
    outcome.figures[f"{name}, at rest ms"] = round(base * 1000, 1)
    if not member.running():
        outcome.violated(seed, f"{name}: the member ended: {member.log()[-400:]}")
    if bystander.errors:
        outcome.violated(seed, f"{name}: another connection got {bystander.errors.pop()}")
    if must_close and (closed is None or closed > limit):
        outcome.violated(seed, f"{name}: not shut out within {limit:.0f} s")
    if hit > max(2 * base, FLOOR_SECONDS):
        outcome.violated(
            seed, f"{name}: another's p99 went from {base * 1e3:.1f} to {hit * 1e3:.1f} ms"
        )
    if "Traceback" in member.log():
        outcome.violated(seed, f"{name}: a traceback in the log")


def measured(name: str, member: Member, bystander: Bystander) -> tuple[float, float, float | None]:
    """Abuse once; give the bystander's p99 before and meanwhile, and when the abuser ended."""
    bystander.samples()
    quiet: list[float] = []
    while len(quiet) < BASE_SAMPLES and not bystander.errors:
        time.sleep(0.1)
        quiet += bystander.samples()
    if name == HELLO:
        closed = silent(member, 100, HELLO_SECONDS)
    else:
        abuse, _ = CASES[name]
        closed = shut_out_after(member, abuse(), CLOSE_SECONDS + 1)
        again = time.monotonic() + REPEAT_SECONDS
        while closed is not None and time.monotonic() < again:
            # an abuser that comes back: the bystander must be fine with that too
            shut_out_after(member, abuse(), CLOSE_SECONDS + 1)
            time.sleep(0.1)
    return p99(quiet), p99(bystander.samples()), closed


def main() -> int:
    """Run the proof from the command line."""
    cycles = len(CASES) + 1
    return run("abuse", prove, cycles=cycles, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
