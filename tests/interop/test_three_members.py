"""The real etcdctl cannot tell a cluster of three members from one of the real etcd.

Both clusters run for the whole module and are told the same, one command after the other. What
is printed is compared after ids and URLs have been replaced by the members' names, and the rest
that no two clusters share by its kind; the members lead in the same order.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import pytest

from trioetcd.testing.cluster import ServerProcess, find_program
from trioetcd.testing.members import NAMES, Members

pytestmark = [pytest.mark.interop, pytest.mark.slow]

SECONDS: Final = 20.0

PATTERNS: Final = (
    (r"https://127\.0\.0\.1:\d+", "URL"),
    (r"\b[0-9a-f]{13,16}\b", "ID"),
    (r"\b\d+(\.\d+)?(ns|µs|us|ms|s)\b", "DURATION"),
    (r"\b\d+(\.\d+)? [kM]?B\b", "SIZE"),
    (r"\b3\.\d+\.\d+\b", "VERSION"),
    (r"-+", "-"),
    (r" +", " "),
    (r"(?<=[|,] )\d+(?= ?[|,])", "N"),
)


class Side:
    """One cluster, and etcdctl to talk to it."""

    def __init__(self, members: Members, etcdctl: Path) -> None:
        self.members = members
        self.ids: dict[str, str] = {}
        self._etcdctl = etcdctl

    def raw(self, command: str, *asked: str) -> tuple[int, str, str]:
        """Run a command that names members as `@m1`, asking these members: by default the three."""
        words = [
            re.sub(r"@(m\d)", lambda found: self.ids[found[1]], word)
            if not word.startswith("--peer-urls=@")
            else f"--peer-urls={self.members.peer_url(word.partition('@')[2])}"
            for word in command.split(" ")
        ]
        # Flags, because move-leader of 3.5 takes the variables for flags given twice.
        told = self.members.environment()
        flags = {
            "endpoints": ",".join(map(self.members.client_url, asked or NAMES)),
            **{flag: told[f"ETCDCTL_{flag.upper()}"] for flag in ("cacert", "cert", "key")},
        }
        done = subprocess.run(
            [str(self._etcdctl), *(f"--{name}={value}" for name, value in flags.items()), *words],
            env={name: value for name, value in os.environ.items() if "ETCD" not in name},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def note_ids(self) -> None:
        """Note the members' ids."""
        for line in self.raw("member list")[1].splitlines():
            number, _, name, *_ = line.split(", ")
            if name:
                self.ids[name] = number

    def note_joiner(self) -> None:
        """Note the id of the member that has not started."""
        lines = self.raw("member list")[1].splitlines()
        (self.ids["m4"],) = (line.split(", ")[0] for line in lines if "unstarted" in line)

    def run(self, command: str, *asked: str) -> list[str]:
        """Run a command; give what it printed and its exit code, as any such cluster would."""
        code, out, errors = self.raw(command, *asked)
        lines = [*out.splitlines(), *(t for t in errors.splitlines() if not t.startswith("{"))]
        return [f"etcdctl {command}: {code}", *sorted(map(self.alike, lines))]

    def alike(self, line: str) -> str:
        """Replace what no two clusters share."""
        for name in self.members.names():
            if name in self.ids:
                line = line.replace(self.ids[name], f"ID-{name}")
            line = line.replace(self.members.client_url(name), f"CLIENT-{name}")
            line = line.replace(self.members.peer_url(name), f"PEER-{name}")
        for pattern, replacement in PATTERNS:
            line = re.sub(pattern, replacement, line)
        if line.startswith("ETCD_INITIAL_CLUSTER="):  # in the order of the ids
            line = ",".join(sorted(line.replace('"', "").partition("=")[2].split(",")))
        return line


class Pair:
    """Ours and the real one."""

    def __init__(self, ours: Side, real: Side) -> None:
        self.ours = ours
        self.real = real
        self._threads = ThreadPoolExecutor(2)

    def both(self, do: Callable[[Side], list[str] | None]) -> list[list[str] | None]:
        """Do something with both sides at once; gives both results, ours first."""
        return list(self._threads.map(do, (self.ours, self.real)))

    def same(self, command: str, *asked: str) -> list[str]:
        """Run a command on both, assert that they print the same, and give that."""
        ours, real = self.both(lambda side: side.run(command, *asked))
        assert ours is not None
        assert real == ours
        return ours

    def same_at_last(self, command: str, refusal: str, *asked: str) -> list[str]:
        """Do the same, but ask again while a side refuses for a reason that passes by itself."""

        def insist(side: Side) -> list[str]:
            while refusal in " ".join(printed := side.run(command, *asked)):
                pass
            return printed

        ours, real = self.both(insist)
        assert ours is not None
        assert real == ours
        return ours


@pytest.fixture(scope="module")
def pair(etcd: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Give two clusters of m1, which leads, m2 and m3.

    The session's etcd is asked for only so that its absence is handled in one place.
    """
    assert etcd.process.poll() is None
    programs = {name: find_program(name) for name in ("etcd", "etcdctl")}
    assert programs["etcd"] is not None
    assert programs["etcdctl"] is not None
    directory = tmp_path_factory.mktemp("clusters")
    with (
        Members(directory / "ours") as ours,
        Members(directory / "real", program=(str(programs["etcd"]),)) as real,
    ):
        made = Pair(Side(ours, programs["etcdctl"]), Side(real, programs["etcdctl"]))

        def start(side: Side) -> None:
            side.members.issue(*NAMES)
            side.members.start(*NAMES)
            side.note_ids()
            side.raw("move-leader @m1")  # or it leads already

        made.both(start)
        yield made
        for name in real.running():  # three of etcd that end together wait 7 s for each other
            real.kill(name)


def test_every_member_serves(pair: Pair) -> None:
    """A put through each member is read through each other one, and all report on themselves."""
    for number, name in enumerate(NAMES):
        pair.same(f"put k{number} v", name)
    for name in NAMES:
        pair.same("get --prefix k", name)
        pair.same("get --prefix k --consistency s", name)
        pair.same("endpoint status", name)
    for command in (
        "endpoint status --cluster",
        "endpoint status --cluster -w table",
        "endpoint health",
        "endpoint health --cluster",
        "endpoint health --cluster -w table",
        "member list",
        "member list -w table",
    ):
        pair.same(command)


def test_leadership_moves(pair: Pair) -> None:
    """The leader hands over to the member that is named, and whoever does not lead refuses."""
    pair.same("move-leader @m2", "m3")
    pair.same("move-leader @m2")
    pair.same("endpoint status")
    pair.same("move-leader 1234")
    pair.same("move-leader @m2")
    pair.same("move-leader @m1")
    assert "true" in pair.same("endpoint status", "m1")[1]


def test_members_come_and_go(pair: Pair) -> None:
    """A learner is added, started as the answer says, catches up, votes, moves, and is removed."""
    pair.both(lambda side: side.members.issue("m4"))
    add = "member add m4 --learner --peer-urls=@m4"
    added = pair.same_at_last(add, "unhealthy cluster")
    pair.both(Side.note_joiner)
    pair.same("member add m5 --peer-urls=@m1")
    pair.same("member list")
    pair.same("member promote @m4", "m1")
    pair.same("endpoint status --cluster")
    pair.both(lambda side: side.members.start("m4", existing=True))
    pair.same("member list -w table")
    # What 3.5 refuses a learner with makes etcdctl try a read again for 2.7 s: no reads here.
    for command in ("get k0 --consistency s", "put k0 v", "endpoint status -w table"):
        pair.same(command, "m4")
    pair.same("move-leader @m4")
    pair.same_at_last("member promote @m4", "in sync", "m1")
    pair.same("member promote @m4", "m1")
    pair.same("member list")
    pair.same("get k0", "m4")
    pair.same("put k0 w", "m4")
    for urls in ("https://localhost:1", "@m1", "@m4"):
        pair.same(f"member update @m4 --peer-urls={urls}")
        pair.same("member list")
    pair.same("member remove @m4", "m2")
    pair.same("member remove @m4")
    pair.same("member promote @m4", "m1")
    pair.same("member update @m4 --peer-urls=@m4")
    pair.same("member list")
    pair.same("get k0")
    assert "PEER-m4" in " ".join(added)


def test_a_dead_member_is_told(pair: Pair) -> None:
    """With one member killed the others serve, and everybody who asks hears which one is gone."""
    pair.both(lambda side: side.members.kill("m3"))
    hasty = "--dial-timeout=300ms --command-timeout=1s"
    for command in ("endpoint health", "endpoint status"):
        pair.same(f"{command} {hasty}")
    pair.same("put k0 w", "m1", "m2")
    pair.same("get k0", "m2")
    pair.same("member add m5 --peer-urls=https://127.0.0.1:1")
    pair.both(lambda side: side.members.start("m3"))
    pair.same("get k0", "m3")
    pair.same("endpoint health")
