"""The members of the cluster: table ``m``, one row each, changed only by applied entries."""

from __future__ import annotations

from typing import Final

from trioetcd.cluster.member import Member, decode_member, encode_member
from trioetcd.errors import MEMBER_NOT_FOUND, EtcdError, unimplemented
from trioetcd.ports import Space
from trioetcd.schema import messages
from trioetcd.values import MemberID

__all__ = ["MEMBER_ATTRIBUTES", "MEMBER_TABLE", "Membership", "attributes_command", "member_row"]

MEMBER_TABLE: Final = b"m"

MEMBER_ATTRIBUTES: Final = 32
"""The kind of the command by which a member tells of itself; 32 to 63 are this package's."""


def member_row(epoch: bytes, member: MemberID) -> bytes:
    """Give the raw key of a member's row."""
    return epoch + MEMBER_TABLE + member.to_bytes(8, "big")


def attributes_command(member: MemberID, name: str, client_urls: tuple[str, ...]) -> bytes:
    """Make the payload with which a member tells its name and client URLs through Raft."""
    return messages.Member(ID=member, name=name, clientURLs=client_urls).SerializeToString()


class Membership:
    """Who belongs to the cluster, read from its rows once and kept in step with them.

    Args:
        space: where the rows are.
        epoch: the prefix byte of the state tables.
    """

    def __init__(self, space: Space, *, epoch: bytes) -> None:
        self._space = space
        self._epoch = epoch
        self._members: dict[MemberID, Member] = {}
        start = epoch + MEMBER_TABLE
        stop = epoch + bytes((MEMBER_TABLE[0] + 1,))
        for _, value in space.scan(start, stop):
            member = decode_member(value)
            self._members[member.id] = member

    def __len__(self) -> int:
        return len(self._members)

    def get(self, member: MemberID) -> Member | None:
        """Give a member by its number."""
        return self._members.get(member)

    def members(self) -> list[Member]:
        """Give all members in the order of their numbers, as MemberList does."""
        return [self._members[number] for number in sorted(self._members)]

    def voters(self) -> tuple[MemberID, ...]:
        """Give the numbers of those who vote, sorted."""
        return tuple(sorted(m.id for m in self._members.values() if not m.is_learner))

    def apply(self, kind: int, payload: bytes, /) -> tuple[int, bytes] | EtcdError:
        """Apply a command; headers of membership answers carry no revision, hence 0 (etcd)."""
        if kind != MEMBER_ATTRIBUTES:
            return unimplemented(f"etcdserver: this version does not know command {kind}")
        try:
            self.set_attributes(payload)
        except EtcdError as error:
            return error
        return 0, b""

    def set_attributes(self, payload: bytes) -> None:
        """Apply what a member tells of itself (`attributes_command`).

        Raises:
            EtcdError: there is no such member (any more).
        """
        told = messages.Member.FromString(payload)
        known = self._members.get(MemberID(told.ID))
        if known is None:
            raise EtcdError(MEMBER_NOT_FOUND)
        self._put(
            Member(
                id=known.id,
                name=told.name,
                peer_urls=known.peer_urls,
                client_urls=tuple(told.clientURLs),
                is_learner=known.is_learner,
            )
        )

    def _put(self, member: Member) -> None:
        self._space.put(member_row(self._epoch, member.id), encode_member(member))
        self._members[member.id] = member
