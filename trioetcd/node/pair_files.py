"""A certificate and its key, replaced together by one rename.

The decision is docs/adr/0021-a-pair-is-replaced-by-one-link.md.

Two files cannot be renamed at once, and a crash between the two would leave a key that does not
belong to its certificate. So a pair that is replaced moves behind one link::

    server.crt -> .server/now/certificate.pem
    server.key -> .server/now/key.pem
    .server/now -> 2
    .server/1/    what was there before; kept until the next replacement
    .server/2/    what is in force

A pair that was never replaced is two plain files. Whoever puts plain files of their own in the
place of the links is heard: the next replacement begins with what is there then.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from trioetcd.node.private_file import remove_leftovers, sync_directory, write_link, write_private
from trioetcd.pki import CertifiedKey

__all__ = ["replace_pair"]

_NOW: Final = "now"
_CERTIFICATE: Final = "certificate.pem"
_KEY: Final = "key.pem"


def replace_pair(certificate: Path, key: Path, pair: CertifiedKey) -> None:
    """Put a new certificate and key in the place of the old ones, both or none.

    Args:
        certificate: the old one's file.
        key: its key's file, in the same directory.
        pair: the new ones.

    Raises:
        OSError: the disk does not do it; the old ones are in force.
    """
    store = certificate.with_name(f".{certificate.stem}")
    before = _adopt(store, certificate, key)
    number = max((0, *_numbers(store))) + 1
    _write(store / str(number), pair, certificate, key)
    write_link(store / _NOW, str(number))
    for path, name in ((key, _KEY), (certificate, _CERTIFICATE)):
        _lead(path, store, name)  # does something only where a half of the pair was missing
    for other in _numbers(store) - {before, number}:
        shutil.rmtree(store / str(other))
    for directory in (store, store.parent):
        remove_leftovers(directory)
    sync_directory(store)


def _adopt(store: Path, certificate: Path, key: Path) -> int:
    """Bring what is there behind the link, if it is not yet; give its number, or 0."""
    if _leads(certificate, store, _CERTIFICATE) and _leads(key, store, _KEY):
        return int((store / _NOW).readlink().name)
    if not (certificate.exists() and key.exists()):
        return 0
    number = max((0, *_numbers(store))) + 1
    # Each path goes on showing the very bytes that it shows now.
    found = CertifiedKey(certificate.read_bytes(), key.read_bytes())
    _write(store / str(number), found, certificate, key)
    write_link(store / _NOW, str(number))
    _lead(certificate, store, _CERTIFICATE)
    _lead(key, store, _KEY)
    return number


def _write(directory: Path, pair: CertifiedKey, certificate: Path, key: Path) -> None:
    write_private(directory / _KEY, pair.key, like=key)
    write_private(directory / _CERTIFICATE, pair.certificate, like=certificate)
    sync_directory(directory.parent)


def _lead(path: Path, store: Path, name: str) -> None:
    if not _leads(path, store, name):
        write_link(path, f"{store.name}/{_NOW}/{name}")


def _leads(path: Path, store: Path, name: str) -> bool:
    return path.is_symlink() and str(path.readlink()) == f"{store.name}/{_NOW}/{name}"


def _numbers(store: Path) -> set[int]:
    if not store.is_dir():
        return set()
    return {int(path.name) for path in store.iterdir() if path.name.isdecimal()}
