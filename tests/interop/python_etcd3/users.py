"""Logs in with python-etcd3 0.12 and prints what it was allowed as one JSON object."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import etcd3
import grpc


def login(user: str, password: str) -> etcd3.Etcd3Client:
    """Connect as a user."""
    host, _, port = os.environ["ETCDCTL_ENDPOINTS"].partition("://")[2].rpartition(":")
    return etcd3.client(
        host=host,
        port=int(port),
        ca_cert=os.environ["ETCDCTL_CACERT"],
        cert_cert=os.environ["ETCDCTL_CERT"],
        cert_key=os.environ["ETCDCTL_KEY"],
        timeout=10,
        user=user,
        password=password,
    )


def tried(what: Callable[[], object]) -> str:
    """Do it, and give what came of it."""
    try:
        found = what()
    except grpc.RpcError as error:
        return f"{error.code().name}: {error.details()}"
    except etcd3.exceptions.Etcd3Exception as error:
        return type(error).__name__
    return found[0].decode() if isinstance(found, tuple) and found[0] else "done"


def main() -> None:
    """Do it."""
    anna = login("anna", "of-anna")
    seen = {
        "put": tried(lambda: anna.put("app/1", "1")),
        "get": tried(lambda: anna.get("app/1")),
        "put elsewhere": tried(lambda: anna.put("b", "1")),
        "get elsewhere": tried(lambda: anna.get("b")),
        "delete": tried(lambda: anna.delete("app/1")),
        "lease": tried(lambda: anna.lease(60)),
        "wrong": tried(lambda: login("anna", "wrong")),
    }
    print(json.dumps(seen))


main()
