"""grpc.health.v1: SERVING for the whole server (the empty name), as etcd offers it."""

from __future__ import annotations

from trioetcd.api.context import MessageStream, Metadata
from trioetcd.errors import Code, ErrorRow, EtcdError, no_request
from trioetcd.ports import Sink
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

__all__ = ["HealthAPI"]

SERVING = 1
SERVICE_UNKNOWN = 3


class HealthAPI:
    """Handlers of `grpc.health.v1.Health` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def check(self, _caller: Sink, _call: int, _metadata: Metadata, message: bytes) -> bytes:
        """Check: the state now; only the empty service name is known."""
        request = messages.HealthCheckRequest.FromString(message)
        self._server.refuse_learner()
        if request.service:
            raise EtcdError(ErrorRow("UnknownService", Code.NOT_FOUND, "unknown service"))
        return messages.HealthCheckResponse(status=SERVING).SerializeToString()

    async def watch(self, _metadata: Metadata, stream: MessageStream) -> None:
        """Watch: the state now; it changes only by ending, which ends the stream."""
        self._server.refuse_learner()
        message = await stream.receive()
        if message is None:
            raise no_request()
        service = messages.HealthCheckRequest.FromString(message).service
        status = SERVICE_UNKNOWN if service else SERVING
        await stream.send([messages.HealthCheckResponse(status=status).SerializeToString()])
        await self._server.wait_stopped()
