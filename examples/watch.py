"""Follow a prefix: every change once, in order, even if the connection is lost in between.

    eval "$(.venv/bin/trioetcd certs env --data-dir default.etcd)"
    .venv/bin/python examples/watch.py examples/   # ends after five changes
    .venv/bin/python examples/watch.py examples/ 0 # goes on until interrupted

This example writes to the prefix itself, so that there is something to see.
"""

from __future__ import annotations

import os
import sys

import trio

from trioetcd.client import Client, EventKind, WatchCompactedError, open_client


async def follow(client: Client, prefix: str, count: int) -> None:
    """Print `count` changes below `prefix`, or all for ever if it is 0."""
    start = 0  # from now on
    while True:
        try:
            async with client.watch(prefix, prefix=True, start_revision=start) as events:
                # Here the server has taken the watch on: nothing from now on is missed.
                await client.put(f"{prefix}started", "yes")
                async for event in events:
                    if event.kind is EventKind.PUT:
                        verb = "created" if event.created else "changed"
                        print(f"{event.revision}: {verb} {event.kv.key!r} = {event.kv.value!r}")
                    else:
                        print(f"{event.revision}: deleted {event.kv.key!r}")
                    count -= 1
                    if count == 0:
                        return
        except WatchCompactedError as error:
            # We were away for so long that history is gone: read the present, and go on from it.
            print(f"missed everything before revision {error.compact_revision}")
            start = (await client.range(prefix, prefix=True)).header.revision + 1


async def write(client: Client, prefix: str) -> None:
    """Make a few changes."""
    for number in range(3):
        await client.put(f"{prefix}number", str(number))
    await client.delete(f"{prefix}number")


async def main() -> None:
    """Follow what we and others write."""
    prefix = sys.argv[1] if len(sys.argv) > 1 else "examples/"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    async with (
        open_client(
            os.environ.get("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379"),
            cacert=os.environ["ETCDCTL_CACERT"],
            cert=os.environ["ETCDCTL_CERT"],
            key=os.environ["ETCDCTL_KEY"],
        ) as client,
        trio.open_nursery() as nursery,
        client.watch(f"{prefix}started") as started,
    ):
        nursery.start_soon(follow, client, prefix, count)
        await anext(started)
        await write(client, prefix)


if __name__ == "__main__":
    trio.run(main)
