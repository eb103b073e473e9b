"""How late are very many leases that end together, and who waits meanwhile?

Run: ``python -m benchmarks.leases [--leases 100000] [--ttl 120]``. Grants leases to a real member,
a key on each, and kills it: from its next start on all of them have their whole time again, so that
they end at once. Then it watches the keys go, while a client puts another key time and again.
Prints seconds since the moment at which they could end at the earliest, and how long puts took.
"""

from __future__ import annotations

import tempfile
from argparse import ArgumentParser
from collections import deque
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic

import trio

from tests.proof.member import Member
from trioetcd.client import Client, EventKind, open_client

PREFIX = "leased/"
WORKERS = 64
PROBE_SECONDS = 0.01
EXTEND_SECONDS = 1.0
"""A new leader gives an election timeout more."""


async def grant(client: Client, number: int, ttl: int) -> None:
    """Grant so many leases, with a key on each."""
    left = deque(range(1, number + 1))

    async def work() -> None:
        while left:
            lease = left.popleft()
            await client.lease_grant(ttl, lease_id=lease)
            await client.put(f"{PREFIX}{lease:08}", "x" * 50, lease=lease)

    async with trio.open_nursery() as nursery:
        for _ in range(WORKERS):
            nursery.start_soon(work)


async def see_them_go(client: Client, number: int) -> list[float]:
    """Give when each key went."""
    gone: list[float] = []
    async with client.watch(PREFIX, prefix=True) as events:
        async for event in events:
            assert event.kind is EventKind.DELETE
            gone.append(monotonic())
            if len(gone) == number:
                break
    return gone


async def probe(client: Client, seconds: list[float]) -> None:
    """Put a key time and again, and note how long each put takes."""
    while True:
        begin = monotonic()
        await client.put("probe", "x")
        seconds.append(monotonic() - begin)
        await trio.sleep(PROBE_SECONDS)


def describe(name: str, seconds: list[float]) -> None:
    """Print a line of figures."""
    seconds = sorted(seconds)
    shares = " ".join(
        f"{label} {seconds[min(len(seconds) - 1, int(share * len(seconds)))]:.3f}"
        for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    )
    print(f"{name:40} n {len(seconds)} min {seconds[0]:.3f} {shares}")


async def measure(member: Member, number: int, ttl: int) -> None:
    """Do all of it."""
    member.start()

    def connect() -> AbstractAsyncContextManager[Client]:
        return open_client(member.endpoint, cacert=member.ca, cert=member.cert, key=member.key)

    async with connect() as client:
        begin = monotonic()
        await grant(client, number, ttl)
        print(f"granted {number} leases in {monotonic() - begin:.1f} s")
    member.kill()
    started = monotonic()
    member.start()
    ready = monotonic()
    print(f"started again in {ready - started:.2f} s")
    puts: list[float] = []
    async with connect() as client, connect() as other, trio.open_nursery() as nursery:
        await trio.sleep(max(0.0, started + ttl - monotonic()))
        nursery.start_soon(probe, other, puts)
        gone = await see_them_go(client, number)
        nursery.cancel_scope.cancel()
    due = started + ttl + EXTEND_SECONDS
    describe("lease gone, seconds after it could be", [at - due for at in gone])
    describe("put meanwhile, seconds", puts)
    print("none early" if gone[0] >= due else "SOME WERE EARLY")


def main() -> None:
    """Run."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--leases", type=int, default=100_000)
    parser.add_argument("--ttl", type=int, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        member = Member("trioetcd", Path(directory))
        try:
            trio.run(measure, member, options.leases, options.ttl)
        finally:
            member.kill()


if __name__ == "__main__":
    main()
