"""Space as operators manage it, with the real etcdctl: quota, alarm, compaction, defragmentation.

What is compared with the real etcd is what is printed; when a disk is full differs, for the two
store differently.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final, NamedTuple

import grpc
import pytest

from tests.interop.test_etcdctl import alike, run
from trioetcd.schema import messages
from trioetcd.testing.cluster import ServerProcess, running_etcd, running_member

pytestmark = [pytest.mark.interop]

QUOTA: Final = 4 << 20
VALUE: Final = "v" * 300_000
FULL: Final = "etcdserver: mvcc: database space exceeded"


def told(text: str) -> str:
    """Replace what no two clusters share."""
    return alike(re.sub(r"memberID:\d+", "memberID:N", text))


def status(etcdctl: Path, server: ServerProcess) -> dict[str, int]:
    """Give what `endpoint status` says of the member."""
    done = run(etcdctl, server, ["endpoint", "status", "-w", "json"])
    assert done.code == 0, done.err
    found: dict[str, int] = json.loads(done.out)[0]["Status"]
    return found


def fill(etcdctl: Path, server: ServerProcess) -> int:
    """Put large values under new keys until one is refused; gives how many went in."""
    for number in range(40):
        done = run(etcdctl, server, ["put", f"k{number}"], VALUE)
        if done.code:
            assert FULL in done.err
            return number
    raise AssertionError("a quota of 4 MiB let 12 MB in")


class Life(NamedTuple):
    """What etcdctl printed, how many keys went in, and what Status said on the way."""

    shown: list[str]
    keys: int
    full: dict[str, int]
    compacted: dict[str, int]
    defragmented: dict[str, int]


def live(etcdctl: Path, server: ServerProcess) -> Life:
    """Fill a member with a small quota, and make room again."""
    shown: list[str] = []

    def step(*arguments: str) -> str:
        done = run(etcdctl, server, arguments)
        said = f"{told(done.out)} {told(done.err)}"
        shown.append(f"{' '.join(arguments)}: {done.code} {said}")
        return done.out

    keys = fill(etcdctl, server)
    assert keys >= 3, "nothing went in"
    step("alarm", "list")
    assert "NOSPACE" in shown[-1]
    step("put", "small", "value")
    step("lease", "grant", "60")
    step("get", "k0", "--keys-only")
    step("get", "k", "--prefix", "--count-only", "--write-out=fields", "--keys-only")
    shown.pop()  # how many there are differs
    full = status(etcdctl, server)
    assert json.loads(step("del", "k", "--prefix")) == keys
    shown.pop()
    revision = json.loads(step("get", "k0", "-w", "json"))["header"]["revision"]
    shown.pop()
    assert run(etcdctl, server, ["compact", str(revision), "--physical"]).code == 0
    compacted = status(etcdctl, server)
    step("put", "small", "value")
    step("defrag")
    defragmented = status(etcdctl, server)
    step("put", "small", "value")
    step("alarm", "disarm")
    step("alarm", "list")
    step("put", "small", "value")
    step("get", "small")
    return Life(shown, keys, full, compacted, defragmented)


@pytest.mark.slow
def test_a_full_member(etcdctl: Path, tmp_path: Path) -> None:
    """Fill, be refused, read, delete, compact, defragment, disarm, write: printed like etcd's.

    What the keys took is in use no more once they are compacted, and is given back after that.
    """
    flags = [f"--quota-backend-bytes={QUOTA}"]
    with running_etcd(tmp_path / "real", flags=flags) as real:
        expected = live(etcdctl, real)
    with running_member(tmp_path / "ours", flags=flags) as ours:
        found = live(etcdctl, ours)
    assert "\n".join(expected.shown) == "\n".join(found.shown)
    full, compacted, defragmented = found.full, found.compacted, found.defragmented
    gone = found.keys * len(VALUE)
    assert full["dbSizeInUse"] - compacted["dbSizeInUse"] > 0.99 * gone
    assert compacted["dbSize"] - defragmented["dbSize"] > 0.99 * gone
    assert 0.95 < defragmented["dbSizeInUse"] / defragmented["dbSize"] <= 1


def downgrade(server: ServerProcess, action: int, version: str = "") -> str:
    """Ask for a downgrade; gives the error, as gRPC's own library tells it."""
    credentials = grpc.ssl_channel_credentials(
        server.cacert.read_bytes(), server.key.read_bytes(), server.cert.read_bytes()
    )
    with grpc.secure_channel(server.host_port, credentials) as channel:
        call = channel.unary_unary(
            "/etcdserverpb.Maintenance/Downgrade",
            request_serializer=messages.DowngradeRequest.SerializeToString,
            response_deserializer=messages.DowngradeResponse.FromString,
        )
        request = messages.DowngradeRequest(action=action, version=version)
        try:
            return repr(call(request, timeout=20.0))
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"


VALIDATE: Final = int(messages.DowngradeRequest.VALIDATE)
ENABLE: Final = int(messages.DowngradeRequest.ENABLE)
CANCEL: Final = int(messages.DowngradeRequest.CANCEL)


@pytest.mark.parametrize(
    ("action", "version", "expected"),
    [
        (VALIDATE, "latest", "INVALID_ARGUMENT: etcdserver: wrong downgrade target version format"),
        (ENABLE, "", "INVALID_ARGUMENT: etcdserver: wrong downgrade target version format"),
        (VALIDATE, "2.9", "INVALID_ARGUMENT: etcdserver: invalid downgrade target version"),
        (ENABLE, "3.9.1", "INVALID_ARGUMENT: etcdserver: invalid downgrade target version"),
        (CANCEL, "", "FAILED_PRECONDITION: etcdserver: no inflight downgrade job"),
        (7, "", "UNKNOWN: etcdserver: unknown method"),
    ],
)
def test_downgrades_that_are_refused(
    server: ServerProcess, action: int, version: str, expected: str
) -> None:
    """What is wrong with a request, or nothing to be cancelled, is said as etcd says it."""
    assert expected == downgrade(server, action, version)


@pytest.mark.parametrize("action", [VALIDATE, ENABLE])
def test_there_is_nothing_to_go_down_to(member: ServerProcess, action: int) -> None:
    """One minor version less is refused, too, with what to do instead."""
    answer = downgrade(member, action, "3.6")
    assert answer.startswith("FAILED_PRECONDITION: etcdserver: there is no earlier trioetcd")
    assert "etcdctl snapshot save" in answer
