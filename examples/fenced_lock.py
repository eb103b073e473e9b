"""Write under a lock, in such a way that whoever has lost the lock writes nothing.

    eval "$(.venv/bin/trioetcd certs env --data-dir default.etcd)"
    .venv/bin/python examples/fenced_lock.py

A lock is held as long as its lease lives, and nobody can be told of the end of a lease in time:
a pause of the process, of its machine or of the network may last longer than the lease. So every
write says "only if I hold the lock still", and the cluster knows (docs/locks.md).
"""

from __future__ import annotations

import os

import trio

from trioetcd.client import Client, Lock, Put, open_client

LOCK = "examples/lock"
ACCOUNT = "examples/account"


async def write(client: Client, who: str, text: str, lock: Lock) -> None:
    """Write the account if `lock` is still held."""
    result = await client.txn(when=[lock.held], then=[Put(ACCOUNT, text)])
    print(f"{who}: {'written' if result.succeeded else 'refused, the lock is lost'}")


async def main() -> None:
    """Let one be slow and lose its lock to another, which it does not notice."""
    async with open_client(
        os.environ.get("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379"),
        cacert=os.environ["ETCDCTL_CACERT"],
        cert=os.environ["ETCDCTL_CERT"],
        key=os.environ["ETCDCTL_KEY"],
    ) as client:
        lease = await client.lease_grant(60)
        async with client.lock(LOCK, lease=lease) as slow:
            await write(client, "slow", "slow was here", slow)
            # It falls asleep for longer than its lease lives; here the lease ends at once.
            await client.lease_revoke(lease)

            async with (
                client.lease_kept_alive(ttl=60) as other,
                client.lock(LOCK, lease=other) as quick,
            ):
                print(f"quick: has the lock, and a greater fence: {quick.revision > slow.revision}")
                await write(client, "quick", "quick was here", quick)
                # Slow wakes up, and believes that it holds the lock.
                await write(client, "slow", "slow again", slow)

        found = await client.get(ACCOUNT)
        assert found is not None
        print(f"{ACCOUNT} = {found.value.decode()}")


if __name__ == "__main__":
    trio.run(main)
