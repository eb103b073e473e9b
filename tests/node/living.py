"""A whole member in this process whose certificates, keys and lists a test changes as it runs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trio
from cryptography import x509
from trio_websocket import WebSocketConnection, wrap_client_stream

from tests.frontend.foreign import Client
from tests.pki.material import plain
from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.machine import Machine
from trioetcd.node.node import Node
from trioetcd.node.pki_files import PkiFiles, save_pair, write_private
from trioetcd.pki import CertifiedKey, Profile, Role
from trioetcd.storage import DataDir
from trioetcd.testing.cluster import free_port
from trioetcd.testing.node_life import Diary
from trioetcd.transport import tls

PROFILE = Profile()
SECONDS = 30.0


def now() -> datetime:
    return datetime.now(UTC)


def serial_of(pair: CertifiedKey) -> int:
    return x509.load_pem_x509_certificate(pair.certificate).serial_number


class Told(Diary):
    """A diary that somebody waits for."""

    def __init__(self) -> None:
        super().__init__()
        self.said = trio.Event()

    def _line(self, level: str, message: str, fields: dict[str, object]) -> None:
        super()._line(level, message, fields)
        self.said.set()
        self.said = trio.Event()


@dataclass
class Living:
    """A member that runs.

    Attributes:
        files: what it is given.
        client_ca: who signs its listener's certificate and its clients.
        peer_ca: who signs it among its peers.
        port: where it serves clients.
        diary: what it logs.
    """

    files: PkiFiles
    client_ca: CertifiedKey
    peer_ca: CertifiedKey
    port: int
    diary: Told
    nursery: trio.Nursery
    hang_up: list[Callable[[], None]] = field(default_factory=list)
    opened: list[trio.SSLStream[trio.SocketStream]] = field(default_factory=list)
    trust: bytes = b""

    def __post_init__(self) -> None:
        self.trust = self.client_ca.certificate

    # What the administrator does

    def issue(self, name: str = "alice") -> CertifiedKey:
        """Give somebody a certificate."""
        return pki.issue(self.client_ca, Role.CLIENT, name, now=now(), profile=PROFILE)

    def brief(self, seconds: float, name: str = "brief") -> CertifiedKey:
        """Give somebody a certificate that ends soon."""
        begin = now() + timedelta(seconds=seconds) - timedelta(days=30)
        return plain(name, issuer=self.client_ca, now=begin)

    def revoke(self, *pairs: CertifiedKey) -> None:
        """Publish a list of revoked clients."""
        serials = [serial_of(pair) for pair in pairs]
        write_private(
            self.files.client_crl, pki.revocation_list(self.client_ca, now=now(), serials=serials)
        )

    def rotate_server(self, authority: CertifiedKey | None = None) -> None:
        """Put a new certificate for the client listener in place."""
        save_pair(self.files.server, self.server_pair(authority))

    def server_pair(self, authority: CertifiedKey | None = None) -> CertifiedKey:
        signer = authority or self.client_ca
        return pki.issue(signer, Role.SERVER, "m", hosts=["localhost"], now=now(), profile=PROFILE)

    # What clients do

    def context(self, pair: CertifiedKey, *, alpn: str = "h2") -> ssl.SSLContext:
        bundle = pki.verify(Role.CLIENT, chain=pair.certificate, key=pair.key, now=now())
        return tls.client_context(trust=self.trust, bundle=bundle, alpn=(alpn,))

    async def connect(
        self, pair: CertifiedKey, *, alpn: str = "h2"
    ) -> trio.SSLStream[trio.SocketStream]:
        context = self.context(pair, alpn=alpn)
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        secure = trio.SSLStream(stream, context, server_hostname="localhost")
        self.opened.append(secure)
        await secure.do_handshake()
        return secure

    async def client(self, pair: CertifiedKey) -> Client:
        """Come in by HTTP/2."""
        client = Client(await self.connect(pair))
        await client.flush()
        self.nursery.start_soon(client.read)
        return client

    async def socket(self, pair: CertifiedKey) -> WebSocketConnection:
        """Come in by WebSocket."""
        stream = await self.connect(pair, alpn="http/1.1")
        return await wrap_client_stream(self.nursery, stream, "localhost", "/v3/watch")

    async def serial_shown(self, pair: CertifiedKey) -> int:
        """Give the serial of the certificate that a new connection is shown."""
        stream = await self.connect(pair)
        der = stream.getpeercert(binary_form=True)
        await trio.aclose_forcefully(stream)
        return x509.load_der_x509_certificate(der).serial_number

    # What is logged

    def lines(self, message: str) -> list[dict[str, object]]:
        return [fields for _, _, said, fields in self.diary.lines if said.startswith(message)]

    async def wait_said(self, message: str, count: int = 1) -> dict[str, object]:
        while len(self.lines(message)) < count:
            await self.diary.said.wait()
        return self.lines(message)[-1]

    async def wait_reloaded(self, count: int = 1) -> None:
        await self.wait_said("read changed files", count)


@asynccontextmanager
async def living(directory: Path, *more: str, own: bool = False) -> AsyncIterator[Living]:
    """Run a member until the block is left; with `own`, its certificates are those it makes."""
    given = PkiFiles(directory / "given")
    authorities = [
        pki.create_authority(purpose, now=now(), profile=PROFILE) for purpose in ("client", "peer")
    ]
    pki_files.create_member(
        given.path,
        name="m",
        hosts=("localhost", "127.0.0.1"),
        client_ca=authorities[0],
        peer_ca=authorities[1],
        now=now(),
        profile=PROFILE,
    )
    write_private(
        directory / "given" / "peer-crl.pem", pki.revocation_list(authorities[1], now=now())
    )
    port, peer = free_port(), free_port()
    flags = [
        f"--data-dir={directory / 'data'}",
        f"--listen-client-urls=https://127.0.0.1:{port}",
        f"--advertise-client-urls=https://127.0.0.1:{port}",
        f"--listen-peer-urls=https://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=https://127.0.0.1:{peer}",
        *more,
    ]
    if not own:
        flags += [
            f"--cert-file={given.server}",
            f"--key-file={PkiFiles.key_of(given.server)}",
            f"--trusted-ca-file={given.client_ca}",
            f"--client-crl-file={given.client_crl}",
            f"--peer-cert-file={given.peer}",
            f"--peer-key-file={PkiFiles.key_of(given.peer)}",
            f"--peer-trusted-ca-file={given.peer_ca}",
            f"--peer-crl-file={given.path / 'peer-crl.pem'}",
        ]
    config = parse(flags, {})
    diary = Told()
    told = trio.Event()

    async def signalled() -> int:
        await told.wait()
        return 15

    with closing(diary), closing(DataDir.open(config.data_path)) as data_dir:
        with trio.fail_after(SECONDS):
            async with trio.open_nursery() as nursery:
                client_ca, peer_ca = authorities
                found = Living(given, client_ca, peer_ca, port, diary, nursery)

                async def hang_ups(hang_up: Callable[[], None]) -> None:
                    found.hang_up.append(hang_up)
                    await trio.sleep_forever()

                machine = replace(Machine(), signalled=signalled, hang_ups=hang_ups)
                nursery.start_soon(Node(config, diary, data_dir, machine).run)
                await found.wait_said("ready to serve client requests")
                if own:
                    made = PkiFiles(config.pki_path)
                    found.files = made
                    pair = pki_files.load_authority(made.client_ca)
                    assert pair is not None
                    found.client_ca = pair
                    found.trust = pair.certificate
                try:
                    yield found
                finally:
                    for stream in found.opened:
                        stream.transport_stream.socket.close()
                told.set()
                await found.wait_said("the member has stopped")
                nursery.cancel_scope.cancel()
