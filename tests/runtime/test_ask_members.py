"""Tests of `trioetcd.runtime.ask_members`: a joiner learns the cluster from whoever answers."""

from __future__ import annotations

import socket

from tests.runtime.peering import CLUSTER, LIMITS, cluster_of, member_of
from tests.transport.peers import dialler, door
from trioetcd.cluster import ClusterView
from trioetcd.runtime.ask_members import ask_members
from trioetcd.transport.listener import Address
from trioetcd.url import Url


def url_of(address: Address) -> Url:
    return Url("https", address.host, address.port)


async def test_the_first_that_answers_is_believed() -> None:
    """A dead address is told and passed by; the answer holds the cluster and its members."""
    failed: list[str] = []
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        dead = Address(*reserved.getsockname())
        async with cluster_of([1, 2]) as (one, two):
            view = await ask_members(
                [url_of(dead), url_of(one.address)],
                dial=dialler().dial,
                limits=LIMITS,
                failed=failed.append,
            )
            assert ClusterView(CLUSTER, (member_of(one), member_of(two))) == view

    assert [f"{dead}: Connection refused"] == failed


async def test_nobody_answers() -> None:
    """Something else that listens there, or nobody at all: None, and a sentence for each."""
    failed: list[str] = []
    async with door(refuse_with="cluster") as found:
        view = await ask_members(
            [url_of(found.address)], dial=dialler().dial, limits=LIMITS, failed=failed.append
        )
    assert view is None
    assert [f"{found.address}: refused: it is not wanted"] == failed
    assert None is await ask_members([], dial=dialler().dial, limits=LIMITS, failed=failed.append)
