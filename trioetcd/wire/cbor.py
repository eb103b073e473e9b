"""CBOR (RFC 8949) as members speak it: a strict part of it, and bounds before anything is built.

Unsigned integers, byte strings, texts, arrays and booleans, all of definite length. Maps, tags,
floats, negative numbers, null and indefinite lengths are refused: a tag can make a decoder build
a regular expression or a cycle, a byte can become a dictionary of 64. One walk over the heads
decides that, and counts the items, before cbor2 sees the bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

import cbor2

from trioetcd.wire.errors import RemoteProtocolError

__all__ = [
    "DEPTH_MAX",
    "Value",
    "all_bytes",
    "as_array",
    "as_bytes",
    "as_number",
    "as_text",
    "decode",
    "encode",
]

DEPTH_MAX: Final = 16
"""Nested arrays; what members say to each other is four deep."""

Value = int | bytes | str | bool | list["Value"]
"""What can be said."""

_SIMPLE_HEADS = 0xE0
_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
"""Additional information of a head, and the octets of its argument (RFC 8949, section 3)."""


def encode(value: Sequence[object]) -> bytes:
    """Give the bytes of an array; the caller keeps to `Value`."""
    return cbor2.dumps(value)


def decode(data: bytes, *, items_max: int) -> list[Value]:
    """Read one array, which is all there is.

    Args:
        data: its bytes, whole.
        items_max: items of all arrays together; an item takes up to 72 bytes of memory.

    Raises:
        RemoteProtocolError: it is not one array, holds what nobody says here, is longer or
            shorter than it claims, or has too many items or too much depth.
    """
    _check(data, items_max)
    try:
        value: list[Value] = cbor2.loads(data, max_depth=DEPTH_MAX, allow_indefinite=False)
    except cbor2.CBORDecodeError as error:  # depth, or a text that is no UTF-8
        raise RemoteProtocolError(f"a frame cannot be read: {error}") from None
    return value


def _check(data: bytes, items_max: int) -> None:
    """Walk over the heads of all items, one after the other: what an array holds follows it."""
    size = len(data)
    if not size or data[0] >> 5 != 4:
        raise RemoteProtocolError("a frame must hold one array")
    pos = 0
    missing = 1
    items = 0
    sizes = _SIZES
    from_bytes = int.from_bytes
    while missing:
        if pos >= size:
            raise RemoteProtocolError("a frame ends in the middle of an array")
        head = data[pos]
        pos += 1
        missing -= 1
        argument = head & 0x1F
        if argument > 23:
            octets = sizes.get(argument)
            if octets is None or head >= _SIMPLE_HEADS:
                raise RemoteProtocolError(f"a frame holds the head {head:#04x}, which has no place")
            argument = from_bytes(data[pos : pos + octets], "big")
            pos += octets
        major = head >> 5
        if major in {2, 3}:  # byte strings and texts
            pos += argument
        elif major == 4:  # arrays
            items += argument
            if items > items_max:
                raise RemoteProtocolError(f"a frame holds more than {items_max} items")
            missing += argument
        elif major and head not in {0xF4, 0xF5}:  # false and true
            raise RemoteProtocolError(f"a frame holds the head {head:#04x}, which has no place")
    if pos != size:
        raise RemoteProtocolError("a frame is not as long as the array it holds")


def as_number(value: Value, bits: int) -> int:
    """Take an unsigned number of at most `bits` bits.

    Raises:
        RemoteProtocolError: it is something else.
    """
    if type(value) is not int or value >> bits:  # a bool is an int, too
        raise RemoteProtocolError(f"a field must be a number of {bits} bits")
    return value


def as_bytes(value: Value, length_max: int) -> bytes:
    """Take a byte string of at most `length_max` octets.

    Raises:
        RemoteProtocolError: it is something else.
    """
    if not isinstance(value, bytes) or len(value) > length_max:
        raise RemoteProtocolError(f"a field must be a byte string of at most {length_max} octets")
    return value


def as_text(value: Value, length_max: int) -> str:
    """Take a text of at most `length_max` characters.

    Raises:
        RemoteProtocolError: it is something else.
    """
    if not isinstance(value, str) or len(value) > length_max:
        raise RemoteProtocolError(f"a field must be a text of at most {length_max} characters")
    return value


def all_bytes(values: list[Value]) -> list[bytes]:
    """Take an array of byte strings and nothing else; the frame bounds their lengths.

    Raises:
        RemoteProtocolError: one of them is something else.
    """
    if not set(map(type, values)) <= {bytes}:
        raise RemoteProtocolError("an array must hold byte strings")
    return cast("list[bytes]", values)


def as_array(value: Value) -> list[Value]:
    """Take an array.

    Raises:
        RemoteProtocolError: it is something else.
    """
    if not isinstance(value, list):
        raise RemoteProtocolError("a field must be an array")
    return value
