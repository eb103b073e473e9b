"""Byte streams over non-blocking sockets, with TLS or without.

A stream has two faces. The synchronous one (`receive_nowait`, `send_nowait`) lets a connection
read all its calls in one turn and lets the driver write all their answers in another, without a
task switch in between; that is what makes a unary call a value and not a task. The asynchronous
one is `trio.abc.Stream`, for protocols that bring their own loop (WebSocket).

Why not `trio.SSLStream`: it has the second face only (docs/adr/0005).
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import trio

__all__ = [
    "READ_BYTES_MAX",
    "ByteStream",
    "InThread",
    "PrefixedStream",
    "run_in_thread",
    "shake_hands",
    "tls_reason",
]

READ_BYTES_MAX: Final = 65_536
"""A reader takes at most this much a turn, so that one busy client cannot hold up the others."""

_RECORD_BYTES: Final = 16_384
"""TLS hands out at most one record a call."""


class ByteStream(trio.abc.Stream):
    """One connected socket, plain or TLS, owned by this object.

    Attributes:
        parked_bytes: bytes handed to `send_nowait` that the kernel has not taken yet.
        received_bytes: all that was read.
        sent_bytes: all that the kernel has taken.
        on_close: called when it is closed.
        on_expel: called when the other side's certificate may not be used any more: nothing it
            says counts from now on, and `cut` comes soon. Without it that comes at once.
        on_retire: called when the other side should come again, since certificates have changed.

    Args:
        sock: connected, non-blocking; an `ssl.SSLSocket` must have finished its handshake.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._secure = sock if isinstance(sock, ssl.SSLSocket) else None
        # `SSLSocket.recv` calls `read`, and costs twice as much.
        self._read: Callable[[int], bytes] = self._secure.read if self._secure else sock.recv
        self._parked = b""
        self.parked_bytes = 0
        self._closed = self._mute = False
        self._cut_short = False
        self._send_lock = trio.StrictFIFOLock()
        self.received_bytes = 0
        self.sent_bytes = 0
        self.on_close: Callable[[], object] | None = None
        self.on_expel: Callable[[], object] | None = None
        self.on_retire: Callable[[], object] | None = None

    @property
    def socket(self) -> socket.socket:
        """The socket, for addresses and certificates."""
        return self._socket

    @property
    def encrypted(self) -> bool:
        """Whether there is TLS."""
        return self._secure is not None

    def receive_nowait(self) -> bytes | None:
        """Read what has arrived, at most `READ_BYTES_MAX` bytes.

        Returns:
            The bytes; ``b""`` at the end of the stream; None if nothing has arrived.

        Raises:
            trio.BrokenResourceError: the peer or the network broke the connection.
        """
        if self._closed:
            raise trio.ClosedResourceError("this connection is closed")
        self._cut_short = False
        try:
            data = self._read(READ_BYTES_MAX)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return b""
        except OSError as error:
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error
        if self._secure is not None and len(data) >= _RECORD_BYTES // 2:
            data = self._more_records(data)
        self.received_bytes += len(data)
        return data

    def _more_records(self, data: bytes) -> bytes:
        pieces = [data]
        size = len(data)
        while size < READ_BYTES_MAX:
            room = READ_BYTES_MAX - size
            try:
                data = self._read(room)
            except OSError:
                # Nothing more now, or an error that the next read meets again.
                break
            if not data:
                # A farewell inside TLS: the kernel has no more to say of it.
                self._cut_short = True
                break
            pieces.append(data)
            size += len(data)
            # OpenSSL decrypts no record before the last one is read: only a read that filled its
            # room can have left something inside TLS, where the kernel cannot see it.
            self._cut_short = len(data) == room < _RECORD_BYTES
        return b"".join(pieces)

    async def wait_readable(self) -> None:
        """Wait until `receive_nowait` is worth a try; always a checkpoint."""
        if self._closed:
            raise trio.ClosedResourceError("this connection is closed")
        if self._cut_short:
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._socket)

    def send_nowait(self, data: bytes) -> bool:
        """Write as much as the kernel takes and park the rest in order.

        Returns:
            True if everything ever handed over has been written.

        Raises:
            trio.BrokenResourceError: the peer or the network broke the connection.
        """
        if self._mute:
            raise trio.ClosedResourceError("this connection is closed")
        if self._parked:
            data = self._parked + data if data else self._parked
        sent = 0
        size = len(data)
        send = self._socket.send
        try:
            if size <= _RECORD_BYTES:
                sent = send(data) if size else 0
            if sent < size:
                view = memoryview(data)
                while sent < size:
                    sent += send(view[sent:])
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError as error:
            self._parked = b""
            self.parked_bytes = 0
            raise trio.BrokenResourceError(f"the connection broke: {error}") from error
        self.sent_bytes += sent
        self._parked = data[sent:] if sent < size else b""
        self.parked_bytes = size - sent
        return sent == size

    async def wait_sent(self) -> None:
        """Wait until nothing is parked any more."""
        while self._parked:
            await self.wait_send_all_might_not_block()
            self.send_nowait(b"")

    # trio.abc.Stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Receive some bytes, as `trio.abc.ReceiveStream` has it (`max_bytes` is a hint)."""
        del max_bytes
        while True:
            await self.wait_readable()
            data = self.receive_nowait()
            if data is not None:
                return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything, as `trio.abc.SendStream` has it."""
        async with self._send_lock:
            await trio.lowlevel.checkpoint()
            if not self.send_nowait(bytes(data)):
                await self.wait_sent()

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something could be sent."""
        if self._closed:
            raise trio.ClosedResourceError("this connection is closed")
        await trio.lowlevel.wait_writable(self._socket)

    def cut(self) -> None:
        """End the connection from outside: its reader meets the end, its writer a broken one."""
        if self._closed:
            return
        self._read = _nothing  # what has arrived is not read any more
        self._say_farewell()
        with suppress(OSError):
            # Not SSLSocket's own, which would leave a plain socket behind.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def end(self) -> None:
        """Say that nothing more will be sent; what comes is still read (TLS: close_notify).

        To be called when nothing is parked.
        """
        self._mute = True
        if self._secure is not None:
            self._say_farewell()
        else:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close at once; what is parked is lost."""
        if self._closed:
            return
        self._closed = self._mute = True
        if self.on_close is not None:
            self.on_close()
        trio.lowlevel.notify_closing(self._socket)
        self._say_farewell()
        self._socket.close()

    def _say_farewell(self) -> None:
        """Send a close_notify if there is room for it; nobody waits for the answer."""
        if self._secure is not None:
            with suppress(OSError, ValueError):
                self._secure.setblocking(False)
                self._secure.unwrap()
                # The other side has said the same: what is left is a plain socket, of no use here.
                self._read = _nothing
                self._cut_short = True

    async def aclose(self) -> None:
        """Close at once, as `trio.abc.AsyncResource` has it."""
        self.close()
        await trio.lowlevel.checkpoint()


def _nothing(_size: int) -> bytes:
    """Read from a connection that was cut."""
    return b""


class PrefixedStream(trio.abc.Stream):
    """A stream whose first bytes were read already by somebody who had to look at them."""

    def __init__(self, prefix: bytes, stream: trio.abc.Stream) -> None:
        self._prefix = prefix
        self._stream = stream

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Give the prefix first, then what the stream gives."""
        if self._prefix:
            await trio.lowlevel.checkpoint()
            data, self._prefix = self._prefix, b""
            return data
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until something could be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream beneath."""
        await self._stream.aclose()


class InThread(Protocol):
    """Runs what blocks, or takes long, beside the loop, as `run_in_thread` does."""

    async def __call__(
        self, work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
    ) -> object:
        """Run it, in one of the limiter's threads, and wait for it."""


async def run_in_thread(
    work: Callable[[], object], /, *, limiter: trio.CapacityLimiter | None = None
) -> object:
    """Run it in a thread of Trio's."""
    return await trio.to_thread.run_sync(work, limiter=limiter)


async def shake_hands(
    secure: ssl.SSLSocket, threads: trio.CapacityLimiter, in_thread: InThread
) -> None:
    """Do the TLS handshake of a non-blocking socket, its cryptography in one of `threads`.

    Raises:
        OSError: the two sides did not come to terms; an `ssl.SSLError` says why.
    """
    while True:
        try:
            await in_thread(secure.do_handshake, limiter=threads)
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(secure)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(secure)
        else:
            return


def tls_reason(error: ssl.SSLError, refused: str, reasons: Mapping[str, str]) -> str:
    """Say in a few words why a handshake failed, without OpenSSL's file and line.

    Args:
        error: what it failed with.
        refused: said of the other side's certificate, before what is wrong with it.
        reasons: OpenSSL's names of reasons and what to say instead.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{refused}: {error.verify_message}"
    name = error.reason or ""
    if isinstance(error, ssl.SSLZeroReturnError):
        name = "UNEXPECTED_EOF_WHILE_READING"  # said so by Python 3.11.2, if in a handshake
    return reasons.get(name) or name.replace("_", " ").lower() or "the TLS handshake failed"
