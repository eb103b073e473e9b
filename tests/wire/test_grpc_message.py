"""Message frames and status text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trioetcd.wire.grpc_message import (
    MessageError,
    cut_messages,
    decode_text,
    encode_text,
    failure_block,
    frame,
)
from trioetcd.wire.header_block import HeaderDecoder


@settings(deadline=None)
@given(st.text())
def test_status_text_round_trips(text: str) -> None:
    """Any text survives the percent encoding, which is printable ASCII only."""
    encoded = encode_text(text)
    assert all(0x20 <= octet <= 0x7E for octet in encoded)
    assert text.encode("utf-8", "replace").decode() == decode_text(encoded)


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_decode_to_some_text(value: bytes) -> None:
    """A foreign grpc-message never breaks us."""
    assert isinstance(decode_text(value), str)


def test_plain_status_text_is_sent_as_it_is() -> None:
    """The texts of etcd need no escape, and get none."""
    text = "etcdserver: requested lease not found"
    assert encode_text(text) == text.encode()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=50)), st.binary(max_size=4))
def test_cutting_gives_the_messages_and_keeps_the_rest(messages: list[bytes], rest: bytes) -> None:
    """Whole messages leave the buffer, an unfinished one stays."""
    buffer = bytearray(b"".join(map(frame, messages)) + rest)
    assert messages == cut_messages(buffer, message_bytes_max=50, encoding="")
    assert rest == buffer


@pytest.mark.parametrize(
    ("sent", "encoding", "code"),
    [
        (b"\x01\0\0\0\0", "gzip", 12),
        (b"\x01\0\0\0\0", "", 13),
        (b"\x07\0\0\0\0", "", 13),
        (b"\0\0\0\0\x0b", "", 8),
    ],
)
def test_bad_prefixes(sent: bytes, encoding: str, code: int) -> None:
    """Compression nobody installed, unknown flags and lengths above the bound are refused."""
    with pytest.raises(MessageError) as caught:
        cut_messages(bytearray(sent), message_bytes_max=10, encoding=encoding)
    assert code == caught.value.code


def test_failure_alone_is_a_response() -> None:
    """Trailers that come alone carry the response's head."""
    fields = dict(HeaderDecoder(1 << 16).decode(failure_block(3, "bad", alone=True)))
    assert fields == {
        b":status": b"200",
        b"content-type": b"application/grpc",
        b"grpc-status": b"3",
        b"grpc-message": b"bad",
    }
