"""A small etcd v3 client for the proofs, on grpcio and a protobuf codec of its own.

It shares no line with the product, so that a mistake in the product's codec cannot hide a lost
write from the proof. Only the fields that the proofs look at are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol, cast

import grpc

__all__ = ["Client", "Future", "Hash", "Item", "RangeAnswer", "RpcFailedError", "Status"]

PUT: Final = "/etcdserverpb.KV/Put"
RANGE: Final = "/etcdserverpb.KV/Range"
DELETE: Final = "/etcdserverpb.KV/DeleteRange"
TXN: Final = "/etcdserverpb.KV/Txn"
COMPACT: Final = "/etcdserverpb.KV/Compact"
GRANT: Final = "/etcdserverpb.Lease/LeaseGrant"
LEASES: Final = "/etcdserverpb.Lease/LeaseLeases"
STATUS: Final = "/etcdserverpb.Maintenance/Status"
HASH_KV: Final = "/etcdserverpb.Maintenance/HashKV"
MEMBER_ADD: Final = "/etcdserverpb.Cluster/MemberAdd"
MEMBER_REMOVE: Final = "/etcdserverpb.Cluster/MemberRemove"

Fields = dict[int, list[int | bytes]]


class RpcFailedError(Exception):
    """A call got an error instead of an answer.

    Attributes:
        code: gRPC's name of the status code.
        text: the server's sentence.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Future(Protocol):
    """An answer to come."""

    def result(self, timeout: float | None = None) -> bytes:
        """Wait for the answer's bytes; raises grpc.RpcError."""

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Wait for the end; give what went wrong."""

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        """Call back at the end, from a thread of gRPC's."""


class _Callable(Protocol):
    def __call__(self, request: bytes, timeout: float | None = None) -> bytes: ...

    def future(self, request: bytes, timeout: float | None = None) -> Future: ...


class _Channel(Protocol):
    def unary_unary(self, path: str) -> _Callable: ...

    def close(self) -> None: ...


class Item(NamedTuple):
    """One key-value pair of an answer."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class RangeAnswer:
    """What a Range answered: the header's revision and the pairs."""

    revision: int
    items: list[Item]
    count: int


@dataclass(frozen=True, slots=True)
class Status:
    """How one member stands.

    Attributes:
        member: its number.
        leader: who leads, as it believes; 0 for nobody.
        revision: of its key space.
        term: Raft's term.
        index: the last entry it knows to be committed.
        applied: the last entry it has applied.
    """

    member: int
    leader: int
    revision: int
    term: int
    index: int
    applied: int


@dataclass(frozen=True, slots=True)
class Hash:
    """What HashKV answered: the hash, and the revision below which history was forgotten."""

    digest: int
    compact_revision: int


def varint(value: int) -> bytes:
    """Encode an unsigned protobuf integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(field: int, value: int) -> bytes:
    """Encode an integer field; nothing when zero."""
    return varint(field << 3) + varint(value) if value else b""


def blob(field: int, value: bytes) -> bytes:
    """Encode a bytes or message field."""
    return varint(field << 3 | 2) + varint(len(value)) + value


def decode(data: bytes) -> Fields:
    """Decode one level of a protobuf message."""
    fields: Fields = {}
    position = 0
    while position < len(data):
        tag, position = _varint_at(data, position)
        value, position = _varint_at(data, position)
        if tag & 7 == 0:
            fields.setdefault(tag >> 3, []).append(value)
        elif tag & 7 == 2:
            fields.setdefault(tag >> 3, []).append(data[position : position + value])
            position += value
        else:
            raise ValueError(f"wire type {tag & 7} is not expected")
    return fields


def _varint_at(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def _int(fields: Fields, field: int) -> int:
    return cast("int", fields.get(field, [0])[0])


def _bytes(fields: Fields, field: int) -> bytes:
    return cast("bytes", fields.get(field, [b""])[0])


def header_revision(answer: bytes) -> int:
    """Give the revision of an answer's header."""
    return _int(decode(_bytes(decode(answer), 1)), 3)


def put_request(key: bytes, value: bytes, *, lease: int = 0) -> bytes:
    """Encode a PutRequest."""
    return blob(1, key) + blob(2, value) + number(3, lease)


def delete_request(key: bytes) -> bytes:
    """Encode a DeleteRangeRequest of one key."""
    return blob(1, key)


def txn_of_puts(pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Encode a TxnRequest whose success branch puts all pairs."""
    return b"".join(blob(2, blob(2, put_request(key, value))) for key, value in pairs)


class Client:
    """One connection with mutual TLS."""

    def __init__(self, address: str, ca: Path, cert: Path, key: Path) -> None:
        credentials = grpc.ssl_channel_credentials(
            ca.read_bytes(), key.read_bytes(), cert.read_bytes()
        )
        options = [
            ("grpc.max_receive_message_length", 1 << 28),
            ("grpc.initial_reconnect_backoff_ms", 20),
            ("grpc.min_reconnect_backoff_ms", 10_000),  # also the deadline of a handshake
            ("grpc.max_reconnect_backoff_ms", 100),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = cast("_Channel", grpc.secure_channel(address, credentials, options))
        self._calls: dict[str, _Callable] = {}

    def close(self) -> None:
        """Close the connection; calls under way fail."""
        self._channel.close()

    def _method(self, path: str) -> _Callable:
        method = self._calls.get(path)
        if method is None:
            method = self._calls[path] = self._channel.unary_unary(path)
        return method

    def begin(self, path: str, request: bytes, *, timeout: float = 5) -> Future:
        """Start a call."""
        return self._method(path).future(request, timeout=timeout)

    def call(self, path: str, request: bytes, *, timeout: float = 5) -> bytes:
        """Make a call and wait for its answer.

        Raises:
            RpcFailedError: it failed.
        """
        return finish(self.begin(path, request, timeout=timeout))

    def put(self, key: bytes, value: bytes, *, timeout: float = 5) -> int:
        """Put, giving the revision."""
        return header_revision(self.call(PUT, put_request(key, value), timeout=timeout))

    def range(
        self,
        key: bytes,
        end: bytes = b"",
        *,
        revision: int = 0,
        serializable: bool = False,
        limit: int = 0,
        timeout: float = 30,
    ) -> RangeAnswer:
        """Read a key or an interval."""
        request = blob(1, key)
        if end:
            request += blob(2, end)
        request += number(3, limit) + number(4, revision) + number(7, int(serializable))
        fields = decode(self.call(RANGE, request, timeout=timeout))
        items = []
        for raw in fields.get(2, []):
            pair = decode(cast("bytes", raw))
            items.append(
                Item(
                    _bytes(pair, 1),
                    _bytes(pair, 5),
                    _int(pair, 2),
                    _int(pair, 3),
                    _int(pair, 4),
                    _int(pair, 6),
                )
            )
        revision_now = _int(decode(_bytes(fields, 1)), 3)
        return RangeAnswer(revision_now, items, _int(fields, 4))

    def compact(self, revision: int) -> None:
        """Compact the history below `revision`."""
        self.call(COMPACT, number(1, revision))

    def leases(self) -> set[int]:
        """Give the ids of all leases."""
        fields = decode(self.call(LEASES, b""))
        return {_int(decode(cast("bytes", raw)), 1) for raw in fields.get(2, [])}

    def status(self, *, timeout: float = 1) -> Status:
        """Ask how the member stands."""
        fields = decode(self.call(STATUS, b"", timeout=timeout))
        header = decode(_bytes(fields, 1))
        return Status(
            member=_int(header, 2),
            leader=_int(fields, 4),
            revision=_int(header, 3),
            term=_int(fields, 6),
            index=_int(fields, 5),
            applied=_int(fields, 7),
        )

    def hash_kv(self, revision: int) -> Hash:
        """Ask for the hash over all history up to `revision`."""
        fields = decode(self.call(HASH_KV, number(1, revision), timeout=30))
        return Hash(_int(fields, 2), _int(fields, 3))

    def member_remove(self, member: int) -> None:
        """Remove a member from the cluster."""
        self.call(MEMBER_REMOVE, number(1, member))

    def member_add(self, url: str) -> int:
        """Add a member by its peer URL; give its number."""
        answer = decode(self.call(MEMBER_ADD, blob(1, url.encode())))
        return _int(decode(_bytes(answer, 2)), 1)


def grant_request(lease: int, seconds: int) -> bytes:
    """Encode a LeaseGrantRequest."""
    return number(1, seconds) + number(2, lease)


def finish(future: Future) -> bytes:
    """Wait for an answer.

    Raises:
        RpcFailedError: the call failed.
    """
    try:
        return future.result()
    except grpc.RpcError as error:
        code = getattr(error, "code", None)
        details = getattr(error, "details", None)
        raise RpcFailedError(
            str(code().name) if callable(code) else "UNKNOWN",
            str(details()) if callable(details) else str(error),
        ) from error
    except grpc.FutureCancelledError as error:
        raise RpcFailedError("CANCELLED", "the channel was closed") from error
