"""What the wire says when a peer breaks its protocol.

Here lives the one exception of the package. Remote garbage is neither an operating error (those
are rows in `trioetcd.errors`) nor a programmer's error (those are asserts).
"""

from __future__ import annotations

__all__ = ["RemoteProtocolError"]


class RemoteProtocolError(Exception):
    """The peer broke the protocol: write the farewell, then close the connection.

    In HTTP/2 the farewell (GOAWAY) is queued already and comes out of ``take()``; in HTTP/1.1 it
    is the `hint`; between members there is none.

    Attributes:
        code: the HTTP/2 error code sent in GOAWAY, or the HTTP/1.1 status of the farewell; 0
            between members.
        hint: bytes of the farewell response for HTTP/1.1, empty for HTTP/2.
    """

    def __init__(self, message: str, *, code: int = 0, hint: bytes = b"") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
