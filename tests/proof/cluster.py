"""Real members as processes of their own: started, found, killed, paused, compared.

`trioetcd` with certificates of its own tool, or any etcd binary as the control. Peers speak
mutual TLS; where a proxy stands between them, each is known to the others by the proxy's port.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.proof.kv import Client, Hash, RpcFailedError, Status
from tests.proof.member import Credentials, Member, NotReadyError, etcd_credentials
from tests.proof.proxy import owner_of

__all__ = ["NAMES", "Cluster"]

NAMES: Final = ("a", "b", "c")
POLL_SECONDS: Final = 0.01
LEADER_SECONDS: Final = 20.0
EQUAL_SECONDS: Final = 30.0


class Cluster:
    """Three members, or fewer, each running or not.

    Args:
        target: `trioetcd`, or the path of an etcd binary.
        root: a directory for certificates, logs and, unless said otherwise, data.
        data_dirs: where the data lie, one directory per member.
        flags: more flags for each member.
        size: how many members.
        credentials: each member's, where they are not to be made here.
    """

    def __init__(
        self,
        target: str,
        root: Path,
        *,
        data_dirs: Sequence[Path] = (),
        flags: Sequence[str] = (),
        size: int = len(NAMES),
        credentials: Sequence[Credentials] = (),
    ) -> None:
        self.target = target
        self.root = root
        self.credentials = list(credentials) or _credentials(target, root)
        self.members = [
            Member(
                target,
                root / name,
                name=name,
                data_dir=data_dirs[at] if data_dirs else None,
                credentials=self.credentials[at],
                flags=flags,
            )
            for at, name in enumerate(NAMES[:size])
        ]
        self._clients: dict[int, Client] = {}
        self._numbers: dict[int, int] = {}
        self.advertise([member.peer_port for member in self.members])

    def advertise(self, ports: Sequence[int]) -> None:
        """Say at which ports the members find each other; before the first start."""
        for member, port in zip(self.members, ports, strict=True):
            member.peer_url = f"https://127.0.0.1:{port}"
        everybody = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        for member in self.members:
            member.initial_cluster = everybody

    @property
    def endpoint(self) -> str:
        """The client URLs of all members, with commas between."""
        return ",".join(member.endpoint for member in self.members)

    @property
    def ca(self) -> Path:
        """Who signed the members' certificates for clients."""
        return self.members[0].ca

    @property
    def cert(self) -> Path:
        """A client's certificate."""
        return self.members[0].cert

    @property
    def key(self) -> Path:
        """Its key."""
        return self.members[0].key

    @property
    def places(self) -> range:
        """The members' places: 0, 1, 2 where there are three."""
        return range(len(self.members))

    def start(self, places: Iterable[int] | None = None) -> float:
        """Start members, all at once; give the seconds until the last was ready.

        Raises:
            NotReadyError: one of them ended, or took too long.
        """
        chosen = [self.members[place] for place in places] if places is not None else self.members
        for member in chosen:
            member.start(wait=False)
        return max(member.wait_ready() for member in chosen)

    def kill(self, places: Iterable[int] | None = None) -> None:
        """Kill members at once (SIGKILL)."""
        chosen = [self.members[at] for at in (self.places if places is None else places)]
        for member in chosen:
            if member.process is not None:
                member.process.kill()
        for member in chosen:
            member.kill()

    def owner_of(self, port: int) -> int | None:
        """Give the place of the member whose connection begins at a local port, if it is one's."""
        running = {at: member.pid for at, member in enumerate(self.members) if member.running()}
        return owner_of(port, running)

    def pause(self, place: int) -> None:
        """Stop a member's clock, so to say (SIGSTOP)."""
        os.kill(self.members[place].pid, signal.SIGSTOP)

    def resume(self, place: int) -> None:
        """Let a paused member go on."""
        if self.members[place].running():
            os.kill(self.members[place].pid, signal.SIGCONT)

    def close(self) -> None:
        """End everything."""
        self.hang_up()
        self.kill()

    def hang_up(self) -> None:
        """Close the connections that questions went over; the next question opens new ones."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()

    def client(self, place: int) -> Client:
        """Give the one connection to a member that all questions go over."""
        if place not in self._clients:
            self._clients[place] = self.members[place].client()
        return self._clients[place]

    def number(self, place: int) -> int:
        """Give a member's number; it is asked once, so the member must have run before."""
        if place not in self._numbers:
            self._numbers[place] = self.client(place).status(timeout=5).member
        return self._numbers[place]

    def forget(self, place: int) -> None:
        """Forget a member's number, which another one will have in its place."""
        self._numbers.pop(place, None)

    def status(self, place: int, *, seconds: float = 1) -> Status | None:
        """Ask a member how it stands; None when it does not answer."""
        try:
            return self.client(place).status(timeout=seconds)
        except RpcFailedError:
            return None

    def leader(self, *, seconds: float = LEADER_SECONDS) -> int:
        """Give the place of the member that leads and knows it, waiting for one.

        Raises:
            NotReadyError: nobody leads after `seconds`.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for place in self.places:
                if self.members[place].running():
                    status = self.status(place)
                    if status is not None and status.leader == status.member:
                        return place
            time.sleep(POLL_SECONDS)
        raise NotReadyError(None, f"nobody led within {seconds} s")

    def equal_hashes(self, *, seconds: float = EQUAL_SECONDS) -> str:
        """Wait until all members have the same revision, and compare their hashes.

        Returns:
            What differs, or who did not answer; empty when all are equal.
        """
        end = time.monotonic() + seconds
        while True:
            stands = [self.status(place, seconds=5) for place in self.places]
            revisions = [None if stand is None else stand.revision for stand in stands]
            if None not in revisions and len(set(revisions)) == 1:
                revision = revisions[0] or 0
                hashes = [self._hash(place, revision) for place in self.places]
                if len(set(hashes)) == 1 and None not in hashes:
                    return ""
                # a compaction reaches the members one after the other
                if time.monotonic() > end:
                    return f"hashes at revision {revision} differ: {hashes}"
            elif time.monotonic() > end:
                return f"after {seconds} s the members' revisions differ: {revisions}"
            time.sleep(POLL_SECONDS)

    def _hash(self, place: int, revision: int) -> Hash | None:
        with contextlib.suppress(RpcFailedError):
            return self.client(place).hash_kv(revision)
        return None


def _credentials(target: str, root: Path) -> list[Credentials]:
    """Make all members' certificates, ours with our own tool."""
    if target != "trioetcd":
        return [etcd_credentials(root / "certs")] * len(NAMES)
    made = root / "certs"
    subprocess.run(
        [sys.executable, "-m", "trioetcd", "certs", "init", f"--out={made}"]
        # ports only to tell them apart: each is told its own by a flag
        + [f"{name}=localhost:{at}2379:{at}2380,127.0.0.1" for at, name in enumerate(NAMES, 1)],
        check=True,
        capture_output=True,
    )
    return [
        Credentials(
            ca=made / NAMES[0] / "client-ca.crt",
            cert=made / "clients" / "root.crt",
            key=made / "clients" / "root.key",
            flags=(
                f"--cert-file={made / name / 'server.crt'}",
                f"--key-file={made / name / 'server.key'}",
                f"--trusted-ca-file={made / name / 'client-ca.crt'}",
                "--client-cert-auth",
                f"--peer-cert-file={made / name / 'peer.crt'}",
                f"--peer-key-file={made / name / 'peer.key'}",
                f"--peer-trusted-ca-file={made / name / 'peer-ca.crt'}",
                "--peer-client-cert-auth",
            ),
        )
        for name in NAMES
    ]
