"""Whose data is corrupt: what can be said of members by the hashes of what they hold.

Hashes are of the same data, as of the same revision, so healthy members give the same one. Who
gave none says nothing, neither for nor against anybody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from enum import Enum, auto
from typing import Final

from trioetcd.values import MemberID

__all__ = ["NOBODY_KNOWS", "Standing", "corrupt_members", "standing"]

NOBODY_KNOWS: Final = (MemberID(0),)
"""Members differ, and none has a majority on its side: an alarm that names no member (etcd)."""


class Standing(Enum):
    """How a member stands among the others."""

    VOUCHED = auto()
    """A majority of all members holds what it holds."""
    DOUBTED = auto()
    """Somebody holds something else, and no majority is known to be on its side."""
    UNKNOWN = auto()
    """Nobody contradicts it."""


def corrupt_members(
    members: Collection[MemberID], hashes: Mapping[MemberID, int]
) -> tuple[MemberID, ...]:
    """Give the members that hold something else than a majority does.

    Args:
        members: all members of the cluster, learners too, as etcd counts them.
        hashes: what each of them told, if it did; what others told does not count.

    Returns:
        The members in order; none if all that told agree; `NOBODY_KNOWS` if they do not, and no
        majority of all members agrees.
    """
    told = {member: hashes[member] for member in sorted(members) if member in hashes}
    if len(set(told.values())) <= 1:
        return ()
    right = _of_majority(members, told)
    if right is None:
        return NOBODY_KNOWS
    return tuple(member for member, value in told.items() if value != right)


def standing(
    me: MemberID, members: Collection[MemberID], hashes: Mapping[MemberID, int]
) -> Standing:
    """Say how a member stands, by the same arguments; `hashes` holds its own."""
    told = {member: hashes[member] for member in members if member in hashes}
    own = hashes[me]
    if _of_majority(members, told) == own:
        return Standing.VOUCHED
    return Standing.UNKNOWN if set(told.values()) <= {own} else Standing.DOUBTED


def _of_majority(members: Collection[MemberID], told: Mapping[MemberID, int]) -> int | None:
    for value, count in Counter(told.values()).most_common(1):
        if 2 * count > len(members):
            return value
    return None
