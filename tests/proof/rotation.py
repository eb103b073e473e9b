"""Certificates and CAs of three members rotate under constant load, and not one call fails.

The load is etcd's own Go client as its users have it (benchmarks/load, mode steady): puts, reads,
txns, watches that must see every put once and in order, leases that must be kept alive. A cycle
gives each member new leaf certificates, of the client listener, among its peers, or both; all at
once or one member after another; by renaming or, as some tools do it, by writing into the file. At
the end both CAs are replaced: both trusted, new ones issued, old ones forgotten.

Usage: python -m tests.proof.rotation [--cycles 100] [--seed N]
"""

from __future__ import annotations

import json
import random
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from cryptography import x509

from benchmarks.loadgen import LoadError, build
from tests.proof.cluster import NAMES, Cluster
from tests.proof.member import Credentials, NotReadyError
from tests.proof.outcome import Budget, MissingMeansError, Options, Outcome, run
from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles, save_pair, write_private
from trioetcd.pki import CertifiedKey, Profile, Role

RATE: Final = 200
CLIENTS: Final = 20
CONNECTIONS: Final = 4
WAIT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.05
PAUSE_SECONDS: Final = (0.0, 3.0)
HOSTS: Final = ("localhost", "127.0.0.1")
PROFILE: Final = Profile()


def now() -> datetime:
    """Give the time."""
    return datetime.now(UTC)


class Office:
    """Issues what members and the client use, into their files.

    Attributes:
        members: the files of each member.
        ca: what the client trusts, from the beginning to the end.
        client: the client's certificate.
    """

    def __init__(self, root: Path) -> None:
        self.members = [PkiFiles(root / name) for name in NAMES]
        self.ca = root / "client-trust.crt"
        self.client = root / "client.crt"
        self._authorities = {"client": self._authority("client"), "peer": self._authority("peer")}
        self._next = {"client": self._authority("client"), "peer": self._authority("peer")}
        for files, name in zip(self.members, NAMES, strict=True):
            pki_files.create_member(
                files.path,
                name=name,
                hosts=HOSTS,
                peer_ca=self._authorities["peer"],
                client_ca=self._authorities["client"],
                now=now(),
                profile=PROFILE,
            )
        # The Go client reads CAs once: they are there before they are needed.
        both = self._authorities["client"].certificate + self._next["client"].certificate
        write_private(self.ca, both)
        self.issue_client()

    @staticmethod
    def _authority(purpose: str) -> CertifiedKey:
        return pki.create_authority(purpose, now=now(), profile=PROFILE)

    def credentials(self) -> list[Credentials]:
        """Give what each member is told."""
        return [
            Credentials(
                ca=self.ca,
                cert=self.client,
                key=PkiFiles.key_of(self.client),
                flags=(
                    f"--cert-file={files.server}",
                    f"--key-file={PkiFiles.key_of(files.server)}",
                    f"--trusted-ca-file={files.client_ca}",
                    f"--client-crl-file={files.client_crl}",
                    f"--peer-cert-file={files.peer}",
                    f"--peer-key-file={PkiFiles.key_of(files.peer)}",
                    f"--peer-trusted-ca-file={files.peer_ca}",
                ),
            )
            for files in self.members
        ]

    def issue_client(self) -> None:
        """Give the client a new certificate."""
        pair = pki.issue(
            self._authorities["client"], Role.CLIENT, "load", now=now(), profile=PROFILE
        )
        save_pair(self.client, pair)

    def issue(self, place: int, role: Role, write: Callable[[Path, bytes], None]) -> None:
        """Give a member a new certificate."""
        files = self.members[place]
        authority = self._authorities["peer" if role is Role.PEER else "client"]
        path = files.peer if role is Role.PEER else files.server
        pair = pki.issue(authority, role, NAMES[place], hosts=HOSTS, now=now(), profile=PROFILE)
        write(PkiFiles.key_of(path), pair.key)
        write(path, pair.certificate)

    def trust_both(self) -> None:
        """Let every member trust the old CAs and the new ones."""
        for files in self.members:
            for purpose, path in (("client", files.client_ca), ("peer", files.peer_ca)):
                old, new = self._authorities[purpose], self._next[purpose]
                write_private(path, new.certificate + old.certificate)

    def turn(self) -> None:
        """Sign by the new CAs from now on."""
        self._authorities = self._next

    def forget_old(self) -> None:
        """Let every member trust the new CAs alone."""
        for files in self.members:
            write_private(files.client_ca, self._authorities["client"].certificate)
            write_private(files.peer_ca, self._authorities["peer"].certificate)


def write_in_place(path: Path, data: bytes) -> None:
    """Write as tools do that know no better: for a moment half of it is there."""
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(data[: len(data) // 2])
        file.flush()
        time.sleep(0.02)
        file.write(data[len(data) // 2 :])


def serial_of(path: Path) -> int:
    """Give the serial of the certificate in a file."""
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


class Watched:
    """The members under rotation, seen from outside."""

    def __init__(self, office: Office, cluster: Cluster) -> None:
        self.office = office
        self.cluster = cluster

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.office.ca))
        context.load_cert_chain(self.office.client, PkiFiles.key_of(self.office.client))
        return context

    def _series(self, place: int, name: str) -> dict[str, float]:
        url = f"{self.cluster.members[place].endpoint}/metrics"
        with urllib.request.urlopen(url, context=self._context(), timeout=10) as answer:
            text = answer.read().decode()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name)
        }

    def generation(self, place: int) -> float:
        """Give the generation of the credentials that a member uses."""
        return sum(self._series(place, "trioetcd_tls_generation").values())

    def in_force(self, place: int, after: float) -> bool:
        """Say whether a member uses a later generation of credentials."""
        return self.generation(place) > after

    def settled(self, place: int) -> bool:
        """Say whether nobody is connected by credentials of an older generation."""
        retired = self._series(place, "trioetcd_tls_retired_connections")
        return not any(retired.values())

    def ended(self) -> list[str]:
        """Give what was ended because of a certificate; links to peers move then."""
        name = "trioetcd_tls_connections_ended_total"
        return [
            f"member {place}: {series}"
            for place in self.cluster.places
            for series in self._series(place, name)
            if 'side="peer"' not in series
        ]


def wait(condition: Callable[[], bool], what: str) -> float:
    """Wait until something holds; give the seconds it took.

    Raises:
        NotReadyError: it does not come.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > WAIT_SECONDS:
            raise NotReadyError(None, f"not within {WAIT_SECONDS:.0f} s: {what}")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began


def rotate_leaves(watched: Watched, chance: random.Random, outcome: Outcome) -> None:
    """Give every member new leaf certificates."""
    roles = chance.choice([(Role.SERVER,), (Role.PEER,), (Role.SERVER, Role.PEER)])
    write = write_in_place if chance.random() < 1 / 4 else write_private
    together = chance.random() < 1 / 2
    places = chance.sample(list(watched.cluster.places), len(watched.cluster.places))
    before = {place: watched.generation(place) for place in places}
    for place in places:
        for role in roles:
            watched.office.issue(place, role, write)
        if not together:
            settle(watched, [place], before, outcome)
    if together:
        settle(watched, places, before, outcome)


def settle(
    watched: Watched, places: Sequence[int], before: dict[int, float], outcome: Outcome
) -> None:
    """Wait until members use what they were given, and everybody else has come again."""
    for place in places:
        took = wait(
            partial(watched.in_force, place, before[place]),
            f"member {place} uses its new certificates",
        )
        outcome.peak("seconds until in force, at most", round(took, 2))
    for place in places:
        took = wait(
            partial(watched.settled, place),
            f"nobody is connected to member {place} by older certificates",
        )
        outcome.peak("seconds until all had moved, at most", round(took, 2))


def rotate_authorities(watched: Watched, outcome: Outcome) -> None:
    """Replace both CAs: trust both, issue new, forget old."""
    office = watched.office
    places = list(watched.cluster.places)

    def before() -> dict[int, float]:
        return {place: watched.generation(place) for place in places}

    stand = before()
    office.trust_both()
    settle(watched, places, stand, outcome)
    office.turn()
    office.issue_client()
    for place in places:
        stand = before()
        for role in (Role.SERVER, Role.PEER):
            office.issue(place, role, write_private)
        settle(watched, [place], stand, outcome)
    stand = before()
    office.forget_old()
    settle(watched, places, stand, outcome)
    outcome.count("CA rotations")


@contextmanager
def load(cluster: Cluster, outcome: Outcome, seed: int) -> Iterator[None]:
    """Keep up the load while the block lasts, then judge it."""
    try:
        binary = build()
    except LoadError as error:
        raise MissingMeansError(str(error)) from None
    command = [
        str(binary), "-mode=steady", f"-endpoint={cluster.endpoint}", f"-cacert={cluster.ca}",
        f"-cert={cluster.cert}", f"-key={cluster.key}", f"-rate={RATE}", f"-clients={CLIENTS}",
        f"-conns={CONNECTIONS}", "-seconds=86400", "-timeout=30",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield
    finally:
        try:
            told, trouble = process.communicate(timeout=WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            told, trouble = process.communicate()
    if process.returncode:
        outcome.violated(seed, f"the load ended: {trouble.strip()}")
        return
    report = json.loads(told)
    outcome.count("calls", report["count"])
    outcome.count("events", report["events"])
    outcome.peak("longest pause, ms", report["pause_ms_max"])
    if report["errors"]:
        outcome.violated(seed, f"{report['errors']} failed, first {report['error']}")


def prove(options: Options, outcome: Outcome) -> None:
    """Rotate leaves again and again, and the CAs at the end."""
    if options.target != "trioetcd":
        raise MissingMeansError("etcd reads its CAs once, and cannot do this")
    budget = Budget(options)
    with tempfile.TemporaryDirectory(prefix="trioetcd-rotation-") as directory:
        office = Office(Path(directory) / "certs")
        cluster = Cluster("trioetcd", Path(directory), credentials=office.credentials())
        watched = Watched(office, cluster)
        try:
            cluster.start()
            cluster.leader()
            cluster.hang_up()  # what asked was shown certificates, and has one, that go
            with load(cluster, outcome, options.seed):
                for seed in range(options.seed, options.seed + options.cycles):
                    if budget.spent():
                        break
                    chance = random.Random(seed)
                    rotate_leaves(watched, chance, outcome)
                    time.sleep(chance.uniform(*PAUSE_SECONDS))
                    outcome.last_seed = seed
                    outcome.done += 1
                rotate_authorities(watched, outcome)
            for ended in watched.ended():
                outcome.violated(outcome.last_seed, ended)
            difference = cluster.equal_hashes()
            if difference:
                outcome.violated(outcome.last_seed, difference)
        except (NotReadyError, OSError) as error:
            outcome.violated(outcome.last_seed, str(error))
            for member in cluster.members:
                print(member.log()[-3000:], file=sys.stderr)
        finally:
            cluster.close()


def main() -> int:
    """Run the proof from the command line."""
    return run("rotation", prove, cycles=100, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())
