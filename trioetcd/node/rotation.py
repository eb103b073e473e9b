"""Replacing a CA while the cluster runs: trust both, issue from the new one, forget the old one.

What lies beside the CA that is replaced, until it is done::

    peer-ca.crt            both CAs; so in every member's directory
    peer-ca.key            the key that signs: first the old one's, then the new one's
    peer-ca.old.crt .key   the one that goes
    peer-ca.new.crt .key   the one that comes
    peer-ca.rotation.json  what was begun
    archive/               what is over

Every step is a number of whole files, each in its place by a rename, in an order in which every
state between two of them is one that a running cluster can live with; each step can be run again
after a crash. Going back is the same way in the other direction (`reverse`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import ARCHIVE, Layout
from trioetcd.node.private_file import sync_directory, write_private
from trioetcd.node.probe import Place
from trioetcd.pki import CertifiedKey, PkiError, Profile

__all__ = [
    "Rotation",
    "abandoned",
    "archived",
    "begin",
    "end",
    "load",
    "pair_of",
    "reverse",
    "signs",
    "switch",
    "unready",
]

_VERSION: Final = 1
_MARK_DIGITS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A CA that is being replaced.

    Attributes:
        purpose: ``peer`` or ``client``.
        goes: PEM of the CA that is to be forgotten.
        comes: PEM of the CA that is to sign.
        started: when it began.
        places: ports of members to ask, as far as they were given.
    """

    purpose: str
    goes: bytes
    comes: bytes
    started: datetime
    places: tuple[Place, ...]


def load(layout: Layout, purpose: str) -> Rotation | None:
    """Give the rotation that is under way; None if there is none.

    Raises:
        PkiError: its file is damaged.
        OSError: it cannot be read.
    """
    path = _state_file(layout, purpose)
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
        if document["version"] != _VERSION:
            raise PkiError(f"{path} is of another version of trioetcd; finish with that one")
        return Rotation(
            purpose=purpose,
            goes=document["goes"].encode("ascii"),
            comes=document["comes"].encode("ascii"),
            started=datetime.fromisoformat(document["started"]),
            places=tuple(Place(*place) for place in document["places"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PkiError(f"{path} is damaged; put a whole copy of it back") from None


def begin(
    layout: Layout, purpose: str, *, now: datetime, profile: Profile, places: Sequence[Place]
) -> Rotation:
    """Make the new CA, and let every directory here trust both; go on if that was interrupted.

    Raises:
        PkiError: the CA or its key is not here.
        OSError: the disk does not do it; run it again.
    """
    rotation = load(layout, purpose)
    if rotation is None:
        rotation = _prepare(layout, purpose, now, profile, tuple(places))
        _save(layout, rotation)
    elif places:
        rotation = replace(rotation, places=tuple(dict.fromkeys((*rotation.places, *places))))
        _save(layout, rotation)
    for path in layout.trust_files(purpose):
        before = path.read_bytes()
        after = pki.join_trust(before, rotation.goes + rotation.comes)
        if len(pki.inspect(after, str(path))) > len(pki.inspect(before, str(path))):
            write_private(path, after)
    return rotation


def _prepare(
    layout: Layout, purpose: str, now: datetime, profile: Profile, places: tuple[Place, ...]
) -> Rotation:
    authority = layout.authority(purpose)
    signer = pki_files.load_authority(authority) if authority.exists() else None
    if signer is None:
        raise PkiError(
            f"the key of {authority} is not here; a CA is replaced where its key is kept"
        )
    goes = pki.split_certificates(signer.certificate, str(authority))[0]
    _save_pair(_side(authority, "old"), CertifiedKey(goes, signer.key))
    coming = _side(authority, "new")
    made = _interrupted(coming)
    if made is None:
        made = pki.succeed_authority(goes, purpose, now=now, profile=profile)
        _save_pair(coming, made)
    return Rotation(purpose=purpose, goes=goes, comes=made.certificate, started=now, places=places)


def _interrupted(path: Path) -> CertifiedKey | None:
    """Give the new CA that an earlier, interrupted start has made, whole."""
    key = PkiFiles.key_of(path)
    if not (path.exists() and key.exists()):
        return None
    pair = CertifiedKey(path.read_bytes(), key.read_bytes())
    return pair if pki.key_fits(pair.certificate, pair.key) else None


def signs(layout: Layout, rotation: Rotation) -> bytes:
    """Give the CA (PEM) that signs now.

    Raises:
        PkiError: no CA here has the key.
    """
    authority = layout.authority(rotation.purpose)
    signer = pki_files.load_authority(authority)
    if signer is None:
        raise PkiError(f"the key of {authority} is not here to sign with")
    return pki.split_certificates(signer.certificate, str(authority))[0]


def switch(layout: Layout, rotation: Rotation) -> None:
    """Let the CA that comes sign; the caller knows that every member trusts it.

    Raises:
        PkiError: its key is not here.
        OSError: the disk does not do it; run it again.
    """
    authority = layout.authority(rotation.purpose)
    pair = pair_of(layout, rotation, rotation.comes)
    write_private(PkiFiles.key_of(authority), pair.key)
    write_private(authority, pki.signer_first(authority.read_bytes(), pair.key))


def unready(layout: Layout, rotation: Rotation, *, now: datetime) -> list[str]:
    """Say why the CA that goes cannot be forgotten yet, as far as the files here tell.

    Raises:
        PkiError: a file cannot be read as what it should be.
    """
    reasons = []
    if signs(layout, rotation) != rotation.comes:
        reasons.append("the old CA still signs; run `trioetcd certs renew all`")
    for path in layout.leaves():
        data = path.read_bytes()
        ended = now >= pki.inspect(data, str(path))[0].not_after
        if not ended and pki.signer_of(data, rotation.goes):
            reasons.append(
                f"{path} is still signed by the CA that goes; run "
                f"`trioetcd certs renew {layout.name_of(path)}`"
            )
    return reasons


def abandoned(layout: Layout, rotation: Rotation, *, now: datetime) -> list[str]:
    """Say which clients, by what was noted, have a certificate of the CA that goes alone.

    Raises:
        PkiError: the index is damaged.
        OSError: it cannot be read.
    """
    goes = pki.mark_of(rotation.goes)
    comes = pki.mark_of(rotation.comes)
    issued = pki_index.read(layout.authority(rotation.purpose)).issued
    alive = [row for row in issued if row.revoked is None and now < row.not_after]
    known = {(row.role, row.name) for row in alive if row.authority == comes}
    left = {
        row.name
        for row in alive
        if row.authority == goes and row.role == "client" and (row.role, row.name) not in known
    }
    return [
        f"the client {name} has no certificate of the new CA; run `trioetcd certs issue client`, "
        "or shut it out with --drop-clients"
        for name in sorted(left)
    ]


def end(layout: Layout, rotation: Rotation) -> Path:
    """Forget the CA that goes, and archive it; the caller knows that nobody needs it any more.

    Returns:
        Where its certificate is kept, its key beside it.

    Raises:
        PkiError: it would leave nobody to trust.
        OSError: the disk does not do it; run it again.
    """
    authority = layout.authority(rotation.purpose)
    gone = pki.inspect(rotation.goes, "the CA that goes")[0].fingerprint
    kept = layout.authorities / ARCHIVE / f"{authority.stem}-{gone[:_MARK_DIGITS]}.crt"
    if not kept.exists():
        _save_pair(kept, pair_of(layout, rotation, rotation.goes))
    for path in reversed(layout.trust_files(rotation.purpose)):
        before = path.read_bytes()
        if gone in {facts.fingerprint for facts in pki.inspect(before, str(path))}:
            write_private(path, pki.without_authority(before, gone))
    # The state goes before the copies: without it they are leftovers, which the next start takes
    # away or, where they are whole and new, would take for its own.
    _side(authority, "new").unlink(missing_ok=True)
    _state_file(layout, rotation.purpose).unlink()
    for side in ("new", "old"):
        PkiFiles.key_of(_side(authority, side)).unlink(missing_ok=True)
        _side(authority, side).unlink(missing_ok=True)
    sync_directory(layout.authorities)
    return kept


def reverse(layout: Layout, rotation: Rotation) -> Rotation:
    """Turn round: what was to be forgotten stays, and what was to come goes.

    Raises:
        OSError: the disk does not do it.
    """
    turned = replace(rotation, goes=rotation.comes, comes=rotation.goes)
    _save(layout, turned)
    return turned


def pair_of(layout: Layout, rotation: Rotation, certificate: bytes) -> CertifiedKey:
    """Give one of the two CAs with its key.

    Raises:
        PkiError: its key is not here.
    """
    authority = layout.authority(rotation.purpose)
    for path in (_side(authority, "old"), _side(authority, "new"), authority):
        key = PkiFiles.key_of(path)
        if key.exists() and pki.key_fits(certificate, key.read_bytes()):
            return CertifiedKey(certificate, key.read_bytes())
    name = pki.inspect(certificate, "the CA")[0].common_name
    raise PkiError(f"the key of {name} is not in {layout.authorities}; put it back")


def archived(layout: Layout, purpose: str) -> CertifiedKey | None:
    """Give the CA that was forgotten last, with its key; None if there is none."""
    stem = layout.authority(purpose).stem
    found = sorted(
        (layout.authorities / ARCHIVE).glob(f"{stem}-*.crt"), key=lambda path: path.stat().st_mtime
    )
    return pki_files.load_authority(found[-1]) if found else None


def _save(layout: Layout, rotation: Rotation) -> None:
    document = {
        "version": _VERSION,
        "started": rotation.started.isoformat(),
        "goes": rotation.goes.decode("ascii"),
        "comes": rotation.comes.decode("ascii"),
        "places": [(place.host, place.port, place.purpose) for place in rotation.places],
    }
    data = json.dumps(document, indent=1).encode()
    write_private(_state_file(layout, rotation.purpose), data)


def _save_pair(certificate: Path, pair: CertifiedKey) -> None:
    """Write a CA's copy; not behind links, for nobody reads it while it is written."""
    write_private(PkiFiles.key_of(certificate), pair.key)
    write_private(certificate, pair.certificate)


def _side(authority: Path, side: str) -> Path:
    return authority.with_name(f"{authority.stem}.{side}.crt")


def _state_file(layout: Layout, purpose: str) -> Path:
    return layout.authority(purpose).with_suffix(".rotation.json")
