"""Tests of `trioetcd.api.maintenance`: Downgrade, asked in etcd's order."""

from __future__ import annotations

import pytest

from tests.api.metadata import NoMetadata
from tests.replica.states import follower_disk
from tests.runtime.member import Caller, Disk, make_server, running
from trioetcd.api.router import Router
from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

Downgrade = messages.DowngradeRequest


def ask(server: Server, caller: Caller, action: int, version: str = "") -> object:
    """Ask for a downgrade."""
    message = Downgrade(action=action, version=version).SerializeToString()
    handler = Router.of(server).unary["/etcdserverpb.Maintenance/Downgrade"]
    return handler(caller, 1, NoMetadata(), message)


@pytest.mark.parametrize(
    ("action", "version", "text"),
    [
        (Downgrade.VALIDATE, "x", "wrong downgrade target version format"),
        (Downgrade.ENABLE, "3.5", "invalid downgrade target version"),
        (Downgrade.VALIDATE, "3.6", "there is no earlier trioetcd to go down to"),
        (Downgrade.ENABLE, "3.6.0", "`etcdutl snapshot restore`"),
        (Downgrade.CANCEL, "", "no inflight downgrade job"),
        (9, "3.6", "unknown method"),
    ],
)
async def test_every_downgrade_is_refused(action: int, version: str, text: str) -> None:
    """Each with what is wrong with it; nothing is ever begun, so nothing can be cancelled."""
    async with running() as server:
        with pytest.raises(EtcdError, match=text):
            ask(server, Caller(), action, version)


async def test_a_learner_refuses_downgrades() -> None:
    """A learner says that it is one, whatever the request (etcd)."""
    disk = Disk()
    disk.rows = follower_disk(is_learner=True)
    server = make_server(disk)
    for action in (Downgrade.VALIDATE, Downgrade.ENABLE, Downgrade.CANCEL):
        with pytest.raises(EtcdError, match="rpc not supported for learner"):
            ask(server, Caller(), action, "x")


async def test_what_is_said_of_the_cluster_waits_for_it() -> None:
    """A member that is not sure of its state says what is wrong with the format, and no more."""
    disk = Disk()
    disk.rows = follower_disk()
    server = make_server(disk)
    with pytest.raises(EtcdError, match="wrong downgrade target version format"):
        ask(server, Caller(), Downgrade.VALIDATE, "x")
    for action in (Downgrade.VALIDATE, Downgrade.ENABLE, Downgrade.CANCEL):
        caller = Caller()
        assert ask(server, caller, action, "3.6") is None
        assert {} == caller.answers
