"""Asking peers, before this member is one of them, which cluster they are and who is in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import trio

from trioetcd.cluster import ClusterView, decode_member
from trioetcd.schema.messages import DecodeError
from trioetcd.transport.listener import Address
from trioetcd.transport.peer_dial import DialError
from trioetcd.transport.peer_link import Dial, ask
from trioetcd.url import Url
from trioetcd.values import SERVER_VERSION, ClusterID, MemberID
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import Hello, Members, PeerDialler, Purpose

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
        except DecodeError as error:
            failed(f"{address}: {error}")
    return None


async def _ask(address: Address, dial: Dial, limits: PeerLimits) -> ClusterView:
    nobody = MemberID(0)
    hello = Hello(Purpose.MEMBERS, ClusterID(0), nobody, nobody, 0, SERVER_VERSION, ())
    dialler = PeerDialler(hello, limits=limits)
    stream = await dial(address)
    try:
        answer = await ask(stream, dialler, address)
    finally:
        stream.close()
    assert isinstance(answer, Members), "nothing else has a place there"
    return ClusterView(answer.cluster, tuple(map(decode_member, answer.members)))
