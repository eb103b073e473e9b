"""The index and the revocation list of a CA, as files beside it.

::

    client-ca.crt  client-ca.key  client-ca.index.json  client-crl.pem

A change is read, made and written under a lock on the CA's directory: two commands at the same
time lose nothing of each other.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node.private_file import write_private
from trioetcd.pki import CertifiedKey, Index, Issued, PkiError, Role

__all__ = ["AuthorityFiles", "list_is_due", "note", "publish", "read", "revoke"]

_SHARE_LEFT: Final = 0.25
"""A list is due for renewal when so much of its time is left."""


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """What lies beside a CA's certificate.

    Attributes:
        certificate: the CA's.
    """

    certificate: Path

    @property
    def index(self) -> Path:
        """What the CA has issued."""
        return self.certificate.with_suffix(".index.json")

    @property
    def revocation_list(self) -> Path:
        """What it has revoked."""
        stem = self.certificate.stem
        if stem == "ca":
            return self.certificate.with_name("crl.pem")
        return self.certificate.with_name(f"{stem.removesuffix('-ca')}-crl.pem")


def read(authority: Path) -> Index:
    """Give what a CA has issued, as far as that was noted.

    Args:
        authority: the CA's certificate.

    Raises:
        PkiError: the index is damaged.
        OSError: it cannot be read.
    """
    path = AuthorityFiles(authority).index
    try:
        return pki.read_index(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Index()


def note(authority: Path, role: Role, certificates: Sequence[bytes]) -> None:
    """Note certificates (PEM) that a CA has issued.

    Raises:
        PkiError: one of them, or the index, cannot be read.
        OSError: the disk does not do it.
    """
    issuer = authority.read_bytes()
    entries = [pki.entry_of(each, role, authority=issuer) for each in certificates]
    with _locked(authority):
        index = read(authority)
        for entry in entries:
            index = index.with_issued(entry)
        _write(authority, index)


def revoke(
    authority: Path,
    signer: CertifiedKey,
    entries: Sequence[Issued],
    *,
    reason: str,
    now: datetime,
    days: int | None,
) -> bytes:
    """Revoke certificates, write the CA's new list, and give it.

    Args:
        authority: the CA's certificate.
        signer: the CA with its key.
        entries: which certificates.
        reason: why, as RFC 5280 calls it.
        now: the time.
        days: until a newer list is due; None for as long as the CA lasts.

    Raises:
        PkiError: the index is damaged, the CA may sign no lists, or has not signed one of them.
        OSError: the disk does not do it.
    """
    signing = (signer, *_replaced(authority, signer))
    marks = {pki.mark_of(each.certificate) for each in signing}
    for entry in entries:
        if entry.authority not in marks:
            raise PkiError(
                f"{entry.role} {entry.name}, serial {entry.serial:x}, was signed by the CA before "
                f"this one, and only that CA's key can revoke it: name both with --ca and "
                f"--ca-key, or finish the change of CAs, after which it counts no more"
            )
    with _locked(authority):
        index = read(authority)
        for entry in entries:
            index = index.with_revoked(entry, now=now, reason=reason)
        return _sign(authority, signer, index, now=now, days=days)


def publish(authority: Path, signer: CertifiedKey, *, now: datetime, days: int | None) -> bytes:
    """Write the CA's list anew, with a later date, and give it.

    A first list, which revokes nobody, may last as long as the CA (`days` is None).

    Raises:
        PkiError: the index is damaged, or the CA may sign no lists.
        OSError: the disk does not do it.
    """
    return revoke(authority, signer, (), reason="", now=now, days=days)


def list_is_due(authority: Path, now: datetime) -> bool:
    """Say whether a CA's list is outdated, or soon will be.

    Raises:
        PkiError: the list is damaged.
        OSError: it cannot be read.
    """
    path = AuthorityFiles(authority).revocation_list
    return any(
        each.next_update is not None
        and now >= each.next_update - (each.next_update - each.this_update) * _SHARE_LEFT
        for each in pki.describe_lists(path.read_bytes(), str(path))
    )


def _sign(
    authority: Path,
    signer: CertifiedKey,
    index: Index,
    *,
    now: datetime,
    days: int | None,
) -> bytes:
    made = b""
    for each in (signer, *_replaced(authority, signer)):
        one, index = pki.sign_list(each, index, now=now, days=days)
        made += one
    # The index first: a list that was never written is made again, a revocation that was never
    # noted would be missing from the next one.
    _write(authority, index)
    write_private(AuthorityFiles(authority).revocation_list, made)
    return made


def _replaced(authority: Path, signer: CertifiedKey) -> Iterator[CertifiedKey]:
    """Give the other CA while one is replaced (`trioetcd.node.rotation`): its lists go on."""
    for side in ("old", "new"):
        path = authority.with_name(f"{authority.stem}.{side}.crt")
        key = path.with_suffix(".key")
        if path.exists() and key.exists() and key.read_bytes() != signer.key:
            signs = key.read_bytes()
            yield CertifiedKey(pki.signer_first(path.read_bytes(), signs), signs)


def _write(authority: Path, index: Index) -> None:
    write_private(AuthorityFiles(authority).index, pki.write_index(index))


@contextmanager
def _locked(authority: Path) -> Iterator[None]:
    descriptor = os.open(authority.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
