"""Fixtures of the interop tests: fresh pairs of a member and the real etcd."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member


@pytest.fixture
def pair(
    etcd: ServerProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Give a trioetcd member and a real etcd, both new, so that revisions are equal.

    The session's etcd is asked for only so that its absence is handled in one place.
    """
    assert etcd.process.poll() is None
    directory = tmp_path_factory.mktemp("pair")
    with running_member(directory / "ours") as ours, running_etcd(directory / "real") as real:
        yield ours, real
