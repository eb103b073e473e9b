"""Watch: one session per stream, fed by the runtime."""

from __future__ import annotations

from trioetcd.api.context import MessageStream, Metadata
from trioetcd.mvcc import WatchSession
from trioetcd.runtime.server import Server
from trioetcd.runtime.watch_feed import Prompt
from trioetcd.schema import messages

__all__ = ["WatchAPI"]


class WatchAPI:
    """Handlers of `etcdserverpb.Watch` for one member."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def watch(self, _metadata: Metadata, stream: MessageStream) -> None:
        """Watch: many watches on one stream, until the client ends it."""
        await self._server.watch(_MessageWatch(stream))


class _MessageWatch:
    """A watch stream whose messages are protobuf."""

    def __init__(self, stream: MessageStream) -> None:
        self._stream = stream
        self.send = stream.send
        self.prompt = stream if isinstance(stream, Prompt) else None

    async def next(self, session: WatchSession) -> bool:
        message = await self._stream.receive()
        if message is None:
            return False
        session.handle(messages.WatchRequest.FromString(message))
        return True
