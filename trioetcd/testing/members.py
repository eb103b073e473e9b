"""Several secure members of one cluster as real processes on this machine.

The certificates are those of ``trioetcd certs init``: one authority for peers, one for clients.
The flags are etcd's, so the same class runs the real etcd, to compare with.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from trioetcd.client import Client, open_client
from trioetcd.testing.cluster import ServerProcess, free_port, serving, start_process

__all__ = ["NAMES", "Members"]

NAMES: Final = ("m1", "m2", "m3")
_HOST: Final = "127.0.0.1"


class Members:
    """The members of one cluster; all have ended when the block is left.

    Attributes:
        servers: every member that was ever started, by name; one that was killed is started
            again under the same name, with the same ports and data.

    Args:
        directory: where certificates, data and nothing else is kept.
        port: the first of the ports, client and peer in turn; 0 takes free ones.
        program: the command that a member is started with; the real etcd takes the same flags.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int = 0,
        program: Sequence[str] = (sys.executable, "-m", "trioetcd"),
    ) -> None:
        self.servers: dict[str, ServerProcess] = {}
        self.certificates = directory / "certs"
        self._directory = directory
        self._program = program
        self._next_port = port
        self._urls: dict[str, tuple[str, str]] = {}
        self._running: dict[str, ExitStack] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in self._running:  # all at once: a leader that ends need not hand over
            process = self.servers[name].process
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for stack in self._running.values():
            stack.__exit__(kind, error, trace)

    def issue(self, *names: str) -> None:
        """Make certificates for members, and their ports.

        Raises:
            subprocess.CalledProcessError: there are some already; its `stderr` says so.
        """
        urls = {name: (self._url(), self._url()) for name in names}
        ports = {name: [url.rpartition(":")[2] for url in both] for name, both in urls.items()}
        subprocess.run(
            [
                *(sys.executable, "-m", "trioetcd", "certs", "init"),
                *("--out", str(self.certificates)),
                *(f"{name}={_HOST}:{client}:{peer}" for name, (client, peer) in ports.items()),
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        self._urls |= urls

    def start(self, *names: str, initial_cluster: str = "", existing: bool = False) -> None:
        """Start members that have certificates, and wait until each serves.

        Args:
            names: which; those that begin a cluster are started together.
            initial_cluster: as `etcdctl member add` prints it; by default all that have
                certificates.
            existing: whether they join a cluster that is there.

        Raises:
            RuntimeError: one did not get ready; the last lines of its log are noted.
        """
        cluster = initial_cluster or self.initial_cluster()
        for name in names:
            self.servers[name] = self._start(name, cluster, existing=existing)
            self._running[name] = ExitStack()
        with ExitStack() as begun:
            for name in names:
                self._running[name].enter_context(serving(self.servers[name]))
            begun.pop_all()

    def kill(self, name: str) -> None:
        """End a member with SIGKILL and wait until it is gone; its data stays."""
        self.servers[name].process.kill()
        self.stop(name)

    def stop(self, name: str) -> int:
        """Ask a member to end, wait for it, and give its exit code."""
        code = self.servers[name].terminate()
        self._running.pop(name).close()
        return code

    def initial_cluster(self) -> str:
        """Give the value of ``--initial-cluster`` that names all that have certificates."""
        return ",".join(f"{name}={peer}" for name, (_, peer) in self._urls.items())

    def client_url(self, name: str) -> str:
        """Give where clients find a member."""
        return self._urls[name][0]

    def peer_url(self, name: str) -> str:
        """Give where the other members find a member."""
        return self._urls[name][1]

    def names(self) -> tuple[str, ...]:
        """Give the members that have certificates."""
        return tuple(self._urls)

    def running(self) -> tuple[str, ...]:
        """Give the members that have been started and have not ended."""
        return tuple(filter(self.is_running, self._running))

    def is_running(self, name: str) -> bool:
        """Whether a member has been started and has not ended."""
        return name in self._running and self.servers[name].process.poll() is None

    def environment(self) -> dict[str, str]:
        """Give the variables with which etcdctl talks to all members."""
        files = self.certificates
        return {
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": ",".join(client for client, _ in self._urls.values()),
            "ETCDCTL_CACERT": str(files / "ca" / "client-ca.crt"),
            "ETCDCTL_CERT": str(files / "clients" / "root.crt"),
            "ETCDCTL_KEY": str(files / "clients" / "root.key"),
        }

    def connect(
        self, *names: str, request_seconds: float = 10.0
    ) -> AbstractAsyncContextManager[Client]:
        """Open a client that asks these members: the first, and the next when one is gone."""
        files = self.environment()
        return open_client(
            [self.client_url(name) for name in names],
            cacert=files["ETCDCTL_CACERT"],
            cert=files["ETCDCTL_CERT"],
            key=files["ETCDCTL_KEY"],
            request_seconds=request_seconds,
        )

    def _url(self) -> str:
        port = self._next_port
        if port:
            self._next_port += 1
        return f"https://{_HOST}:{port or free_port()}"

    def _start(self, name: str, cluster: str, *, existing: bool) -> ServerProcess:
        client, peer = self._urls[name]
        files = self.certificates / name
        data_dir = self._directory / name
        flags = {
            "name": name,
            "data-dir": data_dir,
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": cluster,
            "initial-cluster-state": "existing" if existing else "new",
            "cert-file": files / "server.crt",
            "key-file": files / "server.key",
            "trusted-ca-file": files / "client-ca.crt",
            "client-cert-auth": "true",
            "peer-cert-file": files / "peer.crt",
            "peer-key-file": files / "peer.key",
            "peer-trusted-ca-file": files / "peer-ca.crt",
            "peer-client-cert-auth": "true",
        }
        words = [*self._program, *(f"--{flag}={value}" for flag, value in flags.items())]
        return ServerProcess(
            name=name,
            process=start_process(words, self._directory, {}),
            endpoint=client,
            cacert=files / "client-ca.crt",
            cert=self.certificates / "clients" / "root.crt",
            key=self.certificates / "clients" / "root.key",
            data_dir=data_dir,
        )
