"""Tests of `trioetcd certs init`: the layout, the configuration files, and three members."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.cli.certificates import check_modes, openssl, run, start
from trioetcd import pki
from trioetcd.cli.certs import member_file
from trioetcd.node.config import parse
from trioetcd.node.credential_files import credential_files
from trioetcd.node.flags import ConfigError
from trioetcd.node.settings import Config
from trioetcd.pki import Role
from trioetcd.transport.credentials import load

THREE = ("n1=10.0.0.1", "n2=10.0.0.2,n2.example", "n3=10.0.0.3")


def members_of(config: Config) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in config.initial_cluster.split(",")]
    return {name: url for name, _, url in pairs}


def test_init_for_several_members_makes_them_trust_each_other(tmp_path: Path) -> None:
    """Every member's set verifies by the others' CAs; the CAs' keys stay apart from all."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, *THREE[:2]) == 0
    assert run("init", "--out", out, THREE[2]) == 0

    authority = (out / "n1" / "peer-ca.crt").read_bytes()
    for name, host in (("n1", "10.0.0.1"), ("n2", "n2.example"), ("n3", "10.0.0.3")):
        bundle = pki.verify(
            Role.PEER,
            chain=(out / name / "peer.crt").read_bytes(),
            key=(out / name / "peer.key").read_bytes(),
            issuers=authority,
            now=datetime.now(UTC),
        )
        assert () == pki.uncovered_hosts(bundle, [host, "localhost"])
        assert name == bundle.common_name
        assert 89 <= (bundle.not_after - datetime.now(UTC)).days <= 90
    check_modes(out)


def test_a_member_holds_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """No CA's key and no client's key lies in a member's directory."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, *THREE) == 0

    assert {
        "client-ca.crt",
        "client-crl.pem",
        "peer-ca.crt",
        "peer-crl.pem",
        "peer.crt",
        "peer.key",
        "server.crt",
        "server.key",
        "trioetcd.yaml",
    } == {path.name for path in (out / "n2").rglob("*")}
    assert {"root.crt", "root.key"} == {path.name for path in (out / "clients").iterdir()}


def test_a_configuration_file_says_everything(tmp_path: Path) -> None:
    """With it alone a member finds its addresses, its cluster, its certificates and its data."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "--cluster", "prod", *THREE) == 0
    config = parse([f"--config-file={out / 'n2' / 'trioetcd.yaml'}"], {})
    files, said = credential_files(config, now=datetime.now(UTC))

    assert ("n2", "prod") == (config.name, config.initial_cluster_token)
    assert ["https://10.0.0.2:2379"] == [str(url) for url in config.listen_client_urls]
    assert ["https://10.0.0.2:2379"] == [str(url) for url in config.advertise_client_urls]
    assert ["https://10.0.0.2:2380"] == [str(url) for url in config.initial_advertise_peer_urls]
    assert {"n1", "n2", "n3"} == set(members_of(config))
    assert config.client_cert_required
    assert out / "n2" / "n2.etcd" == Path(config.data_dir)
    assert () == said
    assert () == load(files, now=datetime.now(UTC)).warnings


def test_members_on_one_machine_are_told_apart_by_ports(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ports are taken, the peers' follows the clients'; the same place twice is refused."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "a=localhost", "b=localhost") == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "give ports, such as b=localhost:2389:2390" in told
    assert not out.exists()
    assert run("init", "--out", out, "a=localhost:1000", "b=[::1]:2000:2500,b.example") == 0
    config = parse([f"--config-file={out / 'b' / 'trioetcd.yaml'}"], {})

    assert {"a": "https://localhost:1001", "b": "https://[::1]:2500"} == members_of(config)


def test_a_member_that_is_known_by_names_alone_listens_everywhere(tmp_path: Path) -> None:
    """A name says nothing about the interface; members refuse to listen at names."""
    assert run("init", "--out", tmp_path / "certs", "a=a.example") == 0
    config = parse([f"--config-file={tmp_path / 'certs' / 'a' / 'trioetcd.yaml'}"], {})

    assert ["https://0.0.0.0:2379"] == [str(url) for url in config.listen_client_urls]
    assert ["https://a.example:2379"] == [str(url) for url in config.advertise_client_urls]


def test_a_directory_that_is_copied_says_where_it_will_be(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With --at the files name that place, and the commands say so; relative ones are refused."""
    out = tmp_path / "certs"
    places = ("--at", "/etc/trioetcd", "--member-data-dir", "/var/lib/trioetcd")
    assert run("init", "--out", out, *places, *THREE) == 0
    text = (out / "n1" / "trioetcd.yaml").read_text()

    assert 'cert-file: "/etc/trioetcd/server.crt"' in text
    assert 'data-dir: "/var/lib/trioetcd"' in text
    assert "trioetcd --config-file /etc/trioetcd/trioetcd.yaml" in capsys.readouterr().out
    assert run("init", "--out", tmp_path / "x", "--at", "etc", "n1=h") == 2


def test_members_join_one_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is added later names those before it, and the cluster as one that is there."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=10.0.0.1:7000") == 0
    root = (out / "clients" / "root.key").read_bytes()
    assert run("init", "--out", out, "n2=10.0.0.2", "n3=10.0.0.3") == 0
    configs = [parse([f"--config-file={out / n / 'trioetcd.yaml'}"], {}) for n in ("n2", "n3")]

    assert ["existing", "existing"] == [config.initial_cluster_state for config in configs]
    assert ["n1", "n2"] == sorted(members_of(configs[0]))
    assert ["n1", "n2", "n3"] == sorted(members_of(configs[1]))
    assert "etcdctl member add n2 --peer-urls=https://10.0.0.2:2380" in capsys.readouterr().out
    assert root == (out / "clients" / "root.key").read_bytes()
    assert "https://10.0.0.1:7000,https://10.0.0.2:2379" in (out / "endpoints").read_text()


def test_members_that_are_there_are_not_made_again(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A name of an earlier run, a name given twice, and names with a meaning are refused."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h", "n2=i") == 0
    assert run("init", "--out", out, "n3=h", "n2=i") == 1
    assert not (out / "n3").exists()
    assert run("init", "--out", out, "n4=x", "n4=y") == 2
    assert run("init", "--out", out, "n4=h") == 2
    assert run("init", "--out", out, "ca=x") == 2
    assert run("init", "--out", out, "clients=x") == 2
    assert run("init", "--out", out, "../x=h") == 1
    assert "cannot be the name of a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spelled",
    ["a=h:0", "a=h:1:2:3", "a=h:x", "a=[::1", "a=[h]:1", "a=:1", "a=h:5:5", "a=h,i:1", "a,b=h"],
)
def test_slips_in_hosts_end_in_a_sentence(tmp_path: Path, spelled: str) -> None:
    """Ports that are none, half a bracket, ports of a second host: nothing is made."""
    assert run("init", "--out", tmp_path / "certs", spelled) == 2
    assert not (tmp_path / "certs").exists()


def test_force_never_moves_a_members_data(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Certificates are moved aside; data that a member may be writing is not."""
    out = tmp_path / "certs"
    assert run("init", "--out", out, "n1=h") == 0
    data = out / "n1" / "n1.etcd"
    data.mkdir()
    (data / "LOCK").write_bytes(b"")
    assert run("init", "--out", out, "--force", "n1=h") == 1
    assert f"{data} holds a member's data" in capsys.readouterr().err
    assert (data / "LOCK").exists()


def test_a_members_own_set_is_not_mixed_with_a_cluster(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In a directory of the one layout the other is not begun."""
    out = tmp_path / "pki"
    assert run("init", "--out", out) == 0
    assert run("init", "--out", out, "n1=h", "n2=i") == 1
    assert "holds a member's own certificates" in capsys.readouterr().err


def test_an_authority_beside_a_members_key_is_warned_of(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The layout of one member has the CA's key with the server's; that of a cluster has not."""
    assert run("init", "--out", tmp_path / "pki") == 0
    assert "lies beside the member's own key" in capsys.readouterr().err
    assert run("init", "--out", tmp_path / "certs", "n1=h") == 0
    assert not capsys.readouterr().err


def test_openssl_finds_the_whole_tree_in_order(tmp_path: Path) -> None:
    """Each leaf passes openssl's strict checks for its purpose, and the lists are the CAs'."""
    out = tmp_path / "certs"
    done = start("init", "--out", "certs", *THREE, cwd=tmp_path)
    assert (0, "") == (done.returncode, done.stderr)
    strict = ("verify", "-x509_strict", "-crl_check")
    for name in ("n1", "n2", "n3"):
        for leaf, purpose, side in (
            ("server", "sslserver", "client"),
            ("peer", "sslserver", "peer"),
            ("peer", "sslclient", "peer"),
        ):
            trust = ("-CAfile", f"{side}-ca.crt", "-CRLfile", f"{side}-crl.pem")
            told = openssl(*strict, *trust, "-purpose", purpose, f"{leaf}.crt", cwd=out / name)
            assert told.returncode == 0, told.stderr
    told = openssl(
        "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", "ca/client-ca.crt",
        "clients/root.crt", cwd=out,
    )  # fmt: skip
    assert told.returncode == 0
    fingerprint = openssl(
        "x509", "-in", "n1/server.crt", "-noout", "-fingerprint", "-sha256", cwd=out
    )
    assert fingerprint.stdout.strip().partition("=")[2] in done.stdout


def test_paths_with_spaces_and_quotes_survive(tmp_path: Path) -> None:
    """The configuration file can be read back whatever the directory is called."""
    out = tmp_path / 'it\'s a "dir": #1'
    assert run("init", "--out", out, "n1=10.0.0.1") == 0
    config = parse([f"--config-file={out / 'n1' / 'trioetcd.yaml'}"], {})

    assert out / "n1" / "server.crt" == Path(config.cert_file)
    assert [("n1", "10.0.0.1")] == [
        (member.name, member.hosts[0]) for member in member_file.known_members(out)
    ]


def test_what_a_refused_start_tells_to_type_works(tmp_path: Path) -> None:
    """A cluster without certificates is told a line that makes them, ports and all."""
    cluster = "a=https://localhost:12380,b=https://localhost:22380"
    with pytest.raises(ConfigError) as refused:
        parse(["--name=a", f"--initial-cluster={cluster}"], {})
    line = re.findall(r"`trioetcd certs (init [^`]*)`", str(refused.value))[0]
    assert start(*shlex.split(line), cwd=tmp_path).returncode == 0
    config = parse([f"--config-file={tmp_path / 'certs' / 'b' / 'trioetcd.yaml'}"], {})

    assert cluster == config.initial_cluster
