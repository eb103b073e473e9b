"""Whose the data directory is, who may open it, and what lies in it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trioetcd.storage.data_dir import DataDir, DataDirError, ExitCode


def refusal(path: Path) -> DataDirError:
    """Give the reason why a directory is refused."""
    with pytest.raises(DataDirError) as caught:
        DataDir.open(path)
    assert str(path) in caught.value.sentence
    assert "\n" not in caught.value.sentence
    return caught.value


def test_new_directory_is_private_and_says_what_it_is(tmp_path: Path) -> None:
    """A directory that is not there is made, with parents, for us alone, with its format."""
    data_dir = DataDir.open(tmp_path / "a" / "b")
    assert data_dir.fresh
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b" / "FORMAT").read_bytes() == b"trioetcd data directory, format 1\n"
    assert {file.stat().st_mode & 0o777 for file in data_dir.path.iterdir()} == {0o600}
    data_dir.close()
    data_dir.close()


def test_reopening(tmp_path: Path) -> None:
    """A directory of ours opens again and is not fresh then."""
    DataDir.open(tmp_path / "data").close()
    data_dir = DataDir.open(tmp_path / "data")
    assert not data_dir.fresh
    assert data_dir.warnings == []
    data_dir.close()


def test_interrupted_first_start(tmp_path: Path) -> None:
    """What an interrupted first start or a volume leaves does not make a directory foreign."""
    (tmp_path / "LOCK").touch()
    (tmp_path / "FORMAT.new").write_bytes(b"half")
    (tmp_path / "lost+found").mkdir()
    data_dir = DataDir.open(tmp_path)
    assert data_dir.fresh
    data_dir.close()


def test_second_process_is_refused(tmp_path: Path) -> None:
    """One directory serves one process; another gets a sentence and its own exit code."""
    data_dir = DataDir.open(tmp_path)
    script = (
        "import sys; from pathlib import Path; from trioetcd.storage import DataDir, DataDirError\n"
        "try: DataDir.open(Path(sys.argv[1]))\n"
        "except DataDirError as error: print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    sentence = f"the data directory {tmp_path} is in use by another process\n"
    assert (done.returncode, done.stdout) == (ExitCode.LOCKED, sentence)
    data_dir.close()
    DataDir.open(tmp_path).close()


def test_lock_is_not_inherited(tmp_path: Path) -> None:
    """A process started by the member does not keep the directory locked after it."""
    data_dir = DataDir.open(tmp_path)
    assert not os.get_inheritable(data_dir._lock)
    assert not os.get_inheritable(data_dir._directory)
    data_dir.close()


def test_foreign_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    """A directory with anything else in it is refused, and nothing is made in it."""
    (tmp_path / "thesis.txt").write_text("dear")
    assert refusal(tmp_path).exit_code == ExitCode.FOREIGN
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_directory_of_etcd_itself(tmp_path: Path) -> None:
    """A data directory of etcd gets a sentence that says so."""
    (tmp_path / "member" / "snap").mkdir(parents=True)
    (tmp_path / "member" / "snap" / "db").touch()
    error = refusal(tmp_path)
    assert error.exit_code == ExitCode.FOREIGN
    assert "data directory of etcd itself" in error.sentence


@pytest.mark.parametrize(
    "content", [b"", b"something else 1\n", b"trioetcd data directory, format x"]
)
def test_unknown_format_file(tmp_path: Path, content: bytes) -> None:
    """A format file that is not ours makes a directory foreign."""
    (tmp_path / "FORMAT").write_bytes(content)
    assert refusal(tmp_path).exit_code == ExitCode.FOREIGN


def test_newer_format(tmp_path: Path) -> None:
    """What a newer version wrote is not touched."""
    (tmp_path / "FORMAT").write_bytes(b"trioetcd data directory, format 2\n")
    error = refusal(tmp_path)
    assert error.exit_code == ExitCode.FORMAT_UNKNOWN
    assert "format 2" in error.sentence


def test_open_permissions_are_tightened_with_a_warning(tmp_path: Path) -> None:
    """A directory of ours that others may enter is closed to them, and the log will say so."""
    tmp_path.chmod(0o755)
    data_dir = DataDir.open(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    assert [("0755" in warning, "0700" in warning) for warning in data_dir.warnings] == [
        (True, True)
    ]
    data_dir.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_directory_of_another_user(tmp_path: Path) -> None:
    """A directory that belongs to somebody else is refused, by root too."""
    os.chown(tmp_path, 12345, 12345)
    error = refusal(tmp_path)
    assert error.exit_code == ExitCode.NOT_PRIVATE
    assert "user 12345" in error.sentence


def test_path_that_cannot_be_a_directory(tmp_path: Path) -> None:
    """A file in the way is reported as such."""
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file").exit_code == ExitCode.CANNOT_CREATE
    assert refusal(tmp_path / "file" / "below").exit_code == ExitCode.CANNOT_CREATE


def test_link_to_a_directory_is_followed_once(tmp_path: Path) -> None:
    """The path may be a link (systemd makes some); what it leads to is used from then on."""
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "real").mkdir()
    data_dir = DataDir.open(tmp_path / "link")
    assert data_dir.path == tmp_path / "real"
    data_dir.close()


@pytest.mark.parametrize("name", ["LOCK", "FORMAT", "FORMAT.new"])
def test_links_inside_are_not_followed(tmp_path: Path, name: str) -> None:
    """A link planted in the directory never makes us write somewhere else."""
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / name).symlink_to(victim)
    assert refusal(data).exit_code == ExitCode.IO_FAILED
    assert victim.read_bytes() == b"precious"


def test_exchanged_directory_is_noticed(tmp_path: Path) -> None:
    """If the path leads elsewhere after opening, LevelDB is not sent there."""
    data_dir = DataDir.open(tmp_path / "data")
    assert data_dir.database() == tmp_path / "data" / "db"
    (tmp_path / "data").rename(tmp_path / "moved")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataDirError, match="exchanged") as caught:
        data_dir.database()
    assert caught.value.exit_code == ExitCode.FOREIGN
    data_dir.close()


def test_files_are_replaced_whole(tmp_path: Path) -> None:
    """Replacing gives the new content and mode and leaves nothing beside it."""
    data_dir = DataDir.open(tmp_path)
    assert data_dir.read_file("thing") is None
    data_dir.replace_file("thing", b"old")
    data_dir.replace_file("thing", bytes(300_000), mode=0o640)
    assert data_dir.read_file("thing") == bytes(300_000)
    assert (tmp_path / "thing").stat().st_mode & 0o777 == 0o640
    assert sorted(file.name for file in tmp_path.iterdir()) == ["FORMAT", "LOCK", "thing"]
    data_dir.close()


def test_failed_replacement_keeps_the_old_content(tmp_path: Path) -> None:
    """If the new content cannot be written, the old one stands."""
    data_dir = DataDir.open(tmp_path)
    data_dir.replace_file("thing", b"old")
    (tmp_path / "thing.new").mkdir()
    with pytest.raises(IsADirectoryError):
        data_dir.replace_file("thing", b"new")
    assert data_dir.read_file("thing") == b"old"
    data_dir.close()


def test_exit_codes_are_distinct() -> None:
    """Every reason has its own exit code, each one of sysexits.h's range."""
    assert len(set(ExitCode)) == 8
    assert all(64 <= code <= 78 for code in ExitCode)


def test_lock_is_an_flock(tmp_path: Path) -> None:
    """Anybody can ask with flock(1) whether a member uses a directory."""
    data_dir = DataDir.open(tmp_path)
    with (tmp_path / "LOCK").open("rb") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    data_dir.close()
