"""Watch: one session per stream, fed by the runtime."""

from __future__ import annotations

from trioetcd.api.context import MessageStream, Metadata
from trioetcd.api.guard import Guard
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.server import Server
from trioetcd.runtime.watch_feed import Prompt
from trioetcd.schema import messages

__all__ = ["WatchAPI"]


class WatchAPI:
    """Handlers of `etcdserverpb.Watch` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._guard = Guard(server)

    async def watch(self, metadata: Metadata, stream: MessageStream) -> None:
        """Watch: many watches on one stream, until the client ends it."""
        guard = self._guard
        await self._server.watch(_MessageWatch(stream, metadata, guard), guard.permit(metadata))


class _MessageWatch:
    """A watch stream whose messages are protobuf."""

    def __init__(self, stream: MessageStream, metadata: Metadata, guard: Guard) -> None:
        self._stream = stream
        self._metadata = metadata
        self._guard = guard
        self.send = stream.send
        self.prompt = stream if isinstance(stream, Prompt) else None

    async def next(self, session: WatchSession) -> bool:
        message = await self._stream.receive()
        if message is None:
            return False
        request = messages.WatchRequest.FromString(message)
        await self._guard.settle_watch(self._metadata, request)
        session.handle(request)
        return True
