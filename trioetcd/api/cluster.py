"""Cluster: who the members are. Changing them comes with the cluster itself."""

from __future__ import annotations

from trioetcd.api.context import Metadata
from trioetcd.ports import Sink
from trioetcd.runtime.server import Answer, Server
from trioetcd.schema import messages

__all__ = ["ClusterAPI"]


class ClusterAPI:
    """Handlers of `etcdserverpb.Cluster` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def member_list(self, caller: Sink, call: int, _metadata: Metadata, message: bytes) -> Answer:
        """MemberList: all members, in the order of their ids."""
        request = messages.MemberListRequest.FromString(message)
        server = self._server

        def read() -> bytes:
            response = messages.MemberListResponse()
            for member in server.membership.members():
                response.members.add(
                    ID=member.id,
                    name=member.name,
                    peerURLs=member.peer_urls,
                    clientURLs=member.client_urls,
                    isLearner=member.is_learner,
                )
            return server.header(0) + response.SerializeToString()

        if not request.linearizable:
            return read()
        return server.answer_when_current(caller, call, read)
