"""HPACK against the hpack package, both ways."""

from __future__ import annotations

import hpack
import pytest
from hpack.hpack import Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import header_lists
from trioetcd.wire.header_block import (
    Field,
    HeaderBlockError,
    HeaderDecoder,
    encode_fields,
    encode_integer,
)


@settings(deadline=None)
@given(
    lists=st.lists(header_lists(), max_size=8),
    huffman=st.booleans(),
    table=st.integers(0, 4096),
)
def test_decoder_reads_what_hpack_writes(
    *, lists: list[list[Field]], huffman: bool, table: int
) -> None:
    """Blocks of a foreign encoder, dynamic table and all, decode to what went in."""
    encoder = Encoder()
    decoder = HeaderDecoder(1 << 20)
    for number, fields in enumerate(lists):
        if number == len(lists) // 2:
            encoder.header_table_size = table
        block = encoder.encode(fields, huffman=huffman)
        assert tuple(fields) == decoder.decode(block)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_decoder_agrees_with_hpack_on_any_bytes(blocks: list[bytes]) -> None:
    """Any bytes: both decoders give the same fields, or both refuse."""
    ours, theirs = HeaderDecoder(1 << 20), hpack.Decoder(1 << 20)
    for block in blocks:
        try:
            expected = tuple((bytes(n), bytes(v)) for n, v in theirs.decode(block, raw=True))
        except (hpack.HPACKError, IndexError):
            with pytest.raises(HeaderBlockError):
                ours.decode(block)
            return
        assert expected == ours.decode(block)


@settings(deadline=None)
@given(header_lists(), header_lists())
def test_encoder_needs_no_table(before: list[Field], fields: list[Field]) -> None:
    """What we encode means the same whatever the table holds, and does not change it."""
    theirs = hpack.Decoder()
    decoder = HeaderDecoder(1 << 20)
    first = Encoder().encode(before)
    theirs.decode(first, raw=True)
    decoder.decode(first)
    block = encode_fields(fields)
    assert fields == [(bytes(n), bytes(v)) for n, v in theirs.decode(block, raw=True)]
    assert tuple(fields) == decoder.decode(block)
    assert not decoder.changed


def test_changed_says_when_remembered_blocks_are_stale() -> None:
    """A literal that enters the table and a size update count as changes, nothing else does."""
    decoder = HeaderDecoder(1 << 16)
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.changed
    assert decoder.decode(b"\xbe") == ((b"a", b"b"),)
    assert not decoder.changed
    decoder.decode(b"\x20")
    assert decoder.changed
    with pytest.raises(HeaderBlockError):
        decoder.decode(b"\xbe")


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # beyond the table
        b"\xff\x80\x80\x80\x80\x80\x01",  # an integer without end
        b"\xff\x00",  # 127 is beyond the table
        b"\xff",  # cut inside an integer
        b"\x00\x05ab",  # cut inside a string
        b"\x00\x81\x00\x00",  # Huffman with padding of zeros
        b"\x00\x84\xff\xff\xff\xff\x00",  # the end-of-string code
        b"\x82\x20",  # a size update after a field
        b"\x3f\xe2\x1f",  # a table of 4097
        b"\x40",
    ],
)
def test_malformed_blocks_are_refused(block: bytes) -> None:
    """Each way to be no HPACK is an error, never another exception."""
    with pytest.raises(HeaderBlockError):
        HeaderDecoder(1 << 16).decode(block)


def test_header_bomb_is_oversized() -> None:
    """Many references to one large entry are refused by the size they would unfold to."""
    decoder = HeaderDecoder(1 << 16)
    fields = decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 20)
    with pytest.raises(HeaderBlockError) as caught:
        decoder.check_size(fields)
    assert caught.value.oversized


def test_secrets_are_never_indexed() -> None:
    """A token is sent with the bit that keeps it out of every table on the way."""
    assert encode_fields([(b"token", b"x")])[0] == 0x10


@pytest.mark.parametrize(("value", "expected"), [(10, b"\x0a"), (1337, b"\x1f\x9a\x0a")])
def test_integers_as_in_the_appendix(value: int, expected: bytes) -> None:
    """RFC 7541 appendix C.1."""
    assert expected == encode_integer(value, 0x1F, 0)


def test_field_apart_is_kept_out_of_the_list() -> None:
    """The field asked for apart is left out where it is a literal; its value is the last one's."""
    decoder = HeaderDecoder(1 << 16)
    block = b"\x82\x40\x01a\x01b" + b"\x00\x01a\x01c" + b"\x87"
    assert decoder.decode(block, b"a") == ((b":method", b"GET"), (b":scheme", b"https"))
    assert decoder.apart == b"c"
    assert decoder.decode(b"\xbe", b"a") == ((b"a", b"b"),)
    assert decoder.apart is None
