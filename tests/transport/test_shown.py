"""Tests of `trioetcd.transport.shown`: the certificate in a message that nobody has verified."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.transport.shown import _first


def entry(certificate: bytes, *, extensions: bool) -> bytes:
    return len(certificate).to_bytes(3) + certificate + (b"\0\0" if extensions else b"")


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=3), st.binary(max_size=8))
def test_the_first_certificate_is_found(certificates: list[bytes], context: bytes) -> None:
    """In the form of TLS 1.2, and in that of TLS 1.3 with its context and extensions."""
    for modern in (False, True):
        entries = b"".join(entry(each, extensions=modern) for each in certificates)
        body = len(entries).to_bytes(3) + entries
        if modern:
            body = bytes((len(context),)) + context + body
            if int.from_bytes(body[:3]) == len(body) - 3:
                continue  # such a context never comes from a client: it is empty
        message = b"\x0b" + len(body).to_bytes(3) + body

        assert certificates[0] == _first(message)


@given(st.binary(max_size=60))
def test_garbage_is_no_error(message: bytes) -> None:
    """Any bytes give some bytes: this runs in the handshake."""
    assert isinstance(_first(message), bytes)
