"""What gRPC puts into HTTP/2: message frames, status text, constant header blocks, event names.

The gRPC-over-HTTP/2 protocol text, for both roles.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final

from trioetcd.wire.header_block import Field, encode_fields

__all__ = [
    "CALL",
    "CANCELLED",
    "DRAINED",
    "GONE",
    "HALF_CLOSED",
    "HEAD_BLOCK",
    "MESSAGE",
    "OK_BLOCK",
    "OPENED",
    "PREFIX",
    "REQUEST",
    "RESPONSE",
    "TRAILERS",
    "MessageError",
    "cut_messages",
    "decode_text",
    "encode_text",
    "failure_block",
    "frame",
]

OPENED, MESSAGE, HALF_CLOSED, CALL, CANCELLED, REQUEST, DRAINED = range(7)
RESPONSE, TRAILERS, GONE = range(7, 10)

INTERNAL: Final = 13
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12

PREFIX: Final = Struct(">BI")
"""Compressed flag and length before every message."""

_HEAD_FIELDS: Final[tuple[Field, ...]] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
)
HEAD_BLOCK: Final = encode_fields(_HEAD_FIELDS)
OK_BLOCK: Final = encode_fields(((b"grpc-status", b"0"),))

_PLAIN_TEXT: Final = re.compile(r"[ -$&-~]*").fullmatch
_ESCAPE: Final = re.compile(r"%([0-9A-Fa-f]{2})")


class MessageError(Exception):
    """A stream's bytes are no messages: the status to answer with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


def frame(message: bytes) -> bytes:
    """Give `message` with its gRPC prefix."""
    return PREFIX.pack(0, len(message)) + message


def encode_text(text: str) -> bytes:
    """Give the form of a grpc-message: UTF-8, everything but printable ASCII as ``%XX``.

    So are spaces at its ends, which HTTP/2 forbids (RFC 9113 section 8.2.1).
    """
    if _PLAIN_TEXT(text) and text == text.strip(" "):
        return text.encode("ascii")
    raw = text.encode("utf-8", "replace")
    inner = raw.strip(b" ")
    before = len(raw) - len(raw.lstrip(b" "))
    encoded = b"".join(
        b"%%%02X" % octet if octet < 0x20 or octet > 0x7E or octet == 0x25 else bytes((octet,))
        for octet in inner
    )
    return b"%20" * before + encoded + b"%20" * (len(raw) - len(inner) - before)


def decode_text(value: bytes) -> str:
    """Read a grpc-message; what is no escape stays as it is."""
    text = value.decode("latin-1")
    if "%" not in text:
        return value.decode("utf-8", "replace")
    raw = _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)
    return raw.encode("latin-1").decode("utf-8", "replace")


def failure_block(code: int, text: str, *, alone: bool, status: bytes = b"200") -> bytes:
    """Give the trailers of a failed call, with a response's head if they come `alone`."""
    fields: list[Field] = []
    if alone:
        fields += [(b":status", status), _HEAD_FIELDS[1]]
    fields += [(b"grpc-status", str(code).encode("ascii")), (b"grpc-message", encode_text(text))]
    return encode_fields(fields)


def cut_messages(buffer: bytearray, *, message_bytes_max: int, encoding: str) -> list[bytes]:
    """Take the whole messages off the front of `buffer`.

    Raises:
        MessageError: a message is compressed, or announces more than `message_bytes_max`: that
            is decided by its prefix alone, nothing of that size is ever held.
    """
    messages: list[bytes] = []
    pos = 0
    end = len(buffer)
    while end - pos >= PREFIX.size:
        flag, length = PREFIX.unpack_from(buffer, pos)
        if flag:
            raise compressed(flag, encoding)
        if length > message_bytes_max:
            raise too_large(length, message_bytes_max)
        stop = pos + PREFIX.size + length
        if stop > end:
            break
        messages.append(bytes(memoryview(buffer)[pos + PREFIX.size : stop]))
        pos = stop
    if pos:
        del buffer[:pos]
    return messages


def compressed(flag: int, encoding: str) -> MessageError:
    """Give the answer to a message with the compressed flag: no compression is installed."""
    if flag != 1:
        return MessageError(INTERNAL, f"grpc: received unexpected payload format {flag}")
    if not encoding:
        return MessageError(INTERNAL, "grpc: compressed flag set without a grpc-encoding")
    return MessageError(
        UNIMPLEMENTED, f'grpc: Decompressor is not installed for grpc-encoding "{encoding}"'
    )


def too_large(length: int, message_bytes_max: int) -> MessageError:
    """Give the answer to a message that is, or says it is, too long."""
    return MessageError(
        RESOURCE_EXHAUSTED,
        f"grpc: received message larger than max ({length} vs. {message_bytes_max})",
    )
