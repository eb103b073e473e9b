"""One side of the comparison: members reached through grpcio, a transport that is not ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import grpc

from tests.differential.comparison import Fields, flatten
from tests.differential.streams import WatchStream
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

CALL_SECONDS: Final = 20.0

METHODS: Final[dict[str, tuple[type[Message], type[Message]]]] = {
    "KV/Range": (messages.RangeRequest, messages.RangeResponse),
    "KV/Put": (messages.PutRequest, messages.PutResponse),
    "KV/DeleteRange": (messages.DeleteRangeRequest, messages.DeleteRangeResponse),
    "KV/Txn": (messages.TxnRequest, messages.TxnResponse),
    "KV/Compact": (messages.CompactionRequest, messages.CompactionResponse),
    "Lease/LeaseGrant": (messages.LeaseGrantRequest, messages.LeaseGrantResponse),
    "Lease/LeaseRevoke": (messages.LeaseRevokeRequest, messages.LeaseRevokeResponse),
    "Lease/LeaseTimeToLive": (messages.LeaseTimeToLiveRequest, messages.LeaseTimeToLiveResponse),
    "Lease/LeaseLeases": (messages.LeaseLeasesRequest, messages.LeaseLeasesResponse),
    "Cluster/MemberAdd": (messages.MemberAddRequest, messages.MemberAddResponse),
    "Cluster/MemberRemove": (messages.MemberRemoveRequest, messages.MemberRemoveResponse),
    "Cluster/MemberUpdate": (messages.MemberUpdateRequest, messages.MemberUpdateResponse),
    "Cluster/MemberList": (messages.MemberListRequest, messages.MemberListResponse),
    "Cluster/MemberPromote": (messages.MemberPromoteRequest, messages.MemberPromoteResponse),
    "Maintenance/Alarm": (messages.AlarmRequest, messages.AlarmResponse),
    "Maintenance/Status": (messages.StatusRequest, messages.StatusResponse),
    "Maintenance/HashKV": (messages.HashKVRequest, messages.HashKVResponse),
    "Maintenance/MoveLeader": (messages.MoveLeaderRequest, messages.MoveLeaderResponse),
    **{
        f"Auth/{name}": (
            getattr(messages, f"{'' if name.startswith('Auth') else 'Auth'}{name}Request"),
            getattr(messages, f"{'' if name.startswith('Auth') else 'Auth'}{name}Response"),
        )
        for name in messages.POOL.FindServiceByName("etcdserverpb.Auth").methods_by_name
    },
}
"""The unary methods that can be called; Lock and Election are not among them yet."""


class Server(Protocol):
    """A member as a process, and how to reach it."""

    @property
    def name(self) -> str:
        """What it is, for messages."""

    @property
    def host_port(self) -> str:
        """`host:port` of its client listener."""

    @property
    def cacert(self) -> Path:
        """The authority of its certificate."""

    @property
    def cert(self) -> Path:
        """A client's certificate."""

    @property
    def key(self) -> Path:
        """Its key."""

    def exit_code(self, *, seconds: float) -> int | None:
        """Wait at most so long for it to end; None if it runs on."""


class Pending:
    """A unary call under way on one side."""

    def __init__(self, future: Any) -> None:
        self._future = future

    def outcome(self) -> tuple[Message | None, Fields]:
        """Wait for the answer; give the message (None for an error) and its fields."""
        try:
            message: Message = self._future.result()
        except grpc.RpcError as error:
            return None, {"error": f"{error.code().name}: {error.details()}"}
        return message, flatten(message)


class Link:
    """The connection to one member."""

    def __init__(self, server: Server) -> None:
        self.server = server
        credentials = grpc.ssl_channel_credentials(
            server.cacert.read_bytes(),
            server.key.read_bytes(),
            server.cert.read_bytes(),
        )
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.secure_channel(server.host_port, credentials, options=options)
        self.unary: dict[str, Callable[..., Any]] = {
            rpc: self.channel.unary_unary(
                f"/etcdserverpb.{rpc}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            ).future
            for rpc, (request, response) in METHODS.items()
        }
        self.keep_alive = self.channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=messages.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=messages.LeaseKeepAliveResponse.FromString,
        )


class Side:
    """The members under comparison and the calls the comparison makes on them.

    Args:
        servers: all members of one cluster.
        strict: whether a stream must keep the promises that etcd 3.5 does not (`streams`).

    Attributes:
        strict: as given.
        streams: the watch streams that are open, by number.
        fragments: how many fragments came on streams that are closed.
    """

    def __init__(self, *servers: Server, strict: bool = False) -> None:
        self.links = [Link(server) for server in servers]
        self.streams: dict[int, WatchStream] = {}
        self.fragments = 0
        self.strict = strict
        self._numbers: list[int] | None = None

    @property
    def server(self) -> Server:
        """The first member."""
        return self.links[0].server

    @property
    def servers(self) -> Sequence[Server]:
        """All members."""
        return [link.server for link in self.links]

    def numbers(self) -> list[int]:
        """Give the members' ids, asked for once."""
        if self._numbers is None:
            listed, fields = self.call("Cluster/MemberList", messages.MemberListRequest())
            assert isinstance(listed, messages.MemberListResponse), fields
            self._numbers = [member.ID for member in listed.members]
        return self._numbers

    def _link(self, at: int) -> Link:
        return self.links[at % len(self.links)]

    def start(
        self,
        rpc: str,
        request: Message,
        at: int = 0,
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Pending:
        """Send a unary request to a member without waiting for its answer."""
        call = self._link(at).unary[rpc]
        return Pending(call(request, timeout=CALL_SECONDS, metadata=metadata))

    def call(self, rpc: str, request: Message, at: int = 0) -> tuple[Message | None, Fields]:
        """Send a unary request to a member and wait for its answer."""
        return self.start(rpc, request, at).outcome()

    def catch_up(self) -> None:
        """Let every member apply all that has been answered for by any of them."""
        if len(self.links) > 1:
            request = messages.RangeRequest(key=b"\0", count_only=True)
            asked = [self.start("KV/Range", request, at) for at in range(len(self.links))]
            for pending in asked:
                pending.outcome()

    def keep_alive(self, leases: Sequence[int], at: int = 0) -> Fields:
        """Send keep-alives for `leases` on one stream, half-close, and gather the answers."""
        fields: Fields = {}
        requests = [messages.LeaseKeepAliveRequest(ID=lease) for lease in leases]
        try:
            answers = self._link(at).keep_alive(iter(requests), timeout=CALL_SECONDS)
            for number, answer in enumerate(answers):
                for path, value in flatten(answer).items():
                    fields[f"answer[{number}].{path}"] = value
        except grpc.RpcError as error:
            fields["error"] = f"{error.code().name}: {error.details()}"
        return fields

    def stream(self, number: int) -> WatchStream:
        """Give the watch stream of this number, opened at first use at the member it says."""
        if number not in self.streams:
            channel = self._link(number).channel
            self.streams[number] = WatchStream(channel, strict=self.strict)
        return self.streams[number]

    def close_stream(self, number: int) -> None:
        """End one watch stream."""
        stream = self.streams.pop(number)
        self.fragments += stream.fragments
        stream.close()

    def close(self) -> None:
        """End all streams and the connections."""
        for number in list(self.streams):
            self.close_stream(number)
        for link in self.links:
            link.channel.close()
