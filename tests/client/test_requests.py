"""Requests and endpoints as values: what is written is what goes out."""

from __future__ import annotations

import pytest

from trioetcd.client import Delete, Get, Put, Txn, value, version
from trioetcd.client.connection import Endpoint
from trioetcd.client.errors import error_from_wire
from trioetcd.errors import EMPTY_KEY, Code
from trioetcd.schema import messages


def test_prefix_is_an_interval() -> None:
    r"""A prefix asks up to the next key that does not begin with it; the empty one for all."""
    wire = Get("ab", prefix=True).message()
    assert (wire.key, wire.range_end) == (b"ab", b"ac")
    wire = Get(b"a\xff", prefix=True).message()
    assert (wire.key, wire.range_end) == (b"a\xff", b"b")
    every = Delete("", prefix=True).message()
    assert (every.key, every.range_end) == (b"\0", b"\0")


def test_txn_is_its_message() -> None:
    """A transaction's parts go out in order, nested ones too."""
    inner = Txn(then=[Delete("d")])
    wire = Txn(
        when=[version("a", ">", 2), value("b", "!=", "x", end="c")],
        then=[Put("a", "1", lease=7), inner],
        otherwise=[Get("a", limit=3, sort="mod", descending=True)],
    ).message()
    assert [compare.key for compare in wire.compare] == [b"a", b"b"]
    assert wire.compare[0].version == 2
    assert wire.compare[0].result == messages.Compare.GREATER
    assert (wire.compare[1].value, wire.compare[1].range_end) == (b"x", b"c")
    assert wire.success[0].request_put.lease == 7
    assert wire.success[1].request_txn.success[0].request_delete_range.key == b"d"
    assert wire.failure[0].request_range.sort_target == messages.RangeRequest.MOD
    assert wire.failure[0].request_range.sort_order == messages.RangeRequest.DESCEND


def test_endpoint_is_secure_unless_asked_by_name() -> None:
    """Plaintext is dialled on loopback only, and only if the URL says http."""
    assert Endpoint.parse("db.example:2379") == Endpoint("db.example", 2379, secure=True)
    assert Endpoint.parse("https://[::1]:5") == Endpoint("::1", 5, secure=True)
    assert Endpoint.parse("https://[::1]:5").authority == "[::1]:5"
    assert Endpoint.parse("http://127.0.0.1:5") == Endpoint("127.0.0.1", 5, secure=False)
    for wrong in ("http://db.example:2379", "ftp://x", "unix:///x"):
        with pytest.raises(ValueError, match=r"TLS|https"):
            Endpoint.parse(wrong)


def test_error_is_recognised_by_text() -> None:
    """A known text is its row whatever the code; an unknown one keeps code and text."""
    assert error_from_wire(Code.UNKNOWN, EMPTY_KEY.text).row is EMPTY_KEY
    error = error_from_wire(Code.NOT_FOUND, "something new")
    assert (error.code, error.text) == (Code.NOT_FOUND, "something new")
