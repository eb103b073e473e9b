"""Three nodes in one process, over real sockets, TLS and disks: one cluster."""

from __future__ import annotations

from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from trioetcd import pki
from trioetcd.client import Client, OutcomeUnknownError, open_client
from trioetcd.errors import EtcdError
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.node import Node
from trioetcd.node.settings import Config
from trioetcd.pki import Profile
from trioetcd.runtime.trace import Log, open_outputs
from trioetcd.storage import DataDir
from trioetcd.testing.cluster import free_port

NOW = datetime.now(UTC)
NAMES = ("a", "b", "c")


def command_lines(directory: Path, *more: str) -> list[list[str]]:
    """Give the flags of three members with certificates of the same two CAs."""
    peer_ca = pki.create_authority("peer", now=NOW, profile=Profile())
    client_ca = pki.create_authority("client", now=NOW, profile=Profile())
    peers = {name: f"https://127.0.0.1:{free_port()}" for name in NAMES}
    made: list[list[str]] = []
    for name in NAMES:
        path = directory / name
        pki_files.create_member(
            path,
            name=name,
            hosts=("localhost", "127.0.0.1"),
            peer_ca=peer_ca,
            client_ca=client_ca,
            now=NOW,
            profile=Profile(),
        )
        client = f"https://127.0.0.1:{free_port()}"
        flags = {
            "name": name,
            "data-dir": path / "data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peers[name],
            "initial-advertise-peer-urls": peers[name],
            "initial-cluster": ",".join(f"{each}={url}" for each, url in peers.items()),
            "cert-file": path / "server.crt",
            "key-file": path / "server.key",
            "trusted-ca-file": path / "client-ca.crt",
            "peer-cert-file": path / "peer.crt",
            "peer-key-file": path / "peer.key",
            "peer-trusted-ca-file": path / "peer-ca.crt",
        }
        made.append([*(f"--{flag}={value}" for flag, value in flags.items()), *more])
    return made


def configure(directory: Path, *more: str) -> list[Config]:
    """Give the settings of these members."""
    return [parse(line, {}) for line in command_lines(directory, *more)]


async def use(configs: list[Config], directory: Path, generation: int) -> None:
    """Put through every member, read each value through every other one, renew leases anywhere."""
    root = directory / "a"
    for config in configs:
        async with open_client(
            [str(url) for url in config.listen_client_urls],
            cacert=root / "client-ca.crt",
            cert=root / "clients" / "root.crt",
            key=root / "clients" / "root.key",
        ) as client:
            await client.put(config.name, str(generation))
            for other in configs[: configs.index(config) + 1]:
                found = await client.get(other.name)
                assert found is not None
                assert found.value == str(generation).encode()
            lease = await client.lease_grant(60)
            await client.put("leased", config.name, lease=lease)
            assert await client.lease_refresh(lease) == 60
            status = await client.lease_time_to_live(lease, keys=True)
            assert (status.granted, status.keys) == (60, (b"leased",))
            assert 0 < status.remaining <= 60
            await client.lease_revoke(lease)
            with pytest.raises(EtcdError, match="lease not found"):
                await client.lease_refresh(lease)
            assert (await client.lease_time_to_live(lease)).remaining == -1


@pytest.mark.slow
async def test_three_nodes_are_one_cluster(tmp_path: Path) -> None:
    """What is put through any member is read through any other, also after all ended."""
    configs = configure(tmp_path)
    for generation in (1, 2):
        with ExitStack() as stack, trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                for config in configs:
                    log = stack.enter_context(closing(Log(outputs=())))
                    data_dir = stack.enter_context(closing(DataDir.open(config.data_path)))
                    nursery.start_soon(Node(config, log, data_dir).run)
                await wait_served(configs)
                await use(configs, tmp_path, generation)
                nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_node_that_was_away_gets_the_whole_state(tmp_path: Path) -> None:
    """A member whose entries the others have forgotten is sent a snapshot, and goes on."""
    configs = configure(tmp_path, "--snapshot-count=20", "--snapshot-catchup-entries=1")
    root = tmp_path / "a"
    with ExitStack() as stack, trio.fail_after(60):
        async with trio.open_nursery() as nursery:

            def start(config: Config) -> trio.CancelScope:
                outputs = open_outputs([str(tmp_path / f"{config.name}.log")])
                log = stack.enter_context(closing(Log(outputs=outputs)))
                data_dir = stack.enter_context(closing(DataDir.open(config.data_path)))
                scope = trio.CancelScope()

                async def run() -> None:
                    with scope:
                        await Node(config, log, data_dir).run()
                    data_dir.close()

                nursery.start_soon(run)
                return scope

            scopes = [start(config) for config in configs]
            await wait_served(configs)
            scopes[2].cancel()
            async with open_client(
                [str(url) for url in configs[0].listen_client_urls],
                cacert=root / "client-ca.crt",
                cert=root / "clients" / "root.crt",
                key=root / "clients" / "root.key",
            ) as client:
                await put_at_last(client)  # the one that ended may have led
                for at in range(300):
                    await client.put(f"k{at}", str(at))
            start(configs[2])
            await wait_served(configs[2:])
            async with open_client(
                [str(url) for url in configs[2].listen_client_urls],
                cacert=root / "client-ca.crt",
                cert=root / "clients" / "root.crt",
                key=root / "clients" / "root.key",
            ) as client:
                for at in (0, 150, 299):
                    found = await client.get(f"k{at}")
                    assert found is not None
                    assert found.value == str(at).encode()
                await client.put("after", "v")
            nursery.cancel_scope.cancel()
    logs = [(tmp_path / f"{name}.log").read_text() for name in NAMES[:2]]

    assert any('"msg":"sent snapshot"' in log for log in logs)


async def put_at_last(client: Client) -> None:
    """Put until somebody leads."""
    while True:
        try:
            await client.put("first", "v")
        except (EtcdError, OutcomeUnknownError):
            continue
        return


async def wait_served(configs: list[Config]) -> None:
    """Wait until every member accepts clients."""
    for config in configs:
        url = config.listen_client_urls[0]
        while True:
            try:
                stream = await trio.open_tcp_stream(url.host, url.port)
            except OSError:
                await trio.lowlevel.checkpoint()
            else:
                await stream.aclose()
                break
