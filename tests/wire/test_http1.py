"""HTTP/1.1 for small requests, with h11 as the client."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.strategies import chunk_sizes
from tests.wire.conversation import chunked
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.http1 import Http1Server, Request, Upgrade
from trioetcd.wire.limits import Limits

GET = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"


def feed(server: Http1Server, sent: bytes, size: int = 0) -> list[Request | Upgrade]:
    """Feed bytes in pieces of one size."""
    found: list[Request | Upgrade] = []
    for piece in chunked(sent, size):
        found += server.receive(piece)
    return found


def read(client: h11.Connection, written: bytes) -> tuple[int, bytes]:
    """Let h11 read an answer: status and body."""
    client.receive_data(written)
    status, body = 0, b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert isinstance(event, h11.InformationalResponse)
    return status, body


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.binary(max_size=100), st.booleans(), st.binary(max_size=50)), max_size=5),
    chunk_sizes(),
)
def test_requests_round_trip(exchanges: list[tuple[bytes, bool, bytes]], size: int) -> None:
    """Requests with any body, chunked or not, arrive whole; answers too; connection kept."""
    server = Http1Server()
    client = h11.Connection(h11.CLIENT)
    for body, is_chunked, answer in exchanges:
        length = (
            ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(len(body)))
        )
        head = h11.Request(method="POST", target="/v3/kv/put", headers=[("Host", "a"), length])
        sent = (client.send(head) or b"") + (client.send(h11.Data(data=body)) or b"")
        sent += client.send(h11.EndOfMessage()) or b""
        (request,) = feed(server, sent, size)
        assert isinstance(request, Request)
        assert (request.method, request.target, request.body) == ("POST", "/v3/kv/put", body)
        assert request.get("host") == b"a"
        assert request.get("absent") is None
        assert server.respond(200, [("Content-Type", "x/y")], answer) == []
        assert (200, answer) == read(client, server.take())
        client.start_next_cycle()
        assert not server.closing


def test_expectation_is_met() -> None:
    """`Expect: 100-continue` gets its go-ahead before the body."""
    server = Http1Server()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    assert server.receive(head) == []
    assert server.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    (request,) = server.receive(b"abc")
    assert isinstance(request, Request)
    assert request.body == b"abc"


def test_one_request_at_a_time() -> None:
    """A request sent early waits for the answer of the one before, from either buffer."""
    server = Http1Server()
    assert len(server.receive(GET + GET)) == 1
    assert server.receive(GET[:10]) == []
    (second,) = server.respond(200, [], b"1")
    assert isinstance(second, Request)
    assert server.receive(GET[10:]) == []
    (third,) = server.respond(200, [], b"2")
    assert isinstance(third, Request)
    assert server.respond(200, [], b"3") == []
    assert server.take().count(b"HTTP/1.1 200 OK") == 3


def test_next_request_in_pieces_around_the_answer() -> None:
    """The beginning of the next request before the answer and its rest after it make one."""
    server = Http1Server()
    server.receive(GET + GET[:20])
    assert server.respond(200, [], b"") == []
    (upgrade,) = server.receive(GET[20:])
    assert isinstance(upgrade, Request)


def test_too_much_before_the_answer() -> None:
    """A client that goes on sending while its request is answered is told off."""
    server = Http1Server()
    server.receive(GET)
    server.receive(b"x" * 65_536)
    with pytest.raises(RemoteProtocolError):
        server.receive(b"x")


WEBSOCKET = (
    b"GET /v3/watch HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
    b"Upgrade: WebSocket\r\nSec-WebSocket-Key: x\r\n\r\n"
)


@settings(deadline=None)
@given(chunk_sizes())
def test_upgrade_hands_over_every_byte(size: int) -> None:
    """A WebSocket head is handed over to be read again; nothing of it is lost or answered."""
    server = Http1Server()
    found = feed(server, WEBSOCKET, size)
    assert len(found) == 1
    assert isinstance(found[0], Upgrade)
    assert found[0].replay == WEBSOCKET
    assert found[0].request.target == "/v3/watch"
    assert server.upgraded
    assert server.take() == b""
    assert server.receive(b"frames") == []


def test_upgrade_after_a_request() -> None:
    """The replay begins with the upgrade's own first byte, also on a used connection."""
    for parts in ([GET, WEBSOCKET + b"more"], [GET + WEBSOCKET[:9], WEBSOCKET[9:] + b"more"]):
        server = Http1Server()
        server.receive(parts[0])
        found = server.respond(200, [], b"") + server.receive(parts[1])
        assert isinstance(found[0], Upgrade)
        assert found[0].replay == WEBSOCKET + b"more"


def test_other_upgrades_are_ignored() -> None:
    """`Upgrade: h2c` is a wish that need not be granted."""
    server = Http1Server()
    sent = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert isinstance(server.receive(sent)[0], Request)


REFUSED: list[tuple[bytes, int]] = [
    (b"\x16\x03\x01 TLS\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: " + b"y" * 70_000, 431),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", 400),
    (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: money\r\nContent-Length: 1\r\n\r\n", 417),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
]


@pytest.mark.parametrize(("sent", "status"), REFUSED, ids=lambda value: str(value)[:40])
def test_refusals_carry_their_farewell(sent: bytes, status: int) -> None:
    """Garbage is refused with a response to send in the hint, and the connection ends."""
    server = Http1Server()
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive(sent)
    assert caught.value.code == status
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    assert read(client, caught.value.hint)[0] == status
    assert server.closing
    assert server.receive(GET) == []


def test_chunked_body_above_the_bound() -> None:
    """A body that does not say its length is bounded as it arrives."""
    server = Http1Server(limits=Limits(body_bytes_max=10))
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive(head + b"b\r\n" + b"x" * 11 + b"\r\n")
    assert caught.value.code == 413


def test_garbage_after_a_request() -> None:
    """What follows a request is judged when its turn comes."""
    server = Http1Server()
    server.receive(GET + b"\x00\x00\r\n\r\n")
    with pytest.raises(RemoteProtocolError):
        server.respond(200, [], b"ok")
    assert server.take().endswith(b"ok")


def test_garbage_within_an_answer_has_no_farewell() -> None:
    """Once an answer has begun no second one may be mixed into it."""
    server = Http1Server(limits=Limits(http1_head_bytes_max=100))
    server.receive(GET)
    server.begin_response(200, [("Content-Length", "5")])
    with pytest.raises(RemoteProtocolError) as caught:
        server.receive(b"x" * 200)
    assert caught.value.hint == b""


def test_head_and_no_content_have_no_body() -> None:
    """HEAD, 204 and 304 are answered without a body."""
    server = Http1Server()
    server.receive(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    server.respond(200, [], b"four")
    assert server.take().endswith(b"Content-Length: 4\r\n\r\n")
    server.receive(GET)
    server.respond(204, [], b"")
    assert server.take() == b"HTTP/1.1 204 No Content\r\n\r\n"


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"],
)
def test_clients_that_want_to_close(sent: bytes) -> None:
    """HTTP/1.0 and `Connection: close` end after the answer."""
    server = Http1Server()
    server.receive(sent)
    server.respond(200, [], b"x")
    assert server.closing
    assert b"close" in server.take().lower()


def test_server_may_close() -> None:
    """`close=True` says so to the client and ends the connection."""
    server = Http1Server()
    server.receive(GET)
    server.respond(799, [], b"x", close=True)
    assert server.closing
    assert b"Connection: close" in server.take()


def test_client_closes() -> None:
    """The end of the client's bytes ends the connection without fuss, or mid-request with one."""
    server = Http1Server()
    assert server.receive(b"") == []
    assert server.closing
    server = Http1Server()
    server.receive(GET[:20])
    with pytest.raises(RemoteProtocolError):
        server.receive(b"")


def test_answers_in_pieces() -> None:
    """A streamed answer is chunked, piece by piece."""
    server = Http1Server()
    server.receive(GET)
    server.begin_response(200, [("Content-Type", "application/json")])
    for piece in (b"one\n", b"", b"two\n"):
        server.send_body(piece)
    assert server.finish_response() == []
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    assert read(client, server.take()) == (200, b"one\ntwo\n")
