"""Who does not belong to a real cluster is refused with one line, and the cluster goes on."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.proof.cluster import Cluster
from tests.proof.member import Member

pytestmark = [pytest.mark.proof, pytest.mark.slow, pytest.mark.timeout(120)]

REFUSED_SECONDS = 30
GARBAGE = [
    b"\0\0\0\0",
    b"\0\0\0\1\xff",
    b"\xff\xff\xff\xff" + bytes(1000),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\0\0\0\x03\x82\x01\x09",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three members, for all tests."""
    cluster = Cluster("trioetcd", tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        cluster.leader()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def unharmed(cluster: Cluster) -> Iterator[None]:
    """Whatever happens meanwhile, the leader stays, and writes go on."""
    before = cluster.status(cluster.leader())
    assert before is not None
    yield
    after = cluster.status(cluster.leader())
    assert after is not None
    assert (after.member, after.term) == (before.member, before.term)
    assert cluster.client(0).put(b"k", b"v") == before.revision + 1
    assert all(member.running() for member in cluster.members)


def peer_tls(cluster: Cluster, *, certificate: bool = True) -> ssl.SSLContext:
    """Make TLS as a member would."""
    made = cluster.root / "certs" / "a"
    context = ssl.create_default_context(cafile=made / "peer-ca.crt")
    context.set_alpn_protocols(["trioetcd-peer"])
    if certificate:
        context.load_cert_chain(made / "peer.crt", made / "peer.key")
    return context


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_of_somebody_with_a_certificate(cluster: Cluster, garbage: bytes) -> None:
    """A peer that speaks garbage after a good handshake is hung up on."""
    for member in cluster.members:
        with (
            socket.create_connection(("127.0.0.1", member.peer_port), REFUSED_SECONDS) as plain,
            peer_tls(cluster).wrap_socket(plain, server_hostname="127.0.0.1") as peer,
        ):
            peer.sendall(garbage)
            with suppress(ConnectionError):
                while peer.recv(4096):
                    pass


@pytest.mark.usefixtures("unharmed")
def test_garbage_instead_of_a_handshake(cluster: Cluster) -> None:
    """Who speaks no TLS is hung up on."""
    for member in cluster.members:
        address = ("127.0.0.1", member.peer_port)
        with socket.create_connection(address, REFUSED_SECONDS) as plain:
            plain.sendall(bytes(1000))
            with suppress(ConnectionError):
                while plain.recv(4096):
                    pass
        assert member.wait_said("rejected connection on peer endpoint", REFUSED_SECONDS)


@pytest.mark.usefixtures("unharmed")
def test_no_certificate(cluster: Cluster) -> None:
    """Without a certificate nothing is answered."""
    address = ("127.0.0.1", cluster.members[0].peer_port)
    with (
        socket.create_connection(address, REFUSED_SECONDS) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
        peer_tls(cluster, certificate=False).wrap_socket(
            plain, server_hostname="127.0.0.1"
        ) as peer,
    ):
        assert peer.recv(1)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize(
    ("others", "state", "flags", "sentence"),
    [
        ("ab", "new", (), "and this one would begin cluster"),
        ("ab", "new", ("--initial-cluster-token=other",), "and this one would begin cluster"),
        ("abc", "existing", (), "has no member with the peer URLs"),
    ],
)
def test_a_stranger_with_good_certificates(
    cluster: Cluster,
    tmp_path: Path,
    others: str,
    state: str,
    flags: tuple[str, ...],
    sentence: str,
) -> None:
    """A member of no or another cluster ends with one sentence when it meets these."""
    certificates = cluster.credentials[0]
    stranger = Member("trioetcd", tmp_path, name="d", credentials=certificates, flags=flags)
    stranger.initial_state = state
    stranger.initial_cluster = ",".join(
        [f"d={stranger.peer_url}"]
        + [
            f"{member.name}={member.peer_url}"
            for member in cluster.members
            if member.name in others
        ]
    )
    _ends_with(stranger, sentence)


@pytest.mark.usefixtures("unharmed")
def test_a_member_that_lost_its_data_and_has_another_list(cluster: Cluster) -> None:
    """Which members it is told of does not matter: it must not begin anew. Its data help it."""
    leader = cluster.leader()
    member = cluster.members[(leader + 1) % 3]
    other = cluster.members[leader]
    kept = member.data_dir.with_name("kept")
    everybody = member.initial_cluster
    member.stop()
    member.data_dir.rename(kept)
    member.initial_cluster = f"{member.name}={member.peer_url},{other.name}={other.peer_url}"
    _ends_with(member, "has already been started in cluster")
    shutil.rmtree(member.data_dir, ignore_errors=True)
    kept.rename(member.data_dir)
    # with data, the list is not looked at
    member.start()
    member.initial_cluster = everybody


def _ends_with(member: Member, sentence: str) -> None:
    try:
        member.start(wait=False)
        code = member.wait_exit(REFUSED_SECONDS)
    finally:
        member.kill()
    plain = [line for line in member.log().splitlines() if not line.startswith("{")]
    assert code == 1
    assert len(plain) == 1
    assert sentence in plain[0]
