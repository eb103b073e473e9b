"""What is on a disk: rows in LevelDB and its twin in memory, the data directory, the audit log.

Blocking I/O, called from threads or before the loop begins. What the rows mean is `replica`'s
business; the only rows read here are the batch chain's, through `trioetcd.replica.rows`.
"""

from __future__ import annotations

from trioetcd.storage.audit_file import AuditFile, AuditFileError
from trioetcd.storage.data_dir import DataDir, DataDirError, ExitCode
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.storage.memory import MemoryBackend
from trioetcd.storage.recovery import open_member_store, remember_identity
from trioetcd.storage.spool import Spool, SpoolFile

__all__ = [
    "AuditFile",
    "AuditFileError",
    "DataDir",
    "DataDirError",
    "ExitCode",
    "MemoryBackend",
    "Spool",
    "SpoolFile",
    "open_leveldb",
    "open_member_store",
    "remember_identity",
]
