"""Where certificates and the keys that sign them are found on this machine.

Two layouts: a member's own (``<data-dir>/pki``), where everything lies together, and that of
``certs init`` for a cluster: ``OUT/ca`` with the CAs' keys, ``OUT/clients``, and a directory per
member. A CA from elsewhere is a file, given by name.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import CertifiedKey, PkiError, Role

__all__ = ["AUTHORITIES", "Place", "Signer", "find_place", "find_signer", "warn_of_near_keys"]

AUTHORITIES: Final = "ca"
"""The directory of a cluster's CAs and their keys."""


@dataclass(frozen=True, slots=True)
class Place:
    """What was found in a directory.

    Attributes:
        files: a member's set, or the directory of the cluster, which holds the clients.
        authorities: where the CAs are, and perhaps their keys.
        members: every member's set that is here.
    """

    files: PkiFiles
    authorities: PkiFiles
    members: tuple[PkiFiles, ...]

    @property
    def together(self) -> bool:
        """Whether the CAs lie with a member's own certificates."""
        return self.files.path == self.authorities.path

    def authority(self, role: Role) -> Path:
        """Give the certificate of the CA that signs a role."""
        return self.authorities.peer_ca if role is Role.PEER else self.authorities.client_ca

    def target(self, role: Role, name: str) -> Path:
        """Give where a certificate belongs."""
        if role is Role.CLIENT:
            return self.files.client(name)
        files = self.files
        if not self.together and self.authorities.path.parent == files.path:
            files = PkiFiles(files.path / pki_files.file_name_of(name))
        return files.peer if role is Role.PEER else files.server


@dataclass(frozen=True, slots=True)
class Signer:
    """A CA that can sign.

    Attributes:
        path: its certificate.
        pair: its certificate and key.
    """

    path: Path
    pair: CertifiedKey


def find_place(directory: Path) -> Place:
    """Say what lies in a data directory, or in a directory that `certs init` wrote.

    Raises:
        PkiError: there are no certificates in it.
    """
    for root in (directory / "pki", directory):
        if _has_authority(root / AUTHORITIES):
            return Place(PkiFiles(root), PkiFiles(root / AUTHORITIES), _members(root))
        if _has_authority(root):
            above = root.parent / AUTHORITIES
            if not list(root.glob("*-ca.key")) and _has_authority(above):
                return Place(PkiFiles(root), PkiFiles(above), _members(root.parent))
            return Place(PkiFiles(root), PkiFiles(root), (PkiFiles(root),))
    raise PkiError(
        f"{directory} holds no certificates of clients; name the data directory of a member that "
        f"was started without TLS flags, or the directory that `trioetcd certs init` wrote",
    )


def find_signer(
    role: Role,
    data_dir: Path,
    authority: Path | None,
    key: Path | None,
) -> Signer:
    """Give the CA that signs a role: the one given by name, else that of the directory.

    Raises:
        PkiError: there is none, or its key is not here.
    """
    path = authority or find_place(data_dir).authority(role)
    if key is not None:
        signs = key.read_bytes()
        return Signer(path, CertifiedKey(pki.signer_first(path.read_bytes(), signs), signs))
    pair = pki_files.load_authority(path) if path.exists() else None
    if pair is None:
        raise PkiError(
            f"the key of {path} is not here to sign with; run this where it is kept, or name it "
            f"with --ca and --ca-key"
        )
    return Signer(path, pair)


def warn_of_near_keys(place: Place) -> None:
    """Say it where a CA's key lies with a member's: who has the one has the other."""
    keys = sorted(place.authorities.path.glob("*-ca.key"))
    if place.together and keys and place.files.server.exists():
        print(
            f"trioetcd: warning: {keys[0]} lies beside the member's own key; whoever breaks into "
            f"the member can make certificates. Clusters of `trioetcd certs init` keep it apart",
            file=sys.stderr,
        )


def _members(root: Path) -> tuple[PkiFiles, ...]:
    return tuple(
        PkiFiles(path)
        for path in sorted(root.iterdir())
        if (path / "server.crt").exists() or (path / "peer.crt").exists()
    )


def _has_authority(path: Path) -> bool:
    return PkiFiles(path).client_ca.exists() or PkiFiles(path).peer_ca.exists()
