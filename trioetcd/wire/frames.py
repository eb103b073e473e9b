"""Frame types, flags, error codes and settings of HTTP/2, and the bytes of small frames.

RFC 9113 sections 4.1, 6, 7. Constants and packing only; what frames mean lives in `http2`.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

__all__ = [
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONTINUATION",
    "DATA",
    "ENHANCE_YOUR_CALM",
    "FLAG_ACK",
    "FLAG_END_HEADERS",
    "FLAG_END_STREAM",
    "FLAG_PADDED",
    "FLAG_PRIORITY",
    "FLOW_CONTROL_ERROR",
    "FRAME_HEADER",
    "FRAME_SIZE_ERROR",
    "GOAWAY",
    "HEADERS",
    "INADEQUATE_SECURITY",
    "INTERNAL_ERROR",
    "NO_ERROR",
    "PING",
    "PREFACE",
    "PRIORITY",
    "PROTOCOL_ERROR",
    "PUSH_PROMISE",
    "REFUSED_STREAM",
    "RST_STREAM",
    "SETTINGS",
    "SETTINGS_ACK",
    "STREAM_CLOSED",
    "STREAM_ID_MAX",
    "WINDOW_MAX",
    "WINDOW_UPDATE",
    "goaway_frame",
    "header_frames",
    "ping_frame",
    "reset_frame",
    "settings_frame",
    "window_frame",
]

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

FLAG_END_STREAM: Final = 0x01
FLAG_ACK: Final = 0x01
FLAG_END_HEADERS: Final = 0x04
FLAG_PADDED: Final = 0x08
FLAG_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB
INADEQUATE_SECURITY: Final = 0xC

WINDOW_MAX: Final = 2**31 - 1
STREAM_ID_MAX: Final = 2**31 - 1

FRAME_HEADER: Final = Struct(">IBI")
"""Length and type in one word, flags, stream: nine octets (section 4.1)."""

_SMALL: Final = Struct(">IBII")
_GOAWAY: Final = Struct(">IBIII")
_SETTING: Final = Struct(">HI")

SETTINGS_ACK: Final = FRAME_HEADER.pack(SETTINGS, FLAG_ACK, 0)
_PING: Final = FRAME_HEADER.pack(8 << 8 | PING, 0, 0)
_PING_ACK: Final = FRAME_HEADER.pack(8 << 8 | PING, FLAG_ACK, 0)


def reset_frame(stream: int, code: int) -> bytes:
    """Give RST_STREAM."""
    return _SMALL.pack(4 << 8 | RST_STREAM, 0, stream, code)


def window_frame(stream: int, increment: int) -> bytes:
    """Give WINDOW_UPDATE."""
    return _SMALL.pack(4 << 8 | WINDOW_UPDATE, 0, stream, increment)


def goaway_frame(last_stream: int, code: int, text: bytes = b"") -> bytes:
    """Give GOAWAY with a debug text."""
    return _GOAWAY.pack((8 + len(text)) << 8 | GOAWAY, 0, 0, last_stream, code) + text


def ping_frame(payload: bytes, *, ack: bool) -> bytes:
    """Give PING; `payload` has eight octets."""
    return (_PING_ACK if ack else _PING) + payload


def settings_frame(settings: dict[int, int]) -> bytes:
    """Give SETTINGS with these identifiers and values."""
    body = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
    return FRAME_HEADER.pack(len(body) << 8 | SETTINGS, 0, 0) + body


def header_frames(stream: int, block: bytes, *, end: bool, frame_bytes_max: int) -> bytes:
    """Give HEADERS, and CONTINUATION for what does not fit into one frame."""
    flags = FLAG_END_STREAM if end else 0
    if len(block) <= frame_bytes_max:
        flags |= FLAG_END_HEADERS
        return FRAME_HEADER.pack(len(block) << 8 | HEADERS, flags, stream) + block
    frames = [FRAME_HEADER.pack(frame_bytes_max << 8 | HEADERS, flags, stream)]
    frames.append(block[:frame_bytes_max])
    for start in range(frame_bytes_max, len(block), frame_bytes_max):
        piece = block[start : start + frame_bytes_max]
        flags = FLAG_END_HEADERS if start + frame_bytes_max >= len(block) else 0
        frames += (FRAME_HEADER.pack(len(piece) << 8 | CONTINUATION, flags, stream), piece)
    return b"".join(frames)
