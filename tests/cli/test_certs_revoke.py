"""Tests of `trioetcd certs revoke` and `crl`: what is taken back is on the list, everywhere."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.cli.certificates import check_modes, openssl, run
from trioetcd import pki
from trioetcd.node import pki_files, pki_index
from trioetcd.pki import CrlSet, Role


@pytest.fixture
def out(tmp_path: Path) -> Path:
    directory = tmp_path / "certs"
    assert run("init", "--out", directory, "n1=h", "n2=i") == 0
    assert run("issue", "client", "alice", "--data-dir", directory) == 0
    return directory


def lists(directory: Path, side: str = "client") -> CrlSet:
    return pki.verify_lists(
        (directory / f"{side}-crl.pem").read_bytes(),
        trust=(directory / f"{side}-ca.crt").read_bytes(),
        now=datetime.now(UTC),
        what="the list",
    )


def serial_of(certificate: Path) -> int:
    return pki.inspect(certificate.read_bytes(), "it")[0].serial


def test_a_revoked_client_is_on_every_members_list(out: Path) -> None:
    """The CA's list and each member's copy name the serial; openssl refuses the certificate."""
    serial = serial_of(out / "clients" / "alice.crt")
    number = lists(out / "ca").lists[0].number
    assert run("revoke", "alice", "--reason", "key-compromise", "--data-dir", out) == 0

    for place in ("ca", "n1", "n2"):
        found = lists(out / place).lists[0]
        assert [serial] == list(found.serials)
        assert (found.number or 0) > (number or 0)
    check = ("verify", "-crl_check", "-CAfile", "ca/client-ca.crt", "-CRLfile", "n1/client-crl.pem")
    told = openssl(*check, "clients/alice.crt", cwd=out)
    assert "certificate revoked" in told.stderr
    assert openssl(*check, "clients/root.crt", cwd=out).returncode == 0
    text = openssl("crl", "-in", "n1/client-crl.pem", "-noout", "-text", cwd=out).stdout
    assert "Key Compromise" in text
    check_modes(out)


def test_every_good_certificate_of_a_name_is_revoked(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An older one that was replaced may be the stolen one; the successor made after counts."""
    first = serial_of(out / "clients" / "alice.crt")
    assert run("issue", "client", "alice", "--data-dir", out, "--force") == 0
    second = serial_of(out / "clients" / "alice.crt")
    assert run("revoke", "alice", "--data-dir", out) == 0
    assert {first, second} == set(lists(out / "n2").lists[0].serials)
    assert run("revoke", "alice", "--data-dir", out) == 1
    assert "is revoked already, since" in capsys.readouterr().err
    assert run("issue", "client", "alice", "--data-dir", out, "--force") == 0
    third = serial_of(out / "clients" / "alice.crt")
    assert third not in lists(out / "n2").lists[0].serials
    assert run("revoke", "alice", "--data-dir", out) == 0
    assert {first, second, third} == set(lists(out / "n2").lists[0].serials)


def test_a_serial_and_a_file_say_exactly_which(out: Path) -> None:
    """By serial, with or without colons, and by the certificate that was found somewhere."""
    first = out.parent / "stolen.crt"
    first.write_bytes((out / "clients" / "alice.crt").read_bytes())
    assert run("issue", "client", "alice", "--data-dir", out, "--force") == 0
    second = serial_of(out / "clients" / "alice.crt")
    assert run("revoke", "--cert", first, "--data-dir", out) == 0
    assert [serial_of(first)] == list(lists(out / "n1").lists[0].serials)
    spelled = f"{second:042x}"
    colons = ":".join(spelled[at : at + 2] for at in range(0, len(spelled), 2))
    assert run("revoke", "--serial", colons, "--data-dir", out) == 0
    assert {serial_of(first), second} == set(lists(out / "n1").lists[0].serials)


def test_a_member_is_revoked_by_both_authorities(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its server's and its peer's certificate each stand on the list of their CA."""
    assert run("revoke", "n2", "--reason", "cessation-of-operation", "--data-dir", out) == 0
    assert "etcdctl member remove" in capsys.readouterr().out
    assert [serial_of(out / "n2" / "server.crt")] == list(lists(out / "n1").lists[0].serials)
    assert [serial_of(out / "n2" / "peer.crt")] == list(lists(out / "n1", "peer").lists[0].serials)


def test_a_client_and_a_member_of_one_name_are_told_apart(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody shuts out a member by mistake: --role is asked for."""
    assert run("issue", "client", "n1", "--data-dir", out) == 0
    assert run("revoke", "n1", "--data-dir", out) == 1
    assert "say with --role" in capsys.readouterr().err
    assert {} == lists(out / "n1").lists[0].serials
    assert run("revoke", "n1", "--role", "client", "--data-dir", out) == 0
    assert [serial_of(out / "clients" / "n1.crt")] == list(lists(out / "n1").lists[0].serials)


def test_what_is_unknown_is_not_revoked(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip in a name or a serial, and another CA's certificate, change nothing."""
    foreign = out.parent / "other"
    assert run("init", "--out", foreign, "n1=h") == 0
    before = (out / "ca" / "client-crl.pem").read_bytes()
    for words in (
        ("alcie",),
        ("--serial", "abc"),
        ("--cert", foreign / "clients" / "root.crt"),
    ):
        assert run("revoke", *words, "--data-dir", out) == 1
        assert "nothing was changed" in capsys.readouterr().err
    assert run("revoke", "--serial", "xyz", "--data-dir", out) == 2
    assert run("revoke", "--data-dir", out) == 2
    assert run("revoke", "alice", "--serial", "1", "--data-dir", out) == 2

    assert before == (out / "ca" / "client-crl.pem").read_bytes()


def test_a_certificate_that_nobody_noted_is_revoked_by_its_file(tmp_path: Path) -> None:
    """A client made before there was an index is found by its file's name."""
    assert run("init", "--out", tmp_path / "pki") == 0
    assert run("issue", "client", "old", "--data-dir", tmp_path) == 0
    (tmp_path / "pki" / "client-ca.index.json").unlink()
    assert run("revoke", "old", "--role", "client", "--data-dir", tmp_path) == 0

    assert [serial_of(tmp_path / "pki" / "clients" / "old.crt")] == list(
        lists(tmp_path / "pki").lists[0].serials
    )


def test_lists_are_made_anew_and_shown(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`crl renew` moves the date and the number of every list; `crl show` says who and why."""
    assert run("revoke", "alice", "--reason", "superseded", "--data-dir", out) == 0
    before = lists(out / "n1").lists[0]
    assert run("crl", "renew", "--list-days", "7", "--data-dir", out) == 0
    after = lists(out / "n1").lists[0]
    capsys.readouterr()
    assert run("crl", "show", "--data-dir", out) == 0
    told = capsys.readouterr().out

    assert before.serials == after.serials
    assert (after.number or 0) > (before.number or 0)
    assert after.next_update is not None
    assert timedelta(days=6) < after.next_update - datetime.now(UTC) < timedelta(days=7)
    assert (
        f"superseded            {serial_of(out / 'clients' / 'alice.crt'):x}  client alice" in told
    )
    assert "revokes      nobody" in told
    assert run("crl", "verify", out / "n1" / "client-crl.pem") == 0


def test_a_list_that_is_not_the_authoritys_fails(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Another CA's list, an outdated one and garbage end in exit code 1 and a sentence."""
    crl, trust = out / "ca" / "client-crl.pem", out / "ca" / "peer-ca.crt"
    assert run("crl", "verify", crl, "--ca", trust) == 1
    assert "not trusted here" in capsys.readouterr().err
    authority = out / "ca" / "client-ca.crt"
    signer = pki_files.load_authority(authority)
    assert signer is not None
    old = datetime.now(UTC) - timedelta(minutes=2)
    made, _ = pki.sign_list(signer, pki.Index(), now=old - timedelta(days=30))
    crl.write_bytes(made)
    assert run("crl", "verify", crl) == 1
    assert "outdated" in capsys.readouterr().err
    crl.write_bytes(b"-----BEGIN X509 CRL-----\n")
    assert run("crl", "verify", crl) == 1
    assert run("crl", "show", crl) == 1


def test_an_authority_from_elsewhere_has_its_list_beside_it(tmp_path: Path) -> None:
    """`--ca FILE` alone is enough to issue, revoke and renew."""
    make = "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=all -days 99"
    assert openssl(*make.split(), cwd=tmp_path).returncode == 0
    authority = tmp_path / "ca.crt"
    assert run("issue", "client", "bob", "--ca", authority, "--out", tmp_path / "o") == 0
    assert run("revoke", "bob", "--ca", authority) == 0
    check = ("verify", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", "o/bob.crt")
    assert "certificate revoked" in openssl(*check, cwd=tmp_path).stderr
    assert run("crl", "renew", "--ca", authority) == 0
    assert "certificate revoked" in openssl(*check, cwd=tmp_path).stderr


def test_an_index_of_another_hand_does_not_crash(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A damaged index ends in a sentence, and stays as it is."""
    path = out / "ca" / "client-ca.index.json"
    document = json.loads(path.read_text())
    document["issued"][0]["serial"] = "not hexadecimal"
    path.write_text(json.dumps(document))
    before = path.read_bytes()
    assert run("revoke", "alice", "--data-dir", out) == 1
    assert "is damaged" in capsys.readouterr().err
    assert before == path.read_bytes()
    assert 3 == len(pki_index.read(out / "ca" / "peer-ca.crt").issued) + 1


def test_roles_are_noted(out: Path) -> None:
    """The index says of each certificate what it is for."""
    rows = pki_index.read(out / "ca" / "client-ca.crt").issued

    assert [
        ("n1", Role.SERVER),
        ("n2", Role.SERVER),
        ("root", Role.CLIENT),
        ("alice", Role.CLIENT),
    ] == [(row.name, Role(row.role)) for row in rows]


def test_what_an_earlier_authority_signed_is_not_revoked_in_vain(
    out: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """While an old CA is still trusted its certificates need its key; a list is not made without.

    Once it is trusted no more they count no more, and only the new ones are revoked.
    """
    authority = out / "ca" / "client-ca.crt"
    old = pki_files.load_authority(authority)
    assert old is not None
    new = pki.create_authority("client", now=datetime.now(UTC), profile=pki.Profile())
    authority.write_bytes(new.certificate + old.certificate)
    authority.with_suffix(".key").write_bytes(new.key)
    before = (out / "n1" / "client-crl.pem").read_bytes()
    assert run("revoke", "alice", "--data-dir", out) == 1
    assert "only that CA's key can revoke it" in capsys.readouterr().err
    assert before == (out / "n1" / "client-crl.pem").read_bytes()

    assert run("issue", "client", "alice", "--data-dir", out, "--force") == 0
    authority.write_bytes(new.certificate)
    assert run("revoke", "alice", "--data-dir", out) == 0
    copies = (out / "n1" / "client-crl.pem").read_bytes()
    lists = pki.verify_lists(copies, trust=new.certificate, now=datetime.now(UTC), what="it")
    assert [serial_of(out / "clients" / "alice.crt")] == list(lists.lists[0].serials)
