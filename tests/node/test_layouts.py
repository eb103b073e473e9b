"""Clusters whose certificates come from elsewhere: one CA for all, plain openssl, two for peers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.node.test_cluster import NAMES, use, wait_served
from tests.pki.material import plain
from trioetcd import pki
from trioetcd.node.config import parse
from trioetcd.node.node import Node
from trioetcd.node.settings import Config
from trioetcd.pki import CertifiedKey, Profile, Role
from trioetcd.runtime.trace import Log, open_outputs
from trioetcd.storage import DataDir
from trioetcd.testing.cluster import free_port

NOW = datetime.now(UTC)
HOSTS = ("localhost", "127.0.0.1")


def save(path: Path, pair: CertifiedKey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".crt").write_bytes(pair.certificate)
    path.with_suffix(".key").touch(mode=0o600)
    path.with_suffix(".key").write_bytes(pair.key)


def one_authority(directory: Path, names: tuple[str, ...]) -> list[str]:
    """As kubeadm does: one CA, servers and peers with both usages, clients with one."""
    ca = pki.create_authority("etcd", now=NOW, profile=Profile())
    issue = partial(pki.issue, ca, now=NOW, profile=Profile())
    for name in names:
        save(directory / name / "client-ca", ca)
        save(directory / name / "peer-ca", ca)
        save(directory / name / "server", issue(Role.PEER, name, hosts=HOSTS))
        save(directory / name / "peer", issue(Role.PEER, name, hosts=HOSTS))
        save(directory / name / "clients" / "root", issue(Role.CLIENT, "root"))
    return []


def settled(directory: Path, names: tuple[str, ...]) -> list[str]:
    """The same, and which certificates are the members' is said by name."""
    one_authority(directory, names)
    return [f"--peer-cert-allowed-cn={','.join(names)}"]


def plain_openssl(directory: Path, names: tuple[str, ...]) -> list[str]:
    """A root without key identifiers, and certificates without usages, as a shell makes them."""
    ca = plain("root", authority=True, now=NOW)
    for name in names:
        save(directory / name / "client-ca", ca)
        save(directory / name / "peer-ca", ca)
        for file in ("server", "peer", "clients/root"):
            leaf = plain(name, issuer=ca, now=NOW, hosts=(), addresses=("127.0.0.1",))
            save(directory / name / file, leaf)
    return []


def two_for_peers(directory: Path, names: tuple[str, ...]) -> list[str]:
    """Members listen with one certificate and dial with another, each with one usage."""
    ca = pki.create_authority("etcd", now=NOW, profile=Profile())
    issue = partial(pki.issue, ca, now=NOW, profile=Profile())
    for name in names:
        save(directory / name / "client-ca", ca)
        save(directory / name / "peer-ca", ca)
        save(directory / name / "server", issue(Role.SERVER, name, hosts=HOSTS))
        save(directory / name / "peer", issue(Role.SERVER, name, hosts=HOSTS))
        dialler = issue(Role.CLIENT, name, hosts=("localhost", f"{name}.peers"))
        save(directory / name / "dialler", dialler)
        save(directory / name / "clients" / "root", issue(Role.CLIENT, "root"))
    return [
        "--peer-client-cert-file={}/dialler.crt",
        "--peer-client-key-file={}/dialler.key",
        "--peer-cert-allowed-hostname=127.0.0.1," + ",".join(f"{name}.peers" for name in names),
    ]


def configure(directory: Path, more: list[str]) -> list[Config]:
    """Give the settings of three members."""
    peers = {name: f"https://127.0.0.1:{free_port()}" for name in NAMES}
    configs = []
    for name in NAMES:
        path = directory / name
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
            "log-outputs": path / "log",
        }
        line = [f"--{flag}={value}" for flag, value in flags.items()]
        configs.append(parse([*line, *(each.format(path) for each in more)], {}))
    return configs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "warned"),
    [(one_authority, True), (settled, False), (plain_openssl, True), (two_for_peers, False)],
)
async def test_three_members_with_certificates_from_elsewhere(
    tmp_path: Path, layout: Callable[[Path, tuple[str, ...]], list[str]], *, warned: bool
) -> None:
    """They are one cluster; where any certificate with both usages could join, a line says so."""
    configs = configure(tmp_path, layout(tmp_path, NAMES))
    with ExitStack() as stack, trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for config in configs:
                log = stack.enter_context(closing(Log(outputs=open_outputs(config.log_outputs))))
                data_dir = stack.enter_context(closing(DataDir.open(config.data_path)))
                nursery.start_soon(Node(config, log, data_dir).run)
            await wait_served(configs)
            await use(configs, tmp_path, 1)
            nursery.cancel_scope.cancel()
    logs = [(tmp_path / name / "log").read_text() for name in NAMES]

    assert warned == ("name the members' with --peer-cert-allowed-cn" in logs[0])
    assert not any("rejected connection on peer" in log for log in logs)
