"""Whether a change of members may be asked for: what depends on who is alive and how far they are.

Pure: what is known goes in, an error row or None comes out. The member that is asked checks
additions and removals against its own connections (``--strict-reconfig-check``); only the leader
knows how far a learner is, so promotions are checked where the entry is appended. What the table
of members itself forbids is checked when the entry is applied (`Membership.refusal`). All as in
etcd, down to which of several errors is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from trioetcd import errors
from trioetcd.cluster.commands import MEMBER_CHANGES, Promotion, decode_change
from trioetcd.cluster.member import Member
from trioetcd.cluster.membership import Membership
from trioetcd.errors import ErrorRow
from trioetcd.schema.messages import DecodeError
from trioetcd.values import Index, MemberID

__all__ = ["HEALTH_SECONDS", "Connected", "may_add", "may_append", "may_remove"]

HEALTH_SECONDS: Final = 5.0
"""Only a connection that has lasted for longer counts (etcd)."""

Connected = Mapping[MemberID, float]
"""For each other member that this one is connected to: seconds since that connection was made."""


def may_add(
    membership: Membership, *, learner: bool, me: MemberID, connected: Connected
) -> ErrorRow | None:
    """Say why a member must not be added now, if the quorum is to be safe.

    Args:
        membership: the members before the addition.
        learner: whether the new one only learns.
        me: the member that is asked; it counts as connected to itself.
        connected: its connections.
    """
    voters = _voters(membership)
    if not learner:
        started = _started(voters)
        # A second voter could never be added otherwise: the new one has not started.
        alone = started == 1 and len(voters) == 1
        if not alone and started < _quorum(len(voters) + 1):
            return errors.MEMBER_NOT_ENOUGH_STARTED
    if len(voters) == 1:
        return None
    if _connected(voters, me, connected) < _quorum(len(voters) + 1):
        return errors.UNHEALTHY
    return None


def may_remove(
    membership: Membership, member: MemberID, *, me: MemberID, connected: Connected
) -> ErrorRow | None:
    """Say why a member must not be removed now, if the quorum is to be safe.

    Args:
        membership: the members before the removal.
        member: who is to go; nothing is said against a number that nobody has.
        me: the member that is asked; it counts as connected to itself.
        connected: its connections.
    """
    known = membership.get(member)
    if known is not None and known.is_learner:
        return None
    voters = _voters(membership)
    staying = [voter for voter in voters if voter.id != member]
    if _started(staying) < _quorum(len(staying)):
        return errors.MEMBER_NOT_ENOUGH_STARTED
    if member != me and member not in connected:
        return None  # who cannot be reached is no part of the quorum at work
    if _connected(voters, me, connected) - 1 < 1 + (len(voters) - 1) // 2:
        return errors.UNHEALTHY
    return None


def may_append(
    kind: int,
    payload: bytes,
    membership: Membership,
    progress: Mapping[MemberID, Index],
    *,
    strict: bool,
) -> ErrorRow | None:
    """Say why a leader must not append a command, its own or one sent on by another member.

    What must not be appended is replaced by `commands.REFUSED` with this row.

    Args:
        kind: the command's kind; nothing is said against those that change no members.
        payload: its payload.
        membership: the members as applied.
        progress: for every member, the leader too, the last entry known to be durable there.
        strict: whether the quorum must be safe (``--strict-reconfig-check``).
    """
    if kind not in MEMBER_CHANGES:
        return None
    try:
        change = decode_change(kind, payload)
    except DecodeError:
        return None  # another member sent it on; it will change nothing when it is applied
    if isinstance(change, Promotion):
        row = _may_promote(change.member, membership, progress, strict=strict)
        if row is not None:
            return row
    return membership.refusal(change)


def _may_promote(
    member: MemberID, membership: Membership, progress: Mapping[MemberID, Index], *, strict: bool
) -> ErrorRow | None:
    match_index = progress.get(member)
    if match_index is None:
        return errors.MEMBER_NOT_FOUND
    # The furthest stands for the leader, whose own disk may lag behind those of its followers.
    if 10 * match_index < 9 * max(progress.values()):
        return errors.LEARNER_NOT_READY
    voters = _voters(membership)
    # The learner counts as started, since it has come so far.
    if strict and _started(voters) + 1 < _quorum(len(voters) + 1):
        return errors.MEMBER_NOT_ENOUGH_STARTED
    return None


def _voters(membership: Membership) -> list[Member]:
    return [member for member in membership.members() if not member.is_learner]


def _quorum(voters: int) -> int:
    return voters // 2 + 1


def _started(members: Iterable[Member]) -> int:
    return sum(member.is_started for member in members)


def _connected(voters: Iterable[Member], me: MemberID, connected: Connected) -> int:
    lasting = [
        voter for voter in voters if voter.id == me or connected.get(voter.id, 0.0) > HEALTH_SECONDS
    ]
    return len(lasting)
