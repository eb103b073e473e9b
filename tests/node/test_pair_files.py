"""Tests of `trioetcd.node.pair_files`: a pair is the old one or the new one, whatever happens."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from tests.node.crash import dies_before_change
from tests.pki.material import NOW
from trioetcd import pki
from trioetcd.node.pair_files import replace_pair
from trioetcd.node.pki_files import save_pair
from trioetcd.pki import CertifiedKey, Profile, Role

AUTHORITY = pki.create_authority("peer", now=NOW, profile=Profile())


def issue(name: str) -> CertifiedKey:
    return pki.issue(AUTHORITY, Role.PEER, name, hosts=["localhost"], now=NOW, profile=Profile())


def name_in(path: Path) -> str:
    """Verify the pair as a member would, and give its name."""
    return pki.verify(
        Role.PEER,
        chain=path.read_bytes(),
        key=path.with_suffix(".key").read_bytes(),
        issuers=AUTHORITY.certificate,
        now=NOW,
    ).common_name


def test_a_pair_is_replaced_and_its_predecessor_kept(tmp_path: Path) -> None:
    """The new one is in force, the one before it lies beside it, and older ones are gone."""
    path = tmp_path / "peer.crt"
    for name in ("a", "b", "c", "d"):
        save_pair(path, issue(name))
        assert name_in(path) == name
    kept = sorted(each.name for each in (tmp_path / ".peer").iterdir())

    assert ["3", "4", "now"] == kept
    assert b"PRIVATE" in (tmp_path / ".peer" / "3" / "key.pem").read_bytes()


def test_a_first_pair_is_plain_files(tmp_path: Path) -> None:
    """Nothing stands behind links before it is replaced."""
    path = tmp_path / "peer.crt"
    save_pair(path, issue("a"))

    assert ["peer.crt", "peer.key"] == sorted(each.name for each in tmp_path.iterdir())
    assert not path.is_symlink()


@pytest.mark.parametrize("before", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_crash_at_any_point_leaves_a_pair_that_verifies(
    tmp_path: Path, before: tuple[str, ...]
) -> None:
    """Whichever change of a file was the last, key and certificate belong together."""
    seen = set()
    for number in count():
        path = tmp_path / str(number) / "peer.crt"
        for name in before:
            save_pair(path, issue(name))
        new = issue("new")
        died = dies_before_change(number, partial(save_pair, path, new))
        seen.add(name_in(path))
        # ... and the next one finds its way through what is left
        save_pair(path, issue("later"))
        assert name_in(path) == "later"
        assert not [each for each in path.parent.rglob("*.new") if each.is_symlink()]
        if not died:
            break

    assert {before[-1], "new"} == seen


@pytest.mark.parametrize("half", ["crt", "key", "both"])
def test_plain_files_that_somebody_put_there_are_heard(tmp_path: Path, half: str) -> None:
    """What stands in the place of a link is what the next replacement keeps."""
    path = tmp_path / "peer.crt"
    for name in ("a", "b"):
        save_pair(path, issue(name))
    own = issue("own") if half == "both" else None
    for suffix, data in (
        (".crt", own.certificate if own else path.read_bytes()),
        (".key", own.key if own else path.with_suffix(".key").read_bytes()),
    ):
        if half == "both" or suffix.endswith(half):
            path.with_suffix(suffix).unlink()
            path.with_suffix(suffix).write_bytes(data)
    save_pair(path, issue("new"))
    kept = (tmp_path / ".peer" / "3" / "certificate.pem").read_bytes()

    assert name_in(path) == "new"
    assert ("own" if half == "both" else "b") == pki.inspect(kept, "it")[0].common_name


def test_a_missing_half_is_made_whole(tmp_path: Path) -> None:
    """A certificate that lost its key gets a new pair."""
    path = tmp_path / "peer.crt"
    save_pair(path, issue("a"))
    path.with_suffix(".key").unlink()
    replace_pair(path, path.with_suffix(".key"), issue("b"))

    assert name_in(path) == "b"


def test_group_and_owner_stay(tmp_path: Path) -> None:
    """A key that its group could read stays so; one that everybody could, does not."""
    path = tmp_path / "peer.crt"
    save_pair(path, issue("a"))
    path.with_suffix(".key").chmod(0o644)
    path.chmod(0o600)
    save_pair(path, issue("b"))

    assert path.with_suffix(".key").stat().st_mode & 0o777 == 0o640
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_renews_stays_its_owners(tmp_path: Path) -> None:
    """The member's user can read the key that root has renewed."""
    path = tmp_path / "peer.crt"
    save_pair(path, issue("a"))
    for each in (tmp_path, path, path.with_suffix(".key")):
        os.chown(each, 4242, 4243)
    save_pair(path, issue("b"))

    assert {(4242, 4243)} == {
        (each.stat().st_uid, each.stat().st_gid) for each in (path, path.with_suffix(".key"))
    }
    assert (tmp_path / ".peer").stat().st_uid == 4242


def test_openssl_and_a_copy_find_the_pair(tmp_path: Path) -> None:
    """Programs that know nothing of links read the pair, and so does a copied directory."""
    for name in ("a", "b"):
        save_pair(tmp_path / "n1" / "peer.crt", issue(name))
    subprocess.run(["cp", "-r", tmp_path / "n1", tmp_path / "n2"], check=True)
    for place in ("n1", "n2"):
        shown = subprocess.run(
            ["openssl", "x509", "-in", tmp_path / place / "peer.crt", "-noout", "-subject"],
            check=True,
            capture_output=True,
            text=True,
        )
        assert shown.stdout.strip().endswith("CN = b")
        assert name_in(tmp_path / place / "peer.crt") == "b"
