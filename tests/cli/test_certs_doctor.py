"""Tests of `trioetcd certs doctor`: each slip is found, and what is told to mend it mends it."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.pki.material import plain_twins
from trioetcd import pki
from trioetcd.cli.certs import certs
from trioetcd.node import pki_files
from trioetcd.pki import CertifiedKey, Profile, Role
from trioetcd.testing.cluster import ServerProcess

NOW = datetime.now(UTC)


@pytest.fixture
def out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Make a cluster's certificates."""
    place = tmp_path / "certs"
    assert certs(["init", "--out", str(place), "n1=127.0.0.1:2379", "n2=127.0.0.1:3379"]) == 0
    capsys.readouterr()
    return place


def diagnose(
    capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[dict[str, str]]]:
    """Give the exit code and the findings."""
    capsys.readouterr()
    code = certs(["doctor", *arguments, "-o", "json"])
    return code, json.loads(capsys.readouterr().out)["findings"]


def signer(out: Path, purpose: str) -> CertifiedKey:
    found = pki_files.load_authority(out / "ca" / f"{purpose}-ca.crt")
    assert found is not None
    return found


def older(out: Path) -> None:
    """Let a CA sign that is older than what it is to have signed."""
    old = pki.create_authority("client", now=NOW - timedelta(days=400), profile=Profile())
    (out / "ca" / "client-ca.key").write_bytes(old.key)
    for path in (out / "ca" / "client-ca.crt", *out.glob("n?/client-ca.crt")):
        path.write_bytes(pki.join_trust(path.read_bytes(), old.certificate))


def replace(out: Path, role: Role, **more: object) -> None:
    """Put another certificate in the place of n1's server certificate."""
    days = more.pop("days", 300)
    ago = more.pop("ago", timedelta())
    assert isinstance(days, int)
    assert isinstance(ago, timedelta)
    made = pki.issue(
        signer(out, "client"),
        role,
        "n1",
        hosts=["127.0.0.1"] if not more else ["elsewhere.example"],
        now=NOW - ago,
        profile=Profile(),
        days=days,
    )
    pki_files.save_pair(out / "n1" / "server.crt", made)


def swap_keys(out: Path) -> None:
    shutil.copy(out / "n2" / "server.key", out / "n1" / "server.key")


def lose_key(out: Path) -> None:
    (out / "n1" / "server.key").unlink()


def open_key(out: Path) -> None:
    (out / "n1" / "server.key").chmod(0o644)


def open_directory(out: Path) -> None:
    (out / "n1").chmod(0o777)


def near_end(out: Path) -> None:
    older(out)
    replace(out, Role.SERVER, ago=timedelta(days=290))


def ended(out: Path) -> None:
    older(out)
    replace(out, Role.SERVER, ago=timedelta(days=301))


def ahead(out: Path) -> None:
    """As if it were made on a machine whose clock runs ahead, with a CA of the same clock."""
    young = pki.create_authority("client", now=NOW, profile=Profile())
    for path in (out / "ca" / "client-ca.crt", *out.glob("n?/client-ca.crt")):
        path.write_bytes(pki.join_trust(path.read_bytes(), young.certificate))
    made = pki.issue(
        young,
        Role.SERVER,
        "n1",
        hosts=["127.0.0.1"],
        now=NOW + timedelta(hours=2),
        profile=Profile(),
    )
    pki_files.save_pair(out / "n1" / "server.crt", made)


def other_name(out: Path) -> None:
    replace(out, Role.SERVER, name="elsewhere")


def other_usage(out: Path) -> None:
    replace(out, Role.CLIENT)


def other_ca(out: Path) -> None:
    other = pki.create_authority("client", now=NOW, profile=Profile())
    made = pki.issue(other, Role.SERVER, "n1", hosts=["127.0.0.1"], now=NOW, profile=Profile())
    pki_files.save_pair(out / "n1" / "server.crt", made)


def one_ca(out: Path) -> None:
    for name in ("n1", "n2"):
        with (out / name / "peer-ca.crt").open("ab") as file:
            file.write((out / name / "client-ca.crt").read_bytes())


def key_on_member(out: Path) -> None:
    shutil.copy(out / "ca" / "peer-ca.key", out / "n1" / "peer-ca.key")


def forged_list(out: Path) -> None:
    """A list by somebody of the CA's name."""
    path = out / "n1" / "client-crl.pem"
    data = path.read_bytes().splitlines()
    data[-3] = data[-3][:10] + (b"A" if data[-3][10:11] != b"A" else b"B") + data[-3][11:]
    path.write_bytes(b"\n".join(data) + b"\n")


def ending_list(out: Path) -> None:
    made, _ = pki.sign_list(
        signer(out, "client"), pki.Index(), now=NOW - timedelta(days=29), days=30
    )
    (out / "n1" / "client-crl.pem").write_bytes(made)


SLIPS: list[tuple[Callable[[Path], None], int, str, str]] = [
    (swap_keys, 2, "the key is another certificate's", "renew n1/server"),
    (lose_key, 2, "its key is missing", "renew n1/server"),
    (open_key, 2, "others than its owner can read this key (mode 644)", "chmod 600"),
    (open_directory, 1, "others than its owner can replace the files", "chmod 700"),
    (near_end, 1, "it ends in 9d", "renew n1/server"),
    (ended, 2, "ended on", "renew n1/server"),
    (ahead, 2, "ahead of this clock", "timedatectl"),
    (other_name, 1, "it does not name 127.0.0.1", "issue server n1 --host"),
    (other_usage, 2, "lacks the usage serverAuth", "issue server n1"),
    (other_ca, 2, "is not signed by its CA", "issue server n1"),
    (one_ca, 1, "one CA signs members and clients", "peer-cert-allowed-cn"),
    (key_on_member, 1, "a CA's key lies beside a member's", "mv "),
    (forged_list, 2, "the signature on the list", "crl renew"),
    (ending_list, 1, "is outdated in", "crl renew"),
]


@pytest.mark.parametrize(("slip", "code", "sentence", "remedy"), SLIPS)
def test_a_slip_is_found_and_mended(
    out: Path,
    capsys: pytest.CaptureFixture[str],
    slip: Callable[[Path], None],
    code: int,
    sentence: str,
    remedy: str,
) -> None:
    """It is told in a sentence, with a command; those of ours are run, and then it is gone."""
    assert diagnose(capsys, str(out)) == (0, [])
    slip(out)
    found, findings = diagnose(capsys, str(out))
    mine = [finding for finding in findings if sentence in finding["sentence"]]

    assert code == found
    assert mine, findings
    assert remedy in mine[0]["remedy"]
    words = shlex.split(mine[0]["remedy"])
    if words[:2] == ["trioetcd", "certs"]:
        assert certs(words[2:]) == 0
        after = diagnose(capsys, str(out))[1]
        assert not [finding for finding in after if sentence in finding["sentence"]]


def test_two_certificates_of_one_number(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Revoking one would revoke both."""
    for name, pair in zip(
        ("n1", "n2"), plain_twins(signer(out, "client"), now=NOW, serial=7), strict=True
    ):
        pki_files.save_pair(out / name / "server.crt", pair)
    code, findings = diagnose(capsys, str(out))

    assert code == 2
    assert any("the serial 7" in finding["sentence"] for finding in findings)


def test_a_configuration_file_is_looked_at(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The files that it names are those that count."""
    config = str(out / "n1" / "trioetcd.yaml")
    assert diagnose(capsys, "--config", config) == (0, [])
    swap_keys(out)
    code, findings = diagnose(capsys, "--config", config)
    assert code == 2
    assert findings[0]["where"] == str(out / "n1" / "server.crt")
    assert certs(["doctor", "--config", str(out / "n1" / "peer.crt")]) == 2


def test_a_live_member_is_well(
    member: ServerProcess, out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fresh member has remarks alone; one that is not of this directory is told apart."""
    port = member.endpoint.removeprefix("https://")
    code, findings = diagnose(capsys, str(member.data_dir), "--live")
    assert code == 0
    assert {"a CA's key lies beside a member's"} == {
        finding["sentence"].partition(":")[0] for finding in findings
    }
    code, findings = diagnose(capsys, str(out), "--endpoint", port)
    assert code == 2
    assert any("none of this directory" in finding["sentence"] for finding in findings)


def test_a_rotation_is_a_remark(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody forgets that a CA is being replaced."""
    assert certs(["ca", "rotate", "start", "peer", "--data-dir", str(out)]) == 0
    code, findings = diagnose(capsys, str(out))
    assert code == 0
    assert "the peer CA is being replaced" in findings[0]["sentence"]
    assert "ca rotate status peer" in findings[0]["remedy"]
