"""Which certificates there are under a directory, and where the CAs that sign them are kept.

Two layouts are known: that of one member (``<data-dir>/pki``), where everything lies together, and
that of several (``certs init --out OUT n1=... n2=...``): ``OUT/ca`` with the CAs' keys, and a
directory per member beside it. Anything else is a directory with certificates in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError

__all__ = ["ARCHIVE", "PURPOSES", "Layout", "certificate_files", "find_layout", "list_files"]

PURPOSES: Final = ("peer", "client")
"""What there are CAs for."""

ARCHIVE: Final = "archive"
"""Below the CAs' directory: what is out of use, and kept."""

_CERTIFICATE_SUFFIXES: Final = frozenset({".crt", ".pem", ".cer"})
_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_LIST: Final = b"-----BEGIN X509 CRL-----"
_SIZE_MAX: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """The certificates of one member, or of several under the same CAs.

    Attributes:
        root: what names are relative to.
        authorities: where the CAs are, and perhaps their keys.
        members: one set per member.
    """

    root: Path
    authorities: Path
    members: tuple[PkiFiles, ...]

    @property
    def together(self) -> bool:
        """Whether the CAs lie in the member's own directory."""
        return any(files.path == self.authorities for files in self.members)

    def authority(self, purpose: str) -> Path:
        """Give the CA's certificate of a purpose, which may not be there."""
        return self.authorities / f"{purpose}-ca.crt"

    def trust_files(self, purpose: str) -> tuple[Path, ...]:
        """Give every file by which the certificates of a purpose are verified, CA's first."""
        name = f"{purpose}-ca.crt"
        below = (path for path in certificate_files(self.root) if path.name == name)
        paths = dict.fromkeys((self.authority(purpose), *below))
        return tuple(path for path in paths if path.exists())

    def leaves(self) -> tuple[Path, ...]:
        """Give every certificate that is no CA's, if its key is, or should be, beside it."""
        own = {path for files in self.members for path in (files.server, files.peer)}
        return tuple(
            path
            for path in certificate_files(self.root)
            if path.suffix == ".crt"
            and (path in own or PkiFiles.key_of(path).exists())
            and pki.inspect(path.read_bytes(), str(path))[0].role != "ca"
        )

    def client(self, name: str) -> Path | None:
        """Give the certificate of a client whose key is here, too; None if there is none."""
        for files in (PkiFiles(self.root), *self.members):
            path = files.client(name)
            if path.exists() and PkiFiles.key_of(path).exists():
                return path
        return None

    def name_of(self, certificate: Path) -> str:
        """Give the name by which people know a certificate: ``n1/server``, ``clients/root``."""
        return str(certificate.relative_to(self.root).with_suffix(""))

    def signer_of(self, certificate: Path) -> str:
        """Say which CA of the layout signed a certificate: its purpose, or nothing.

        Raises:
            PkiError: a file cannot be read as what it should be.
        """
        data = certificate.read_bytes()
        for purpose in PURPOSES:
            authority = self.authority(purpose)
            if authority.exists() and pki.signer_of(data, authority.read_bytes()):
                return purpose
        return ""


def find_layout(directory: Path) -> Layout:
    """Say what lies in a directory: a data directory, one member's set, or several sets.

    Raises:
        PkiError: no certificates of a member.
    """
    for root in (directory / "pki", directory):
        if (root / "ca").is_dir():
            sets = [
                PkiFiles(path)
                for path in sorted(root.iterdir())
                if path.is_dir() and path.name != "ca" and _is_set(path)
            ]
            return Layout(root, root / "ca", tuple(sets))
        if _is_set(root):
            beside = root.parent / "ca"
            apart = beside.is_dir() and not any(root.glob("*-ca.key"))
            return Layout(root, beside if apart else root, (PkiFiles(root),))
    raise PkiError(
        f"{directory} holds no member's certificates; name a data directory, the directory that "
        "`trioetcd certs init` wrote, or one member's directory in it"
    )


def _is_set(path: Path) -> bool:
    return (path / "server.crt").exists() or (path / "peer.crt").exists()


def certificate_files(root: Path) -> tuple[Path, ...]:
    """Give the files under a directory, or the file itself, that hold certificates."""
    return tuple(_holding(root, _CERTIFICATE))


def list_files(root: Path) -> tuple[Path, ...]:
    """Give the files under a directory, or the file itself, that hold revocation lists."""
    return tuple(_holding(root, _LIST))


def _holding(root: Path, mark: bytes) -> Iterator[Path]:
    if root.is_dir():
        for path in sorted(root.iterdir()):
            hidden = path.name.startswith(".") or path.name == ARCHIVE
            if not hidden and (path.is_dir() or path.suffix in _CERTIFICATE_SUFFIXES):
                yield from _holding(path, mark)
        return
    if root.stat().st_size <= _SIZE_MAX and mark in root.read_bytes():
        yield root
