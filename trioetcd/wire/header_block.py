"""HPACK: header blocks to fields, and fields to header blocks that need no table.

RFC 7541. The decoder is ours because clients that send a fresh ``grpc-timeout`` with every call
(everything on Go's library) change the table with every block: it takes such a block apart in a
few steps per field. The static table and the states of the Huffman code are the `hpack` package's,
and its decoder is the oracle in the tests. The encoder never uses the dynamic table, so that
blocks of answers are constants.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from hpack.huffman_table import HUFFMAN_TABLE
from hpack.table import HeaderTable

__all__ = ["Field", "HeaderBlockError", "HeaderDecoder", "encode_fields", "encode_integer"]

Field = tuple[bytes, bytes]
"""Name and value as they were sent."""

_STATIC: Final[tuple[Field, ...]] = ((b"", b""), *HeaderTable.STATIC_TABLE)
_STATIC_COUNT: Final = 61
_TABLE_BYTES: Final = 4096
_FIELD_OVERHEAD: Final = 32
_SHIFT_MAX: Final = 28  # integers above 2**28 name nothing that may exist here


class HeaderBlockError(Exception):
    """A block that is no HPACK, or one that is too large; the table is lost either way."""

    def __init__(self, message: str, *, oversized: bool = False) -> None:
        super().__init__(message)
        self.oversized = oversized


class _Huffman(dict[int, tuple[int, bytes, bool]]):
    """The Huffman code (section 5.2) octet by octet: what an octet means in a state.

    `hpack` has it for half octets; two of its steps are put together when they first occur. The
    key is state and octet, the value the next state, the symbols, and whether a string may end.
    """

    def __missing__(self, key: int) -> tuple[int, bytes, bool]:
        state, octet = key >> 8, key & 0xFF
        symbols = b""
        flags = 0
        for half in (octet >> 4, octet & 0x0F):
            state, flags, symbol = HUFFMAN_TABLE[state * 16 + half]
            if flags & _FAIL:
                raise HeaderBlockError("a string is not Huffman code")
            if flags & _EMIT:
                symbols += bytes((symbol,))
        step = self[key] = (state, symbols, flags & _COMPLETE != 0)
        return step


_COMPLETE, _EMIT, _FAIL = 1, 2, 4
_HUFFMAN: Final = _Huffman()


def _decode_huffman(value: bytes) -> bytes:
    state, complete = 0, True
    symbols: list[bytes] = []
    for octet in value:
        state, emitted, complete = _HUFFMAN[state << 8 | octet]
        symbols.append(emitted)
    if not complete:
        raise HeaderBlockError("a string ends inside its Huffman code")
    return b"".join(symbols)


def _integer(block: bytes, pos: int, mask: int) -> tuple[int, int]:
    """Read a prefixed integer (section 5.1) whose first octet is at `pos`; give it and its end."""
    value = block[pos] & mask
    pos += 1
    if value < mask:
        return value, pos
    shift = 0
    while True:
        octet = block[pos]
        pos += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, pos
        shift += 7
        if shift > _SHIFT_MAX:
            raise HeaderBlockError("an integer is too large")


def _string(block: bytes, pos: int) -> tuple[bytes, int]:
    """Read a string literal (section 5.2)."""
    huffman = block[pos] & 0x80
    length, pos = _integer(block, pos, 0x7F)
    stop = pos + length
    if stop > len(block):
        raise HeaderBlockError("a string ends after its block")
    value = block[pos:stop]
    return (_decode_huffman(value) if huffman else value), stop


class HeaderDecoder:
    """The decoding half of one connection's compression state.

    Attributes:
        changed: whether the last block touched the dynamic table: blocks remembered by their
            bytes mean something else afterwards.
        apart: the value of the last block's field that was asked for apart, or None.
    """

    def __init__(self, list_bytes_max: int) -> None:
        self.changed = False
        self.apart: bytes | None = None
        self._list_bytes_max = list_bytes_max
        self._table: list[Field] = []  # the newest entry is the last
        self._table_bytes = 0
        self._table_bytes_max = _TABLE_BYTES

    def decode(self, block: bytes, apart: bytes = b"") -> tuple[Field, ...]:
        """Take a whole block apart.

        A literal field called `apart` is left out of the fields: the last
        one's value is in the attribute `apart`. So what changes with every call does not change
        the rest.

        Raises:
            HeaderBlockError: it is malformed; the connection is lost. So it is if an index is
                beyond the table, whatever the words say.
        """
        try:
            return self._decode(block, apart)
        except IndexError:
            raise HeaderBlockError(
                "the block ends inside a field, or an index names no entry"
            ) from None

    def check_size(self, fields: tuple[Field, ...]) -> None:
        """Refuse a list that is too large; the caller need not ask for one it knows.

        Until then even a bomb is only references to a table of 4 KiB, one per octet at most.

        Raises:
            HeaderBlockError: names, values and 32 a field are above the bound.
        """
        size = sum(len(name) + len(value) for name, value in fields)
        if size + _FIELD_OVERHEAD * len(fields) > self._list_bytes_max:
            raise HeaderBlockError("the header list is too large", oversized=True)

    def _decode(self, block: bytes, apart: bytes) -> tuple[Field, ...]:
        self.changed = False
        self.apart = None
        fields: list[Field] = []
        table = self._table
        pos = 0
        end = len(block)
        while pos < end:
            octet = block[pos]
            if octet > 0x80:  # an indexed field
                index = octet & 0x7F
                if index <= _STATIC_COUNT:
                    pos += 1
                    fields.append(_STATIC[index])
                elif index < 0x7F:
                    pos += 1
                    fields.append(table[_STATIC_COUNT - index])  # the newest, 62, is at -1
                else:
                    index, pos = _integer(block, pos, 0x7F)
                    fields.append(self._lookup(index))
            elif octet == 0x80:
                raise HeaderBlockError("index 0 names no entry")
            elif octet >= 0x40:  # a literal that enters the table
                field, pos = self._literal(block, pos, 0x3F)
                self._insert(field)
                if field[0] != apart:
                    fields.append(field)
                else:
                    self.apart = field[1]
            elif octet >= 0x20:
                if fields:
                    raise HeaderBlockError("a table size update after a field")
                pos = self._resize(block, pos)
            else:  # a literal that does not enter the table, perhaps never may
                field, pos = self._literal(block, pos, 0x0F)
                if field[0] != apart:
                    fields.append(field)
                else:
                    self.apart = field[1]
        return tuple(fields)

    def _lookup(self, index: int) -> Field:
        if 0 < index <= _STATIC_COUNT:
            return _STATIC[index]
        back = index - _STATIC_COUNT
        if index == 0 or back > len(self._table):
            raise HeaderBlockError("an index names no entry")
        return self._table[-back]

    def _literal(self, block: bytes, pos: int, mask: int) -> tuple[Field, int]:
        """Read a literal field; short lengths, which nearly all are, without a call each."""
        index = block[pos] & mask
        if index < mask:
            pos += 1
        else:
            index, pos = _integer(block, pos, mask)
        if index:
            name = self._lookup(index)[0]
        else:
            name, pos = _string(block, pos)
        octet = block[pos]
        length = octet & 0x7F
        stop = pos + 1 + length
        if length == 0x7F or stop > len(block):
            value, stop = _string(block, pos)
        else:
            value = block[pos + 1 : stop]
            if octet & 0x80:
                value = _decode_huffman(value)
        return (name, value), stop

    def _insert(self, field: Field) -> None:
        self.changed = True
        self._table.append(field)
        self._table_bytes += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
        self._evict()

    def _resize(self, block: bytes, pos: int) -> int:
        size, pos = _integer(block, pos, 0x1F)
        if size > _TABLE_BYTES:
            raise HeaderBlockError("the table size is above the agreed one")
        self.changed = True
        self._table_bytes_max = size
        self._evict()
        return pos

    def _evict(self) -> None:
        table = self._table
        while self._table_bytes > self._table_bytes_max:
            name, value = table.pop(0)
            self._table_bytes -= len(name) + len(value) + _FIELD_OVERHEAD


_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(_STATIC)))}
_SECRET: Final = frozenset({b"token", b"authorization", b"cookie"})
_STATIC_FIELDS: Final = {field: index for index, field in enumerate(_STATIC) if index}


def encode_integer(value: int, mask: int, first: int) -> bytes:
    """Write a prefixed integer (section 5.1) with the bits `first` above its prefix."""
    if value < mask:
        return bytes((first | value,))
    octets = bytearray((first | mask,))
    value -= mask
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode_fields(fields: Iterable[Field]) -> bytes:
    """Give a block that means `fields` whatever the table holds, and leaves it as it is."""
    parts: list[bytes] = []
    for name, value in fields:
        index = _STATIC_FIELDS.get((name, value))
        if index is not None:
            parts.append(bytes((0x80 | index,)))
            continue
        index = _STATIC_NAMES.get(name, 0)
        # A secret is marked "never indexed", so that no proxy puts it into its table either.
        parts.append(encode_integer(index, 0x0F, 0x10 if name in _SECRET else 0x00))
        if not index:
            parts += (encode_integer(len(name), 0x7F, 0x00), name)
        parts += (encode_integer(len(value), 0x7F, 0x00), value)
    return b"".join(parts)
