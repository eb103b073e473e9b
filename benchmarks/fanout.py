"""What handing out one event costs: matching among many watches, and per watch that gets it.

Run: ``python benchmarks/fanout.py``. Prints microseconds, best of five.
"""

from __future__ import annotations

from collections.abc import Callable
from time import process_time

from trioetcd.mvcc import Event, Store, WatchHub, WatchSession
from trioetcd.schema import messages
from trioetcd.schema.fastpath import header_field, header_prefix
from trioetcd.testing.space import DictSpace

PREFIX = header_prefix(2**63 + 5, 2**62 + 3)


def make() -> WatchHub:
    """Make the hub of an empty store."""
    store = Store(DictSpace(), epoch=b"\x80", revision=1, compact_revision=-1)
    return WatchHub(store)


def open_session(hub: WatchHub) -> WatchSession:
    """Open a stream that nobody reads by itself."""
    return WatchSession(hub, lambda revision: header_field(PREFIX, revision, 3), wake=lambda: None)


def watch(
    session: WatchSession, key: bytes, range_end: bytes = b"", *, prev_kv: bool = False
) -> None:
    """Create a watch."""
    create = messages.WatchCreateRequest(key=key, range_end=range_end, prev_kv=prev_kv)
    session.handle(messages.WatchRequest(create_request=create))


def best(name: str, count: int, run: Callable[[], None]) -> None:
    """Print the best of five runs."""
    seconds = []
    for _ in range(5):
        start = process_time()
        run()
        seconds.append(process_time() - start)
    print(f"{name:50} {min(seconds) / count * 1e6:6.2f} µs")


def matching() -> None:
    """One put among 10 000 key watches and 200 ranges of 100 streams; one watch gets it."""
    hub = make()
    sessions = [open_session(hub) for _ in range(100)]
    for at in range(10_000):
        watch(sessions[at % 100], b"/key/%05d" % at)
    for at in range(200):
        watch(sessions[at % 100], b"/range/%03d/" % at, b"/range/%03d0" % at)
    for session in sessions:
        session.take(1 << 20)
    puts: list[tuple[int, list[Event]]] = [
        (revision, [(b"/key/%05d" % revision, b"x" * 300, None)]) for revision in range(2000)
    ]

    def run() -> None:
        for revision, events in puts:
            hub.publish(revision, events)
        for session in sessions:
            session.take(1 << 20)

    best("match and hand out, 10 000 keys, 200 ranges", len(puts), run)
    misses: list[tuple[int, list[Event]]] = [
        (revision, [(b"/none/%05d" % revision, b"x", None)]) for revision in range(2000)
    ]

    def miss() -> None:
        for revision, events in misses:
            hub.publish(revision, events)

    best("nobody wants it", len(misses), miss)


def fanning(watches: int, *, prev_kv: bool) -> None:
    """One put for many watches of one stream."""
    hub = make()
    session = open_session(hub)
    for _ in range(watches):
        watch(session, b"/key", prev_kv=prev_kv)
    session.take(1 << 20)
    events: list[Event] = [(b"/key", b"x" * 300, b"\x1a\x02ab")]

    def run() -> None:
        for revision in range(2, 102):
            hub.publish(revision, events)
            session.take(1 << 22)

    name = f"one event, per watch of {watches} on one stream"
    best(name + (" with prev_kv" if prev_kv else ""), 100 * watches, run)


def main() -> None:
    matching()
    fanning(1, prev_kv=False)
    fanning(100, prev_kv=False)
    fanning(100, prev_kv=True)


if __name__ == "__main__":
    main()
