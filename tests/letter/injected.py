"""The errors of etcd's table that no member of ours can be brought to: the states that say them.

Each is a state that only a test can make, inside a member that is otherwise whole and is asked over
TLS. It is set where the error would come from, so that its code and sentence take their whole way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import pytest

from tests.frontend.foreign import Front
from trioetcd import errors
from trioetcd.api import maintenance
from trioetcd.api.terms import Terms
from trioetcd.errors import ErrorRow
from trioetcd.ports import Sink
from trioetcd.replica import Outputs, consensus
from trioetcd.runtime.server import Answer
from trioetcd.schema import messages as m
from trioetcd.schema.messages import Message

__all__ = ["INJECTIONS", "Injection"]

Inject = Callable[[Front, pytest.MonkeyPatch], None]


class Injection(NamedTuple):
    """An error, and how a member is made to say it.

    Attributes:
        rpc: the procedure that says it.
        request: what is asked.
        reason: why no member can be brought to say it.
        inject: sets the state.
    """

    rpc: str
    request: Message
    reason: str
    inject: Inject


PUT: Final = m.PutRequest(key=b"k")
DOWNGRADE: Final = m.DowngradeRequest(action=m.DowngradeRequest.VALIDATE, version="3.6")


def refuse_downgrades(row: ErrorRow) -> Inject:
    """Let there be this reason why the cluster does not go down."""

    def inject(_front: Front, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(maintenance, "downgrade_refusal", lambda _target: row)

    return inject


def lack_the_capability(front: Front, patch: pytest.MonkeyPatch) -> None:
    """Let every call come before its time; etcd's member looks at that where ours reads terms."""
    terms = Terms(None, None, None, errors.NOT_CAPABLE)
    patch.setattr(front.frontend._router, "note", lambda _metadata: terms)


def refuse_additions(_front: Front, patch: pytest.MonkeyPatch) -> None:
    """Let the leader find a change of members meant for another cluster."""
    row = errors.CLUSTER_ID_MISMATCH
    patch.setattr(consensus, "may_append", lambda *_arguments, **_options: row)


def give_up_commands(row: ErrorRow) -> Inject:
    """Let a command that waits for the disk be given up for its client's sake."""

    def inject(front: Front, _patch: pytest.MonkeyPatch) -> None:
        front.disk.hold()
        front.nursery.start_soon(give_up, front)

    async def give_up(front: Front) -> None:
        server = front.server
        while not server.replica.statistics().pending:
            await server.driver.wait_turn()
        server._turned(Outputs(resolved=server.replica._pending.fail(row)))
        front.disk.release()

    return inject


def depose_the_lessor(front: Front, patch: pytest.MonkeyPatch) -> None:
    """Let a member whose lessor leads nobody renew a lease itself, past the lease desk."""
    server = front.server
    server.lessor.demote()

    def ask_here(
        caller: Sink, call: int, lease: int, make: Callable[[int | None], Answer], *, renew: bool
    ) -> None:
        assert renew
        server.deliver(caller, call, lambda: make(server.lessor.renew(lease, server.now())))

    patch.setattr(server, "ask_leader", ask_here)


INJECTIONS: Final[dict[ErrorRow, Injection]] = {
    errors.CLUSTER_VERSION_UNAVAILABLE: Injection(
        "Maintenance/Downgrade",
        DOWNGRADE,
        "a member of etcd does not know its cluster's version before its leader has said it; ours "
        "all have the same one",
        refuse_downgrades(errors.CLUSTER_VERSION_UNAVAILABLE),
    ),
    errors.DOWNGRADE_IN_PROCESS: Injection(
        "Maintenance/Downgrade",
        DOWNGRADE,
        "no downgrade ever begins (cluster/downgrade.py)",
        refuse_downgrades(errors.DOWNGRADE_IN_PROCESS),
    ),
    errors.CLUSTER_ID_MISMATCH: Injection(
        "Cluster/MemberAdd",
        m.MemberAddRequest(peerURLs=["https://127.0.0.1:1"]),
        "etcd's server does not send it either; it is a row of its clients. A member of another "
        "cluster is refused by the peers' protocol, which clients do not speak",
        refuse_additions,
    ),
    errors.NOT_CAPABLE: Injection(
        "KV/Put",
        PUT,
        "every version of ours has all procedures, or says UNIMPLEMENTED",
        lack_the_capability,
    ),
    errors.CANCELED: Injection(
        "KV/Put",
        PUT,
        "whoever cancelled a call reads no answer; nobody reads etcd's either",
        give_up_commands(errors.CANCELED),
    ),
    errors.CONTEXT_DEADLINE_EXCEEDED: Injection(
        "KV/Put",
        PUT,
        "whose time is up is told so in gRPC's own words (DeadlineExceeded), by etcd too",
        give_up_commands(errors.CONTEXT_DEADLINE_EXCEEDED),
    ),
    errors.NOT_PRIMARY_LESSOR: Injection(
        "Lease/LeaseKeepAlive",
        m.LeaseKeepAliveRequest(ID=1),
        "a question about a lease goes on to the next leader (replica/lease_desk.py), and Go's "
        "clients would give the lease up for it",
        depose_the_lessor,
    ),
}
"""At most eight (`test_letter`); one that a real member can say stands among the cases instead."""
