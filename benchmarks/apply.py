"""What one put costs from committed bytes to rows, and one single-key read; no disk, no network.

Run: ``python benchmarks/apply.py [keys]``. Prints microseconds per operation, best of five.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time

from trioetcd.auth import AuthStore
from trioetcd.keyrange import KeyRange
from trioetcd.lease import Lessor
from trioetcd.mvcc import RangeQuery, Store
from trioetcd.schema import messages
from trioetcd.statemachine import Alarms, Applier, CommandKind, Outcome
from trioetcd.testing.space import DictSpace

EPOCH = b"\x80"


class NoMembers:
    """Applies nothing."""

    def apply(self, _kind: int, _payload: bytes, /) -> Outcome:
        """Give an empty outcome."""
        return 0, b""


def make(space: DictSpace) -> tuple[Store, Applier]:
    """Make a store and its applier over a dict."""
    store = Store(space, epoch=EPOCH, revision=1, compact_revision=-1)
    applier = Applier(
        space=space,
        store=store,
        lessor=Lessor(space, epoch=EPOCH),
        alarms=Alarms(space, epoch=EPOCH),
        membership=NoMembers(),
        auth=AuthStore(space, epoch=EPOCH),
    )
    return store, applier


def best(name: str, count: int, run: Callable[[], None]) -> None:
    """Print the best of five runs."""
    seconds = []
    for _ in range(5):
        start = process_time()
        run()
        seconds.append(process_time() - start)
    print(f"{name:40} {min(seconds) / count * 1e6:6.2f} µs")


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    space = DictSpace()
    store, applier = make(space)
    value = b"v" * 256
    names = [b"key-%08d-abc" % at for at in range(keys)]
    payloads = [messages.PutRequest(key=key, value=value).SerializeToString() for key in names]
    apply = applier.apply

    def puts() -> None:
        for payload in payloads:
            apply(1, payload)
        applier.published.clear()

    puts()
    best("overwrite, applied", keys, puts)
    stores = [(key, store.current(key)) for key in names]

    def bare() -> None:
        for key, old in stores:
            store.put(key, value, 0, old)

    best("overwrite, Store.put alone", keys, bare)
    txns = [
        messages.TxnRequest(
            compare=[messages.Compare(key=key, target=messages.Compare.MOD, mod_revision=0)],
            success=[],
            failure=[messages.RequestOp(request_put=messages.PutRequest(key=key, value=value))],
        ).SerializeToString()
        for key in names
    ]

    def txn() -> None:
        for payload in txns:
            apply(CommandKind.TXN, payload)
        applier.published.clear()

    best("compare and put in a txn", keys, txn)

    def gets() -> None:
        current_kv = store.current_kv
        for key in names:
            current_kv(key)

    best("read of one key, current_kv", keys, gets)

    queries = [RangeQuery(KeyRange.from_wire(key, b"")) for key in names]

    def ranges() -> None:
        for query in queries:
            store.range(query).step(512, 1 << 20)

    best("read of one key, RangeCursor", keys, ranges)

    def everything() -> None:
        cursor = store.range(RangeQuery(KeyRange(b"\0", None)))
        while not cursor.step(512, 1 << 20):
            pass
        assert cursor.count == keys

    best("range of everything, per key", keys, everything)


if __name__ == "__main__":
    main()
