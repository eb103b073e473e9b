"""The real etcdctl cannot tell a member from the real etcd.

Each test runs the same commands against a new trioetcd and a new etcd 3.5.1 and compares what
is printed, after what no two clusters share (ids, ports, sizes, durations, versions) has been
replaced by its kind.
"""

from __future__ import annotations

import itertools
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from trioetcd.testing.cluster import ServerProcess

pytestmark = [pytest.mark.interop]

Pair = tuple[ServerProcess, ServerProcess]

SECONDS: Final = 20.0


class Printed(NamedTuple):
    """What one run printed, and its exit code."""

    code: int
    out: str
    err: str


PATTERNS: Final[tuple[tuple[str, str], ...]] = (
    (r"127\.0\.0\.1:\d+", "HOST:PORT"),
    (r"\b0?[0-9a-f]{13,16}\b", "ID"),
    (r'"(cluster_id|member_id|raft_term|ID|leader|raftTerm)":\d+', r'"\1":N'),
    (r'"(db_?[sS]ize\w*|raft_?\w*[iI]ndex)":\d+', r'"\1":N'),
    (r'"(ClusterID|MemberID|RaftTerm|ID|Leader)" : \d+', r'"\1" : N'),
    (r'"(DBSize\w*|Raft\w*Index|RaftTerm)" : \d+', r'"\1" : N'),
    (r'("Lease" : |"lease":)\d{4,}', r"\1N"),
    (r"\b\d+(\.\d+)?(ns|µs|us|ms|s)\b", "DURATION"),
    (r"\b\d+(\.\d+)? [kM]?B\b", "SIZE"),
    (r"\b3\.\d+\.\d+\b", "VERSION"),
)


def alike(text: str) -> str:
    """Replace what no two clusters share, and the widths that depend on it."""
    lines = [line for line in text.splitlines() if not line.startswith('{"level"')]
    text = "\n".join(lines)
    for pattern, replacement in PATTERNS:
        text = re.sub(pattern, replacement, text)
    if text.startswith("+--"):  # a table
        text = re.sub(r"-+", "-", re.sub(r" +", " ", text))
    return text


def run(
    etcdctl: Path,
    server: ServerProcess,
    arguments: Sequence[str],
    stdin: str | None = None,
) -> Printed:
    """Run one command to its end."""
    done = subprocess.run(
        [str(etcdctl), *arguments],
        env=server.environment(),
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return Printed(done.returncode, done.stdout, done.stderr)


def same(etcdctl: Path, pair: Pair, command: str, stdin: str | None = None) -> Printed:
    """Run one command on both, assert that they print the same, and give what ours printed.

    Words are separated by single spaces; `""` is the empty word.
    """
    arguments = ["" if word == '""' else word for word in command.split(" ")]
    ours, real = (run(etcdctl, server, arguments, stdin) for server in pair)
    shown = [f"etcdctl {command}", str(ours.code), alike(ours.out), alike(ours.err)]
    expected = [f"etcdctl {command}", str(real.code), alike(real.out), alike(real.err)]
    assert shown == expected
    return ours


def follow(
    etcdctl: Path,
    server: ServerProcess,
    arguments: Sequence[str],
    count: int,
    meanwhile: Sequence[Sequence[str]] = (),
) -> list[str]:
    """Run a command that does not end, read `count` lines of it, and interrupt it."""
    with subprocess.Popen(
        [str(etcdctl), *arguments],
        env=server.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            for other in meanwhile:
                assert run(etcdctl, server, other).code == 0
            return list(itertools.islice(process.stdout, count))
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(SECONDS)


def test_put_get_del(etcdctl: Path, pair: Pair) -> None:
    """Writing, reading in every way, and deleting print the same."""
    assert same(etcdctl, pair, "put mykey myvalue").out == "OK\n"
    assert same(etcdctl, pair, "get mykey").out == "mykey\nmyvalue\n"
    for command in (
        "put mykey othervalue --prev-kv",
        "put --ignore-value mykey",
        "put --ignore-value nokey",
        "put stdin-key -w json --prev-kv x",
        "put a/1 one",
        "put a/2 two",
        "put a/3 three",
        'get --prefix ""',
        'get --prefix "" --keys-only',
        "get --prefix a/ --print-value-only",
        "get --prefix a/ --limit 2",
        "get --prefix a/ --order DESCEND",
        "get --prefix a/ --sort-by MODIFY --order DESCEND",
        "get --prefix a/ --sort-by VALUE",
        "get a/1 a/3",
        "get --from-key a/2",
        "get mykey --rev 2",
        "get mykey --rev 1000",
        "get mykey --consistency s",
        "get mykey -w json",
        "get --prefix a/ -w fields",
        "get --prefix a/ -w json --limit 1",
        "get nokey",
        "get nokey -w json",
        "get mykey --hex",
        'put "" empty',
        "del nokey",
        "del a/1 --prev-kv",
        "del --prefix a/ --prev-kv",
        "del --from-key s",
        'get --prefix "" -w json',
    ):
        same(etcdctl, pair, command)


def test_txn(etcdctl: Path, pair: Pair) -> None:
    """Transactions from standard input print the branch taken and each answer."""
    same(etcdctl, pair, "put k 1")
    for text in (
        'value("k") = "1"\n\nput k 2\nget k\n\nget k\n\n',
        'value("k") = "1"\n\nput k 3\n\nget k\nput other x\n\n',
        'mod("k") > "1"\nversion("k") < "9"\ncreate("k") != "0"\n\ndel k\n\nget k\n\n',
        # etcdctl 3.4 cannot compare leases: it panics
        'version("none") = "0"\n\nget --prefix o\ndel --prev-kv other\n\n\n',
        "\nput a 1\nput a 2\n\n\n",
        "\nput b 1\nget b\n\n\n",
    ):
        same(etcdctl, pair, "txn", stdin=text)
        same(etcdctl, pair, "txn -w json", stdin=text)


def test_lease(etcdctl: Path, pair: Pair) -> None:
    """Granting, listing, asking, refreshing and revoking a lease print the same."""
    granted = same(etcdctl, pair, "lease grant 300")
    assert re.fullmatch(r"lease [0-9a-f]{16} granted with TTL\(300s\)\n", granted.out)
    same(etcdctl, pair, "lease grant 400")
    same(etcdctl, pair, "lease grant 9000000001")
    own = [re.findall(r"[0-9a-f]{16}", run(etcdctl, s, ["lease", "list"]).out) for s in pair]
    assert [len(found) for found in own] == [2, 2]
    # the lease of 300 s is the one whose granted time is 300 s
    leases = [
        next(
            lease
            for lease in found
            if "TTL(300s)" in run(etcdctl, server, ["lease", "timetolive", lease]).out
        )
        for server, found in zip(pair, own, strict=True)
    ]

    def both(*arguments: str) -> None:
        printed = [
            run(etcdctl, server, [word.replace("LEASE", lease) for word in arguments])
            for server, lease in zip(pair, leases, strict=True)
        ]
        # etcd lists a lease's keys in any order
        ours, real = (
            (p.code, alike(p.out).replace("held2 held]", "held held2]"), alike(p.err))
            for p in printed
        )
        assert ours == real

    both("put", "--lease=LEASE", "held", "x")
    both("put", "--lease=LEASE", "held2", "x")
    both("lease", "timetolive", "LEASE")
    both("lease", "timetolive", "LEASE", "--keys")
    both("lease", "keep-alive", "--once", "LEASE")
    both("get", "held", "-w", "fields")
    kept = [
        alike("".join(follow(etcdctl, server, ["lease", "keep-alive", lease], 1)))
        for server, lease in zip(pair, leases, strict=True)
    ]
    assert kept[0] == kept[1] == "lease ID keepalived with TTL(300)"
    both("lease", "revoke", "LEASE")
    both("get", "--prefix", "held")
    both("lease", "timetolive", "LEASE")
    both("lease", "keep-alive", "--once", "LEASE")
    both("lease", "revoke", "LEASE")
    same(etcdctl, pair, "put --lease=1234 k v")


def test_watch(etcdctl: Path, pair: Pair) -> None:
    """Watching a key, a prefix, the past, with and without previous values prints the same."""
    same(etcdctl, pair, "put w/1 a")
    same(etcdctl, pair, "put w/1 b")
    same(etcdctl, pair, "del w/1")
    same(etcdctl, pair, "put w/2 c")
    for arguments, count in (
        (["watch", "--rev", "2", "w/1"], 8),
        (["watch", "--rev", "2", "--prefix", "w/"], 11),
        (["watch", "--rev", "2", "--prefix", "--prev-kv", "w/"], 15),
        (["watch", "--rev", "4", "-w", "json", "--prefix", "w/"], 1),
        (["watch", "--rev", "2", "w/1", "w/3"], 11),
    ):
        ours, real = (follow(etcdctl, server, arguments, count) for server in pair)
        assert alike("".join(ours)) == alike("".join(real)), arguments


def test_watch_live(etcdctl: Path, pair: Pair) -> None:
    """A watch that began before a change shows it when it happens."""
    # a revision to come: whenever the watch begins, it sees exactly what follows
    arguments = ["watch", "--rev", "2", "mykey"]
    meanwhile = [["put", "mykey", "1"], ["put", "mykey", "2"], ["del", "mykey"]]
    ours, real = (follow(etcdctl, server, arguments, 8, meanwhile) for server in pair)
    assert (
        ours
        == real
        == [f"{t}\n" for t in ["PUT", "mykey", "1", "PUT", "mykey", "2", "DELETE", "mykey"]]
    )


def test_cluster(etcdctl: Path, pair: Pair) -> None:
    """The member list and the endpoints' health and status print the same in every format."""
    same(etcdctl, pair, "put k v")
    for command in (
        "member list",
        "member list -w table",
        "member list -w json",
        "member list -w fields",
        "endpoint health",
        "endpoint health -w table",
        "endpoint health -w json",
        "endpoint status -w json",
        "endpoint status -w fields",
        "endpoint health --cluster",
    ):
        same(etcdctl, pair, command)


@pytest.mark.parametrize("form", ["simple", "table"])
def test_endpoint_status(etcdctl: Path, pair: Pair, form: str) -> None:
    """The endpoint status has the same columns, and the same values but for raft's numbers."""
    same(etcdctl, pair, "put k v")
    ours, real = (
        re.sub(r"(?<=[|,] )\d+(?= ?[|,])", "N", alike(printed.out))
        for printed in (run(etcdctl, s, ["endpoint", "status", "-w", form]) for s in pair)
    )
    assert ours == real


def test_maintenance(etcdctl: Path, pair: Pair) -> None:
    """Compaction, defragmentation and alarms print the same."""
    for number in range(5):
        same(etcdctl, pair, f"put k {number}")
    for command in (
        "compaction 4",
        "compaction 4",
        "compaction 400",
        "compaction --physical 5",
        "get k --rev 3",
        "get k --rev 5",
        "watch --rev 2 k",
        "defrag",
        "alarm list",
        "alarm disarm",
        "endpoint health",
        "get k",
    ):
        same(etcdctl, pair, command)


def test_hashkv(etcdctl: Path, pair: Pair) -> None:
    """All but the hash itself prints the same: revisions, and why there is none."""
    for number in range(6):
        same(etcdctl, pair, f"put k {number}")
    same(etcdctl, pair, "compaction 4")
    for command in (
        "endpoint hashkv",
        "endpoint hashkv --rev 5",
        "endpoint hashkv -w json",
        "endpoint hashkv --rev 6 -w json",
        "endpoint hashkv --rev 5 -w fields",
        "endpoint hashkv -w table",
        "endpoint hashkv --rev 3",
        "endpoint hashkv --rev 8",
        "endpoint hashkv --rev 400 -w json",
    ):
        printed = [run(etcdctl, server, command.split(" ")) for server in pair]
        ours, real = (
            (each.code, re.sub(r'(, |"hash":|"Hash" : |\| )\d+', r"\1N", alike(each.out)), each.err)
            for each in printed
        )
        assert (command, *map(alike, map(str, ours))) == (command, *map(alike, map(str, real)))
    told = [run(etcdctl, pair[0], ["endpoint", "hashkv", "--rev", "5"]).out for _ in range(2)]
    same(etcdctl, pair, "put k more")
    told.append(run(etcdctl, pair[0], ["endpoint", "hashkv", "--rev", "5"]).out)
    assert len(set(told)) == 1


def test_no_certificate(etcdctl: Path, member: ServerProcess) -> None:
    """Without a client certificate nothing is told and nothing is written."""
    environment = member.environment()
    del environment["ETCDCTL_CERT"], environment["ETCDCTL_KEY"]
    for command in (["get", "--prefix", ""], ["put", "uninvited", "v"]):
        done = subprocess.run(
            [str(etcdctl), "--dial-timeout=500ms", "--command-timeout=1s", *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode != 0
        assert done.stdout == ""
    assert run(etcdctl, member, ["get", "uninvited"]).out == ""
