"""Changes of the membership, as pure functions from one configuration to the next.

A simple change lets at most one voter differ, so that any majority of the old configuration and
any of the new one have a member in common (dissertation, section 4.1). Anything else goes through
a joint configuration, in which both majorities are needed (paper, section 6).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, assert_never

from trioetcd.raft.entry import ConfState
from trioetcd.values import MemberID

__all__ = [
    "AddLearner",
    "AddVoter",
    "ConfChange",
    "ConfChangeError",
    "Remove",
    "enter_joint",
    "leave_joint",
    "simple",
]


class ConfChangeError(Exception):
    """The change makes no sense in the configuration at hand; the sentence says why."""


class AddVoter(NamedTuple):
    """Let a member vote; of a learner this is its promotion."""

    member: MemberID


class AddLearner(NamedTuple):
    """Let a member get entries only; of a voter this takes its vote away."""

    member: MemberID


class Remove(NamedTuple):
    """Let a member take no part any more."""

    member: MemberID


ConfChange = AddVoter | AddLearner | Remove


def _change(voters: set[MemberID], learners: set[MemberID], changes: Iterable[ConfChange]) -> None:
    for change in changes:
        member = change.member
        if not member:
            raise ConfChangeError("member 0 means none")
        voters.discard(member)
        learners.discard(member)
        match change:
            case AddVoter():
                voters.add(member)
            case AddLearner():
                learners.add(member)
            case Remove():
                pass
            case _:
                assert_never(change)
    if not voters:
        raise ConfChangeError("the last voter cannot go")


def simple(conf: ConfState, change: ConfChange) -> ConfState:
    """Make one change at once; what is so already stays as it is.

    Raises:
        ConfChangeError: a joint configuration is in force, or no voter would be left.
    """
    if conf.joint:
        raise ConfChangeError("a joint configuration must be left first")
    voters, learners = set(conf.voters), set(conf.learners)
    _change(voters, learners, (change,))
    assert len(voters ^ set(conf.voters)) <= 1
    return ConfState(tuple(sorted(voters)), tuple(sorted(learners)))


def enter_joint(conf: ConfState, changes: Iterable[ConfChange]) -> ConfState:
    """Go to the joint configuration of `conf` and of what `changes` make of it.

    A voter that is to become a learner waits in `learners_next`: it still votes in the old half.

    Raises:
        ConfChangeError: a joint configuration is in force already, or no voter would be left.
    """
    if conf.joint:
        raise ConfChangeError("a joint configuration is in force already")
    voters, learners = set(conf.voters), set(conf.learners)
    _change(voters, learners, changes)
    demoted = learners & set(conf.voters)
    return ConfState(
        tuple(sorted(voters)),
        tuple(sorted(learners - demoted)),
        conf.voters,
        tuple(sorted(demoted)),
    )


def leave_joint(conf: ConfState) -> ConfState:
    """Go from a joint configuration to its new half.

    Raises:
        ConfChangeError: no joint configuration is in force.
    """
    if not conf.joint:
        raise ConfChangeError("no joint configuration is in force")
    return ConfState(conf.voters, tuple(sorted({*conf.learners, *conf.learners_next})))
