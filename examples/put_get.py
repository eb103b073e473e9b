"""Write a key, read it back, and change it only if nobody else has.

Run a member (`make run`), tell this shell where it is, then run the example:

    eval "$(.venv/bin/trioetcd certs env --data-dir default.etcd)"
    .venv/bin/python examples/put_get.py

The variables are those of etcdctl (ETCDCTL_ENDPOINTS, ETCDCTL_CACERT, ETCDCTL_CERT,
ETCDCTL_KEY), so whatever works for etcdctl works here.
"""

from __future__ import annotations

import os

import trio

from trioetcd.client import EtcdError, Get, Put, open_client, version


async def main() -> None:
    """Do it."""
    async with open_client(
        os.environ.get("ETCDCTL_ENDPOINTS", "https://127.0.0.1:2379"),
        cacert=os.environ["ETCDCTL_CACERT"],
        cert=os.environ["ETCDCTL_CERT"],
        key=os.environ["ETCDCTL_KEY"],
    ) as client:
        # Text goes in as UTF-8; what comes out is bytes.
        put = await client.put("examples/greeting", "hello")
        print(f"written at revision {put.header.revision}")

        found = await client.get("examples/greeting")
        assert found is not None
        print(f"{found.key.decode()} = {found.value.decode()}, version {found.version}")

        # A transaction: all of it happens at one revision, or nothing.
        result = await client.txn(
            when=[version("examples/greeting", "=", found.version)],
            then=[Put("examples/greeting", "hello again"), Get("examples/greeting")],
            otherwise=[Get("examples/greeting")],
        )
        print("changed" if result.succeeded else "somebody else was faster")

        # The past stays readable until it is compacted.
        old = await client.get("examples/greeting", revision=put.header.revision)
        assert old is not None
        print(f"at revision {put.header.revision} it was {old.value.decode()}")

        # An error is a row of one table: a code, and etcd's own words.
        try:
            await client.get("examples/greeting", revision=put.header.revision + 1_000_000)
        except EtcdError as error:
            print(f"{error.code.name}: {error.text}")

        deleted = await client.delete("examples/", prefix=True)
        print(f"deleted {deleted.deleted}")


if __name__ == "__main__":
    trio.run(main)
