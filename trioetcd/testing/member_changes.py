"""Members that come and go: added as learners or voters, promoted, moved, removed.

One change at a time, or two at once, asked for at any member as a client would. A new member's
process starts when its addition has been answered, or may have been made, with an empty disk. Who
belongs to the cluster is taken from the log, not from answers.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from trioetcd.cluster import (
    CONF_CHANGES,
    Addition,
    Change,
    Member,
    Promotion,
    Removal,
    Update,
    encode_change,
    member_id,
)
from trioetcd.cluster.commands import decode_change
from trioetcd.statemachine import CommandKind
from trioetcd.testing.operation import Ask, Propose, Result, Status
from trioetcd.testing.sim_member import SimMember
from trioetcd.values import MemberID

__all__ = ["Cluster", "MemberChanges", "peer_url"]

PROCESSES_MAX: Final = 7
"""Members there may be in a run, those that are gone included."""

LEARNERS_MAX: Final = 1

HASTE: Final = 0.3
"""How often one does not wait for an answer before the next change, so that the members must."""


def peer_url(place: int, moved: int = 0) -> str:
    """Give the peer URL of a member that has moved so often."""
    return f"http://m{place}:{2380 + moved}"


class Cluster(Protocol):
    """What changes."""

    members: list[SimMember]

    def ask(self, ask: Ask, place: int, done: Callable[[Result], None], /) -> None:
        """Ask a member as a client does."""

    def join(self, number: MemberID, /) -> None:
        """Start the process of a new member, whose disk is empty."""


class MemberChanges:
    """Who belongs to the cluster, by the log, and what is to change next.

    Attributes:
        made: how many changes the log holds.

    Args:
        cluster: see there.
        begin: the members the cluster begins with.
        joining: whether anybody may join.
    """

    def __init__(self, cluster: Cluster, begin: list[MemberID], *, joining: bool) -> None:
        self.made = 0
        self._learners: dict[MemberID, bool] = dict.fromkeys(begin, False)
        self._removed: dict[MemberID, None] = {}
        self._cluster = cluster
        self._joining = joining
        self._moves = 0
        self._busy = False

    def applied(self, kind: int, payload: bytes) -> None:
        """Take in a command that has just become part of the log, of any kind."""
        if kind not in CONF_CHANGES:
            return
        learners = self._learners
        match decode_change(kind, payload):
            case Addition(member, learners_max):
                full = member.is_learner and sum(learners.values()) >= learners_max
                if member.id not in learners and not full:
                    learners[member.id] = member.is_learner
                    self.made += 1
            case Removal(number):
                if number in learners and self.voters() != [number]:
                    del learners[number]
                    self._removed[number] = None
                    self.made += 1
            case Promotion(number):
                if learners.get(number):
                    learners[number] = False
                    self.made += 1
            case Update():
                pass

    def is_member(self, number: MemberID) -> bool:
        """Whether a member belongs to the cluster, by the log."""
        return number in self._learners

    def is_removed(self, number: MemberID) -> bool:
        """Whether a member belonged to the cluster once; one that is still to join did not."""
        return number in self._removed

    def voters(self) -> list[MemberID]:
        """Give those who vote, by the log."""
        return [number for number, learner in self._learners.items() if not learner]

    def change(self, random: Random) -> bool:
        """Ask for a change; False if another one is under way or there is none to ask for."""
        if self._busy or not self._ask(random, keep=2):
            return False
        if random.random() < HASTE:
            self._ask(random, keep=3)
        return True

    def _ask(self, random: Random, *, keep: int) -> bool:
        """Ask for a change that leaves so many voters; False if there is none."""
        change = self._choose(random, keep)
        if change is None:
            return False
        self._busy = True

        def done(result: Result) -> None:
            self._busy = False
            made = result.status in {Status.DONE, Status.UNKNOWN}
            if made and isinstance(change, Addition):
                self._cluster.join(change.member.id)

        kind, payload = encode_change(change)
        place = random.randrange(len(self._cluster.members))
        self._cluster.ask(Propose(CommandKind(kind), payload), place, done)
        return True

    def _choose(self, random: Random, keep: int) -> Change | None:
        learners = [number for number, learner in self._learners.items() if learner]
        if learners:
            number = random.choice(learners)
            return Promotion(number) if random.random() < 0.8 else Removal(number)
        voters = self.voters()
        place = len(self._cluster.members)
        chance = random.random()
        if chance < 0.2:
            self._moves += 1
            number = random.choice(voters)
            return Update(number, (peer_url(PROCESSES_MAX, self._moves),))
        if self._joining and place < PROCESSES_MAX and (chance < 0.7 or len(voters) <= keep):
            url = peer_url(place)
            member = Member(
                id=member_id([url], "simulation", added_at=place),
                name="",
                peer_urls=(url,),
                is_learner=random.random() < 0.7,
            )
            return Addition(member, LEARNERS_MAX)
        # A leader that removes itself is the rarest and the most delicate case.
        return Removal(random.choice(voters)) if len(voters) > keep else None
