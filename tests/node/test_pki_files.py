"""Tests of `trioetcd.node.pki_files`: what a first start makes, and what later ones leave alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError, Profile, Role

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
EVERYTHING = {
    "peer-ca.crt",
    "peer-ca.key",
    "client-ca.crt",
    "client-ca.key",
    "server.crt",
    "server.key",
    "peer.crt",
    "peer.key",
    "clients/root.crt",
    "clients/root.key",
    "client-crl.pem",
}


def ensure(path: Path, *hosts: str, days: int = 0) -> tuple[str, ...]:
    now = NOW + timedelta(days=days)
    return pki_files.ensure(path, name="m1", hosts=hosts, now=now, profile=Profile())


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_a_first_start_makes_everything_for_its_owner_alone(tmp_path: Path) -> None:
    """The whole layout appears, files 0600 and directories 0700, and nothing is left beside it."""
    path = tmp_path / "m1.etcd" / "pki"
    said = ensure(path, "etcd.example")

    assert EVERYTHING == set(contents(path))
    assert len(said) == 1
    for entry in (path, *path.rglob("*")):
        assert entry.stat().st_mode & 0o777 == (0o700 if entry.is_dir() else 0o600)
    assert [path] == list(path.parent.iterdir())


def test_what_is_made_verifies(tmp_path: Path) -> None:
    """Each leaf is of its CA, and the server's names are loopback's and the URLs'."""
    files = PkiFiles(tmp_path / "pki")
    ensure(files.path, "etcd.example", "10.0.0.1")
    for role, authority, leaf in (
        (Role.SERVER, files.client_ca, files.server),
        (Role.PEER, files.peer_ca, files.peer),
        (Role.CLIENT, files.client_ca, files.client("root")),
    ):
        bundle = pki.verify(
            role,
            chain=leaf.read_bytes(),
            key=files.key_of(leaf).read_bytes(),
            issuers=authority.read_bytes(),
            now=NOW,
        )
        hosts = ["localhost", "127.0.0.1", "::1", "etcd.example", "10.0.0.1"]

        assert bundle.common_name == ("root" if role is Role.CLIENT else "m1")
        assert role is Role.CLIENT or () == pki.uncovered_hosts(bundle, hosts)


def test_a_second_start_changes_nothing(tmp_path: Path) -> None:
    """Files that are there and good stay byte for byte."""
    path = tmp_path / "pki"
    ensure(path)
    before = contents(path)

    assert () == ensure(path, days=50)
    assert before == contents(path)


def test_leaves_are_renewed_after_two_thirds_of_their_life(tmp_path: Path) -> None:
    """The leaves get successors of the same CAs; the CAs stay."""
    path = tmp_path / "pki"
    ensure(path)
    before = contents(path)
    said = ensure(path, days=250)
    changed = {name for name, data in contents(path).items() if data != before[name]}

    assert {name for name in EVERYTHING if "ca" not in name and "crl" not in name} == changed
    assert len(said) == 3
    assert all(sentence.startswith("renewed ") for sentence in said)


def test_a_new_host_makes_a_new_server_certificate(tmp_path: Path) -> None:
    """A URL that the certificate does not name is added; old names stay."""
    path = tmp_path / "pki"
    ensure(path, "a.example")
    said = ensure(path, "b.example")
    files = PkiFiles(path)
    bundle = pki.verify(
        Role.SERVER,
        chain=files.server.read_bytes(),
        key=(path / "server.key").read_bytes(),
        now=NOW,
    )

    assert "does not name b.example" in said[0] + said[1]
    assert {"a.example", "b.example"} <= set(bundle.hosts)


def test_a_missing_leaf_is_made_and_a_missing_authority_is_not(tmp_path: Path) -> None:
    """A leaf can be made again; a CA whose leaves are about cannot, and the sentence says so."""
    path = tmp_path / "pki"
    ensure(path)
    (path / "server.crt").unlink()

    assert (f"made {path / 'server.crt'}",) == ensure(path)
    (path / "peer-ca.crt").unlink()
    with pytest.raises(PkiError, match=r"peer-ca.crt is missing"):
        ensure(path)


def test_an_authority_whose_key_is_kept_elsewhere_is_respected(tmp_path: Path) -> None:
    """Without the CA's key everything works until renewal, which is then said to be impossible."""
    path = tmp_path / "pki"
    ensure(path)
    (path / "client-ca.key").unlink()
    before = contents(path)

    assert () == ensure(path)
    said = [sentence for sentence in ensure(path, days=250) if "is not here to renew" in sentence]
    assert len(said) == 2
    assert before["server.crt"] == contents(path)["server.crt"]
    (path / "server.crt").unlink()
    with pytest.raises(PkiError, match=r"and so is the key of .*client-ca.crt"):
        ensure(path)


def test_a_client_certificate_that_was_taken_away_stays_away(tmp_path: Path) -> None:
    """Moving root's key to where it is used is the administrator's right."""
    path = tmp_path / "pki"
    ensure(path)
    (path / "clients" / "root.key").unlink()

    assert () == ensure(path, days=1)
    assert not (path / "clients" / "root.key").exists()


def test_a_key_that_does_not_fit_is_replaced(tmp_path: Path) -> None:
    """A crash between the two files of a renewal is put right by the next start."""
    path = tmp_path / "pki"
    ensure(path)
    (path / "server.key").write_bytes((path / "peer.key").read_bytes())
    said = ensure(path)

    assert "the key does not belong" in said[0]
    assert () == ensure(path)


def test_only_what_is_wanted_is_made(tmp_path: Path) -> None:
    """With certificates given for clients, only the peers' part is made, and the rest later."""
    path = tmp_path / "pki"
    pki_files.ensure(path, name="m", hosts=(), now=NOW, profile=Profile(), client=False)

    assert {"peer-ca.crt", "peer-ca.key", "peer.crt", "peer.key"} == set(contents(path))
    ensure(path)
    assert EVERYTHING == set(contents(path))


def test_open_directories_are_closed(tmp_path: Path) -> None:
    """A directory that others may read is taken back."""
    path = tmp_path / "pki"
    ensure(path)
    path.chmod(0o755)
    ensure(path)

    assert path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["", "../root", "a/b", ".hidden", "a\nb"])
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    """A client's name is a file's name, and nothing more."""
    with pytest.raises(PkiError, match="cannot be the name of a file"):
        PkiFiles(tmp_path).client(name)


def test_endpoints_are_noted_and_read(tmp_path: Path) -> None:
    """What the member wrote is read; without it the default is."""
    assert pki_files.read_endpoints(tmp_path) == "https://localhost:2379"
    pki_files.write_endpoints(tmp_path, ["https://a:1", "https://b:2"])
    assert pki_files.read_endpoints(tmp_path) == "https://a:1,https://b:2"


def test_a_file_is_written_wholly_or_not_at_all(tmp_path: Path) -> None:
    """A failed replacement leaves the old file, and nothing beside it."""
    target = tmp_path / "file"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        pki_files.write_private(target, b"data")

    assert [target] == list(tmp_path.iterdir())
