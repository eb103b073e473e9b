"""What a call asks for by its metadata: a leader (`hasleader`), a count of its client's version.

Metadata are looked at once for each list of headers that is new on a connection; most calls have
nothing there that matters, and pay nothing. `token` and `authorization` are not read here, and
what nobody knows is ignored.
"""

from __future__ import annotations

from typing import Final

from trioetcd.api.context import MessageStream, Metadata, StreamHandler
from trioetcd.errors import INVALID_CLIENT_API_VERSION, NO_LEADER, ErrorRow, EtcdError
from trioetcd.runtime.leadership import Leadership
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.prometheus import Counter

__all__ = ["Terms", "TermsOffice"]

HAS_LEADER: Final = "hasleader"
TRUE: Final = b"true"
API_VERSION: Final = "client-api-version"

VERSIONS_MAX: Final = 64
VERSION_BYTES_MAX: Final = 64
"""Clients say what they like, and a series is kept for ever: more of them count as unknown."""


class Terms:
    """The terms of calls with the same metadata.

    Args:
        leadership: whether somebody leads, if they ask for that.
        unary, stream: where their calls are counted, None where none is known.
        wrong: what is wrong with their metadata.
    """

    __slots__ = ("_leadership", "_stream", "_unary", "_wrong")

    def __init__(
        self,
        leadership: Leadership | None,
        unary: Counter | None,
        stream: Counter | None,
        wrong: ErrorRow | None,
    ) -> None:
        self._leadership = leadership
        self._unary = unary
        self._stream = stream
        self._wrong = wrong

    def refusal(self) -> EtcdError | None:
        """Count a unary call; give the error with which it is refused, or None."""
        if self._unary is not None:
            self._unary.value += 1
        if self._leadership is not None and not self._leadership.known:
            return EtcdError(NO_LEADER)
        return EtcdError(self._wrong) if self._wrong is not None else None

    async def serve(
        self, handler: StreamHandler, metadata: Metadata, stream: MessageStream
    ) -> None:
        """Serve a stream as long as the terms allow."""
        if self._wrong is not None:
            raise EtcdError(self._wrong)
        if self._stream is not None:
            self._stream.value += 1
        if self._leadership is None:
            await handler(metadata, stream)
            return
        if not self._leadership.known:
            raise EtcdError(NO_LEADER)
        await self._leadership.while_led(handler(metadata, stream))


class TermsOffice:
    """Reads terms.

    Args:
        metrics: where clients' versions are counted.
        leadership: whether somebody leads.
    """

    def __init__(self, metrics: Metrics, leadership: Leadership) -> None:
        self._requests = metrics.server_client_requests_total
        self._leadership = leadership

    def read(self, metadata: Metadata) -> Terms | None:
        """Give the terms of a call with these metadata, None if there are none."""
        version = metadata.get(API_VERSION)
        leadership = self._leadership if metadata.get(HAS_LEADER) == TRUE else None
        unary = stream = wrong = None
        if version is not None:
            try:
                unary, stream = self._counters(version.decode())
            except UnicodeDecodeError:
                wrong = INVALID_CLIENT_API_VERSION
                leadership = None  # of two reasons to refuse a call this one is told (etcd)
        if unary is None and wrong is None and leadership is None:
            return None
        return Terms(leadership, unary, stream, wrong)

    def _counters(self, version: str) -> tuple[Counter, Counter] | tuple[None, None]:
        requests = self._requests
        known = ("unary", version) in requests.series
        if not known and (
            len(version) > VERSION_BYTES_MAX or len(requests.series) >= 2 * VERSIONS_MAX
        ):
            return None, None
        return requests.labels("unary", version), requests.labels("stream", version)

    def observed(self, handler: StreamHandler) -> StreamHandler:
        """Give a handler that serves a stream as the metadata's terms have it."""

        async def serve(metadata: Metadata, stream: MessageStream) -> None:
            terms = self.read(metadata)
            if terms is None:
                await handler(metadata, stream)
            else:
                await terms.serve(handler, metadata, stream)

        return serve
