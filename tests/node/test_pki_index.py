"""Tests of `trioetcd.node.pki_index`: files beside a CA, and two commands at the same time."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trioetcd import pki
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_index import AuthorityFiles
from trioetcd.pki import PkiError, Profile, Role

NOW = datetime(2030, 6, 1, 12, tzinfo=UTC)
NOTES = 12


def authority_in(directory: Path, name: str = "client-ca") -> Path:
    path = directory / f"{name}.crt"
    pki_files.save_pair(path, pki.create_authority("client", now=NOW, profile=Profile()))
    return path


def note_many(path: Path, who: str) -> None:
    signer = pki_files.load_authority(path)
    assert signer is not None
    for at in range(NOTES):
        made = pki.issue(signer, Role.CLIENT, f"{who}{at}", now=NOW, profile=Profile())
        pki_index.note(path, Role.CLIENT, [made.certificate])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("client-ca", "client-crl.pem"), ("ca", "crl.pem"), ("corporate", "corporate-crl.pem")],
)
def test_a_list_is_called_after_its_authority(name: str, expected: str) -> None:
    """The names are those under which members look for them."""
    files = AuthorityFiles(Path("/x") / f"{name}.crt")

    assert expected == files.revocation_list.name
    assert f"{name}.index.json" == files.index.name


def test_two_commands_at_once_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Every certificate of both is in the index, and the file is its owner's alone."""
    path = authority_in(tmp_path)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=note_many, args=(path, who)) for who in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    index = pki_index.read(path)

    assert [0, 0] == [process.exitcode for process in processes]
    assert {f"{who}{at}" for who in "ab" for at in range(NOTES)} == {
        row.name for row in index.issued
    }
    assert AuthorityFiles(path).index.stat().st_mode & 0o777 == 0o600


def test_a_damaged_index_stops_a_revocation(tmp_path: Path) -> None:
    """Nothing is written over an index that cannot be read."""
    path = authority_in(tmp_path)
    signer = pki_files.load_authority(path)
    assert signer is not None
    AuthorityFiles(path).index.write_bytes(b"{")
    with pytest.raises(PkiError, match=r"client-ca.index.json is damaged"):
        pki_index.publish(path, signer, now=NOW, days=30)

    assert b"{" == AuthorityFiles(path).index.read_bytes()
    assert not AuthorityFiles(path).revocation_list.exists()
