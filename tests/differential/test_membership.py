"""A member and the real etcd 3.5.1 answer changes of members alike, in words and in what is listed.

What both are told is one script; numbers and URLs of the two clusters differ, so both sides'
answers are compared after they have been given names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.differential.servers import Side
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member

pytestmark = [pytest.mark.interop]

FIRST = "https://127.0.0.1:1"
SECOND = "https://127.0.0.1:2"


class Cluster:
    """One side: its own member, and whoever was added last."""

    def __init__(self, side: Side) -> None:
        self.side = side
        listed, _ = side.call("Cluster/MemberList", messages.MemberListRequest(linearizable=True))
        assert isinstance(listed, messages.MemberListResponse)
        self.me = listed.members[0].ID
        self.own_url = listed.members[0].peerURLs[0]
        self.new = 0
        self.voters = 1

    def settle(self) -> None:
        """Wait until the last change of members is behind us.

        etcd answers a change before its raft has noted it as applied, silently drops another that
        comes in between ("ignoring conf change"), and never answers that one. It answers a
        linearizable read only once that moment is over.
        """
        answer, fields = self.side.call("KV/Range", messages.RangeRequest(key=b"settled"))
        assert answer is not None, fields

    def told(self, rpc: str, request: messages.Message) -> object:
        """Make a call; give the error, or the members after it under names."""
        if self.voters == 1:  # with a second voter, who never comes, nothing can be read
            self.settle()
        answer, fields = self.side.call(f"Cluster/{rpc}", request)
        if answer is None:
            return fields["error"]
        assert isinstance(
            answer,
            messages.MemberAddResponse
            | messages.MemberRemoveResponse
            | messages.MemberUpdateResponse
            | messages.MemberPromoteResponse,
        )
        assert (0, self.me) == (answer.header.revision, answer.header.member_id)
        assert answer.header.raft_term > 0
        if isinstance(answer, messages.MemberAddResponse):
            self.new = answer.member.ID
            self.voters += not answer.member.isLearner
        ids = [member.ID for member in answer.members]
        assert sorted(ids) == ids
        # etcd 3.5 makes a voter of a learner whose URLs are updated (mended in 3.6, issue 21736).
        update = isinstance(answer, messages.MemberUpdateResponse)
        return sorted(
            (
                member.name,
                update or member.isLearner,
                tuple(member.peerURLs),
                len(member.clientURLs),
            )
            for member in answer.members
            if member.ID != self.me
        )

    def add(self, *urls: str, learner: bool = True) -> object:
        urls = tuple(self.own_url if url == "own" else url for url in urls)
        return self.told("MemberAdd", messages.MemberAddRequest(peerURLs=urls, isLearner=learner))

    def number(self, name: str) -> int:
        return {"me": self.me, "new": self.new}.get(name, 9)

    def remove(self, name: str) -> object:
        return self.told("MemberRemove", messages.MemberRemoveRequest(ID=self.number(name)))

    def promote(self, name: str) -> object:
        return self.told("MemberPromote", messages.MemberPromoteRequest(ID=self.number(name)))

    def update(self, name: str, *urls: str) -> object:
        urls = tuple(self.own_url if url == "own" else url for url in urls)
        request = messages.MemberUpdateRequest(ID=self.number(name), peerURLs=urls)
        return self.told("MemberUpdate", request)

    def move(self, name: str) -> object:
        request = messages.MoveLeaderRequest(targetID=self.number(name))
        answer, fields = self.side.call("Maintenance/MoveLeader", request)
        return fields if answer is None else answer.SerializeToString()


@pytest.fixture
def sides(etcd: ServerProcess, tmp_path: Path) -> Iterator[tuple[Cluster, Cluster]]:
    """Give a member and a real etcd, each as a cluster of one that nobody else uses.

    The session's etcd is asked for only so that its absence is handled in one place.
    """
    assert etcd.process.poll() is None
    with (
        running_member(tmp_path / "ours") as ours,
        running_etcd(tmp_path / "real") as real,
        contextlib.closing(Side(ours)) as subject,
        contextlib.closing(Side(real)) as reference,
    ):
        yield Cluster(subject), Cluster(reference)


def script(cluster: Cluster) -> Iterator[object]:
    """Tell one side everything that a cluster of one can be told about members."""
    for urls in ((), ("",), ("h:1",), ("https://h",), ("https://h:1/x",), ("ftp://h:1",)):
        yield cluster.add(*urls)
    yield cluster.add("own")
    yield cluster.add(SECOND, FIRST, SECOND)
    yield cluster.add("https://127.0.0.1:3")
    yield cluster.update("new", "own")
    yield cluster.update("nobody", SECOND)
    for name in ("nobody", "new", "me"):
        yield cluster.promote(name)
        yield cluster.move(name)
    yield cluster.remove("nobody")
    yield cluster.remove("me")
    yield cluster.update("new", SECOND, FIRST)
    yield cluster.remove("new")
    yield cluster.remove("new")
    yield cluster.update("new", FIRST)
    yield cluster.promote("new")
    yield cluster.add(FIRST, learner=False)
    yield cluster.add(SECOND, learner=False)
    yield cluster.remove("me")


def test_members_come_and_go_as_with_etcd(sides: tuple[Cluster, Cluster]) -> None:
    """Every answer and every refusal of the script is the same on both sides."""
    for step, (ours, theirs) in enumerate(zip(*map(script, sides), strict=True)):
        print(step, theirs)
        assert theirs == ours, step
