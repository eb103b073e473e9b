"""Cluster: who the members are, and how they come and go.

What a change may break is checked here, against this member's own connections
(`cluster.rules`); then it goes through the log, and the answer is what the members are after it.
"""

from __future__ import annotations

from collections.abc import Sequence

from trioetcd import errors
from trioetcd.api.context import Metadata
from trioetcd.api.guard import Guard
from trioetcd.cluster import (
    Addition,
    Change,
    Member,
    Promotion,
    Removal,
    Update,
    encode_change,
    may_add,
    may_remove,
    member_id,
    to_message,
)
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.ports import Sink
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import messages
from trioetcd.url import parse_url
from trioetcd.values import MemberID

__all__ = ["ClusterAPI"]


class ClusterAPI:
    """Handlers of `etcdserverpb.Cluster` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guard = Guard(server)

    def member_list(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """MemberList: all members, in the order of their ids."""
        request = messages.MemberListRequest.FromString(message)
        server = self._server

        def read() -> bytes:
            members = map(to_message, server.membership.members())
            response = messages.MemberListResponse(members=members)
            return server.header(0) + response.SerializeToString()

        if not request.linearizable:
            server.refuse_learner()
            return read()
        return server.answer_when_current(caller, call, read)

    def member_add(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """MemberAdd: the proposer draws the number, so that every member applies the same."""
        request = messages.MemberAddRequest.FromString(message)
        peer_urls = tuple(sorted(_peer_urls(request.peerURLs)))  # etcd sorts them here only
        server = self._server
        if server.limits.strict_reconfig_check:
            _refuse(
                may_add(
                    server.membership,
                    learner=request.isLearner,
                    me=server.replica.member_id,
                    connected=server.connected(),
                )
            )
        member = Member(
            # No token: etcd leaves it out here, for the second of the addition is enough.
            id=member_id(peer_urls, "", added_at=int(server.wall())),
            name="",
            peer_urls=peer_urls,
            is_learner=request.isLearner,
        )
        self._propose(caller, call, metadata, Addition(member, server.limits.learners_max))

    def member_remove(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """MemberRemove: a removed member's number never comes back."""
        member = MemberID(messages.MemberRemoveRequest.FromString(message).ID)
        server = self._server
        if server.limits.strict_reconfig_check:
            _refuse(
                may_remove(
                    server.membership,
                    member,
                    me=server.replica.member_id,
                    connected=server.connected(),
                )
            )
        self._propose(caller, call, metadata, Removal(member))

    def member_update(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """MemberUpdate: where a member's peers reach it; nothing else can be changed."""
        request = messages.MemberUpdateRequest.FromString(message)
        peer_urls = _peer_urls(request.peerURLs)
        self._propose(caller, call, metadata, Update(MemberID(request.ID), peer_urls))

    def member_promote(self, caller: Sink, call: int, metadata: Metadata, message: bytes) -> None:
        """MemberPromote: the leader alone knows whether the learner is ready, and says so."""
        request = messages.MemberPromoteRequest.FromString(message)
        self._propose(caller, call, metadata, Promotion(MemberID(request.ID)))

    def _propose(self, caller: Sink, call: int, metadata: Metadata, change: Change) -> None:
        kind, payload = encode_change(change)
        self._server.propose(caller, call, kind, payload, self._guard.asker(metadata))


def _peer_urls(texts: Sequence[str]) -> tuple[str, ...]:
    """Read peer URLs, of which there must be one at least.

    Raises:
        EtcdError: MemberBadURLs.
    """
    try:
        urls = tuple(str(parse_url(text)) for text in texts)
    except ValueError:
        raise EtcdError(errors.MEMBER_BAD_URLS) from None
    if not urls:
        raise EtcdError(errors.MEMBER_BAD_URLS)
    return urls


def _refuse(row: ErrorRow | None) -> None:
    if row is not None:
        raise EtcdError(row)
