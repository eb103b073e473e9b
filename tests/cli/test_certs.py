"""Tests of `trioetcd.cli.certs`: the commands, what they write, and what they refuse."""

from __future__ import annotations

import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from trioetcd.cli.certs import certs
from trioetcd.node import pki_files
from trioetcd.node.config import parse
from trioetcd.node.credential_files import credential_files
from trioetcd.transport.credentials import load


def test_init_for_one_member_is_what_its_first_start_would_make(tmp_path: Path) -> None:
    """A member finds its own layout and leaves every file as it is."""
    data_dir = tmp_path / "m1.etcd"
    out = data_dir / "pki"

    assert certs(["init", "--out", str(out), "m1=localhost"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    config = parse(["--name=m1", f"--data-dir={data_dir}"], {})
    files, said = credential_files(config, now=datetime.now(UTC))

    assert () == said
    assert () == load(files, now=datetime.now(UTC)).warnings
    assert before == {path: path.read_bytes() for path in before}


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A second init is refused; --force moves the first one aside instead of losing it."""
    out = tmp_path / "pki"
    assert certs(["init", "--out", str(out)]) == 0
    old = (out / "client-ca.key").read_bytes()
    assert certs(["init", "--out", str(out)]) == 1
    assert "nothing was changed" in capsys.readouterr().err
    assert old == (out / "client-ca.key").read_bytes()

    assert certs(["init", "--out", str(out), "--force"]) == 0
    aside = [path for path in tmp_path.iterdir() if path != out]
    assert len(aside) == 1
    assert old == (aside[0] / "client-ca.key").read_bytes()
    assert old != (out / "client-ca.key").read_bytes()


def test_a_profile_sets_lifetimes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Days come from the file; a file that is none is refused."""
    profile = tmp_path / "profile.toml"
    profile.write_text("server_days = 30\n")
    out = tmp_path / "pki"
    assert certs(["init", "--out", str(out), "--profile", str(profile)]) == 0
    capsys.readouterr()
    assert certs(["show", str(out / "server.crt")]) == 0
    assert "29 days left" in capsys.readouterr().out
    profile.write_text("server_days = ")
    assert certs(["init", "--out", str(tmp_path / "x"), "--profile", str(profile)]) == 1
    assert "is no TOML" in capsys.readouterr().err


def test_env_can_be_evaluated_by_a_shell(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Directories with spaces and quotes survive, and every path leads to a file."""
    directory = tmp_path / "it's a; $(touch x) dir"
    assert certs(["init", "--out", str(directory / "pki")]) == 0
    pki_files.write_endpoints(directory / "pki", ["https://a:1", "https://b:2"])
    capsys.readouterr()
    assert certs(["env", "--data-dir", str(directory)]) == 0
    lines = capsys.readouterr().out
    names = ["ETCDCTL_ENDPOINTS", "ETCDCTL_CACERT", "ETCDCTL_CERT", "ETCDCTL_KEY"]
    script = f"{lines}\n" + "\n".join(f'printf "%s\\n" "${name}"' for name in names)
    done = subprocess.run(
        ["/bin/sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    values = done.stdout.splitlines()

    assert [f"export {name}" for name in names] == [
        line.partition("=")[0] for line in lines.splitlines()
    ]
    assert values[0] == "https://a:1,https://b:2"
    assert all(Path(value).is_absolute() and Path(value).exists() for value in values[1:])
    assert not (tmp_path / "x").exists()


def test_env_refuses_what_it_cannot_name(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """No certificates at all, and no certificate of that user, each have their sentence."""
    assert certs(["env", "--data-dir", str(tmp_path)]) == 1
    assert "holds no certificates of clients" in capsys.readouterr().err
    assert certs(["init", "--out", str(tmp_path / "pki")]) == 0
    capsys.readouterr()
    assert certs(["env", "--data-dir", str(tmp_path), "--user", "al ice"]) == 1
    captured = capsys.readouterr()
    hint = f"trioetcd certs issue client 'al ice' --data-dir {shlex.quote(str(tmp_path))}"
    assert hint in captured.err
    assert not captured.out
