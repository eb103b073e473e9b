"""The state machine of one member, put together over one space."""

from __future__ import annotations

from math import ceil
from typing import NamedTuple

from trioetcd.auth import AuthStore
from trioetcd.cluster import Membership
from trioetcd.lease import Lessor
from trioetcd.mvcc import Store
from trioetcd.ports import Space
from trioetcd.replica.config import ReplicaConfig
from trioetcd.replica.rows import Recovered
from trioetcd.statemachine import Alarms, Applier

__all__ = ["Machine", "assemble"]


class Machine(NamedTuple):
    """The parts that commands act on."""

    store: Store
    lessor: Lessor
    alarms: Alarms
    membership: Membership
    auth: AuthStore
    applier: Applier

    def load(self, *, epoch: bytes, revision: int, compact_revision: int) -> None:
        """Go on with the rows of another epoch, in which the store is at these revisions."""
        self.store.load(epoch=epoch, revision=revision, compact_revision=compact_revision)
        self.lessor.load(epoch=epoch)
        self.alarms.load(epoch=epoch)
        self.membership.load(epoch=epoch)
        self.auth.load(epoch=epoch)


def assemble(space: Space, recovered: Recovered, config: ReplicaConfig) -> Machine:
    """Load every part from its rows."""
    epoch = recovered.epoch
    store = Store(
        space,
        epoch=epoch,
        revision=recovered.revision,
        compact_revision=recovered.compact_revision,
    )
    # etcd: a lease shorter than an election and a half could die of a change of leaders.
    lessor = Lessor(
        space,
        epoch=epoch,
        ttl_min=ceil(1.5 * config.election_seconds),
        checkpoint_seconds=config.checkpoint_seconds,
    )
    alarms = Alarms(space, epoch=epoch)
    membership = Membership(space, epoch=epoch)
    auth = AuthStore(space, epoch=epoch)
    applier = Applier(
        space=space, store=store, lessor=lessor, alarms=alarms, membership=membership, auth=auth
    )
    return Machine(store, lessor, alarms, membership, auth, applier)
