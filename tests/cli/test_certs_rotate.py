"""Tests of `trioetcd certs ca`: a CA is replaced under real members, asked at each step."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.proof.member import Credentials, Member
from trioetcd import pki
from trioetcd.cli.certs import certs

NAMES = ("a", "b", "c")


class Cluster:
    """Three members with copies of the certificates, as if each were on a machine of its own."""

    def __init__(self, root: Path) -> None:
        self.out = root / "certs"
        self._root = root
        self.members = [
            Member("trioetcd", root / name, name=name, credentials=self._credentials(name))
            for name in NAMES
        ]
        everybody = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        words = []
        for member in self.members:
            member.initial_cluster = everybody
            words.append(f"{member.name}=127.0.0.1:{member.client_port}:{member.peer_port}")
        assert certs(["init", "--out", str(self.out), *words]) == 0

    def _credentials(self, name: str) -> Credentials:
        own = self._root / "given" / name
        flags = [
            f"--{side}{flag}={own / file}"
            for side, leaf in (("", "server"), ("peer-", "peer"))
            for flag, file in (
                ("cert-file", f"{leaf}.crt"),
                ("key-file", f"{leaf}.key"),
                ("trusted-ca-file", "peer-ca.crt" if side else "client-ca.crt"),
            )
        ]
        client = self.out / "clients" / "root"
        return Credentials(
            ca=self.out / "ca" / "client-ca.crt",
            cert=client.with_suffix(".crt"),
            key=client.with_suffix(".key"),
            flags=tuple(flags),
        )

    def give(self, *names: str) -> None:
        """Give members their directories, and have them read."""
        for member in self.members:
            if names and member.name not in names:
                continue
            if member.running():
                member.stop()
            given = self._root / "given" / member.name
            shutil.rmtree(given, ignore_errors=True)
            shutil.copytree(self.out / member.name, given, symlinks=True)
        running = [member for member in self.members if member.process and member.running()]
        chosen = [member for member in self.members if member not in running]
        for member in chosen:
            member.start(wait=False)
        for member in chosen:
            member.wait_ready()

    def run(self, *words: str) -> int:
        """Run `trioetcd certs ...` on the certificates."""
        return certs([*words, "--data-dir", str(self.out)])


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Run three members."""
    three = Cluster(tmp_path)
    try:
        three.give()
        yield three
    finally:
        for member in three.members:
            member.kill()


def presented(capsys: pytest.CaptureFixture[str], cluster: Cluster, purpose: str) -> list[object]:
    """Give what each member presents and whom it trusts."""
    capsys.readouterr()
    cluster.run("ca", "rotate", "status", purpose, "-o", "json")
    answer = json.loads(capsys.readouterr().out)
    return [
        (member["member"], member["presents"], member["trusts_old"], member["trusts_new"])
        for member in answer["members"]
    ]


@pytest.mark.slow
@pytest.mark.parametrize("purpose", ["peer", pytest.param("client", marks=pytest.mark.proof)])
def test_a_ca_is_replaced_member_by_member(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], purpose: str
) -> None:
    """No step is taken before every member is ready for it; at the end the old CA is nobody's."""
    renew = ["renew", "all", "--if-needed"]
    if purpose == "client":
        renew.append("--clients-ready")
    assert cluster.run("ca", "rotate", "start", purpose) == 0
    assert cluster.run("ca", "rotate", "status", purpose) == 1
    assert cluster.run(*renew) == 1  # nobody trusts the new CA yet
    cluster.give("a", "b")
    assert [("a", "old", True, True), ("b", "old", True, True), ("c", "old", True, False)] == (
        presented(capsys, cluster, purpose)
    )
    assert cluster.run(*renew) == 1
    assert "c (127.0.0.1:" in capsys.readouterr().out
    cluster.give("c")
    assert cluster.run("ca", "rotate", "status", purpose) == 0
    if purpose == "client":
        assert cluster.run("renew", "all", "--if-needed") == 1  # nobody spoke for the clients
    assert cluster.run("ca", "rotate", "finish", purpose) == 1
    assert cluster.run(*renew) == 0
    cluster.give("a")  # members of the old and the new CA in one cluster
    assert [("a", "new", True, True), ("b", "old", True, True), ("c", "old", True, True)] == (
        presented(capsys, cluster, purpose)
    )
    assert cluster.run("ca", "rotate", "finish", purpose) == 1
    assert "still presents a certificate of the old CA" in capsys.readouterr().err
    cluster.give("b", "c")
    assert cluster.run("ca", "rotate", "finish", purpose) == 0
    assert cluster.run("ca", "rotate", "status", purpose) == 1  # they trust it yet
    cluster.give()
    assert [(name, "new", False, True) for name in NAMES] == presented(capsys, cluster, purpose)
    assert cluster.run("ca", "rotate", "status", purpose) == 0
    with closing(cluster.members[0].client()) as client:
        client.put(b"key", b"value")


def test_who_is_not_asked_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A cluster that is down is not ready, unless somebody says that it is down."""
    place = str(tmp_path / "pki")
    assert certs(["init", "--out", place]) == 0
    where = ["--data-dir", place]
    assert certs(["ca", "rotate", "start", "peer", *where]) == 0
    assert certs(["ca", "rotate", "status", "peer", *where]) == 1
    assert "name one with --peer-endpoint" in capsys.readouterr().out
    assert certs(["renew", "all", "--if-needed", *where]) == 1
    assert certs(["renew", "all", "--if-needed", "--unasked", *where]) == 0
    assert certs(["ca", "rotate", "finish", "peer", *where]) == 1
    assert certs(["ca", "rotate", "finish", "peer", "--unasked", *where]) == 0
    assert certs(["ca", "rotate", "finish", "peer", *where]) == 1
    assert "is not being replaced" in capsys.readouterr().err


def test_undo_comes_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The CA that was there before is the one that is left."""
    place = tmp_path / "pki"
    assert certs(["init", "--out", str(place)]) == 0
    before = (place / "peer-ca.crt").read_bytes()
    where = ["--data-dir", str(place)]
    assert certs(["ca", "rotate", "undo", "peer", *where]) == 1
    for words in (
        ["ca", "rotate", "start", "peer"],
        ["renew", "all", "--unasked"],
        ["ca", "rotate", "undo", "peer"],
        ["renew", "all", "--unasked"],
        ["ca", "rotate", "finish", "peer", "--unasked"],
    ):
        assert certs([*words, *where]) == 0, capsys.readouterr().err
    assert before == (place / "peer-ca.crt").read_bytes()


def test_bundles_grow_and_shrink(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A CA from elsewhere is trusted in every directory, and no more; one in use stays."""
    place, other = tmp_path / "certs", tmp_path / "other"
    assert certs(["init", "--out", str(place), "n1=h:1", "n2=i:1"]) == 0
    assert certs(["init", "--out", str(other)]) == 0
    file = other / "ca" / "client-ca.crt"
    where = ["--data-dir", str(place)]
    assert certs(["ca", "bundle", "add", "client", str(file), *where]) == 0
    assert certs(["ca", "bundle", "add", "client", str(file), *where]) == 0
    mark = pki.inspect(file.read_bytes(), "it")[0].fingerprint
    for path in place.rglob("client-ca.crt"):
        assert [mark] == [
            facts.fingerprint for facts in pki.inspect(path.read_bytes(), str(path))[1:]
        ]
    own = pki.inspect((place / "ca" / "client-ca.crt").read_bytes(), "it")[0].fingerprint
    capsys.readouterr()
    assert certs(["ca", "show", *where]) == 0
    assert capsys.readouterr().out.count(mark[:16]) == 3
    for wrong in ("", "abcdef", own[:7]):
        assert certs(["ca", "bundle", "remove", "client", wrong, *where]) == 1
    assert certs(["ca", "bundle", "remove", "client", own, *where]) == 1
    assert "so it is still needed" in capsys.readouterr().err
    assert certs(["ca", "bundle", "remove", "client", mark[:12].upper(), *where]) == 0
    for path in place.rglob("client-ca.crt"):
        assert len(pki.inspect(path.read_bytes(), str(path))) == 1
