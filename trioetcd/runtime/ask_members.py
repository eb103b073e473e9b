"""Asking peers, before this member is one of them, which cluster they are and who is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from trioetcd.cluster import ClusterView, decode_member
from trioetcd.runtime.peers import Dial
from trioetcd.schema.messages import DecodeError
from trioetcd.transport.listener import Address
from trioetcd.transport.peer_dial import DialError
from trioetcd.url import Url
from trioetcd.values import SERVER_VERSION, ClusterID, MemberID
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Answer, Hello, Members, PeerDialler, Purpose

__all__ = ["ask_members"]

ASK_SECONDS: Final = 2.0
"""For each address: TCP, TLS, question and answer."""


async def ask_members(
    urls: Sequence[Url],
    *,
    dial: Dial,
    limits: PeerLimits,
    failed: Callable[[str], None],
) -> ClusterView | None:
    """Ask the peers at these URLs, one after the other; give the first answer.

    Args:
        urls: where to ask.
        dial: how a peer is dialled.
        limits: bounds of the answer.
        failed: told in a sentence why an address gave no answer.
    """
    for url in urls:
        address = Address(url.host, url.port)
        try:
            with trio.fail_after(ASK_SECONDS):
                return await _ask(address, dial, limits)
        except trio.TooSlowError:
            failed(f"{address}: no answer within {ASK_SECONDS:g} s")
        except DialError as error:
            failed(str(error))
        except (RemoteProtocolError, trio.BrokenResourceError, DecodeError) as error:
            failed(f"{address}: {error}")
    return None


async def _ask(address: Address, dial: Dial, limits: PeerLimits) -> ClusterView:
    nobody = MemberID(0)
    hello = Hello(Purpose.MEMBERS, ClusterID(0), nobody, nobody, 0, SERVER_VERSION, ())
    dialler = PeerDialler(hello, limits=limits)
    stream = await dial(address)
    try:
        await stream.send_all(dialler.take())
        answer: Answer | None = None
        while answer is None:
            data = await stream.receive_some()
            if not data:
                raise DialError(f"{address}: the connection was closed instead of an answer")
            dialler.receive(data)
            answer = dialler.next_event()
    finally:
        stream.close()
    if not isinstance(answer, Members):
        raise DialError(f"{address}: refused: {getattr(answer, 'reason', answer)}")
    return ClusterView(answer.cluster, tuple(map(decode_member, answer.members)))
