"""A watcher takes what etcd promises, and refuses everything else."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from trioetcd.mvcc import WatchHub
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.model import Model, key_value
from trioetcd.testing.synchronous import Synchronous
from trioetcd.testing.violation import Violation
from trioetcd.testing.watching import Watching


class Member:
    """A member, its watches, and the model beside it."""

    def __init__(self) -> None:
        self.synchronous = Synchronous(MemoryBackend()).start()
        self.hub = WatchHub(self.synchronous.replica.store)
        self.model = Model(ttl_min=2)

    def do(self, kind: CommandKind, request: messages.PutRequest | messages.TxnRequest) -> None:
        self.model.apply(kind, request.SerializeToString())
        synchronous = self.synchronous
        synchronous.propose((object(), kind, request.SerializeToString()))
        while True:
            for revision, events in synchronous.outputs.published:
                self.hub.publish(revision, events)
            if synchronous.waiting is not None:
                synchronous.persist()
            elif synchronous.outputs.more:
                synchronous.step()
            else:
                return

    def put(self, key: bytes, value: bytes) -> None:
        self.do(CommandKind.PUT, messages.PutRequest(key=key, value=value))


def test_a_correct_member_is_believed() -> None:
    """Puts, txns and progress of a real member pass, at once and after a reconnection."""
    member = Member()
    watching = Watching(0, member.model, Random(1))
    watching.connect(0, member.hub)
    for number in range(50):
        member.put(b"k%d" % (number % 3), b"%d" % number)
        if number % 7 == 0:
            watching.take(1.0)
    txn = messages.TxnRequest()
    for key in (b"a", b"b"):
        put = txn.success.add().request_put
        put.key, put.value = key, b"v"
    member.do(CommandKind.TXN, txn)
    watching.take_all(1.0)
    assert (watching.events, watching.position) == (52, member.model.revision + 1)

    watching.disconnect()
    for number in range(300):
        member.put(b"k", b"%d" % number)
    watching.connect(0, member.hub)
    watching.take_all(2.0)
    assert watching.events == 352
    watching.ask_progress()
    watching.take_all(3.0)


def event(model: Model, revision: int) -> messages.Event:
    change = model.changes[revision][0]
    assert change.now is not None
    made = messages.Event(kv=key_value(change.now))
    if change.before is not None:
        made.prev_kv.CopyFrom(key_value(change.before))
    return made


def response(revision: int, *events: messages.Event) -> messages.WatchResponse:
    made = messages.WatchResponse(events=events)
    made.header.revision = revision
    return made


def damage_value(model: Model) -> messages.WatchResponse:
    made = event(model, 2)
    made.kv.value = b"?"
    return response(2, made)


def damage_previous(model: Model) -> messages.WatchResponse:
    made = event(model, 3)
    made.prev_kv.value = b"?"
    return response(3, event(model, 2), made)


def forget_previous(model: Model) -> messages.WatchResponse:
    made = event(model, 3)
    made.ClearField("prev_kv")
    return response(3, event(model, 2), made)


WRONG: dict[str, Callable[[Model], messages.WatchResponse]] = {
    "an event left out": lambda model: response(3, event(model, 3)),
    "events out of order": lambda model: response(3, event(model, 3), event(model, 2)),
    "an event twice": lambda model: response(2, event(model, 2), event(model, 2)),
    "a progress notification too early": lambda _: response(3),
    "progress to what is to come": lambda _: response(99),
    "another value": damage_value,
    "another previous value": damage_previous,
    "no previous value": forget_previous,
}


@pytest.mark.parametrize("name", WRONG)
def test_whatever_breaks_a_promise_is_refused(name: str) -> None:
    """Order, completeness, atomicity, bookmarks and prev_kv are checked response by response."""
    model = Model(ttl_min=1)
    for value in (b"1", b"2"):
        request = messages.PutRequest(key=b"k", value=value)
        model.apply(CommandKind.PUT, request.SerializeToString())
    watching = Watching(0, model, Random(1))
    watching.position = 2
    watching._created = True

    made = WRONG[name](model)
    if not made.events:
        made.watch_id = -1
    with pytest.raises(Violation):
        watching._judge(made)


def test_right_responses_are_taken() -> None:
    """The same responses, undamaged, pass."""
    model = Model(ttl_min=1)
    for value in (b"1", b"2"):
        request = messages.PutRequest(key=b"k", value=value)
        model.apply(CommandKind.PUT, request.SerializeToString())
    watching = Watching(0, model, Random(1))
    watching.position = 2
    watching._created = True
    watching._judge(response(3, event(model, 2), event(model, 3)))
    watching._judge(response(3))

    assert watching.position == 4
