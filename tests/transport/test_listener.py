"""Tests of `trioetcd.transport.listener`: who gets in, who does not, and what that costs."""

from __future__ import annotations

import errno
import ipaddress
import resource
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
import trio.testing

from tests.transport.pairs import NOW, PROFILE, authority, bundle, client_context, server_context
from trioetcd import pki
from trioetcd.pki import Role
from trioetcd.testing.node_life import in_loop
from trioetcd.transport import tls
from trioetcd.transport.listener import (
    HANDSHAKE_SECONDS,
    Accepted,
    Address,
    Check,
    Listener,
    Network,
    open_sockets,
)
from trioetcd.transport.streams import InThread, run_in_thread

ANYWHERE = Address("127.0.0.1", 0)


@dataclass
class Door:
    """A listener whose connections are served a greeting and an echo, and what became of them."""

    sockets: list[socket.socket]
    scope: trio.CancelScope
    accepted: list[Accepted] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    shown: list[bytes] = field(default_factory=list)
    happened: trio.Event = field(default_factory=trio.Event)

    @property
    def name(self) -> tuple[str, int]:
        name = self.sockets[0].getsockname()
        return name[0], name[1]

    async def connect(self) -> trio.SocketStream:
        sock = trio.socket.socket(self.sockets[0].family)
        await sock.connect(self.sockets[0].getsockname())
        return trio.SocketStream(sock)

    async def speak(self) -> trio.SocketStream:
        """Come in without TLS, say something, and wait for the greeting."""
        stream = await self.connect()
        await stream.send_all(b".")
        assert await receive_exactly(stream, 6) == b"hello."
        return stream

    async def enter(self, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
        """Come in as a foreign client does, and wait for the greeting."""
        stream = trio.SSLStream(await self.connect(), context, server_hostname="localhost")
        await stream.do_handshake()
        assert await stream.receive_some() == b"hello"
        return stream

    def reject(self, remote: str, reason: str, certificate: bytes = b"") -> None:
        self.rejected.append((remote, reason))
        self.shown.append(certificate)
        self.happened.set()

    async def wait_rejected(self, count: int) -> list[str]:
        while len(self.rejected) < count:
            self.happened = trio.Event()
            await self.happened.wait()
        return [reason for _, reason in self.rejected]


@asynccontextmanager
async def door(
    address: Address = ANYWHERE,
    *,
    context: Callable[[], ssl.SSLContext] | None = server_context,
    strangers_max: int = 256,
    waiting_max: int = 1024,
    networks: Sequence[Network] = (),
    check: Check | None = None,
    in_thread: InThread = run_in_thread,
) -> AsyncIterator[Door]:
    sockets = await open_sockets(address)
    async with trio.open_nursery() as connections:
        found = Door(sockets, trio.CancelScope())

        async def serve(accepted: Accepted) -> None:
            found.accepted.append(accepted)
            await accepted.stream.send_all(b"hello")
            while data := await accepted.stream.receive_some():
                await accepted.stream.send_all(data)

        listener = Listener(
            sockets,
            context=context,
            serve=serve,
            rejected=found.reject,
            networks=networks,
            check=check,
            strangers_max=strangers_max,
            waiting_max=waiting_max,
            in_thread=in_thread,
        )

        async def accept() -> None:
            with found.scope:
                await listener.run(connections)

        connections.start_soon(accept)
        yield found
        connections.cancel_scope.cancel()


async def receive_exactly(stream: trio.SocketStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        data = await stream.receive_some(size - len(received))
        assert data, received
        received += data
    return received


async def drain(stream: trio.SocketStream) -> bytes:
    """Read until the connection ends, however it does."""
    received = b""
    try:
        while data := await stream.receive_some():
            received += data
    except trio.BrokenResourceError:
        pass
    await stream.aclose()
    return received


async def test_the_right_client_comes_in() -> None:
    """A client with its certificate is served, and is told of with address and certificate."""
    async with door() as found:
        stream = await found.enter(client_context())
        accepted = found.accepted[0]
        local = stream.transport_stream.socket.getsockname()

        assert ("h2", f"{local[0]}:{local[1]}") == (accepted.alpn, accepted.remote)
        assert accepted.certificate is not None
        assert pki.identity_of(accepted.certificate).common_name == "name"
        assert [] == found.rejected
        await stream.send_all(b"ping")
        assert await stream.receive_some() == b"ping"
        await stream.transport_stream.aclose()


def other_ca_context() -> ssl.SSLContext:
    return client_context(ca="other")


def distrusting_context() -> ssl.SSLContext:
    return tls.client_context(trust=authority("other").certificate)


def old_context() -> ssl.SSLContext:
    context = client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def be_refused(name: tuple[str, int], context: ssl.SSLContext) -> None:
    """Come in by Python's own TLS, which tells the server why it goes."""

    def come_in() -> None:
        with (
            socket.create_connection(name) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            secure.recv(1)  # a refusal by TLS 1.3 comes after the handshake

    with pytest.raises(OSError, match=r"SSL|reset"):
        come_in()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: client_context(ca=None), "the client presented no certificate"),
        (other_ca_context, "the client certificate was refused: "),
        (distrusting_context, "the client does not trust this server's certificate"),
        (old_context, "the client's TLS version is too old"),
    ],
    ids=["none", "other-ca", "distrust", "old"],
)
async def test_wrong_clients_are_turned_away_with_a_sentence(
    make: Callable[[], ssl.SSLContext], reason: str
) -> None:
    """No certificate, a foreign CA's, distrust, an old TLS: one clear word, no byte served."""
    async with door() as found:
        await trio.to_thread.run_sync(be_refused, found.name, make())
        reasons = await found.wait_rejected(1)

        assert reasons[0].startswith(reason)
        assert (1, []) == (len(reasons), found.accepted)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET /health HTTP/1.1\r\n\r\n", "the client spoke plain HTTP to a TLS port"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "the client did not speak TLS"),
        (b"\x00" * 40, "the client did not speak TLS"),
        (b"\x16\x03\x01\x00\x05hello", ""),
        (b"\x16\x03\x01\xff\xff" + b"\x00" * 70_000, ""),
    ],
    ids=["http", "h2c", "zeros", "record", "long-record"],
)
async def test_who_speaks_no_tls_is_turned_away(data: bytes, reason: str) -> None:
    """Plain HTTP and garbage: an alert at most, one clear word, and no byte of any answer."""
    async with door() as found:
        stream = await found.connect()
        await stream.send_all(data)
        received = await drain(stream)
        reasons = await found.wait_rejected(1)

        assert b"hello" not in received
        assert len(received) <= 7  # a TLS alert
        assert reason in reasons[0]
        assert "_ssl" not in reasons[0]
        assert "[" not in reasons[0]
        assert reasons[0]
        assert (1, []) == (len(reasons), found.accepted)


async def test_who_goes_during_the_handshake_is_told() -> None:
    """A client that ends, or resets, in the middle is one rejection and nothing else."""
    async with door() as found:
        stream = await found.connect()
        await stream.send_all(b"\x16\x03\x01")
        await stream.aclose()
        assert ["the client closed the connection during the handshake"] == (
            await found.wait_rejected(1)
        )
        stream = await found.connect()
        await stream.send_all(b"\x16\x03\x01")
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.socket.close()
        assert len(await found.wait_rejected(2)) == 2
        good = await found.enter(client_context())
        await good.transport_stream.aclose()


async def test_silence_ends_at_the_deadline(autojump_clock: trio.testing.MockClock) -> None:
    """Who says nothing is cut off after HANDSHAKE_SECONDS, by nobody's sleep."""
    async with door() as found:
        started = trio.current_time()
        stream = await found.connect()

        assert await drain(stream) == b""
        reasons = await found.wait_rejected(1)
        assert ["no TLS handshake within 5 s"] == reasons
        assert trio.current_time() - started == pytest.approx(HANDSHAKE_SECONDS, abs=0.1)
        assert [] == found.accepted


async def test_a_handshake_that_trickles_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The deadline is for the whole handshake, not for each byte of it."""
    hello = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    data = hello.read()[:-1]
    async with door(in_thread=in_loop) as found:
        stream = await found.connect()
        started = trio.current_time()

        async def trickle() -> None:
            for at in range(len(data)):
                await stream.send_all(data[at : at + 1])
                await trio.sleep(0.1)  # on the mock clock

        with pytest.raises(trio.BrokenResourceError):
            await trickle()
        reasons = await found.wait_rejected(1)
        await stream.aclose()

        assert ["no TLS handshake within 5 s"] == reasons
        assert trio.current_time() - started < 0.1 * len(data) / 2  # less than all of it takes


async def test_strangers_are_bounded_and_others_get_in() -> None:
    """Beyond the bound strangers wait; when one goes, the next one has its turn."""
    async with door(strangers_max=4) as found:
        strangers = [await found.connect() for _ in range(8)]
        await trio.testing.wait_all_tasks_blocked()
        entered = []

        async def enter() -> None:
            entered.append(await found.enter(client_context()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(enter)
            for _ in range(5):
                await trio.testing.wait_all_tasks_blocked()
            assert [] == entered
            for stranger in strangers:
                await stranger.aclose()
        reasons = await found.wait_rejected(8)

        assert (1, 8) == (len(entered), len(reasons))
        await entered[0].transport_stream.aclose()


async def test_more_strangers_than_the_bound_hold_up_nobody_for_long(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Silent strangers, three times the bound, are gone after three deadlines; then it is free."""
    async with door(strangers_max=10, in_thread=in_loop) as found:
        strangers = [await found.connect() for _ in range(30)]
        await found.wait_rejected(30)

        assert trio.current_time() <= 3 * HANDSHAKE_SECONDS + 3.5
        stream = await found.enter(client_context())
        await stream.transport_stream.aclose()
        for stranger in strangers:
            await stranger.aclose()


async def test_served_connections_are_no_strangers() -> None:
    """Connections that are in do not count: many more of them than the bound are served."""
    async with door(strangers_max=2, context=None) as found:
        streams = [await found.speak() for _ in range(12)]
        for stream in streams:
            await stream.aclose()

        assert len(found.accepted) == 12


async def test_a_plain_listener_serves_without_tls() -> None:
    """Without a context a connection is served as it is, without ALPN and certificate."""
    async with door(context=None) as found:
        stream = await found.speak()
        await stream.aclose()
        accepted = found.accepted[0]

        assert (None, None) == (accepted.alpn, accepted.certificate)


async def test_each_accept_asks_for_the_context() -> None:
    """A new generation of certificates holds from the next connection on."""
    fresh = pki.issue(
        authority("client"),
        Role.SERVER,
        "renewed",
        hosts=("localhost",),
        now=NOW,
        profile=PROFILE,
    )
    verified = pki.verify(Role.SERVER, chain=fresh.certificate, key=fresh.key, now=NOW)
    second = tls.client_listener_context(verified, trust=authority("client").certificate)
    contexts = [server_context(), second]
    async with door(context=lambda: contexts.pop(0)) as found:
        seen = []
        for _ in range(2):
            stream = await found.enter(client_context())
            der = stream.getpeercert(binary_form=True)
            seen.append(pki.identity_of(der).common_name)
            await stream.transport_stream.aclose()

        assert ["name", "renewed"] == seen


async def test_running_out_of_files_is_told_and_survived() -> None:
    """Without a free descriptor accepting waits, says so, and goes on when there is one."""
    async with door(context=None) as found:
        client = trio.socket.socket()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        with socket.socket() as probe:
            lowest = probe.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
        try:
            await client.connect(found.sockets[0].getsockname())
            reasons = await found.wait_rejected(1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        stream = trio.SocketStream(client)
        await stream.send_all(b".")

        assert "no connection could be accepted: Too many open files" == reasons[0]
        assert await receive_exactly(stream, 6) == b"hello."
        await stream.aclose()


async def test_ipv6_is_listened_on() -> None:
    """An IPv6 address is bound, and remote and address are written with their port."""
    address = Address("::1", 0)
    async with door(address, context=None) as found:
        stream = await found.speak()
        await stream.aclose()

        assert found.sockets[0].family == socket.AF_INET6
        assert found.accepted[0].remote.startswith("::1:")
        assert ("[::1]:0", "127.0.0.1:0") == (str(address), str(ANYWHERE))


async def test_every_address_of_a_name_is_listened_on() -> None:
    """Localhost is all of its addresses that this machine has."""
    sockets = await open_sockets(Address("localhost", 0))
    hosts = {sock.getsockname()[0] for sock in sockets}
    for sock in sockets:
        sock.close()

    assert hosts <= {"127.0.0.1", "::1"}
    assert "127.0.0.1" in hosts


async def test_a_unix_socket_is_its_owners(tmp_path: Path) -> None:
    """A unix socket serves, nobody else may connect, and one left behind is replaced."""
    path = tmp_path / "member.sock"
    address = Address("", 0, str(path))
    for _ in range(2):  # the second time the file of the first is in the way
        async with door(address, context=None) as found:
            assert path.stat().st_mode & 0o777 == 0o600
            stream = await found.speak()
            await stream.aclose()
            assert ("@", str(path)) == (found.accepted[0].remote, str(address))


async def test_a_unix_socket_in_use_is_left_alone(tmp_path: Path) -> None:
    """Where somebody listens, and where there is a file of another kind, nothing is replaced."""
    path = tmp_path / "member.sock"
    address = Address("", 0, str(path))
    async with door(address, context=None):
        with pytest.raises(OSError, match="somebody listens") as caught:
            await open_sockets(address)
        assert caught.value.errno == errno.EADDRINUSE
    file = tmp_path / "file"
    file.write_text("precious")
    with pytest.raises(OSError, match="in use"):
        await open_sockets(Address("", 0, str(file)))
    assert file.read_text() == "precious"


async def test_a_port_in_use_is_an_error() -> None:
    """Two listeners on one port: the second one is told, and leaves no socket behind."""
    sockets = await open_sockets(ANYWHERE)
    port = sockets[0].getsockname()[1]
    with pytest.raises(OSError, match="in use"):
        await open_sockets(Address("127.0.0.1", port))
    for sock in sockets:
        sock.close()


async def test_a_port_can_be_shared_if_both_ask() -> None:
    """With reuse_port two listeners share a port."""
    first = await open_sockets(ANYWHERE, reuse_port=True)
    port = first[0].getsockname()[1]
    second = await open_sockets(Address("127.0.0.1", port), reuse_port=True)
    for sock in (*first, *second):
        sock.close()


async def test_an_address_of_another_machine_is_an_error() -> None:
    """What is not ours cannot be listened on."""
    with pytest.raises(OSError, match="ssign"):
        await open_sockets(Address("192.0.2.1", 0))


async def test_connections_outlive_the_accepting() -> None:
    """After accepting has ended the port is closed, and connections that are in go on."""
    async with door() as found:
        stream = await found.enter(client_context())
        name = found.name
        found.scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"[Cc]onnect"):
            await trio.open_tcp_stream(*name)
        await stream.send_all(b"still here")
        assert await stream.receive_some() == b"still here"
        await stream.transport_stream.aclose()


async def test_one_address_costs_another_nothing() -> None:
    """An address that fills every place, and the queue, makes room at once for another one."""
    async with door(strangers_max=4, waiting_max=8) as found:
        strangers = [await found.connect() for _ in range(12)]
        await trio.testing.wait_all_tasks_blocked()
        assert [] == found.rejected
        sock = trio.socket.socket()
        await sock.bind(("127.0.0.2", 0))
        await sock.connect(found.name)
        stream = trio.SSLStream(
            trio.SocketStream(sock), client_context(), server_hostname="localhost"
        )
        await stream.do_handshake()
        assert await stream.receive_some() == b"hello"
        reasons = await found.wait_rejected(1)

        assert ["another address needed its place, for its own held many"] == reasons
        await stream.transport_stream.aclose()
        for stranger in strangers:
            await stranger.aclose()


async def test_a_crowd_of_one_address_comes_in_one_after_the_other() -> None:
    """Clients of one address that come together, more than there are places, all get in."""
    async with door(strangers_max=2) as found:
        entered = []

        async def enter() -> None:
            entered.append(await found.enter(client_context()))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(enter)

        assert (20, []) == (len(entered), found.rejected)
        for stream in entered:
            await stream.transport_stream.aclose()


async def test_who_is_too_many_is_told() -> None:
    """When the queue is full, too, the last one of the address that waits most is closed."""
    async with door(strangers_max=2, waiting_max=3) as found:
        strangers = [await found.connect() for _ in range(6)]
        reasons = await found.wait_rejected(1)

        assert ["too many connections of its address wait for their TLS handshake"] == reasons
        assert await drain(strangers[5]) == b""
        for stranger in strangers[:5]:
            await stranger.aclose()


async def test_silence_without_tls_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Without TLS a connection is a stranger until its first byte, with the same deadline."""
    async with door(context=None, strangers_max=1) as found:
        started = trio.current_time()
        stream = await found.connect()

        assert await drain(stream) == b""
        assert ["no byte within 5 s"] == await found.wait_rejected(1)
        assert trio.current_time() - started == pytest.approx(HANDSHAKE_SECONDS, abs=0.1)
        assert [] == found.accepted


async def test_silence_without_a_certificate_ends_at_the_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Where no certificate is asked for, a handshake alone makes nobody known."""
    everybody = tls.client_listener_context(bundle(Role.SERVER), trust=None)
    async with door(context=lambda: everybody, in_thread=in_loop) as found:
        stream = trio.SSLStream(
            await found.connect(), client_context(), server_hostname="localhost"
        )
        await stream.do_handshake()

        assert ["no TLS handshake within 5 s"] == await found.wait_rejected(1)
        assert [] == found.accepted
        await stream.transport_stream.aclose()


async def test_strangers_from_elsewhere_are_closed_before_the_handshake() -> None:
    """Outside of the networks no byte is answered, and one line tells of it, not one each."""
    inside = [ipaddress.ip_network("127.0.0.2/31"), ipaddress.ip_network("fd00::/8")]
    async with door(networks=inside) as found:
        for _ in range(5):
            stream = await found.connect()
            assert await drain(stream) == b""
        reasons = await found.wait_rejected(1)
        assert ["its address is in none of the networks that may come"] == reasons
        sock = trio.socket.socket()
        await sock.bind(("127.0.0.3", 0))
        await sock.connect(found.name)
        stream = trio.SocketStream(sock)
        await stream.send_all(b"GET")
        await found.wait_rejected(2)

        assert found.rejected[1][0].startswith("127.0.0.3:")
        assert "plain" in found.rejected[1][1] or "TLS" in found.rejected[1][1]
        await stream.aclose()


async def test_unix_sockets_are_in_every_network(tmp_path: Path) -> None:
    """Who may open the file is let in, whatever networks there are."""
    address = Address("", 0, str(tmp_path / "member.sock"))
    async with door(address, context=None, networks=[ipaddress.ip_network("10.0.0.0/8")]) as found:
        stream = await found.speak()
        await stream.aclose()


async def test_a_verified_certificate_may_be_refused() -> None:
    """The check is asked with certificate and address, and its reason ends the connection."""
    asked = []

    async def check(certificate: bytes, remote: str) -> str:
        asked.append((certificate, remote))
        return "not on a Sunday"

    async with door(check=check) as found:
        assert b"" == await trio.to_thread.run_sync(come_in, found.name, client_context())
        assert ["not on a Sunday"] == await found.wait_rejected(1)
        assert [(found.shown[0], found.rejected[0][0])] == asked
        assert pki.identity_of(found.shown[0]).common_name == "name"
        assert [] == found.accepted


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_refused_certificate_is_told(version: ssl.TLSVersion) -> None:
    """Who rejects a certificate hears which one it was, in either form of its message."""
    context = client_context(ca="other")
    context.maximum_version = version
    async with door() as found:
        await trio.to_thread.run_sync(be_refused, found.name, context)
        await found.wait_rejected(1)

        assert pki.identity_of(found.shown[0]).common_name == "name"
        assert [] == found.accepted


def come_in(name: tuple[str, int], context: ssl.SSLContext) -> bytes:
    """Come in by Python's own TLS, and give what is heard."""
    with (
        socket.create_connection(name) as sock,
        context.wrap_socket(sock, server_hostname="localhost") as secure,
    ):
        return secure.recv(5)


def come_thrice(name: tuple[str, int], version: ssl.TLSVersion) -> list[bytes]:
    """Come in three times, the second and third time with the first session; give what is heard."""
    context = client_context()
    context.maximum_version = version
    session = None
    heard = []
    for _ in range(3):
        with (
            socket.create_connection(name) as sock,
            context.wrap_socket(sock, server_hostname="localhost", session=session) as secure,
        ):
            try:
                heard.append(secure.recv(5))
            except OSError:
                heard.append(b"")
            session = session or secure.session
            if heard[-1]:
                secure.unwrap()  # a farewell on both sides keeps the session good
    return heard


@pytest.mark.parametrize(
    ("version", "heard"),
    [
        # OpenSSL keeps sessions of TLS 1.2, and Python cannot forbid it: resuming one is refused,
        # and the session with it.
        (ssl.TLSVersion.TLSv1_2, [b"hello", b"", b"hello"]),
        (ssl.TLSVersion.TLSv1_3, [b"hello", b"hello", b"hello"]),
    ],
)
async def test_no_session_is_resumed(version: ssl.TLSVersion, heard: list[bytes]) -> None:
    """With a saved session nobody is served without showing a certificate again."""
    async with door() as found:
        assert heard == await trio.to_thread.run_sync(come_thrice, found.name, version)
        reasons = [reason for _, reason in found.rejected]

        assert ["it went on with an old TLS session"] * heard.count(b"") == reasons
        sockets = [each.stream.socket for each in found.accepted]
        assert not any(isinstance(each, ssl.SSLSocket) and each.session_reused for each in sockets)
