"""Opens a member's database, or refuses it in one sentence; never opens one with a hole in it.

What is done, in order:

1. The structure of MANIFEST and the live logs is judged (`storage.log_file`), because LevelDB
   takes some damage for a crash and drops rows without a word.
2. LevelDB opens the database with paranoid checks.
3. If it will not, and the only damage is a cut or zero-filled end of the newest log (a batch that
   was being written when the power failed, so nobody was answered for it), a copy is opened
   without paranoia. If its batch chain has no gap, the log files are set aside, the database is
   opened without paranoia (which drops the torn batch), closed, and opened with paranoia again.
4. The batch chain and the identity are checked, however the database was opened.

Anything else is refused and the files stay as they were; `LOG`, LevelDB's own account, may be
rotated to `LOG.old`. What step 3 set aside stays in ``set-aside/`` until the next repair; it is
never read again and may be deleted.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Final

from trioetcd.ports import FIRST_ROW, Backend, BackendError
from trioetcd.replica.rows import CorruptLog, check_chain
from trioetcd.storage.data_dir import SET_ASIDE, DataDir, DataDirError, ExitCode
from trioetcd.storage.leveldb import DamagedError, open_leveldb
from trioetcd.storage.log_file import judge_store
from trioetcd.values import ClusterID, MemberID

__all__ = ["open_member_store", "remember_identity"]

_IDENTITY: Final = "IDENTITY"
_NEW: Final = "db.new"
_TRIAL: Final = "db.trial"


def open_member_store(
    data_dir: DataDir,
    *,
    cluster_id: ClusterID | None = None,
    member_id: MemberID | None = None,
) -> Backend:
    """Open the database of the data directory, making it if the directory is new.

    Args:
        data_dir: the open, locked directory.
        cluster_id: the cluster the database must belong to; None accepts any.
        member_id: the member the database must belong to; None accepts any.

    Returns:
        The backend: without any row if the member has never been bootstrapped, else with an
        unbroken batch chain.

    Raises:
        DataDirError: the database cannot be used; the sentence and the exit code say why.
    """
    store = data_dir.database()
    for leftover in (_NEW, _TRIAL):
        shutil.rmtree(data_dir.path / leftover, ignore_errors=True)
    try:
        identity = data_dir.read_file(_IDENTITY)
        if not store.exists():
            if identity is not None:
                raise _damaged(store, "it is gone, but this member has had one")
            _create(data_dir, store)
        backend = _open(data_dir, store)
    except (OSError, BackendError) as error:
        raise _unreadable(store, error) from error
    try:
        _check(data_dir, store, backend, identity, (cluster_id, member_id))
    except DataDirError:
        backend.close()
        raise
    except (OSError, BackendError) as error:
        backend.close()
        raise _unreadable(store, error) from error
    return backend


def remember_identity(data_dir: DataDir, cluster_id: ClusterID, member_id: MemberID) -> None:
    """Write down whose database this is, so that an emptied one is never taken for a new one.

    Called once after the bootstrap batch is durable; `open_member_store` makes up for it.

    Raises:
        OSError: the file cannot be written.
    """
    data_dir.replace_file(_IDENTITY, _identity(cluster_id, member_id))


def _identity(cluster_id: int, member_id: int) -> bytes:
    return b"cluster %016x member %016x\n" % (cluster_id, member_id)


def _damaged(store: Path, what: str) -> DataDirError:
    return DataDirError(
        f"the database {store} is damaged and was left as it is: {what}; restore a backup, or "
        f"remove this member and let it join anew",
        ExitCode.DAMAGED,
    )


def _unreadable(store: Path, error: Exception) -> DataDirError:
    return DataDirError(f"the database {store} cannot be opened: {error}", ExitCode.IO_FAILED)


def _create(data_dir: DataDir, store: Path) -> None:
    """Make an empty database; it gets its name when it is whole."""
    new = data_dir.path / _NEW
    try:
        open_leveldb(new, create=True).close()
    except BackendError as error:
        raise DataDirError(
            f"the database {store} cannot be made: {error}",
            ExitCode.CANNOT_CREATE,
        ) from error
    _sync_directory(new)
    new.rename(store)
    data_dir.sync()


def _open(data_dir: DataDir, store: Path) -> Backend:
    torn = _judge(store)
    if torn is not None:
        _set_aside(data_dir, store)
    try:
        backend = open_leveldb(store, create=False)
    except DamagedError as error:
        torn = judge_store(store, verify=True, refuse=partial(_damaged, store))
        if torn is None:
            # Every record LevelDB believes is whole, so no torn tail explains its refusal.
            raise _damaged(store, str(error)) from error
        backend = _open_without_tail(data_dir, store)
    if torn is not None:
        data_dir.warnings.append(
            f"the log {torn.name} of {store} ended in a torn batch, as a crash while writing "
            f"leaves it: the batch, which nobody was answered for, is dropped; the log files as "
            f"they were are in {data_dir.path / SET_ASIDE}",
        )
    return backend


def _open_without_tail(data_dir: DataDir, store: Path) -> Backend:
    _try_on_copy(data_dir, store)
    _set_aside(data_dir, store)
    try:
        open_leveldb(store, create=False, paranoid=False).close()
        return open_leveldb(store, create=False)
    except DamagedError as error:
        raise _damaged(store, str(error)) from error


def _judge(store: Path) -> Path | None:
    """Give the log file whose end is torn, if any; refuse damage."""
    refuse = partial(_damaged, store)
    try:
        if judge_store(store, verify=False, refuse=refuse) is None:
            return None
    except DataDirError:
        pass  # a zero-filled end can look like worse as long as no checksum is asked
    return judge_store(store, verify=True, refuse=refuse)


def _try_on_copy(data_dir: DataDir, store: Path) -> None:
    """Open a copy without paranoia and check its chain, so that a refusal changes nothing."""
    trial = data_dir.path / _TRIAL
    trial.mkdir(mode=0o700)
    try:
        for file in store.iterdir():
            if file.suffix in {".ldb", ".sst"}:
                _link(file, trial / file.name)  # LevelDB never changes a table once it is named
            elif file.suffix == ".log" or file.name.startswith(("MANIFEST-", "CURRENT")):
                shutil.copyfile(file, trial / file.name)
        backend = open_leveldb(trial, create=False, paranoid=False)
        try:
            if backend.get(FIRST_ROW) is not None:
                check_chain(backend)
        finally:
            backend.close()
    except (DamagedError, CorruptLog) as error:
        raise _damaged(store, str(error)) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)  # a file system without hard links


def _set_aside(data_dir: DataDir, store: Path) -> None:
    """Keep copies of the log files, which LevelDB removes after it has read them."""
    aside = data_dir.path / SET_ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(mode=0o700)
    for file in store.glob("*.log"):
        shutil.copyfile(file, aside / file.name)
        with (aside / file.name).open("rb") as copy:
            os.fsync(copy.fileno())
    _sync_directory(aside)
    data_dir.sync()


def _check(
    data_dir: DataDir,
    store: Path,
    backend: Backend,
    identity: bytes | None,
    expected: tuple[ClusterID | None, MemberID | None],
) -> None:
    try:
        meta = check_chain(backend) if backend.get(FIRST_ROW) is not None else None
    except (DamagedError, CorruptLog) as error:
        raise _damaged(store, str(error)) from error
    if meta is None:
        if identity is not None:
            raise _damaged(store, "it is empty, but this member has had data")
        return
    found = _identity(meta.cluster_id, meta.member_id)
    if identity is None:
        remember_identity(data_dir, meta.cluster_id, meta.member_id)
    elif identity != found:
        raise _other(data_dir, found, identity)
    cluster_id, member_id = expected
    wanted = _identity(
        meta.cluster_id if cluster_id is None else cluster_id,
        meta.member_id if member_id is None else member_id,
    )
    if wanted != found:
        raise _other(data_dir, found, wanted)


def _other(data_dir: DataDir, found: bytes, wanted: bytes) -> DataDirError:
    return DataDirError(
        f"the database in {data_dir.path} belongs to {found.decode().strip()}, not to "
        f"{wanted.decode(errors='replace').strip()}",
        ExitCode.OTHER_MEMBER,
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
