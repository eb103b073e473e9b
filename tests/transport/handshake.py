"""A real TLS handshake between two contexts, in memory, without threads or waiting."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass
class Outcome:
    """What both sides know after the handshake."""

    alpn: str | None
    version: str | None
    suite: str
    client_der: bytes | None


def shake(server: ssl.SSLContext, client: ssl.SSLContext, host: str = "localhost") -> Outcome:
    """Shake hands, and carry a byte both ways.

    Raises:
        ssl.SSLError: one side refused the other.
    """
    upwards, downwards = ssl.MemoryBIO(), ssl.MemoryBIO()
    above = server.wrap_bio(upwards, downwards, server_side=True)
    below = client.wrap_bio(downwards, upwards, server_hostname=host)
    waiting = [below.do_handshake, above.do_handshake]
    for _ in range(20):
        left = []
        for step in waiting:
            try:
                step()
            except ssl.SSLWantReadError:
                left.append(step)
        waiting = left
        if not waiting:
            break
    assert not waiting, "the handshake made no progress"
    below.write(b"?")  # with TLS 1.3 a client learns of its refusal only after the handshake
    assert above.read(1) == b"?"
    above.write(b"!")
    assert below.read(1) == b"!"
    suite = above.cipher()
    assert suite is not None
    return Outcome(
        above.selected_alpn_protocol(),
        above.version(),
        suite[0],
        above.getpeercert(binary_form=True),
    )
