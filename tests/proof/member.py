"""A real member as a process that can be killed, traced and started again on the same data.

`trioetcd` or, as the control, any etcd binary. It keeps its ports and directories over restarts
and writes its log into a file, so that nothing has to read a pipe while it is being killed.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.proof.kv import Client
from trioetcd.testing.certificates import make_certificates

__all__ = ["Credentials", "Member", "NotReadyError", "etcd_credentials", "free_port"]

READY: Final = ("ready to serve client requests", "serving client traffic securely")
"""The second is how etcd 3.4 says it."""
POLL_SECONDS: Final = 0.003
LINE_SHOWN: Final = 300
PORTS: Final = range(10_000, 32_000)
"""Below those the kernel gives to connections: a member that is down gets its own back."""
_GIVEN: Final[deque[int]] = deque(maxlen=1000)
"""Who was given one may listen there only later."""


class NotReadyError(Exception):
    """The member ended, or did not get ready in time.

    Attributes:
        code: its exit code; None when it still runs.
        log: what it wrote since its start.
    """

    def __init__(self, code: int | None, log: str) -> None:
        tail = "\n".join(line[:LINE_SHOWN] for line in log.splitlines()[-4:])
        super().__init__(f"exit code {code}; its last lines:\n{tail}")
        self.code = code
        self.log = log


def free_port() -> int:
    """Give a loopback port that nobody listens on at this moment, nor was given lately."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        if port in _GIVEN:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _GIVEN.append(port)
        return port


@dataclass(frozen=True, slots=True)
class Credentials:
    """Certificates that members and clients of one cluster share.

    Attributes:
        ca: the authority of the client listeners.
        cert: a client's certificate.
        key: its key.
        flags: what a member is told of its own certificates.
    """

    ca: Path
    cert: Path
    key: Path
    flags: tuple[str, ...]


def etcd_credentials(directory: Path) -> Credentials:
    """Make what members of etcd need, one certificate for all of them."""
    files = make_certificates(directory)
    return Credentials(
        ca=files.ca,
        cert=files.client,
        key=files.client_key,
        flags=(
            f"--cert-file={files.server}",
            f"--key-file={files.server_key}",
            f"--trusted-ca-file={files.ca}",
            "--client-cert-auth",
            # not --peer-auto-tls: etcd does not sync the files it makes, and a power cut
            # soon after the first start leaves them empty
            f"--peer-cert-file={files.server}",
            f"--peer-key-file={files.server_key}",
            f"--peer-trusted-ca-file={files.ca}",
            "--peer-client-cert-auth",
        ),
    )


class Member:
    """One member, running or not.

    Args:
        target: `trioetcd`, or the path of an etcd binary.
        root: a directory for its log and, unless said otherwise, its data.
        name: its name in the cluster.
        data_dir: where the data lie.
        credentials: the certificates, where several members trust each other; alone, a member
            has its own.
        environment: more environment variables.
        command: what to run instead of `python -m trioetcd`, for profilers.

    Attributes:
        peer_url: where the others find it.
        initial_cluster: all members' peer URLs, as the flag wants them.
        initial_state: `new`, or `existing` for one that joins.
    """

    def __init__(
        self,
        target: str,
        root: Path,
        *,
        name: str = "default",
        data_dir: Path | None = None,
        credentials: Credentials | None = None,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] = (),
    ) -> None:
        self.target = target
        self.data_dir = data_dir or root / "data"
        self.log_path = root / "member.log"
        self.client_port = free_port()
        self.peer_port = free_port()
        self.name = name
        self.peer_url = f"https://127.0.0.1:{self.peer_port}"
        self.initial_cluster = f"{name}={self.peer_url}"
        self.initial_state = "new"
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0
        self._root = root
        self._log_start = 0
        self._flags = list(flags)
        self._environment = dict(environment or {})
        self._command = list(command) or [sys.executable, "-m", "trioetcd"]
        root.mkdir(parents=True, exist_ok=True)
        self.is_etcd = target != "trioetcd"
        if self.is_etcd:
            credentials = credentials or etcd_credentials(root / "certs")
            self._command = [target]
            self._environment.setdefault("ETCD_LOGGER", "zap")
        if credentials is not None:
            self.ca, self.cert, self.key = credentials.ca, credentials.cert, credentials.key
            self._flags += credentials.flags
        else:
            pki = self.data_dir / "pki"
            self.ca = pki / "client-ca.crt"
            self.cert = pki / "clients" / "root.crt"
            self.key = pki / "clients" / "root.key"

    @property
    def address(self) -> str:
        """The client address, as gRPC wants it."""
        return f"127.0.0.1:{self.client_port}"

    @property
    def endpoint(self) -> str:
        """The client URL."""
        return f"https://{self.address}"

    @property
    def pid(self) -> int:
        """The process id of the running member."""
        assert self.process is not None
        return self.process.pid

    def client(self) -> Client:
        """Open a connection of its own to the member."""
        return Client(self.address, self.ca, self.cert, self.key)

    def start(self, *, wait: bool = True, seconds: float = 60) -> float:
        """Start the member; give the seconds until it was ready (0 when not waited for).

        Raises:
            NotReadyError: it ended, or took too long.
        """
        command = [
            *self._command,
            f"--name={self.name}",
            f"--data-dir={self.data_dir}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls=https://127.0.0.1:{self.peer_port}",
            f"--initial-advertise-peer-urls={self.peer_url}",
            f"--initial-cluster={self.initial_cluster}",
            f"--initial-cluster-state={self.initial_state}",
            *self._flags,
        ]
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("ETCD")}
        with self.log_path.open("ab") as log:
            self._log_start = log.seek(0, os.SEEK_END)
            self.started = time.time_ns()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**inherited, **self._environment},
                start_new_session=True,
            )
        return self.wait_ready(seconds) if wait else 0.0

    def wait_ready(self, seconds: float = 60) -> float:
        """Wait until the member says that it is ready; give the seconds since its start.

        Raises:
            NotReadyError: it ended, or took too long.
        """
        assert self.process is not None
        end = time.monotonic() + seconds
        while not any(line in self.log() for line in READY):
            code = self.process.poll()
            if code is not None or time.monotonic() > end:
                raise NotReadyError(code, self.log())
            time.sleep(POLL_SECONDS)
        return (time.time_ns() - self.started) / 1e9

    def wait_said(self, sentence: str, seconds: float) -> bool:
        """Wait until the log says something; tell whether it does."""
        end = time.monotonic() + seconds
        while sentence not in self.log():
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def log(self) -> str:
        """Give what the member wrote since its last start."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def running(self) -> bool:
        """Tell whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """Kill it at once (SIGKILL) and wait until it is gone."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self, seconds: float = 15) -> int:
        """Ask it to stop (SIGTERM), kill it when it does not; give its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.wait()

    def wait_exit(self, seconds: float) -> int | None:
        """Wait until it ends by itself; None when it still runs after `seconds`."""
        assert self.process is not None
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
