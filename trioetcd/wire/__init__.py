"""Protocols as state machines: bytes in, events out, no I/O.

Here live HTTP/2 and gRPC in both roles, HTTP/1.1 for small requests, and the bounds on what
strangers may send. What must not live here: sockets, clocks (time is an argument), tasks, and
anything that knows what a call means.
"""

from __future__ import annotations

from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.grpc import (
    CALL,
    CANCELLED,
    DRAINED,
    GONE,
    HALF_CLOSED,
    MESSAGE,
    OPENED,
    REQUEST,
    RESPONSE,
    TRAILERS,
    GrpcServer,
    frame,
)
from trioetcd.wire.grpc_client import GrpcClient
from trioetcd.wire.head import Head
from trioetcd.wire.http1 import Http1Server, Request, Upgrade
from trioetcd.wire.limits import CLIENT_LIMITS, Limits

__all__ = [
    "CALL",
    "CANCELLED",
    "CLIENT_LIMITS",
    "DRAINED",
    "GONE",
    "HALF_CLOSED",
    "MESSAGE",
    "OPENED",
    "REQUEST",
    "RESPONSE",
    "TRAILERS",
    "GrpcClient",
    "GrpcServer",
    "Head",
    "Http1Server",
    "Limits",
    "RemoteProtocolError",
    "Request",
    "Upgrade",
    "frame",
]
