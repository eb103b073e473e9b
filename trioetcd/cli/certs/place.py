"""Where certificates and the keys that sign them are found on this machine."""

from __future__ import annotations

from pathlib import Path

from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError

__all__ = ["authority_near", "find_set"]


def find_set(directory: Path) -> Path:
    """Give the directory of certificates in a data directory, or that it is one itself.

    Raises:
        PkiError: there are none in it.
    """
    for candidate in (directory / "pki", directory):
        if PkiFiles(candidate).client_ca.exists():
            return candidate
    raise PkiError(
        f"{directory} holds no certificates of clients; name the data directory of a member that "
        f"was started without TLS flags, or the directory that `trioetcd certs init` wrote",
    )


def authority_near(files: PkiFiles) -> Path:
    """Give the client CA of a set: beside it after an `init` of several members."""
    beside = files.path.parent / "ca" / files.client_ca.name
    if not files.key_of(files.client_ca).exists() and beside.exists():
        return beside
    return files.client_ca
