"""Say "I am here" with a key that vanishes when we do.

A lease is kept alive for as long as a block runs; the key attached to it is deleted when the
block ends, or when this process dies and the lease runs out.

    eval "$(.venv/bin/trioetcd certs env --data-dir default.etcd)"
    .venv/bin/python examples/lease_keepalive.py
"""

from __future__ import annotations

import os

import trio

from trioetcd.client import EtcdError, EventKind, open_client

KEY = "examples/presence/me"


async def main() -> None:
    """Be present for five seconds, two and a half times the life of the lease."""
    async with (
        open_client(
            os.environ.get("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379"),
            cacert=os.environ["ETCDCTL_CACERT"],
            cert=os.environ["ETCDCTL_CERT"],
            key=os.environ["ETCDCTL_KEY"],
        ) as client,
        client.watch(KEY) as events,
    ):
        try:
            async with client.lease_kept_alive(ttl=2) as lease:
                print(f"lease {lease.lease_id:016x} for {lease.ttl} s")
                await client.put(KEY, "here", lease=lease)
                await trio.sleep(5)  # the work that the presence is about
                status = await client.lease_time_to_live(lease, keys=True)
                print(f"still {status.remaining} s of {status.granted} s, {status.keys}")
        except EtcdError as error:
            # Had the lease been lost, the block would have been cancelled: whoever relies
            # on being the only one must stop, and must make every write conditional
            # (see examples/put_get.py), because others may have begun by now.
            print(f"presence lost: {error.text}")
        # The end of the block revoked the lease, and that deleted the key.
        async for event in events:
            print(f"{event.kv.key.decode()}: {event.kind.value}")
            if event.kind is EventKind.DELETE:
                break


if __name__ == "__main__":
    trio.run(main)
