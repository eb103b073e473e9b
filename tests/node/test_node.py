"""Tests of `trioetcd.node.node`: a whole member, in process and as a process."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from tests.frontend.foreign import Client
from tests.runtime.member import put_message
from trioetcd import pki
from trioetcd.cluster import Member
from trioetcd.node.config import parse
from trioetcd.node.node import Node
from trioetcd.replica import bootstrap
from trioetcd.runtime.trace import Log
from trioetcd.schema import messages
from trioetcd.storage import DataDir, open_member_store
from trioetcd.testing.certificates import make_certificates
from trioetcd.testing.cluster import free_port, running_member
from trioetcd.transport import tls
from trioetcd.values import ClusterID, MemberID

STOP_SECONDS = 1.5


def flags(directory: Path, client: str, peer: str | None = None) -> list[str]:
    peer = peer or f"https://127.0.0.1:{free_port()}"
    return [
        f"--data-dir={directory}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
    ]


def start(
    directory: Path, *more: str, client: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a member that is meant not to start."""
    client = client or f"https://127.0.0.1:{free_port()}"
    return subprocess.run(
        [sys.executable, "-m", "trioetcd", *flags(directory, client), *more],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def sentence_of(refused: subprocess.CompletedProcess[str]) -> str:
    """Give the one sentence with which a member refused to start."""
    assert refused.returncode > 0
    assert "Traceback" not in refused.stderr
    said = [line for line in refused.stderr.splitlines() if line.startswith("trioetcd: ")]
    others = [line for line in refused.stderr.splitlines() if not line.startswith("trioetcd: ")]
    assert len(said) == 1
    for line in others:
        assert json.loads(line)["level"] in {"info", "warn", "fatal"}
    return said[0]


async def client_of(port: int, data_dir: Path | None) -> Client:
    """Come in by TLS with the certificate that the member made, or without TLS."""
    stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    if data_dir is not None:
        made = data_dir / "pki"
        bundle = pki.verify(
            pki.Role.CLIENT,
            chain=(made / "clients" / "root.crt").read_bytes(),
            key=(made / "clients" / "root.key").read_bytes(),
            now=datetime.now(UTC),
        )
        context = tls.client_context(trust=(made / "client-ca.crt").read_bytes(), bundle=bundle)
        secure = trio.SSLStream(stream, context, server_hostname="127.0.0.1")
        await secure.do_handshake()
        stream = secure
    client = Client(stream)
    await client.flush()
    return client


async def life(directory: Path, url: str, revisions: list[int], *more: str) -> int:
    """Live once in this process: start, be put into over the network, be stopped by SIGTERM."""
    config = parse([*flags(directory, url), *more], {})
    log = Log(outputs=())
    ended: list[int] = []
    port = int(url.rpartition(":")[2])
    secure = url.startswith("https")
    with closing(DataDir.open(config.data_path)) as data_dir, trio.fail_after(20):
        async with trio.open_nursery() as nursery:

            async def run() -> None:
                ended.append(await Node(config, log, data_dir).run())
                nursery.cancel_scope.cancel()

            nursery.start_soon(run)
            while not accepts(port):
                await trio.lowlevel.checkpoint()
            client = await client_of(port, directory if secure else None)
            nursery.start_soon(client.read)
            answer = await client.call("/etcdserverpb.KV/Put", put_message(b"k"))
            header = messages.PutResponse.FromString(answer.messages[0]).header
            revisions.append(header.revision)
            signal.raise_signal(signal.SIGTERM)
            await client.wait(lambda: client.goaways)
            await trio.sleep_forever()
    await trio.aclose_forcefully(client.stream)
    log.close()
    return ended[0]


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("scheme", ["https", "http"])
async def test_a_member_lives_twice(tmp_path: Path, scheme: str) -> None:
    """Put over the network, stopped by a signal, started again: it goes on where it was."""
    url = f"{scheme}://127.0.0.1:{free_port()}"
    revisions: list[int] = []
    directory = tmp_path / "d"
    assert await life(directory, url, revisions) == signal.SIGTERM
    assert await life(directory, url, revisions) == signal.SIGTERM

    assert [2, 3] == revisions


async def test_the_last_member_of_a_cluster_goes_on_alone(tmp_path: Path) -> None:
    """Its cluster is lost: told so, it serves at once, and it remembers that when not told."""
    url = f"https://127.0.0.1:{free_port()}"
    revisions: list[int] = []
    directory = tmp_path / "d"
    members = [Member(MemberID(n), f"m{n}", (f"https://127.0.0.1:{n}",)) for n in (1, 2, 3)]
    rows = bootstrap(cluster_id=ClusterID(7), member_id=MemberID(1), members=members)
    with (
        closing(DataDir.open(directory)) as data_dir,
        closing(open_member_store(data_dir)) as backend,
    ):
        backend.prepare(rows).write()
    assert await life(directory, url, revisions, "--force-new-cluster") == signal.SIGTERM
    assert await life(directory, url, revisions) == signal.SIGTERM

    assert [2, 3] == revisions


def test_sigterm_drains_in_time(tmp_path: Path) -> None:
    """SIGTERM ends the process by that signal, within its time, though a client hangs on."""
    with running_member(tmp_path) as member, socket.socket() as silent:
        silent.connect(("127.0.0.1", member.port))
        started = time.monotonic()
        code = member.terminate()
        took = time.monotonic() - started

    assert code == -signal.SIGTERM
    assert took < STOP_SECONDS
    assert not any("Traceback" in line for line in member.log)


def test_a_second_member_on_a_directory_is_refused(tmp_path: Path) -> None:
    """Two members never share a directory: the second one says who has it."""
    with running_member(tmp_path) as member:
        sentence = sentence_of(start(member.data_dir))

    assert str(member.data_dir) in sentence


def test_a_port_in_use_is_a_sentence(tmp_path: Path) -> None:
    """Somebody else's port is named, and that somebody is there."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        url = f"https://127.0.0.1:{other.getsockname()[1]}"
        sentence = sentence_of(start(tmp_path / "d", client=url))

    assert f"{url}: Address already in use" in sentence


@pytest.mark.parametrize("kind", ["missing", "garbage", "another-key"])
def test_bad_certificates_are_a_sentence(tmp_path: Path, kind: str) -> None:
    """A certificate that cannot be read, is none, or does not fit its key: the file is named."""
    files = make_certificates(tmp_path / "certs")
    certificate = files.server
    if kind == "missing":
        certificate.unlink()
    elif kind == "garbage":
        certificate.write_text("no certificate")
    else:
        certificate.write_bytes(files.client.read_bytes())
    sentence = sentence_of(
        start(
            tmp_path / "d",
            f"--cert-file={certificate}",
            f"--key-file={files.server_key}",
            f"--trusted-ca-file={files.ca}",
        )
    )

    assert str(certificate) in sentence or str(files.server_key) in sentence
