"""Opening a member's database after every kind of accident."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from trioetcd.ports import FIRST_ROW
from trioetcd.replica.rows import chain_key
from trioetcd.storage.data_dir import DataDir, DataDirError, ExitCode
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.storage.log_file import judge_log
from trioetcd.storage.recovery import open_member_store, remember_identity
from trioetcd.testing.bitflip import KINDS, flip_bits, make_sample, tear_logs
from trioetcd.testing.sample_store import CLUSTER, MEMBER, SampleStore, read_everything
from trioetcd.values import ClusterID, MemberID


def newest_log(path: Path) -> Path:
    """Give the log file with the highest number."""
    return max((path / "db").glob("*.log"))


def contents(path: Path) -> dict[str, bytes]:
    """Give every file but LevelDB's own account."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and not file.name.startswith("LOG")
    }


def refusal(path: Path) -> DataDirError:
    """Give the reason why a directory is refused."""
    with pytest.raises(DataDirError) as caught:
        SampleStore(path).close()
    assert "\n" not in caught.value.sentence
    return caught.value


def test_new_store_is_empty_and_lasts(tmp_path: Path) -> None:
    """A new member's database has no row; what is written into it is there at the next start."""
    data_dir = DataDir.open(tmp_path)
    backend = open_member_store(data_dir)
    assert backend.get(FIRST_ROW) is None
    backend.close()
    data_dir.close()
    last = make_sample(tmp_path)
    store = SampleStore(tmp_path)
    assert read_everything(store.backend) == last == store.batch
    store.write(10)
    store.close()
    store = SampleStore(tmp_path)
    assert read_everything(store.backend) == last + 10
    assert store.data_dir.warnings == []
    store.close()


def test_interrupted_creation(tmp_path: Path) -> None:
    """A database gets its name when it is whole, so half a one is made again."""
    DataDir.open(tmp_path).close()
    (tmp_path / "db.new").mkdir()
    (tmp_path / "db.new" / "CURRENT").write_bytes(b"half")
    assert make_sample(tmp_path, batches=3) == 4
    assert not (tmp_path / "db.new").exists()


def test_wrong_member_or_cluster(tmp_path: Path) -> None:
    """A directory of another member or cluster is refused with its own exit code."""
    make_sample(tmp_path, batches=3)
    for cluster_id, member_id in ((ClusterID(1), MEMBER), (CLUSTER, MemberID(2))):
        data_dir = DataDir.open(tmp_path)
        with pytest.raises(DataDirError, match="belongs to cluster 00000000000000c1") as caught:
            open_member_store(data_dir, cluster_id=cluster_id, member_id=member_id)
        assert caught.value.exit_code == ExitCode.OTHER_MEMBER
        data_dir.close()
    data_dir = DataDir.open(tmp_path)
    open_member_store(data_dir).close()
    remember_identity(data_dir, ClusterID(9), MEMBER)
    with pytest.raises(DataDirError, match="belongs to") as caught:
        open_member_store(data_dir)
    assert caught.value.exit_code == ExitCode.OTHER_MEMBER
    data_dir.close()


def test_identity_is_remembered_at_the_next_start(tmp_path: Path) -> None:
    """If the identity was not written down after the bootstrap, the next start does it."""
    make_sample(tmp_path, batches=3)
    (tmp_path / "IDENTITY").unlink()
    SampleStore(tmp_path).close()
    assert (tmp_path / "IDENTITY").read_bytes() == (
        b"cluster 00000000000000c1 member 00000000000000a1\n"
    )


def test_vanished_database_is_not_made_anew(tmp_path: Path) -> None:
    """A member that forgot its votes must not come back as itself."""
    make_sample(tmp_path, batches=3)
    shutil.rmtree(tmp_path / "db")
    error = refusal(tmp_path)
    assert error.exit_code == ExitCode.DAMAGED
    assert "it is gone" in error.sentence
    open_leveldb(tmp_path / "db", create=True).close()
    assert "it is empty" in refusal(tmp_path).sentence


def test_torn_end_is_dropped_and_set_aside(tmp_path: Path) -> None:
    """A zero-filled last record goes, everything before it stays, and the log is kept aside."""
    last = make_sample(tmp_path)
    log = newest_log(tmp_path)
    data = log.read_bytes()
    torn = data[:-90] + bytes(90)
    log.write_bytes(torn)
    store = SampleStore(tmp_path)
    assert read_everything(store.backend) == last - 1
    assert ["torn" in warning for warning in store.data_dir.warnings] == [True]
    assert (tmp_path / "set-aside" / log.name).read_bytes() == torn
    store.write(5)
    store.close()
    store = SampleStore(tmp_path)
    assert read_everything(store.backend) == last + 4
    assert store.data_dir.warnings == []
    store.close()


def test_refusal_leaves_the_files(tmp_path: Path) -> None:
    """A refused directory is byte for byte what it was, and refused again the next time."""
    make_sample(tmp_path)
    log = newest_log(tmp_path)
    data = bytearray(log.read_bytes())
    data[-50] ^= 4
    log.write_bytes(data)
    before = contents(tmp_path)
    for _ in range(2):
        error = refusal(tmp_path)
        assert error.exit_code == ExitCode.DAMAGED
        assert log.name in error.sentence
        assert contents(tmp_path) == before


def test_refused_copy_leaves_the_files(tmp_path: Path) -> None:
    """If the copy that is tried first has a hole in its chain, the database is not touched."""
    store = SampleStore(tmp_path)
    store.write(20)
    store.backend.prepare({chain_key(15): None}).write()
    store.write(20)
    store.close()
    log = newest_log(tmp_path)
    log.write_bytes(log.read_bytes()[:-90] + bytes(90))
    before = contents(tmp_path)
    error = refusal(tmp_path)
    assert error.exit_code == ExitCode.DAMAGED
    assert "batch 15 is missing" in error.sentence
    assert contents(tmp_path) == before


def test_lost_batch_is_refused_though_leveldb_is_content(tmp_path: Path) -> None:
    """The chain is checked after every opening: a hole that LevelDB cannot see is refused."""
    store = SampleStore(tmp_path)
    store.write(20)
    store.backend.prepare({chain_key(15): None}).write()
    store.close()
    assert "batch 15 is missing" in refusal(tmp_path).sentence


def test_lying_length_is_refused_though_leveldb_is_content(tmp_path: Path) -> None:
    """One flipped bit in a length costs LevelDB answered batches in silence; we refuse it."""
    last = make_sample(tmp_path, batches=30)
    log = newest_log(tmp_path)
    data = bytearray(log.read_bytes())
    sizes = [7 + len(record) for record in judge_log(log, verify=True, take=None).records[-3:]]
    data[len(data) - sum(sizes) + 5] ^= 0x40
    log.write_bytes(data)
    assert "a length is damaged" in refusal(tmp_path).sentence
    backend = open_leveldb(tmp_path / "db", create=False)
    assert read_everything(backend) == last - 3
    backend.close()


def test_missing_table(tmp_path: Path) -> None:
    """A table that is gone is damage."""
    make_sample(tmp_path)
    next(iter((tmp_path / "db").glob("*.ldb"))).unlink()
    assert refusal(tmp_path).exit_code == ExitCode.DAMAGED


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    """A file that cannot be read is no damage."""
    make_sample(tmp_path)
    newest_log(tmp_path).chmod(0)
    assert refusal(tmp_path).exit_code == ExitCode.IO_FAILED


def test_file_limit_is_no_damage(tmp_path: Path) -> None:
    """A full disk or a limit while opening is reported as such, without advice to restore."""
    make_sample(tmp_path)
    before = contents(tmp_path)
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from trioetcd.storage import DataDir, DataDirError, open_member_store\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: open_member_store(DataDir.open(Path(sys.argv[1])))\n"
        "except DataDirError as error: print(error); sys.exit(error.exit_code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == ExitCode.IO_FAILED, done
    assert "restore" not in done.stdout
    kept = {name: data for name, data in contents(tmp_path).items() if name in before}
    assert kept == before


def kill_while_writing(path: Path, after: int) -> int:
    """Start a process that writes batches, kill it; give the last one it was answered for."""
    script = (
        "import sys; from pathlib import Path\n"
        "from trioetcd.testing.sample_store import SampleStore\n"
        "store = SampleStore(Path(sys.argv[1]))\n"
        "while True:\n"
        "    store.write()\n"
        "    print(store.batch, flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout as lines:
        for _ in range(after):
            lines.readline()
        process.kill()
        rest = lines.read().split()
    return int(rest[-1]) if rest else -1


def check_kills(path: Path, *, rounds: int, seed: int) -> None:
    """Kill and reopen again and again: nothing answered is lost, nothing is wrong."""
    random = Random(seed)
    for number in range(rounds):
        answered = kill_while_writing(path, random.randrange(1, 400))
        store = SampleStore(path)
        assert read_everything(store.backend) >= answered, f"seed {seed}, round {number}"
        store.close()


def test_killed_writer(tmp_path: Path) -> None:
    """After kill -9 at a random moment every answered batch is there."""
    check_kills(tmp_path, rounds=2, seed=1)


@pytest.mark.slow
def test_killed_writer_often(tmp_path: Path) -> None:
    """The same, twelve times on one directory."""
    check_kills(tmp_path, rounds=12, seed=2)


def test_flipped_bits(tmp_path: Path) -> None:
    """A flipped bit in any file is refused, detected or harmless: never a wrong or missing row."""
    tallies = flip_bits(tmp_path, rounds=48, seed=1, batches=60)
    assert {kind: tally.shortened for kind, tally in tallies.items()} == dict.fromkeys(KINDS, 0)
    assert tallies["log"].refused == 12
    assert tallies["table"].refused + tallies["table"].detected + tallies["table"].harmless == 12


@pytest.mark.slow
def test_flipped_bits_often(tmp_path: Path) -> None:
    """The same with four hundred bits."""
    flip_bits(tmp_path, rounds=400, seed=2)


def test_torn_logs(tmp_path: Path) -> None:
    """Cut and zeroed ends lose whole batches from the end only; garbled ones are refused."""
    tallies = tear_logs(tmp_path, rounds=36, seed=1, batches=60)
    assert tallies["truncate"].shortened == 12
    assert tallies["zero"].refused == tallies["zero"].detected == 0
    assert tallies["garble"].shortened == tallies["garble"].harmless == 0


@pytest.mark.slow
def test_torn_logs_often(tmp_path: Path) -> None:
    """The same with a hundred and fifty tears."""
    tear_logs(tmp_path, rounds=150, seed=2)


def test_every_cut_of_the_last_record(tmp_path: Path) -> None:
    """Wherever the last record is cut, exactly that batch is gone."""
    last = make_sample(tmp_path / "sample", batches=30)
    log = newest_log(tmp_path / "sample")
    data = log.read_bytes()
    records = judge_log(log, verify=True, take=None).records
    size = 7 + len(records[-1])
    for cut in range(1, size + 1, max(1, size // 12)):
        shutil.copytree(tmp_path / "sample", tmp_path / "copy")
        newest_log(tmp_path / "copy").write_bytes(data[: len(data) - cut])
        store = SampleStore(tmp_path / "copy")
        assert read_everything(store.backend) == last - 1
        store.close()
        shutil.rmtree(tmp_path / "copy")
