"""Tests of `trioetcd.transport.peer_dial`: who is taken for a peer, and how its end is noticed."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing

import pytest
import trio

from tests.transport.pairs import client_context, server_context
from tests.transport.peers import dialler, door, listener_context
from trioetcd.pki import Role
from trioetcd.transport.listener import Accepted, Address, Listener, open_sockets
from trioetcd.transport.peer_dial import DialError, notice_death


async def test_a_peer_is_reached_by_tls() -> None:
    """TLS 1.3, both certificates shown, the members' protocol agreed on."""
    async with door() as found:
        with closing(await dialler().dial(found.address)) as stream:
            secure = stream.socket
            assert isinstance(secure, ssl.SSLSocket)
            version = secure.version()

        assert version == "TLSv1.3"


async def refused(address: Address, **changes: object) -> str:
    """Dial, and give the sentence that came of it."""
    with pytest.raises(DialError) as failure:
        (await dialler(**changes).dial(address)).close()  # type: ignore[arg-type] # by name
    return str(failure.value)


async def test_nobody_there() -> None:
    """A closed port is a sentence with the address."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        name = reserved.getsockname()
        sentence = await refused(Address(*name))

    assert f"127.0.0.1:{name[1]}: Connection refused" == sentence


async def test_a_name_that_does_not_exist() -> None:
    """A host that cannot be found is a sentence, too."""
    assert "no-such-host.invalid:1: " in await refused(Address("no-such-host.invalid", 1))


async def test_the_certificate_must_name_the_host() -> None:
    """A member's certificate that names other hosts than the one dialled is refused."""
    sockets = await open_sockets(Address("127.0.0.2", 0))
    name = sockets[0].getsockname()
    rejected: list[str] = []

    async def serve(accepted: Accepted) -> None:
        await accepted.stream.receive_some()

    async with trio.open_nursery() as nursery:
        listener = Listener(
            sockets,
            context=listener_context,
            serve=serve,
            rejected=lambda _, reason, _shown=b"": rejected.append(reason),
        )
        nursery.start_soon(listener.run, nursery)
        sentence = await refused(Address(name[0], name[1]))
        nursery.cancel_scope.cancel()

    assert "the certificate shown there was refused: IP address mismatch" in sentence


async def test_another_ca_is_no_peer() -> None:
    """A listener whose certificate another CA signed is refused."""
    async with door(context=lambda: listener_context(ca="other")) as found:
        assert "the certificate shown there was refused: " in await refused(found.address)


async def test_a_client_listener_is_no_peer() -> None:
    """A certificate of the right CA without a member's usages is refused, whatever it serves."""
    async with door(context=lambda: listener_context(role=Role.SERVER)) as found:
        assert "is not a member's" in await refused(found.address)


async def test_what_speaks_no_tls_is_no_peer() -> None:
    """A plain listener is a sentence."""
    async with door(context=None) as found:
        found.refuse_with = "whatever"
        sentence = await refused(found.address)

    assert sentence.startswith(str(found.address))


async def test_a_client_port_is_no_peer() -> None:
    """The port for clients, even one of the same CA, does not speak the members' protocol."""
    async with door(context=server_context) as found:
        sentence = await refused(found.address, context=client_context)

    assert "is not a member's" in sentence or "protocol" in sentence


def test_death_is_noticed_in_time() -> None:
    """The kernel is told how long data may be unacknowledged, and to ask when all is quiet."""
    with socket.socket() as sock:
        notice_death(sock, 1.5)
        tcp = socket.IPPROTO_TCP

        assert sock.getsockopt(tcp, socket.TCP_USER_TIMEOUT) == 1500
        assert sock.getsockopt(tcp, socket.TCP_KEEPIDLE) == 2
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(tcp, socket.TCP_NODELAY) == 1


async def test_no_call_on_the_connection_waits() -> None:
    """What is dialled is non-blocking: a peer that reads nothing must not hold up the loop."""
    async with door() as found:
        with closing(await dialler().dial(found.address)) as stream:
            assert stream.socket.gettimeout() == 0
