"""Tests of `trioetcd certs list`, `check` and `renew`: what there is, how long, what is next."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trioetcd import pki
from trioetcd.cli.certs import certs
from trioetcd.node import pki_files
from trioetcd.pki import Profile, Role
from trioetcd.testing.cluster import ServerProcess


@pytest.fixture
def out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Make a cluster's certificates."""
    place = tmp_path / "certs"
    assert certs(["init", "--out", str(place), "n1=127.0.0.1:2379", "n2=127.0.0.1:3379"]) == 0
    capsys.readouterr()
    return place


def age(place: Path, leaf: str, purpose: str, *, days_left: float, days: int = 365) -> None:
    """Put a certificate in the place of another that has so many days left."""
    signer = pki_files.load_authority(place / "ca" / f"{purpose}-ca.crt")
    assert signer is not None
    then = datetime.now(UTC) + timedelta(days=days_left - days)
    role = Role.PEER if purpose == "peer" else Role.SERVER
    young = pki.create_authority(purpose, now=then, profile=Profile())
    pki_files.save_pair(place / "ca" / f"{purpose}-ca.crt", young)
    pair = pki.issue(young, role, "n1", hosts=["127.0.0.1"], now=then, profile=Profile(), days=days)
    pki_files.save_pair(place / leaf, pair)


def test_list_says_everything(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One row per certificate and revocation list, in files and directories, as table and JSON."""
    assert certs(["list", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "SUBJECT", "NAMES", "ISSUED-BY", "ENDS", "LEFT"]
    rows = {line.split()[0]: line for line in lines[1:]}
    assert rows["n1/peer"].split()[1:3] == ["peer", "n1"]
    assert rows["clients/root"].split()[1:3] == ["client", "root"]
    assert rows["ca/peer-ca"].split()[1] == "ca"
    assert "0 revoked" in rows["n2/client-crl"]

    assert certs(["list", str(out / "n1"), str(out / "ca" / "peer-ca.crt"), "-o", "json"]) == 0
    values = json.loads(capsys.readouterr().out)
    by_name = {value["name"]: value for value in values}
    assert "127.0.0.1" in by_name["server"]["names"]
    assert by_name["server"]["seconds_left"] > 364 * 86400
    shown = subprocess.run(
        ["openssl", "x509", "-noout", "-serial", "-in", out / "n1" / "server.crt"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(shown.stdout.partition("=")[2], 16) == int(by_name["server"]["serial"], 16)


def test_list_and_check_tell_of_damage(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A damaged file is a row; a place that holds nothing is an error."""
    (out / "n1" / "server.crt").write_bytes(
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    )
    assert certs(["list", str(out)]) == 0
    assert "damaged certificate" in capsys.readouterr().out
    assert certs(["check", str(out)]) == 2
    capsys.readouterr()
    (out / "empty").mkdir()
    assert certs(["list", str(out / "empty")]) == 1
    assert "holds neither" in capsys.readouterr().err
    assert certs(["check", str(out / "empty")]) == 3
    assert certs(["check", str(out / "nowhere")]) == 3
    assert certs(["check", str(out), "--warn", "soon"]) == 3


def test_check_ends_as_a_monitoring_plugin_does(
    out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 is good, 1 near its end, 2 ended or as good as; the worst of all counts."""
    assert certs(["check", str(out)]) == 0
    age(out, "n1/server.crt", "client", days_left=20)
    assert certs(["check", str(out)]) == 1
    assert certs(["check", str(out), "--warn", "10d"]) == 0
    age(out, "n1/peer.crt", "peer", days_left=3)
    capsys.readouterr()
    assert certs(["check", str(out), "-o", "json"]) == 2
    answer = json.loads(capsys.readouterr().out)
    states = {Path(line["where"]).stem: line["state"] for line in answer["checked"]}
    assert (answer["state"], answer["exit_code"]) == ("critical", 2)
    assert (states["server"], states["peer"]) == ("ok", "ok")  # those of n2, which come last
    by_file = {line["where"]: line["state"] for line in answer["checked"]}
    assert by_file[str(out / "n1" / "server.crt")] == "warning"
    assert by_file[str(out / "n1" / "peer.crt")] == "critical"
    age(out, "n1/peer.crt", "peer", days_left=-1)
    assert certs(["check", str(out)]) == 2
    assert "ended 1d ago" in capsys.readouterr().out


def test_check_speaks_prometheus(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each certificate has its end and its state; lists have theirs under a name of its own."""
    assert certs(["check", str(out), "-o", "prom"]) == 0
    text = capsys.readouterr().out
    end = pki.inspect((out / "n1" / "peer.crt").read_bytes(), "it")[0].not_after
    wanted = f'where="{out}/n1/peer.crt",role="peer",subject="n1"'
    [sample] = [
        line
        for line in text.splitlines()
        if line.startswith("trioetcd_tls_certificate_expiry_timestamp_seconds{") and wanted in line
    ]
    assert int(sample.rpartition(" ")[2]) == int(end.timestamp())
    assert text.count("# TYPE ") == text.count("# HELP ") == 3
    assert 'trioetcd_tls_crl_next_update_timestamp_seconds{where="' in text


def test_check_looks_at_live_ports(
    member: ServerProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A port is dialled and judged; a stranger is told why it is not let in; nobody is critical."""
    client = member.endpoint.removeprefix("https://")
    own = str(member.data_dir / "pki")
    assert certs(["check", own, "--endpoint", client]) == 0
    assert f"client://{client}" in capsys.readouterr().out
    assert certs(["init", "--out", str(tmp_path / "other")]) == 0
    capsys.readouterr()
    assert certs(["check", str(tmp_path / "other"), "--endpoint", client]) == 2
    assert "which is not among the CAs here" in capsys.readouterr().out
    trust = ["--cacert", f"{own}/client-ca.crt", "--endpoint", client]
    assert certs(["check", str(tmp_path / "other"), *trust]) == 2
    told = capsys.readouterr().out
    assert "it does not let this certificate in: it does not know the CA" in told
    assert certs(["check", own, "--peer-endpoint", client]) == 2
    assert "it does not speak as a peer port does" in capsys.readouterr().out
    assert certs(["check", own, "--endpoint", "127.0.0.1:1"]) == 2
    assert "Connection refused" in capsys.readouterr().out
    assert certs(["check", own, "--endpoint", "http://127.0.0.1:1"]) == 3
    assert "is no place to dial" in capsys.readouterr().err


def test_renew_gives_successors_that_verify(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All of them, a member's, or one; by openssl's judgement, too; each stands in the index."""
    before = {path: path.read_bytes() for path in out.rglob("*.crt")}
    assert certs(["renew", "n1", "clients/root", "--data-dir", str(out)]) == 0
    changed = {str(path.relative_to(out)) for path in before if before[path] != path.read_bytes()}
    assert changed == {"n1/peer.crt", "n1/server.crt", "clients/root.crt"}
    for leaf, purpose in {
        "n1/peer": "peer",
        "n1/server": "client",
        "clients/root": "client",
    }.items():
        trust, path = out / "ca" / f"{purpose}-ca.crt", out / f"{leaf}.crt"
        judged = subprocess.run(["openssl", "verify", "-CAfile", trust, path], check=False)
        assert judged.returncode == 0
    index = json.loads((out / "ca" / "peer-ca.index.json").read_text())
    serial = pki.inspect((out / "n1" / "peer.crt").read_bytes(), "it")[0].serial
    assert f"{serial:x}" in {row["serial"] for row in index["issued"]}


def test_renew_if_needed_says_whether_it_was(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """1 when nothing is due; what is due is renewed and then is not; --dry-run changes nothing."""
    renew = ["renew", "all", "--data-dir", str(out)]
    assert certs([*renew, "--if-needed"]) == 1
    age(out, "n1/server.crt", "client", days_left=100)
    old = (out / "n1" / "server.crt").read_bytes()
    assert certs([*renew, "--if-needed", "--dry-run"]) == 0
    assert "n1/server: would renew" in capsys.readouterr().out
    assert old == (out / "n1" / "server.crt").read_bytes()
    assert certs(["renew", "n1/server", "--if-needed", "--data-dir", str(out)]) == 0
    assert old != (out / "n1" / "server.crt").read_bytes()
    assert certs(["renew", "n1/server", "--if-needed", "--data-dir", str(out)]) == 1
    one = ["renew", "n1/peer", "--data-dir", str(out), "--if-needed"]
    assert [certs(one), certs([*one, "--before", "400d"])] == [1, 0]


def test_renew_keeps_the_key_if_asked(out: Path) -> None:
    """By default it is a new one."""
    key = out / "n1" / "peer.key"
    first = key.read_bytes()
    assert certs(["renew", "n1/peer", "--keep-key", "--data-dir", str(out)]) == 0
    assert first == key.read_bytes()
    assert certs(["renew", "n1/peer", "--data-dir", str(out)]) == 0
    assert first != key.read_bytes()


def test_renew_mends_a_key_that_is_anothers(out: Path) -> None:
    """It is due, whatever its dates."""
    (out / "n1" / "server.key").write_bytes((out / "n2" / "server.key").read_bytes())
    assert certs(["renew", "all", "--if-needed", "--data-dir", str(out)]) == 0
    assert pki.key_fits(
        (out / "n1" / "server.crt").read_bytes(), (out / "n1" / "server.key").read_bytes()
    )


def test_renew_refuses_with_a_sentence(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Unknown names, a missing CA key, another's certificate: exit code 2, and nothing changed."""
    assert certs(["renew", "n9", "--data-dir", str(out)]) == 2
    assert "there is no certificate 'n9' here to renew; there are: clients/root" in (
        capsys.readouterr().err
    )
    (out / "ca" / "peer-ca.key").rename(out / "ca" / "peer-ca.key.away")
    before = (out / "n1" / "peer.crt").read_bytes()
    assert certs(["renew", "n1/peer", "--data-dir", str(out)]) == 2
    assert "run this where the CAs' keys are kept" in capsys.readouterr().err
    assert before == (out / "n1" / "peer.crt").read_bytes()
    other = pki.create_authority("peer", now=datetime.now(UTC), profile=Profile())
    foreign = pki.issue(other, Role.PEER, "n1", now=datetime.now(UTC), profile=Profile())
    pki_files.save_pair(out / "n1" / "peer.crt", foreign)
    assert certs(["renew", "n1/peer", "--data-dir", str(out)]) == 2
    assert "renew it where that CA is" in capsys.readouterr().err
    assert certs(["renew", "all", "--exec", "true", "--data-dir", str(out)]) == 2


@pytest.mark.slow
def test_the_daemon_renews_runs_a_command_and_ends(out: Path, tmp_path: Path) -> None:
    """What is due at its start is renewed at once; SIGTERM ends it with 0."""
    age(out, "n1/server.crt", "client", days_left=10)
    told = tmp_path / "told"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "trioetcd", "certs", "renew", "n1/server", "--daemon"),
            *("--data-dir", str(out), "-o", "json"),
            *("--exec", f'echo "$TRIOETCD_RENEWED" > {told}.new; mv {told}.new {told}; exit 3'),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as daemon:
        assert daemon.stderr is not None
        lines = [json.loads(daemon.stderr.readline()) for _ in range(2)]
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(20) == 0

    assert told.read_text() == "n1/server\n"
    assert [line["outcome"] for line in lines] == ["renewed", "failed"]
    assert lines[1]["sentence"] == "--exec ended with exit code 3"
    assert pki.inspect((out / "n1" / "server.crt").read_bytes(), "it")[0].not_after > (
        datetime.now(UTC) + timedelta(days=300)
    )
