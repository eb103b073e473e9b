"""Tests of `trioetcd.cli.utl`: `trioetcdutl`, its exit codes, and what it says of audit logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from trioetcd.cli.utl import main
from trioetcd.schema.audit_chain import AuditChain, told_torn


@pytest.fixture
def logs(tmp_path: Path) -> list[Path]:
    """Write a log of three files, the second of which has seen a crash."""
    chain = AuditChain()
    time = '"time":"2026-01-01T00:00:00.000000Z"'
    opening = f'{time},"format":1,"log":"l"'
    files = [tmp_path / f"audit.log{suffix}" for suffix in (".2", ".1", "")]
    files[0].write_bytes(
        chain.seal(f'{opening},"event":"begin"')
        + chain.seal(f'{time},"note":1')
        + chain.seal(f'{time},"event":"end"')
    )
    torn = b'{"seq":5,'
    files[1].write_bytes(
        chain.seal(f'{opening},"event":"continue"')
        + chain.seal(f'{time},"note":2')
        + torn
        + b"\n"
        + chain.seal(f'{opening},"event":"open","torn":{told_torn(torn)}')
    )
    files[2].write_bytes(chain.seal(f'{opening},"event":"continue"') + chain.seal(f'{time},"n":3'))
    return files


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    """Verify, and give the exit code and what is told of the one chain."""
    code = main(["audit", "verify", "-w", "json", *arguments])
    (line,) = capsys.readouterr().out.splitlines()
    found: dict[str, Any] = json.loads(line)
    return code, found


def test_a_whole_chain_is_code_0(logs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Its files may be given in any order; crashes are told, and are no break."""
    names = [str(file) for file in logs]
    for order in (names, names[::-1], [*names, names[0]]):
        code, found = as_json(capsys, *order)
        assert (0, True, []) == (code, found["whole"], found["breaks"])
        assert names == found["files"]
        assert (8, 3, 1) == (found["lines"], found["records"], found["crashes"])
        assert [{"file": names[1], "line": 3, "bytes": 9}] == found["torn"]
        assert (0, 7) == (found["first"]["seq"], found["last"]["seq"])

    assert main(["audit", "verify", *names]) == 0
    told = capsys.readouterr().out
    assert "the chain holds" in told
    assert "9 bytes that a crash left half written" in told
    assert "it has no end: the member is running, or has crashed" in told
    assert main(["audit", "verify", names[2]]) == 0
    assert "goes on from line 5, which is in an older file" in capsys.readouterr().out


def test_a_break_is_code_1_and_its_place(
    logs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """File, line, what was expected and what is there, as a sentence and as JSON."""
    names = [str(file) for file in logs]
    lines = logs[0].read_bytes().splitlines(keepends=True)
    logs[0].write_bytes(lines[0] + lines[2])

    assert main(["audit", "verify", *names]) == 1
    told = capsys.readouterr().out
    assert f'{names[0]} line 2: expected "seq":1, found "seq":2' in told
    assert "the chain does not hold" in told
    code, found = as_json(capsys, *names)
    (place,) = found["breaks"]
    assert (1, False, 2, names[0]) == (code, found["whole"], place["line"], place["file"])


def test_a_missing_file_is_a_break(logs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """A part of the chain that is not given is missed."""
    code, found = as_json(capsys, str(logs[0]), str(logs[2]))
    assert (1, '"seq":3') == (code, found["breaks"][0]["expected"])


def test_many_breaks_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten are shown."""
    chain = AuditChain()
    lines = [chain.seal('"event":"begin","format":1'), *(chain.seal('"n":1') for _ in range(40))]
    (tmp_path / "log").write_bytes(lines[0] + b"".join(lines[2::2]))
    assert main(["audit", "verify", str(tmp_path / "log")]) == 1
    told = capsys.readouterr().out
    assert (10, "... and 10 more places" in told) == (told.count("expected"), True)


def test_what_was_cut_off_is_found_by_an_anchor(
    logs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without one nobody can know of lines that were last."""
    names = [str(file) for file in logs]
    last = as_json(capsys, *names)[1]["last"]
    anchor = f"--contains={last['seq']}:{last['hash']}"
    assert as_json(capsys, anchor, *names)[0] == 0
    logs[2].write_bytes(logs[2].read_bytes().splitlines(keepends=True)[0])
    assert as_json(capsys, *names)[0] == 0
    code, found = as_json(capsys, anchor, *names)
    assert (1, False, [7]) == (code, found["whole"], found["missing"])
    assert main(["audit", "verify", anchor, *names]) == 1
    assert "line 7 of the chain is not there" in capsys.readouterr().out


def test_two_logs_are_two_chains(
    logs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is told of by itself; one that is broken makes the exit code 1."""
    other = tmp_path / "other.log"
    other.write_bytes(AuditChain().seal('"event":"begin","format":1,"log":"m"'))
    broken = tmp_path / "broken"
    broken.write_text("nothing\n")
    arguments = ["audit", "verify", *map(str, logs), str(other)]
    assert main(arguments) == 0
    assert 2 == capsys.readouterr().out.count("the chain holds")
    assert main([*arguments, str(broken)]) == 1
    assert f"{broken} line 1: expected a line that ends with its hash" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["audit", "verify"], "Missing argument 'FILE...'"),
        (["audit", "verify", "/nowhere"], "does not exist"),
        (["audit", "verify", "--contains=7", __file__], "does not have the form SEQ:HASH"),
        (["frob"], "No such command 'frob'"),
        (["snapshot", "restore", "x"], "`trioetcdutl snapshot` does not exist yet; etcd's own"),
        (["defrag"], "does not exist yet; a running member is asked with `etcdctl defrag`"),
        (["hashkv"], "does not exist yet"),
        (["migrate"], "does not exist yet"),
        (["verify"], "does not exist yet"),
        (["completion"], "does not exist yet"),
    ],
)
def test_slips_are_code_2_and_a_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also what etcdutl has and this does not."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert not out
    assert sentence in err


def test_a_file_that_cannot_be_read_is_code_2(
    logs: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """That is not a break, and not a chain that holds."""

    def refused(self: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    assert main(["audit", "verify", str(logs[0])]) == 2
    assert f"{logs[0]}: Permission denied" in capsys.readouterr().err


def test_help_teaches_and_version_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """Both go to standard output with code 0, as does no word at all."""
    for arguments in (["--help"], ["audit", "verify", "--help"], ["version"]):
        assert main(arguments) == 0
    told = capsys.readouterr().out
    assert "trioetcdutl audit verify audit.log" in told
    assert "Exit code 0: the chains hold; 1:" in " ".join(told.split())
    assert "etcd Version: 3.7.1" in told


def test_it_is_a_program_of_its_own() -> None:
    """`trioetcdutl` is what the package installs."""
    import tomllib

    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["trioetcdutl"].partition(":")
    script = f"import sys; from {module} import {name}; sys.exit({name}(['audit']))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "verify" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
