"""The versions told are ones etcd's clients can compare."""

from __future__ import annotations

from trioetcd.cluster import CLUSTER_VERSION, SERVER_VERSION


def test_cluster_version_is_the_servers_without_its_patch() -> None:
    """Both are three numbers, and the cluster's last one is 0, as in etcd."""
    server = [int(part) for part in SERVER_VERSION.split(".")]
    assert [*server[:2], 0] == [int(part) for part in CLUSTER_VERSION.split(".")]
