"""One side of the comparison: a server reached through grpcio, a transport that is not ours."""

from __future__ import annotations

import queue
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, Final

import grpc

from tests.differential.comparison import Fields, flatten
from trioetcd.schema import messages
from trioetcd.schema.messages import Message
from trioetcd.testing.cluster import ServerProcess

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
    "Maintenance/MoveLeader": (messages.MoveLeaderRequest, messages.MoveLeaderResponse),
}


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


class WatchStream:
    """One Watch stream; its answers are collected by watch id, in order.

    Attributes:
        seen: for each watch id, what arrived: control answers and events as field mappings.
        problems: broken promises noticed while reading (a revision split over two answers).
    """

    def __init__(self, channel: grpc.Channel) -> None:
        self.seen: dict[int, list[Fields]] = defaultdict(list)
        self.problems: list[str] = []
        self._requests: queue.SimpleQueue[messages.WatchRequest | None] = queue.SimpleQueue()
        self._responses: queue.SimpleQueue[messages.WatchResponse | str] = queue.SimpleQueue()
        self._last: dict[int, int] = {}
        method = channel.stream_stream(
            "/etcdserverpb.Watch/Watch",
            request_serializer=messages.WatchRequest.SerializeToString,
            response_deserializer=messages.WatchResponse.FromString,
        )
        self._call = method(self._outgoing())
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, request: messages.WatchRequest) -> None:
        """Send one request."""
        self._requests.put(request)

    def receive(self, seconds: float) -> bool:
        """Note the next answer; False if none came in time."""
        try:
            response = self._responses.get(timeout=seconds)
        except queue.Empty:
            return False
        if isinstance(response, str):
            self.seen[-2].append({"error": response})
            return True
        number = response.watch_id
        if response.events:
            self._note_events(number, response)
        if response.created or response.canceled or not response.events:
            self.seen[number].append(flatten(response))
        return True

    def _note_events(self, number: int, response: messages.WatchResponse) -> None:
        first = response.events[0].kv.mod_revision
        if first <= self._last.get(number, 0):
            self.problems.append(f"watch {number}: revision {first} split or repeated")
        last = response.events[-1].kv.mod_revision
        self._last[number] = last
        if response.header.revision < last:
            self.problems.append(f"watch {number}: header {response.header.revision} < {last}")
        self.seen[number].extend(flatten(event) for event in response.events)

    def forget(self, number: int) -> None:
        """A watch id is free to begin again at an older revision."""
        self._last.pop(number, None)

    def close(self) -> None:
        """End the stream."""
        self._requests.put(None)
        self._call.cancel()
        self._reader.join(CALL_SECONDS)

    def _outgoing(self) -> Iterator[messages.WatchRequest]:
        while (request := self._requests.get()) is not None:
            yield request

    def _read(self) -> None:
        try:
            for response in self._call:
                self._responses.put(response)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.CANCELLED:
                self._responses.put(f"{error.code().name}: {error.details()}")


class Side:
    """A server under comparison and the calls the comparison makes on it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        credentials = grpc.ssl_channel_credentials(
            server.cacert.read_bytes(),
            server.key.read_bytes(),
            server.cert.read_bytes(),
        )
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.secure_channel(server.host_port, credentials, options=options)
        self.streams: dict[int, WatchStream] = {}
        self._unary: dict[str, Callable[..., Any]] = {
            rpc: self.channel.unary_unary(
                f"/etcdserverpb.{rpc}",
                request_serializer=request.SerializeToString,
                response_deserializer=response.FromString,
            ).future
            for rpc, (request, response) in METHODS.items()
        }
        self._keep_alive = self.channel.stream_stream(
            "/etcdserverpb.Lease/LeaseKeepAlive",
            request_serializer=messages.LeaseKeepAliveRequest.SerializeToString,
            response_deserializer=messages.LeaseKeepAliveResponse.FromString,
        )

    def start(self, rpc: str, request: Message) -> Pending:
        """Send a unary request without waiting for its answer."""
        return Pending(self._unary[rpc](request, timeout=CALL_SECONDS))

    def call(self, rpc: str, request: Message) -> tuple[Message | None, Fields]:
        """Send a unary request and wait for its answer."""
        return self.start(rpc, request).outcome()

    def keep_alive(self, leases: list[int]) -> Fields:
        """Send keep-alives for `leases` on one stream, half-close, and gather the answers."""
        fields: Fields = {}
        requests = [messages.LeaseKeepAliveRequest(ID=lease) for lease in leases]
        try:
            answers = self._keep_alive(iter(requests), timeout=CALL_SECONDS)
            for number, answer in enumerate(answers):
                for path, value in flatten(answer).items():
                    fields[f"answer[{number}].{path}"] = value
        except grpc.RpcError as error:
            fields["error"] = f"{error.code().name}: {error.details()}"
        return fields

    def stream(self, number: int) -> WatchStream:
        """Give the watch stream of this number, opened at first use."""
        if number not in self.streams:
            self.streams[number] = WatchStream(self.channel)
        return self.streams[number]

    def close_stream(self, number: int) -> None:
        """End one watch stream."""
        self.streams.pop(number).close()

    def close(self) -> None:
        """End all streams and the connection."""
        for number in list(self.streams):
            self.close_stream(number)
        self.channel.close()
