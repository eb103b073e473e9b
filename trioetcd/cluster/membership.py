"""The members of the cluster: table ``m``, one row each, changed only by applied entries.

The row of a removed member stays, with an empty value: its number never comes back, not after a
restart and not through a snapshot. Raft's configuration is not kept anywhere else: it is this
table (`Membership.conf_state`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, assert_never

from trioetcd import errors
from trioetcd.cluster.commands import (
    MEMBER_ATTRIBUTES,
    MEMBER_CHANGES,
    REFUSED,
    Addition,
    Change,
    Promotion,
    Removal,
    Update,
    decode_change,
    refused_row,
)
from trioetcd.cluster.member import Member, decode_member, encode_member, to_message
from trioetcd.errors import ErrorRow, EtcdError, unimplemented
from trioetcd.ports import ReadView, Space
from trioetcd.raft import ConfState
from trioetcd.schema import messages
from trioetcd.values import MemberID

__all__ = ["MEMBER_TABLE", "Membership", "member_row", "read_members"]

MEMBER_TABLE: Final = b"m"

_REMOVED: Final = b""
"""The value of a removed member's row."""


def member_row(epoch: bytes, member: MemberID) -> bytes:
    """Give the raw key of a member's row."""
    return epoch + MEMBER_TABLE + member.to_bytes(8, "big")


def read_members(view: ReadView, epoch: bytes) -> tuple[list[Member], list[MemberID]]:
    """Read table ``m`` of an epoch: the members, and the numbers of those that were removed."""
    members: list[Member] = []
    removed: list[MemberID] = []
    start = epoch + MEMBER_TABLE
    for key, value in view.scan(start, epoch + bytes((MEMBER_TABLE[0] + 1,))):
        if value == _REMOVED:
            removed.append(MemberID(int.from_bytes(key[len(start) :], "big")))
        else:
            members.append(decode_member(value))
    return members, removed


class Membership:
    """Who belongs to the cluster, read from its rows once and kept in step with them.

    Attributes:
        changes: grows with everything that may have changed a member, so that whoever keeps
            connections to the others sees at a glance whether to look.

    Args:
        space: where the rows are.
        epoch: the prefix byte of the state tables.
    """

    def __init__(self, space: Space, *, epoch: bytes) -> None:
        self.changes = 0
        self._space = space
        self.load(epoch=epoch)

    def load(self, *, epoch: bytes) -> None:
        """Start again from the rows of an epoch."""
        self.changes += 1
        self._epoch = epoch
        members, removed = read_members(self._space, epoch)
        self._members = {member.id: member for member in members}
        self._removed = dict.fromkeys(removed)

    def __len__(self) -> int:
        return len(self._members)

    def get(self, member: MemberID) -> Member | None:
        """Give a member by its number."""
        return self._members.get(member)

    def is_removed(self, member: MemberID) -> bool:
        """Whether a number belonged to a member that was removed."""
        return member in self._removed

    def members(self) -> list[Member]:
        """Give all members in the order of their numbers, as MemberList does."""
        return [self._members[number] for number in sorted(self._members)]

    def voters(self) -> tuple[MemberID, ...]:
        """Give the numbers of those who vote, sorted."""
        return tuple(sorted(m.id for m in self._members.values() if not m.is_learner))

    def conf_state(self) -> ConfState:
        """Give Raft's configuration, which these members are."""
        learners = sorted(m.id for m in self._members.values() if m.is_learner)
        return ConfState(self.voters(), tuple(learners))

    # -- commands ----------------------------------------------------------------------------

    def apply(self, kind: int, payload: bytes, /) -> tuple[int, bytes] | EtcdError:
        """Apply a command.

        Returns:
            0, for headers of membership answers carry no revision (etcd), and the answer without
            its header; or the error, and then nothing has changed.

        Raises:
            DecodeError: the payload is none of this kind.
        """
        if kind == REFUSED:
            return EtcdError(refused_row(payload))
        if kind in MEMBER_CHANGES:
            change = decode_change(kind, payload)
            row = self.refusal(change)
            return (0, self._change(change)) if row is None else EtcdError(row)
        if kind != MEMBER_ATTRIBUTES:
            return unimplemented(f"etcdserver: this version does not know command {kind}")
        try:
            self.set_attributes(payload)
        except EtcdError as error:
            return error
        return 0, b""

    def set_attributes(self, payload: bytes) -> None:
        """Apply what a member tells of itself (`commands.attributes_command`).

        Raises:
            EtcdError: there is no such member (any more).
        """
        told = messages.Member.FromString(payload)
        known = self._members.get(MemberID(told.ID))
        if known is None:
            raise EtcdError(errors.MEMBER_NOT_FOUND)
        self._put(replace(known, name=told.name, client_urls=tuple(told.clientURLs)))

    def refusal(self, change: Change) -> ErrorRow | None:
        """Say what forbids a change as the members stand now, looked at in etcd's order.

        This is what is checked when the entry is applied, on every member alike; what depends on
        who is alive is checked before, in `rules`.
        """
        match change:
            case Addition(member, learners_max):
                return self._refuse_addition(member, learners_max)
            case Removal(number):
                if number not in self._members:
                    return errors.MEMBER_NOT_FOUND
                # Without a voter there is no cluster. etcd guards this by the strict check only.
                last = self.voters() == (number,)
                return errors.MEMBER_NOT_ENOUGH_STARTED if last else None
            case Update(number, peer_urls):
                if number not in self._members:
                    return errors.MEMBER_NOT_FOUND
                taken = self._peer_urls(but=number)
                return errors.PEER_URL_EXIST if taken.intersection(peer_urls) else None
            case Promotion(number):
                known = self._members.get(number)
                if known is None:
                    return errors.MEMBER_NOT_FOUND
                return None if known.is_learner else errors.MEMBER_NOT_LEARNER
            case _:
                assert_never(change)

    def _refuse_addition(self, member: Member, learners_max: int) -> ErrorRow | None:
        if member.id in self._removed:
            return errors.MEMBER_NOT_FOUND  # etcd's "ID removed" goes out under this name
        if member.id in self._members:
            return errors.MEMBER_EXIST
        if self._peer_urls().intersection(member.peer_urls):
            return errors.PEER_URL_EXIST
        if member.is_learner and len(self.conf_state().learners) >= learners_max:
            return errors.TOO_MANY_LEARNERS
        return None

    def _peer_urls(self, *, but: MemberID | None = None) -> set[str]:
        members = self._members.values()
        return {url for member in members if member.id != but for url in member.peer_urls}

    def _change(self, change: Change) -> bytes:
        """Do what nothing forbids; give the answer to who asked for it, without its header."""
        match change:
            case Addition(member, _):
                self._put(member)
                added = messages.MemberAddResponse(member=to_message(member))
                return added.SerializeToString() + self._answer(messages.MemberAddResponse)
            case Removal(number):
                self._remove(number)
                return self._answer(messages.MemberRemoveResponse)
            case Update(number, peer_urls):
                self._put(replace(self._members[number], peer_urls=peer_urls))
                return self._answer(messages.MemberUpdateResponse)
            case Promotion(number):
                self._put(replace(self._members[number], is_learner=False))
                return self._answer(messages.MemberPromoteResponse)
            case _:
                assert_never(change)

    def _answer(self, response: Callable[..., messages.Message]) -> bytes:
        """Give the field that all answers have: the members as they stand after the change."""
        return response(members=map(to_message, self.members())).SerializeToString()

    # -- rows --------------------------------------------------------------------------------

    def keep_only(self, member: MemberID) -> None:
        """Remove everybody else and let this member vote: the last one left goes on alone.

        Never done by an entry, but to the rows of a member that is not running
        (``--force-new-cluster``).
        """
        for number in sorted(self._members):
            if number != member:
                self._remove(number)
        self._put(replace(self._members[member], is_learner=False))

    def _put(self, member: Member) -> None:
        self._space.put(member_row(self._epoch, member.id), encode_member(member))
        self._members[member.id] = member
        self.changes += 1

    def _remove(self, member: MemberID) -> None:
        self._space.put(member_row(self._epoch, member), _REMOVED)
        del self._members[member]
        self._removed[member] = None
        self.changes += 1
