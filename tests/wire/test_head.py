"""What header lists mean, and which of them are malformed."""

from __future__ import annotations

import pytest

from trioetcd.wire.head import parse_head, parse_timeout
from trioetcd.wire.header_block import Field

REQUEST: tuple[Field, ...] = (
    (b":method", b"POST"),
    (b":scheme", b"https"),
    (b":path", b"/a.B/C"),
    (b":authority", b"host"),
)


def test_request_head_says_everything() -> None:
    """Pseudo-headers, gRPC's own headers and metadata all arrive in their places."""
    head = parse_head(
        (
            *REQUEST,
            (b"content-type", b"application/grpc+proto"),
            (b"te", b"trailers"),
            (b"grpc-timeout", b"250m"),
            (b"grpc-encoding", b"gzip"),
            (b"token", b"first"),
            (b"token", b"second"),
            (b"trace-bin", b"AP8"),
        )
    )
    assert head.kind == "request"
    assert (head.method, head.scheme, head.path, head.authority) == (
        "POST",
        "https",
        "/a.B/C",
        "host",
    )
    assert head.grpc
    assert head.timeout == 0.25
    assert head.encoding == "gzip"
    assert head.get("token") == b"first"
    assert head.get("trace-bin") == b"\x00\xff"
    assert head.get("absent") is None
    assert ("token", b"second") in head.metadata
    assert {"te", "grpc-timeout", "grpc-encoding"}.isdisjoint(dict(head.metadata))


def test_binary_metadata_that_is_no_base64_stays_as_it_is() -> None:
    """A value nobody can decode is for its reader to refuse."""
    assert parse_head((*REQUEST, (b"x-bin", b"!a"))).get("x-bin") == b"!a"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (b"application/grpc", (True, True)),
        (b"application/grpc+proto", (True, True)),
        (b"application/grpc; charset=utf-8", (True, True)),
        (b"application/grpc+proto;v=1", (True, True)),
        (b"application/grpc+json", (False, True)),
        (b"application/grpc-web", (False, True)),
        (b"application/json", (False, False)),
    ],
)
def test_content_types(kind: bytes, expected: tuple[bool, bool]) -> None:
    """Only gRPC with protobuf is a call."""
    head = parse_head((*REQUEST, (b"content-type", kind)))
    assert expected == (head.grpc, head.grpc_like)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"1H", 3600.0),
        (b"2M", 120.0),
        (b"3S", 3.0),
        (b"4m", 0.004),
        (b"5u", 0.000005),
        (b"6n", 6e-9),
        (b"99999999S", 99999999.0),
        (b"100000000S", None),
        (b"S", None),
        (b"1", None),
        (b"1s", None),
        (b"-1S", None),
        (b"", None),
    ],
)
def test_timeouts(value: bytes, expected: float | None) -> None:
    """Up to eight digits and one of six units, nothing else."""
    assert (None if expected is None else pytest.approx(expected)) == parse_timeout(value)


def test_with_timeout_is_the_same_head_but_for_the_timeout() -> None:
    """The copy equals a head parsed with the timeout in its list."""
    with_it = parse_head((*REQUEST, (b"token", b"x"), (b"grpc-timeout", b"1S")))
    copied = parse_head((*REQUEST, (b"token", b"x"))).with_timeout(b"1S")
    expected, found = vars(with_it).copy(), vars(copied).copy()
    del expected["fields"], found["fields"]
    assert expected == found
    assert not copied.with_timeout(b"soon").timeout_valid


MALFORMED: list[tuple[Field, ...]] = [
    (*REQUEST, (b"Upper", b"x")),
    (*REQUEST, (b"sp ace", b"x")),
    (*REQUEST, (b"", b"x")),
    (*REQUEST, (b"a:b", b"x")),
    (*REQUEST, (b"\xe9", b"x")),
    (*REQUEST, (b"x", b"a\nb")),
    (*REQUEST, (b"x", b"a\rb")),
    (*REQUEST, (b"x", b"a\x00b")),
    (*REQUEST, (b"x", b" a")),
    (*REQUEST, (b"x", b"a\t")),
    (*REQUEST, (b"connection", b"close")),
    (*REQUEST, (b"keep-alive", b"1")),
    (*REQUEST, (b"proxy-connection", b"1")),
    (*REQUEST, (b"transfer-encoding", b"chunked")),
    (*REQUEST, (b"upgrade", b"x")),
    (*REQUEST, (b"te", b"gzip")),
    (*REQUEST, (b"content-length", b"x")),
    (*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")),
    (*REQUEST, (b":path", b"/")),
    (*REQUEST, (b":status", b"200")),
    (*REQUEST, (b":protocol", b"websocket")),
    (*REQUEST, (b"x", b"y"), (b":late", b"z")),
    REQUEST[1:],
    (REQUEST[0], *REQUEST[2:]),
    (*REQUEST[:2], REQUEST[3]),
    (*REQUEST[:2], (b":path", b"")),
    (*REQUEST[:2], (b":path", b"relative")),
    (*REQUEST[:2], (b":path", b"*")),
    ((b":method", b""), *REQUEST[1:]),
    ((b":method", b"CONNECT"), *REQUEST[1:]),
    ((b":method", b"CONNECT"),),
    ((b":status", b"20"),),
    ((b":status", b"abc"),),
]


@pytest.mark.parametrize("fields", MALFORMED)
def test_malformed_lists(fields: tuple[Field, ...]) -> None:
    """RFC 9113 sections 8.2 and 8.3, one row per rule."""
    head = parse_head(fields)
    assert head.kind == "malformed"
    assert head.reason


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        (((b":status", b"200"), (b"a", b"b")), "response"),
        (((b"grpc-status", b"0"),), "trailers"),
        ((), "trailers"),
        (((b":method", b"CONNECT"), (b":authority", b"h")), "request"),
        (((b":method", b"OPTIONS"), (b":scheme", b"https"), (b":path", b"*")), "request"),
        (REQUEST, "request"),
        ((*REQUEST, (b"content-length", b"5"), (b"content-length", b"5")), "request"),
        ((*REQUEST, (b"x", b"\xc3\xa9")), "request"),
    ],
)
def test_well_formed_lists(fields: tuple[Field, ...], kind: str) -> None:
    """What the sections allow is allowed, and known for what it is."""
    assert kind == parse_head(fields).kind
