"""Where cases are played: real members as processes, with what a case may ask of them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from tests.letter.caller import OK, Caller, Raw, Said
from tests.proof.member import Member
from trioetcd.schema import messages as m
from trioetcd.schema.messages import Message

__all__ = ["Stage"]

HISTORY = 3
"""So many revisions are some history."""


@dataclass
class Stage:
    """One member of a cluster, and the others.

    Attributes:
        member: its process.
        caller: a connection to it.
        others: the other members' stages.
        results: what a stage that plays a whole script was told, by the script's own names.
    """

    member: Member
    caller: Caller
    others: tuple[Stage, ...] = ()
    results: dict[Hashable, Said] = field(default_factory=dict)

    @classmethod
    def of(cls, member: Member, *others: Stage) -> Stage:
        """Connect to a running member."""
        return cls(member, Caller(member.address, member.ca, member.cert, member.key), others)

    def say(self, rpc: str, request: Message, metadata: Sequence[tuple[str, str]] = ()) -> Said:
        """Call by grpcio; give the status."""
        return self.caller.say(rpc, request, metadata)

    def told(self, what: Hashable) -> Said:
        """Give one of the results."""
        return self.results[what]

    def raw(self) -> Raw:
        """Open a connection whose bytes are ours."""
        member = self.member
        return Raw(member.client_port, member.ca, member.cert, member.key)

    def has(self, key: bytes) -> bool:
        """Tell whether there is such a key."""
        asked = self.caller.ask("KV/Range", m.RangeRequest(key=key, count_only=True))
        assert asked.said() == OK
        assert isinstance(asked.answer, m.RangeResponse)
        return bool(asked.answer.count)

    def raw_say(
        self,
        rpc: str,
        request: Message,
        metadata: Sequence[tuple[str, bytes | str]] = (),
        *,
        timeout: float | None = None,
        end: bool = True,
    ) -> Said:
        """Call on such a connection; give the status as it was sent."""
        raw = self.raw()
        try:
            message = request.SerializeToString()
            return raw.said(raw.open(rpc, message, metadata, timeout=timeout, end=end))
        finally:
            raw.close()

    def compact(self) -> Said:
        """Write until there is history, then compact it."""
        revision = 0
        while revision <= HISTORY:
            asked = self.caller.ask("KV/Put", m.PutRequest(key=b"o"))
            assert asked.said() == OK
            assert isinstance(asked.answer, m.PutResponse)
            revision = asked.answer.header.revision
        return self.say("KV/Compact", m.CompactionRequest(revision=revision))

    # The members

    def members(self) -> list[m.Member]:
        """Give all members, as this one lists them."""
        asked = self.caller.ask("Cluster/MemberList", m.MemberListRequest())
        assert asked.said() == OK
        assert isinstance(asked.answer, m.MemberListResponse)
        return list(asked.answer.members)

    def me(self) -> m.Member:
        """Give this member."""
        return next(each for each in self.members() if each.name == self.member.name)

    def learner(self) -> int:
        """Give the number of the learner."""
        members = self.others[0].members() if self.others else self.members()
        return next(each.ID for each in members if each.isLearner)

    def lose_learners(self) -> None:
        """Remove every learner."""
        for each in self.members():
            if each.isLearner:
                self.say("Cluster/MemberRemove", m.MemberRemoveRequest(ID=each.ID))

    def leader(self) -> int:
        """Give who leads, as this member knows; 0 for nobody."""
        return self.status().leader

    def status(self) -> m.StatusResponse:
        """Give what this member says of itself."""
        asked = self.caller.ask("Maintenance/Status", m.StatusRequest())
        assert asked.said() == OK
        assert isinstance(asked.answer, m.StatusResponse)
        return asked.answer
