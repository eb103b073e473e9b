"""Drives a member with python-etcd3 0.12 and prints what it saw as one JSON object.

Runs in an environment of its own: python-etcd3 needs an old protobuf.
"""

from __future__ import annotations

import json
import os

import etcd3


def main() -> None:
    """Do it."""
    host, _, port = os.environ["ETCDCTL_ENDPOINTS"].partition("://")[2].rpartition(":")
    client = etcd3.client(
        host=host,
        port=int(port),
        ca_cert=os.environ["ETCDCTL_CACERT"],
        cert_cert=os.environ["ETCDCTL_CERT"],
        cert_key=os.environ["ETCDCTL_KEY"],
        timeout=10,
    )
    seen: dict[str, object] = {}
    client.put("python/a", "1")
    client.put("python/b", "2")
    value, metadata = client.get("python/a")
    seen["get"] = [value.decode(), metadata.version]
    seen["missing"] = client.get("python/none")
    seen["prefix"] = [value.decode() for value, _ in client.get_prefix("python/")]
    seen["replaced"] = client.replace("python/a", "1", "3")
    seen["not replaced"] = client.replace("python/a", "1", "4")
    succeeded, responses = client.transaction(
        compare=[client.transactions.version("python/a") > 1],
        success=[client.transactions.put("python/c", "5"), client.transactions.get("python/a")],
        failure=[client.transactions.delete("python/a")],
    )
    seen["txn"] = [succeeded, responses[1][0][0].decode()]

    events, cancel = client.watch_prefix("python/w/")
    client.put("python/w/k", "x")
    client.put("python/w/k", "y")
    client.delete("python/w/k")
    seen["events"] = [
        [type(event).__name__, event.key.decode(), event.value.decode()]
        for _, event in zip(range(3), events, strict=False)
    ]
    cancel()

    lease = client.lease(30)
    client.put("python/leased", "held", lease=lease)
    seen["keys"] = [key.decode() for key in lease.keys]
    seen["granted"] = lease.granted_ttl
    seen["refreshed"] = [answer.TTL for answer in lease.refresh()]
    lease.revoke()
    seen["revoked"] = client.get("python/leased")[0]
    seen["members"] = [member.name for member in client.members]
    seen["status"] = [client.status().leader.name, bool(client.status().db_size)]
    seen["deleted"] = client.delete_prefix("python/").deleted
    revision = client.get("python/none")[1]
    # Whoever used this server before may have compacted, too.
    client.compact(client.put("python/c", "x").header.revision)
    client.defragment()
    seen["alarms"] = list(client.list_alarms())
    assert revision is None
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
