"""The audit log of a real member, driven by the real etcdctl, killed, rotated and verified."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from tests.interop.test_etcdctl import run
from trioetcd.client import EtcdError, OutcomeUnknownError, Put, open_client
from trioetcd.testing.cluster import ServerProcess, running_member, start_process

pytestmark = [pytest.mark.interop]

SECRET: Final = "s3cr3t-v4lue"
SECONDS: Final = 20.0


def verify(*files: Path) -> dict[str, Any]:
    """Run `trioetcdutl audit verify` and give what it says of the one chain."""
    script = "import sys; from trioetcd.cli.utl import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "audit", "verify", "-w", "json", *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (done.returncode == 0) == found["whole"]
    return found


def records(*files: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [line for line in lines if "rpc" in line]


def wait_until(what: Callable[[], bool]) -> None:
    """Wait for something another process does; there is nothing to wait on but the file."""
    deadline = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < deadline, "it did not happen"


def fingerprint(cert: Path) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    certificate = x509.load_pem_x509_certificate(cert.read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex()


CHANGES: Final = [
    ("put", "a", SECRET),
    ("put", "--prev-kv", "a", SECRET),
    ("del", "a"),
    ("del", "--prefix", ""),
    ("lease", "grant", "60"),
    ("lease", "revoke", "abc"),
    ("compact", "2"),
    ("compact", "99"),
    ("alarm", "disarm"),
    ("member", "remove", "7"),
    ("defrag",),
]
READS: Final = [("get", "a"), ("member", "list"), ("endpoint", "status"), ("alarm", "list")]


def test_what_etcdctl_changes_is_told(etcdctl: Path, tmp_path: Path) -> None:
    """Each command by who sent it, in order, refused ones too; no value is in the file."""
    log = tmp_path / "audit.log"
    with running_member(tmp_path, flags=[f"--audit-log={log}"]) as server:
        for command in CHANGES:
            run(etcdctl, server, command)
        for reading in READS:
            assert run(etcdctl, server, reading).code == 0
        snapshot = tmp_path / "backup.db"
        assert run(etcdctl, server, ["snapshot", "save", str(snapshot)]).code == 0
        txn = f'value("k") = "{SECRET}"\n\nput k {SECRET}\ndel b\n\nput other {SECRET}\n\n'
        assert run(etcdctl, server, ["txn"], txn).code == 0
        mark = fingerprint(server.cert)
        server.terminate()

    told = records(log)
    heads = [(record["rpc"].rpartition("/")[2], record["outcome"]) for record in told]
    assert [
        ("Put", "OK"),
        ("Put", "OK"),
        ("DeleteRange", "OK"),
        ("DeleteRange", "OK"),
        ("LeaseGrant", "OK"),
        ("LeaseRevoke", "NOT_FOUND"),
        ("Compact", "OK"),
        ("Compact", "OUT_OF_RANGE"),
    ] == heads[:8]
    assert ("MemberRemove", "NOT_FOUND") in heads
    assert [("Defragment", "OK"), ("Snapshot", "BEGUN"), ("Snapshot", "OK"), ("Txn", "OK")] == (
        heads[-4:]
    )
    assert {mark} == {record["certificate"]["sha256"] for record in told}
    assert {"root"} == {record["certificate"]["subject"] for record in told}
    assert all(record["remote"].startswith("127.0.0.1:") for record in told)
    assert SECRET not in log.read_text()
    found = verify(log)
    assert (True, 0, "end") == (found["whole"], found["crashes"], found["last"]["event"])
    assert 0o600 == log.stat().st_mode & 0o777


def put_until_killed(server: ServerProcess, etcdctl: Path) -> int:
    """Put one key after another from a process of its own, kill the member; gives those done."""
    script = f"i=0; while {etcdctl} put k$i {SECRET} >/dev/null 2>&1; do i=$((i+1)); echo $i; done"
    with subprocess.Popen(
        ["sh", "-c", script], env=server.environment(), stdout=subprocess.PIPE, text=True
    ) as puts:
        assert puts.stdout is not None
        done = 0
        for line in puts.stdout:
            done = int(line)
            if done == 10:
                server.process.kill()
    return done


@pytest.mark.parametrize("etcdctl", ["3.5"], indirect=True)
def test_a_killed_member_goes_on_with_its_chain(etcdctl: Path, tmp_path: Path) -> None:
    """Every put that was answered is in the log; the chain holds over the crash."""
    log = tmp_path / "audit.log"
    with running_member(tmp_path, flags=[f"--audit-log={log}"]) as server:
        done = put_until_killed(server, etcdctl)
        server.process.wait()
    keys = {record["request"]["key"] for record in records(log)}
    assert {f"k{number}" for number in range(done)} <= keys
    with log.open("ab") as file:  # as if the last write had been cut
        file.write(b'{"seq":')
    with running_member(tmp_path, flags=[f"--audit-log={log}"]) as server:
        assert run(etcdctl, server, ["put", "after", "all"]).code == 0
        server.terminate()

    found = verify(log)
    assert (True, 1, 1) == (found["whole"], found["crashes"], len(found["torn"]))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    found = verify(log)
    assert (False, True) == (found["whole"], bool(found["breaks"]))


@pytest.mark.parametrize("etcdctl", ["3.5"], indirect=True)
def test_rotation_by_rename_and_hangup(etcdctl: Path, tmp_path: Path) -> None:
    """As logrotate does it: the chain goes on in a new file, and no record is lost."""
    log, old = tmp_path / "audit.log", tmp_path / "audit.log.1"
    with running_member(tmp_path, flags=[f"--audit-log={log}"]) as server:
        assert run(etcdctl, server, ["put", "one", SECRET]).code == 0
        log.rename(old)
        server.process.send_signal(signal.SIGHUP)
        wait_until(log.exists)
        wait_until(lambda: b'"continue"' in log.read_bytes())
        assert run(etcdctl, server, ["put", "two", SECRET]).code == 0
        server.terminate()

    assert [["one"], ["two"]] == [
        [record["request"]["key"] for record in records(file)] for file in (old, log)
    ]
    assert (True, 2) == (verify(log, old)["whole"], verify(old, log)["records"])


async def test_a_full_disk_ends_the_member_before_it_answers(tmp_path: Path) -> None:
    """Exit code 74 and a sentence; what could not be noted was not answered."""
    log = tmp_path / "audit.log"
    with running_member(tmp_path, flags=[f"--audit-log={log}"]) as server:
        async with open_client(
            server.endpoint, cacert=server.cacert, cert=server.cert, key=server.key
        ) as client:
            # What is refused is in the audit log only, which so becomes the largest of the files.
            for number in range(100):
                with pytest.raises(EtcdError):
                    await client.txn(then=[Put(f"{number:0500}", ignore_value=True)])
            room = (log.stat().st_size + 100,) * 2
            resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, room)
            with pytest.raises(OutcomeUnknownError):
                await client.lease_revoke(0xABC)
        assert 74 == server.exit_code(seconds=SECONDS)
        assert any("the audit log" in line and "nothing may change" in line for line in server.log)


@pytest.mark.parametrize("trouble", ["directory", "nowhere", "other"])
def test_a_file_that_cannot_be_used_ends_the_start_in_a_sentence(
    tmp_path: Path, trouble: str
) -> None:
    """Exit code 81, and the sentence says what to do."""
    log = tmp_path / "audit.log"
    if trouble == "directory":
        log.mkdir()
    elif trouble == "nowhere":
        log = tmp_path / "not" / "there" / "audit.log"
    else:
        log.write_text("something else\n")
    command = [
        *(sys.executable, "-m", "trioetcd", f"--data-dir={tmp_path / 'data'}"),
        *("--listen-client-urls=https://127.0.0.1:0", "--listen-peer-urls=https://127.0.0.1:0"),
        *("--advertise-client-urls=https://127.0.0.1:1", f"--audit-log={log}"),
    ]
    process = start_process(command, tmp_path, {})
    _, err = process.communicate(timeout=SECONDS)
    last = (err or "").splitlines()[-1:] or [""]

    assert 81 == process.returncode
    assert not last[0] or last[0].startswith("trioetcd: --audit-log: ")
