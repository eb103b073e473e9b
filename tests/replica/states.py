"""A member that follows, and the state of another one that may become its own."""

from __future__ import annotations

from trioetcd.cluster import Member, cluster_id, member_id
from trioetcd.ports import Row
from trioetcd.replica import ReplicaConfig, SnapshotMeta, bootstrap
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.values import Index, Term

URLS = ("https://a:1", "https://b:1")
IDS = tuple(sorted(member_id([url], "t") for url in URLS))
LEADER, FOLLOWER = IDS


def follower_disk(*, is_learner: bool = False) -> MemoryBackend:
    """Make the disk of the second of two members, which never leads by itself."""
    members = [
        Member(
            id=member_id([url], "t"),
            name="",
            peer_urls=(url,),
            is_learner=is_learner and member_id([url], "t") == FOLLOWER,
        )
        for url in URLS
    ]
    backend = MemoryBackend()
    rows = bootstrap(cluster_id=cluster_id(IDS), member_id=FOLLOWER, members=members)
    backend.prepare(rows).write()
    return backend


def follower(backend: MemoryBackend | None = None) -> Synchronous:
    """Run the second of two members by hand."""
    member = Synchronous(backend or follower_disk(), config=ReplicaConfig(name="b"))
    member.step()
    member.settle()
    return member


def source() -> tuple[SnapshotMeta, list[list[Row]]]:
    """Give the state of a member that has lived a while, as it would be sent.

    It has 100 keys, each written three times, and the lease 77.
    """
    member = Synchronous(MemoryBackend()).start()
    for number in range(300):
        put = messages.PutRequest(key=b"k%03d" % (number % 100), value=b"v%d" % number)
        member.done(CommandKind.PUT, put)
    member.done(CommandKind.LEASE_GRANT, messages.LeaseGrantRequest(ID=77, TTL=60))
    member.propose((None, CommandKind.PUT, messages.PutRequest(key=b"z").SerializeToString()))
    cut = member.replica.cut_state()
    member.settle()  # what comes after the cut is not in it
    pieces = []
    while piece := cut.piece(1500):
        pieces.append(piece)
    cut.close()
    return cut.meta._replace(last_index=Index(500), last_term=Term(4)), pieces
