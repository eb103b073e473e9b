"""Renewing certificates in files: which ones are due, and their successors in their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import PURPOSES, Layout
from trioetcd.node.private_file import write_private
from trioetcd.pki import Facts, PkiError, Profile, Role

__all__ = ["Due", "choose", "next_due", "renew_leaf", "renew_list"]

_ROLES: Final = {role.value: role for role in Role}
_SHARE: Final = 2 / 3
"""Of a lifetime: after so much of it the successor is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A certificate that may be renewed.

    Attributes:
        path: its file.
        name: how people call it.
        facts: what it is.
        purpose: of the CA that signed it: ``peer`` or ``client``; empty for another one's.
        reason: why it is due; empty when it is good for now.
    """

    path: Path
    name: str
    facts: Facts
    purpose: str
    reason: str


def choose(
    layout: Layout,
    names: Sequence[str],
    *,
    now: datetime,
    before: timedelta | None = None,
    early: float = 0.0,
) -> list[Due]:
    """Give the certificates that names mean, and whether they are due.

    Args:
        layout: what there is.
        names: ``all``, a member (``n1``), one certificate (``n1/server``), what several are
            called alike (``server``), or a file.
        now: the time.
        before: less left than this makes one due; None is a third of its lifetime.
        early: share of a lifetime by which one is due earlier.

    Raises:
        PkiError: a name means nothing.
    """
    every = {layout.name_of(path): path for path in layout.leaves()}
    chosen: dict[str, Path] = {}
    for name in names:
        meant = {each: path for each, path in every.items() if _means(name, each, path)}
        if not meant:
            known = ", ".join(sorted(every)) or "none"
            raise PkiError(f"there is no certificate {name!r} here to renew; there are: {known}")
        chosen |= meant
    return [_due(layout, name, path, now, before, early) for name, path in sorted(chosen.items())]


def _means(name: str, certificate: str, path: Path) -> bool:
    return (
        name in {"all", certificate, Path(certificate).name}
        or certificate.startswith(f"{name}/")
        or Path(name).absolute() == path.absolute()
    )


def _due(
    layout: Layout, name: str, path: Path, now: datetime, before: timedelta | None, early: float
) -> Due:
    data = path.read_bytes()
    facts = pki.inspect(data, str(path))[0]
    purpose = layout.signer_of(path)
    reason = ""
    key = PkiFiles.key_of(path)
    if not key.exists():
        reason = "its key is missing"
    elif not pki.key_fits(data, key.read_bytes()):
        reason = "its key is not its own"
    elif now >= facts.not_after:
        reason = "it has ended"
    elif before is not None and facts.not_after - now <= before:
        reason = "it ends soon"
    elif before is None and now >= _when(facts.not_before, facts.not_after, early):
        reason = "two thirds of its life are over"
    elif purpose and (signer := pki_files.load_authority(layout.authority(purpose))) is not None:
        first = pki.split_certificates(signer.certificate, str(path))[0]
        if not pki.signer_of(data, first):
            reason = "the CA that signed it is being replaced"
    return Due(path=path, name=name, facts=facts, purpose=purpose, reason=reason)


def renew_leaf(
    layout: Layout, due: Due, *, now: datetime, profile: Profile, keep_key: bool = False
) -> Facts:
    """Put a certificate's successor, and its key, in its place.

    Args:
        layout: where it lies.
        due: which one.
        now: the time.
        profile: how long it lasts where its predecessor does not say.
        keep_key: whether its key stays.

    Raises:
        PkiError: the CA that signed it, or its key, is not here.
        OSError: the disk does not do it; the old one is in force.
    """
    if not due.purpose:
        raise PkiError(
            f"{due.path} is signed by {due.facts.issuer}, which is not among the CAs in "
            f"{layout.authorities}; renew it where that CA is"
        )
    authority = layout.authority(due.purpose)
    signer = pki_files.load_authority(authority)
    if signer is None:
        raise PkiError(
            f"the key of {authority} is not here to renew {due.path}; run this where the CAs' keys "
            "are kept"
        )
    role = _ROLES.get(due.facts.role, Role.PEER)
    key = PkiFiles.key_of(due.path).read_bytes() if keep_key else None
    pair = pki.renew_alike(
        signer, due.path.read_bytes(), now=now, lifetime=profile.lifetime(role), key=key
    )
    pki_index.note(authority, role, [pair.certificate])  # first: whatever is in use can be revoked
    pki_files.save_pair(due.path, pair)
    return pki.inspect(pair.certificate, str(due.path))[0]


def renew_list(layout: Layout, purpose: str, *, now: datetime, early: float = 0.0) -> bool:
    """Sign the CA's revocation list anew where it is due, and give it to every member here.

    Args:
        layout: where it lies.
        purpose: of the CA: ``peer`` or ``client``.
        now: the time.
        early: share of a lifetime by which it is due earlier.

    Returns:
        Whether one was signed: it was due, and the CA's key is here.

    Raises:
        PkiError: the list or the index cannot be read.
        OSError: the disk does not do it.
    """
    authority = layout.authority(purpose)
    signer = pki_files.load_authority(authority) if authority.exists() else None
    present = _list_files(layout, purpose)
    if signer is None or not present:
        return False
    if not any(_list_due(path, now, early) for path in present):
        return False
    index = pki_index.read(authority)
    noted = {row.serial for row in index.issued if row.revoked is not None}
    for path in present:
        for one in pki.inspect_lists(path.read_bytes(), str(path)):
            if set(one.serials) - noted:
                raise PkiError(
                    f"{path} revokes certificates that are not in "
                    f"{pki_index.AuthorityFiles(authority).index}, and a new list would lose them; "
                    "revoke them with `trioetcd certs revoke --serial` first"
                )
    made = pki_index.publish(authority, signer, now=now, days=pki.LIST_DAYS)
    for files in layout.members:
        target = files.path / f"{purpose}-crl.pem"
        if target in present:
            write_private(target, made)
    return True


def _list_files(layout: Layout, purpose: str) -> list[Path]:
    name = f"{purpose}-crl.pem"
    places = dict.fromkeys((layout.authorities, *(files.path for files in layout.members)))
    return [place / name for place in places if (place / name).exists()]


def _list_due(path: Path, now: datetime, early: float) -> bool:
    return any(
        one.next_update is not None and now >= _when(one.this_update, one.next_update, early)
        for one in pki.inspect_lists(path.read_bytes(), str(path))
    )


def next_due(layout: Layout, chosen: Sequence[Due], *, early: float) -> datetime | None:
    """Say when the first of some certificates, or of the revocation lists, is due.

    Args:
        layout: where they lie.
        chosen: the certificates.
        early: share of a lifetime by which it is due earlier.

    Raises:
        PkiError: a file cannot be read as what it should be.
    """
    spans = [(due.facts.not_before, due.facts.not_after) for due in chosen if due.purpose]
    for purpose in PURPOSES:
        for path in _list_files(layout, purpose):
            spans += [
                (one.this_update, one.next_update)
                for one in pki.inspect_lists(path.read_bytes(), str(path))
                if one.next_update is not None
            ]
    return min((_when(begins, ends, early) for begins, ends in spans), default=None)


def _when(begins: datetime, ends: datetime, early: float) -> datetime:
    return begins + (ends - begins) * (_SHARE - early)
