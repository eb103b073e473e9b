"""``make scan``: what sslyze and testssl.sh find at the ports of a real member.

    python -m tests.scan.scan [--only sslyze|testssl]

sslyze looks at the port for clients (Mozilla's *intermediate* configuration) and at the one for
peers (*modern*), and has a certificate for each, since both require one; testssl.sh looks at a
port for clients that does not. What they find must stand in accepted.toml with its reason.

sslyze gets a virtual environment of its own under build/, testssl.sh comes from the distribution.
Exit code 0 is "nothing else found", 1 is "something", 77 "this machine lacks something". The
reports stay in build/scan.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.proof.outcome import EXIT_MISSING, EXIT_VIOLATION
from trioetcd.testing.cluster import ServerProcess, free_port, running_member

__all__ = [
    "Accepted",
    "Finding",
    "findings_of_sslyze",
    "findings_of_testssl",
    "judge",
    "read_accepted",
]

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parents[1] / "build" / "scan"
SSLYZE: Final = "sslyze==6.3.1"
SCAN_SECONDS: Final = 1800
HARMLESS: Final = frozenset({"OK", "INFO", "DEBUG"})
"""testssl.sh's levels below LOW."""


class Finding(NamedTuple):
    """One thing that a scanner does not like.

    Attributes:
        tool: ``sslyze`` or ``testssl``.
        id: the scanner's name for it.
        finding: its sentence.
        where: the port.
    """

    tool: str
    id: str
    finding: str
    where: str


class Accepted(NamedTuple):
    """A finding that stays.

    Attributes:
        tool: see `Finding`.
        id: likewise.
        finding: a regular expression for the whole sentence.
        reason: why it stays.
    """

    tool: str
    id: str
    finding: str
    reason: str


def read_accepted(path: Path = HERE / "accepted.toml") -> list[Accepted]:
    """Read the list."""
    with path.open("rb") as file:
        return [Accepted(**entry) for entry in tomllib.load(file)["accepted"]]


def judge(found: Iterable[Finding], accepted: Iterable[Accepted]) -> list[tuple[Finding, str]]:
    """Give each finding with the reason why it stays; none has an empty one."""
    known = list(accepted)
    return [
        (
            each,
            next(
                (
                    entry.reason.strip().replace("\n", " ")
                    for entry in known
                    if (entry.tool, entry.id) == (each.tool, each.id)
                    and re.fullmatch(entry.finding, each.finding)
                ),
                "",
            ),
        )
        for each in found
    ]


def findings_of_sslyze(report: Mapping[str, Any], where: str) -> Iterator[Finding]:
    """Read what `sslyze_scan.py` printed of a port."""
    if not report["complete"]:
        reason = report.get("reason", "the scan did not come to its end")
        yield Finding("sslyze", "incomplete", reason, where)
        return
    for criterion, sentence in report["issues"].items():
        yield Finding("sslyze", criterion, sentence, where)
    if report["early_data"]:
        yield Finding("sslyze", "early_data", "data before the handshake's end is taken", where)
    if not report["trusted"]:
        yield Finding("sslyze", "chain", "the chain does not lead to the CA", where)
    for how, count in report["resumed"].items():
        if count != 0:
            yield Finding("sslyze", "resumption", f"{count} sessions were resumed {how}", where)


def findings_of_testssl(report: Iterable[Mapping[str, str]], where: str) -> Iterator[Finding]:
    """Read testssl.sh's report."""
    ids = set()
    for entry in report:
        ids.add(entry["id"])
        if entry["severity"] not in HARMLESS:
            yield Finding("testssl", entry["id"], entry["finding"], where)
    if "scanTime" not in ids or "cipherlist_aNULL" not in ids:
        yield Finding("testssl", "incomplete", "the scan did not come to its end", where)


# -- the tools ------------------------------------------------------------------------------------


def install_sslyze() -> Path:
    """Give the directory of sslyze's programs, made if it is not there."""
    home = BUILD / "sslyze"
    stamp = home / "installed.txt"
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != SSLYZE:
        venv.create(home, clear=True, with_pip=True)
        command = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", SSLYZE]
        if subprocess.run(command, check=False).returncode:
            raise _lacking(f"{SSLYZE} cannot be installed: is there a way to PyPI?")
        stamp.write_text(SSLYZE, encoding="utf-8")
    return home / "bin"


def install_testssl() -> str:
    """Give the program of testssl.sh, installed if that can be done."""
    for _ in range(2):
        for name in ("testssl", "testssl.sh"):
            if program := shutil.which(name):
                return program
        if os.geteuid() or not shutil.which("apt-get"):
            break
        subprocess.run(["apt-get", "install", "-y", "-qq", "testssl.sh"], check=False)
    raise _lacking("testssl.sh is missing: apt-get install testssl.sh")


def _lacking(what: str) -> SystemExit:
    print(what, file=sys.stderr)
    return SystemExit(EXIT_MISSING)


def _sslyze(
    programs: Path, configuration: str, port: int, *, ca: Path, certificate: Path
) -> list[Finding]:
    report = BUILD / f"sslyze-{configuration}.json"
    report.unlink(missing_ok=True)
    command = [
        *(str(programs / "python"), "-W", "ignore", str(HERE / "sslyze_scan.py"), configuration),
        *(str(port), str(ca), str(certificate), str(certificate.with_suffix(".key"))),
    ]
    with report.open("wb") as output:
        subprocess.run(command, check=True, stdout=output, timeout=SCAN_SECONDS)
    found = json.loads(report.read_text(encoding="utf-8"))
    return list(findings_of_sslyze(found, f"localhost:{port}, {configuration}"))


def scan_with_sslyze(directory: Path) -> list[Finding]:
    """Scan both ports of a member that requires certificates."""
    programs = install_sslyze()
    peer = free_port()
    url = f"https://127.0.0.1:{peer}"
    flags = [
        f"--listen-peer-urls={url}",
        f"--initial-advertise-peer-urls={url}",
        f"--initial-cluster=default={url}",
    ]
    with running_member(directory, flags=flags) as member:
        pki = member.cacert.parent
        return [
            *_sslyze(
                programs, "intermediate", _port(member), ca=member.cacert, certificate=member.cert
            ),
            *_sslyze(
                programs, "modern", peer, ca=pki / "peer-ca.crt", certificate=pki / "peer.crt"
            ),
        ]


def scan_with_testssl(directory: Path) -> list[Finding]:
    """Scan the port for clients of a member that requires no certificate there."""
    program = install_testssl()
    report = BUILD / "testssl.json"
    report.unlink(missing_ok=True)
    with running_member(directory, flags=["--auto-tls"]) as member:
        target = f"localhost:{_port(member)}"
        command = [
            program,
            *("--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1"),
            *("--add-ca", str(member.cacert), "--openssl-timeout", "10"),
            *("--jsonfile", str(report), target),
        ]
        # Its exit code counts findings.
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, timeout=SCAN_SECONDS)
    if not report.exists():
        return [Finding("testssl", "incomplete", "it wrote no report", target)]
    return list(findings_of_testssl(json.loads(report.read_text(encoding="utf-8")), target))


def _port(member: ServerProcess) -> int:
    return int(member.endpoint.rpartition(":")[2])


SCANS: Final = {"sslyze": scan_with_sslyze, "testssl": scan_with_testssl}


def main() -> int:
    """Scan, say what was found, and give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.scan.scan", description=__doc__)
    parser.add_argument("--only", choices=SCANS, action="append")
    chosen = parser.parse_args().only or list(SCANS)
    BUILD.mkdir(parents=True, exist_ok=True)
    bad = 0
    for name in chosen:
        print(f"{name} scans a member; some minutes", flush=True)
        with tempfile.TemporaryDirectory() as directory:
            found = SCANS[name](Path(directory))
        for finding, reason in judge(found, read_accepted()):
            bad += not reason
            print(
                f"{'stays' if reason else 'FOUND'}  {finding.tool} {finding.id}: "
                f"{finding.finding} ({finding.where})"
            )
            if reason:
                print(f"       {reason}")
    print(f"{bad} findings that are not accepted" if bad else "nothing that is not accepted")
    return EXIT_VIOLATION if bad else 0


if __name__ == "__main__":
    sys.exit(main())
