"""Tests of `trioetcd.storage.audit_file`: one writer, nobody else's file, every byte or the end."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from trioetcd.ports import BackendError
from trioetcd.schema.audit_chain import AuditChain
from trioetcd.storage import AuditFile, AuditFileError

BEGIN = '"event":"begin","format":1,"log":"l","part":1'


def write(path: Path, *records: str) -> AuditChain:
    """Write a log with these records, and close it."""
    chain = AuditChain()
    file = AuditFile.open(path)
    file.append(chain.seal(BEGIN) + b"".join(map(chain.seal, records)))
    file.close()
    return chain


def test_a_new_file_is_the_owners_alone(tmp_path: Path) -> None:
    """Its mode is 0600 whatever the umask says, and others' rights on one that is there go."""
    before = os.umask(0)
    try:
        AuditFile.open(tmp_path / "new").close()
    finally:
        os.umask(before)
    (tmp_path / "old").touch(mode=0o644)
    found = AuditFile.open(tmp_path / "old")
    found.close()

    assert [0o600, 0o600] == [(tmp_path / name).stat().st_mode & 0o777 for name in ("new", "old")]
    assert found.tightened


def test_a_file_has_one_writer(tmp_path: Path) -> None:
    """A second member is told so; when the first has ended, the file is free."""
    first = AuditFile.open(tmp_path / "log")
    with pytest.raises(AuditFileError, match=r"another member writes to .*log"):
        AuditFile.open(tmp_path / "log")
    first.close()
    AuditFile.open(tmp_path / "log").close()


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A link may lead anywhere, a pipe cannot be read again, a directory is none."""
    (tmp_path / "link").symlink_to(tmp_path / "there")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AuditFileError, match="symbolic link"):
        AuditFile.open(tmp_path / "link")
    with pytest.raises(AuditFileError, match="no file that can be read again"):
        AuditFile.open(tmp_path / "pipe")
    with pytest.raises(IsADirectoryError):
        AuditFile.open(tmp_path)
    assert not (tmp_path / "there").exists()


def test_only_an_audit_log_is_gone_on_with(tmp_path: Path) -> None:
    """Neither another file nor a log whose end was changed, and the sentence says what to do."""
    (tmp_path / "other").write_text("root:x:0:0\n")
    write(tmp_path / "changed", '"note":1')
    data = (tmp_path / "changed").read_bytes()
    (tmp_path / "changed").write_bytes(data.replace(b'"note":1', b'"note":2'))
    for name, reason in (("other", "it is no audit log"), ("changed", "was changed")):
        file = AuditFile.open(tmp_path / name)
        with pytest.raises(AuditFileError, match=rf"{reason}.*trioetcdutl audit verify.*move it"):
            file.end()
        file.close()


@pytest.mark.parametrize("size", [10, 64 * 1024 - 300, 64 * 1024, 1 << 21])
def test_the_last_line_is_found_however_long_it_is(tmp_path: Path, size: int) -> None:
    """The end is read in growing pieces, up to the whole file."""
    chain = write(tmp_path / "log", '"note":1', f'"note":"{"x" * size}"')
    with (tmp_path / "log").open("ab") as log:
        log.write(b'{"seq":3,')
    file = AuditFile.open(tmp_path / "log")
    end = file.end()
    opening = file.opening()
    file.close()

    assert end.last is not None
    assert (2, chain.hash, b'{"seq":3,') == (end.last.sequence, end.last.hash, end.torn)
    assert opening is not None
    assert "l" == opening.fields["log"]


def test_a_log_without_its_first_line_has_no_opening(tmp_path: Path) -> None:
    """Its first whole line is a record."""
    write(tmp_path / "log", '"note":1', '"note":2')
    data = (tmp_path / "log").read_bytes()
    (tmp_path / "log").write_bytes(data[data.index(b"\n") + 1 :])
    (tmp_path / "empty").touch()
    for name in ("log", "empty"):
        file = AuditFile.open(tmp_path / name)
        assert file.opening() is None
        file.close()


def test_a_record_is_written_whole_or_the_member_ends(tmp_path: Path) -> None:
    """A full disk is an error that names the file, also when a part has found room."""
    file = AuditFile.open(tmp_path / "log")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(BackendError, match=r"the audit log .*log cannot be written: File too"):
            file.append(b"x" * 150)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    file.close()

    assert 100 == (tmp_path / "log").stat().st_size


def test_moved_cut_and_foreign_bytes_are_seen(tmp_path: Path) -> None:
    """What others do to the file behind the member's back."""
    path = tmp_path / "log"
    file = AuditFile.open(path)
    file.append(b"0123456789")
    file.sync()
    assert (False, 0) == (file.is_moved(), file.lost_bytes())
    os.truncate(path, 4)
    assert 6 == file.lost_bytes()
    file.accept_size()
    with path.open("ab") as other:
        other.write(b"ab")
    assert -2 == file.lost_bytes()
    path.rename(tmp_path / "elsewhere")
    assert file.is_moved()
    path.touch()
    assert file.is_moved()
    file.close()
