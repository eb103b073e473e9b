"""What a header block says, worked out once per distinct block.

RFC 9113 sections 8.2 and 8.3, the gRPC protocol's request headers. Etcd's clients send the same
block again and again, so a `Head` is remembered and shared by the calls of its connection: it must
never be changed.
"""

from __future__ import annotations

import binascii
import re
from typing import Final, Literal

from trioetcd.pki import NOWHERE, Origin
from trioetcd.wire.header_block import Field

__all__ = ["Head", "Kind", "parse_head", "parse_timeout"]

Kind = Literal["request", "response", "trailers", "malformed"]
Metadata = tuple[tuple[str, bytes], ...]

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_VALUE_FORBIDDEN: Final = re.compile(rb"[\x00\r\n]|\A[ \t]|[ \t]\Z").search
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"}
)
_REQUEST_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_GRPC_TYPE: Final = b"application/grpc"
_TIMEOUT_DIGITS_MAX: Final = 8
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class Head:
    """One header block: a request's, a response's, or trailers.

    Attributes:
        kind: what it may be used as; a malformed one ends its stream.
        reason: why it is malformed.
        fields: names and values as they were sent, pseudo-headers first.
        method, scheme, path, authority: a request's pseudo-headers.
        status: a response's; 0 in others.
        grpc: a gRPC request this program understands (``application/grpc`` or ``+proto``).
        grpc_like: any content type that begins with ``application/grpc``.
        timeout: grpc-timeout in seconds, None without one.
        timeout_valid: False if grpc-timeout was there and not to be read.
        encoding: grpc-encoding, empty if none or identity.
        content_length: the header's number, None without one.
        metadata: everything that is not the protocol's own, names in lower case, ``-bin`` decoded.
        note: what the layer above has made of the metadata; None if there is nothing to be said.
        origin: who is at the other end of the connection, if the layer above has said so.
    """

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.kind: Kind = "trailers"
        self.reason = ""
        self.method = self.scheme = self.path = self.authority = ""
        self.status = 0
        self.grpc = self.grpc_like = False
        self.timeout: float | None = None
        self.timeout_valid = True
        self.encoding = ""
        self.content_length: int | None = None
        self.metadata: Metadata = ()
        self.note: object = None
        self.origin: Origin = NOWHERE
        self._index: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        """Give the first metadata value called `name` (lower case), or None."""
        return self._index.get(name)

    def with_timeout(self, value: bytes) -> Head:
        """Give the same head with another grpc-timeout."""
        head = Head.__new__(Head)
        head.__dict__ = self.__dict__.copy()
        head.timeout = timeout = parse_timeout(value)
        head.timeout_valid = timeout is not None
        return head


def parse_timeout(value: bytes) -> float | None:
    """Give the seconds of a grpc-timeout: up to eight digits and a unit; None if it is neither."""
    unit = _UNITS.get(value[-1:])
    digits = value[:-1]
    if unit is None or not digits.isdigit() or len(digits) > _TIMEOUT_DIGITS_MAX:
        return None
    return int(digits) * unit


def parse_head(fields: tuple[Field, ...]) -> Head:
    """Work out what a header list means; never raises."""
    head = Head(fields)
    try:
        _parse(head, fields)
    except _MalformedError as error:
        head.kind = "malformed"
        head.reason = str(error)
    return head


class _MalformedError(Exception):
    """The list breaks RFC 9113 section 8.2 or 8.3."""


def _parse(head: Head, fields: tuple[Field, ...]) -> None:
    pseudo: dict[bytes, bytes] = {}
    metadata: list[tuple[str, bytes]] = []
    regular = False
    for name, value in fields:
        if _VALUE_FORBIDDEN(value):
            raise _MalformedError("a header value holds a forbidden octet")
        if name[:1] == b":":
            if regular:
                raise _MalformedError("a pseudo-header after a header")
            if name in pseudo:
                raise _MalformedError("a pseudo-header twice")
            pseudo[name] = value
            continue
        regular = True
        if not _NAME(name):
            raise _MalformedError("a header name holds a forbidden octet")
        if name in _CONNECTION_SPECIFIC:
            raise _MalformedError("a header that belongs to HTTP/1.1 connections")
        _field(head, name, value, metadata)
    head.metadata = tuple(metadata)
    for text, value in reversed(metadata):
        head._index[text] = value  # noqa: SLF001 - the constructor's other half
    if b":status" in pseudo:
        _response(head, pseudo)
    elif pseudo:
        _request(head, pseudo)


def _field(head: Head, name: bytes, value: bytes, metadata: list[tuple[str, bytes]]) -> None:
    if name == b"te":
        if value.lower() != b"trailers":
            raise _MalformedError("te says more than trailers")
        return
    if name == b"content-type":
        _content_type(head, value)
    elif name == b"content-length":
        if not value.isdigit() or len(value) > 19:
            raise _MalformedError("content-length is no number")
        if head.content_length not in {None, int(value)}:
            raise _MalformedError("content-length twice")
        head.content_length = int(value)
    elif name == b"grpc-timeout":
        head.timeout = parse_timeout(value)
        head.timeout_valid = head.timeout is not None
        return
    elif name == b"grpc-encoding":
        head.encoding = "" if value == b"identity" else value.decode("latin-1")
        return
    elif name[-4:] == b"-bin":
        metadata.extend((name.decode("ascii"), _unbase64(part)) for part in value.split(b","))
        return
    metadata.append((name.decode("ascii"), value))


def _content_type(head: Head, value: bytes) -> None:
    kind = value.lower()
    if not kind.startswith(_GRPC_TYPE):
        return
    rest = kind[len(_GRPC_TYPE) :]
    head.grpc_like = True
    head.grpc = rest in {b"", b"+proto"} or rest[:1] == b";" or rest[:7] == b"+proto;"


def _unbase64(value: bytes) -> bytes:
    try:
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        return value  # whoever reads this metadata refuses it as text of its own


def _request(head: Head, pseudo: dict[bytes, bytes]) -> None:
    if not pseudo.keys() <= _REQUEST_PSEUDO:
        raise _MalformedError("a pseudo-header no request has")
    method = pseudo.get(b":method", b"")
    path = pseudo.get(b":path", b"")
    if not method:
        raise _MalformedError("no :method")
    if method == b"CONNECT":
        if b":scheme" in pseudo or b":path" in pseudo or b":authority" not in pseudo:
            raise _MalformedError("CONNECT takes :authority alone")
    elif not pseudo.get(b":scheme") or not path:
        raise _MalformedError("no :scheme or no :path")
    elif path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
        raise _MalformedError(":path is not absolute")
    head.kind = "request"
    head.method = method.decode("latin-1")
    head.path = path.decode("latin-1")
    head.scheme = pseudo.get(b":scheme", b"").decode("latin-1")
    head.authority = pseudo.get(b":authority", b"").decode("latin-1")


def _response(head: Head, pseudo: dict[bytes, bytes]) -> None:
    status = pseudo[b":status"]
    if len(pseudo) != 1 or len(status) != 3 or not status.isdigit():
        raise _MalformedError("a response has a :status of three digits and nothing else")
    head.kind = "response"
    head.status = int(status)
