"""Plain HTTP on the client port: /version, /health, /livez, /readyz, /metrics.

The bodies are made in `frontend.health` and `runtime.metrics`; this is the path table, the same
for HTTP/1.1 and HTTP/2 (curl negotiates h2).
"""

from __future__ import annotations

from collections.abc import Collection

from trioetcd.errors import NO_LEADER, TIMEOUT
from trioetcd.frontend import health
from trioetcd.frontend.health import HttpAnswer
from trioetcd.runtime.prometheus import CONTENT_TYPE
from trioetcd.runtime.server import Server

__all__ = ["HttpDoor"]


class HttpDoor:
    """Answers plain HTTP requests of one member."""

    def __init__(self, server: Server) -> None:
        self._metrics = server.metrics
        self._condition = _Condition(server)

    def answer(self, method: str, target: str, _body: bytes) -> HttpAnswer:
        """Answer one request."""
        path, _, query = target.partition("?")
        if path != "/metrics":
            return health.answer(self._condition, method, path, query)
        if method != "GET":
            return health.not_allowed()
        return 200, [("content-type", CONTENT_TYPE)], self._metrics.render().encode()


class _Condition:
    """A member, as the health checks ask about it (`health.Condition`)."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.metrics = server.metrics

    def alarm_types(self) -> Collection[int]:
        return [kind for kind, _ in self._server.alarms.get()]

    def has_leader(self) -> bool:
        return bool(self._server.replica.leader)

    def is_learner(self) -> bool:
        return self._server.is_learner

    def read_error(self, *, serializable: bool) -> str | None:
        replica = self._server.replica
        if serializable:
            return None
        if not replica.leader:
            return NO_LEADER.text
        # A member whose disk takes longer than an election cannot promise to be current.
        return TIMEOUT.text if replica.stalled else None
