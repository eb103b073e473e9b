"""A member as its cluster knows it, and how the numbers of members and clusters come about.

The numbers are computed as etcd computes them, so that a tool that derives them from the same
configuration arrives at the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha1
from typing import NamedTuple

from trioetcd.schema import messages
from trioetcd.values import ClusterID, MemberID

__all__ = [
    "ClusterView",
    "Member",
    "cluster_id",
    "decode_member",
    "encode_member",
    "member_id",
    "to_message",
]


@dataclass(frozen=True, slots=True)
class Member:
    """One member.

    Attributes:
        id: its number.
        name: its human-readable name; empty until it has started and told.
        peer_urls: where its peers reach it.
        client_urls: where clients reach it; empty until it has started and told.
        is_learner: whether it only listens and does not vote.
    """

    id: MemberID
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...] = ()
    is_learner: bool = False

    @property
    def is_started(self) -> bool:
        """Whether it has ever come far enough to tell its name (etcd's measure)."""
        return bool(self.name)


class ClusterView(NamedTuple):
    """A cluster as one of its members sees it, told to who wants to join."""

    cluster_id: ClusterID
    members: tuple[Member, ...]


def member_id(peer_urls: Iterable[str], token: str, *, added_at: int | None = None) -> MemberID:
    """Compute the number of a member.

    Args:
        peer_urls: its peer URLs, in any order.
        token: the cluster's token (``--initial-cluster-token``).
        added_at: for a member added to a running cluster, the second of its addition since 1970;
            None for those the cluster begins with.
    """
    text = "".join(sorted(peer_urls)) + token + ("" if added_at is None else str(added_at))
    return MemberID(_first_eight(text.encode()))


def cluster_id(members: Iterable[MemberID]) -> ClusterID:
    """Compute the number of a cluster from those of the members it begins with."""
    return ClusterID(_first_eight(b"".join(id_.to_bytes(8, "big") for id_ in sorted(members))))


def _first_eight(data: bytes) -> int:
    """Hash as etcd does; SHA-1 names things here and protects nothing."""
    return int.from_bytes(sha1(data, usedforsecurity=False).digest()[:8], "big")


def to_message(member: Member) -> messages.Member:
    """Give the API's form of a member."""
    return messages.Member(
        ID=member.id,
        name=member.name,
        peerURLs=member.peer_urls,
        clientURLs=member.client_urls,
        isLearner=member.is_learner,
    )


def encode_member(member: Member) -> bytes:
    """Give the stored form: the API's own Member message, which is never empty."""
    return to_message(member).SerializeToString()


def decode_member(data: bytes) -> Member:
    """Read the stored form."""
    message = messages.Member.FromString(data)
    return Member(
        id=MemberID(message.ID),
        name=message.name,
        peer_urls=tuple(message.peerURLs),
        client_urls=tuple(message.clientURLs),
        is_learner=message.isLearner,
    )
