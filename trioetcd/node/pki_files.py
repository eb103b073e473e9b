"""The certificates that a member makes for itself, as files under ``<data-dir>/pki``.

::

    peer-ca.crt  peer-ca.key        signs members, and nothing else
    client-ca.crt  client-ca.key    signs the client listener and the clients
    server.crt  server.key          the client listener
    peer.crt  peer.key              this member among its peers
    clients/root.crt  clients/root.key
    peer-ca.index.json  client-ca.index.json    what the CAs have issued and revoked
    client-crl.pem                  revoked clients
    endpoints                       where clients find the member; written at its start

Directories are 0700 and files 0600. A file that is there is never replaced, but for a leaf that
is due for renewal. The first set appears all at once, by the rename of a directory.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from trioetcd import pki
from trioetcd.node import pki_index
from trioetcd.node.pair_files import replace_pair
from trioetcd.node.private_file import sync_directory, write_private
from trioetcd.pki import CertifiedKey, PkiError, Profile, Role

__all__ = [
    "DEFAULT_ENDPOINTS",
    "ROOT",
    "PkiFiles",
    "create_member",
    "ensure",
    "file_name_of",
    "load_authority",
    "read_endpoints",
    "save_pair",
    "server_hosts",
    "write_endpoints",
    "write_private",
]

_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_NAME_MAX: Final = 64
DEFAULT_ENDPOINTS: Final = "https://localhost:2379"
ROOT: Final = "root"


@dataclass(frozen=True, slots=True)
class PkiFiles:
    """Where each file of a set stands.

    Attributes:
        path: the set's directory.
    """

    path: Path

    @property
    def peer_ca(self) -> Path:
        """The CA of the members."""
        return self.path / "peer-ca.crt"

    @property
    def client_ca(self) -> Path:
        """The CA of the client listener and of the clients."""
        return self.path / "client-ca.crt"

    @property
    def server(self) -> Path:
        """The client listener's certificate; its key stands beside it."""
        return self.path / "server.crt"

    @property
    def peer(self) -> Path:
        """The member's certificate among its peers."""
        return self.path / "peer.crt"

    @property
    def client_crl(self) -> Path:
        """The list of revoked client certificates."""
        return self.path / "client-crl.pem"

    @property
    def endpoints(self) -> Path:
        """Where clients find the member."""
        return self.path / "endpoints"

    def client(self, name: str) -> Path:
        """Give the certificate of a client."""
        return self.path / "clients" / f"{file_name_of(name)}.crt"

    @staticmethod
    def key_of(certificate: Path) -> Path:
        """Give the key that belongs to a certificate's file."""
        return certificate.with_suffix(".key")


def file_name_of(name: str) -> str:
    """Give `name` if it can be a file's name.

    Raises:
        PkiError: it cannot, such as ``../root``.
    """
    if not name or name.startswith(".") or set(name) & set("/\\\0\n") or not name.isprintable():
        raise PkiError(f"{name!r} cannot be the name of a file; use letters, digits, '-' and '.'")
    return name


def save_pair(certificate: Path, pair: CertifiedKey) -> None:
    """Write a certificate and its key; the certificate last, so that its presence means both.

    Those that are there are replaced together, by one rename.

    Raises:
        OSError: the disk does not do it.
    """
    key = PkiFiles.key_of(certificate)
    if certificate.exists() or key.exists():
        replace_pair(certificate, key, pair)
        return
    write_private(key, pair.key)
    write_private(certificate, pair.certificate)


def server_hosts(hosts: Sequence[str], *, own: bool = True) -> tuple[str, ...]:
    """Give the names of a server certificate: loopback's, then those of the URLs.

    Args:
        hosts: of the URLs.
        own: whether it is for this machine, and its host name belongs to it.
    """
    name = socket.gethostname() if own else ""
    here = (name,) if name and len(name) <= _NAME_MAX and name.isascii() else ()
    return tuple(dict.fromkeys((*_LOCAL, *here, *hosts)))


def load_authority(certificate: Path) -> CertifiedKey | None:
    """Read a CA with its key; None when the key is kept elsewhere.

    While a CA is replaced, the file holds the old and the new one; that to which the key belongs
    comes first, and signs.

    Raises:
        PkiError: the certificate is missing or cannot be opened.
    """
    key = PkiFiles.key_of(certificate)
    try:
        if not key.exists():
            return None
        signs = key.read_bytes()
        return CertifiedKey(pki.signer_first(certificate.read_bytes(), signs), signs)
    except OSError as error:
        raise PkiError(f"cannot read {error.filename}: {error.strerror}") from None


def ensure(
    path: Path,
    *,
    name: str,
    hosts: Sequence[str],
    now: datetime,
    profile: Profile,
    client: bool = True,
    peer: bool = True,
) -> tuple[str, ...]:
    """Make the set of files when it is missing, and renew leaves that are due.

    Args:
        path: the set's directory, usually ``<data-dir>/pki``.
        name: the member's name.
        hosts: of the listen and advertise URLs.
        now: the time.
        profile: lifetimes.
        client: whether the client listener's part is wanted.
        peer: whether the peers' part is wanted.

    Returns:
        Sentences for the log: what was made, renewed, or cannot be.

    Raises:
        PkiError: a file is missing that cannot be made, or cannot be used.
        OSError: the disk does not do it.
    """
    wanted = _Wanted(name, server_hosts(hosts), now, profile, client=client, peer=peer)
    if path.exists():
        if path.stat().st_mode & 0o077:
            path.chmod(0o700)
        return tuple(_fill(PkiFiles(path), wanted))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _fill(PkiFiles(beside), wanted)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    sync_directory(path.parent)
    return (f"made certificate authorities and certificates under {path}",)


@dataclass(frozen=True, slots=True)
class _Wanted:
    name: str
    hosts: tuple[str, ...]
    now: datetime
    profile: Profile
    client: bool
    peer: bool


def _fill(files: PkiFiles, wanted: _Wanted) -> list[str]:
    """Make what is missing in a directory and renew what is due."""
    said: list[str] = []
    if wanted.peer:
        said += _ensure_authority("peer", files.peer_ca, files.peer, wanted)
        said += _ensure_leaf(Role.PEER, files.peer_ca, files.peer, wanted)
    if wanted.client:
        said += _ensure_authority("client", files.client_ca, files.server, wanted)
        said += _ensure_leaf(Role.SERVER, files.client_ca, files.server, wanted)
        said += _ensure_leaf(Role.CLIENT, files.client_ca, files.client(ROOT), wanted)
        client_ca = load_authority(files.client_ca)
        if client_ca is not None:
            said += _ensure_list(files.client_ca, client_ca, files.client_crl, wanted.now)
    return said


def _ensure_list(authority: Path, signer: CertifiedKey, path: Path, now: datetime) -> list[str]:
    """Make the CA's list of revoked certificates, or make it anew when that is due."""
    if not path.exists():
        pki_index.publish(authority, signer, now=now, days=None)
        return []
    if not pki_index.list_is_due(authority, now):
        return []
    pki_index.publish(authority, signer, now=now, days=pki.LIST_DAYS)
    return [f"renewed {path}, since a newer one was due"]


def _ensure_authority(purpose: str, authority: Path, leaf: Path, wanted: _Wanted) -> list[str]:
    """Make a CA if neither it nor anything it signed is there."""
    if authority.exists():
        return []
    if leaf.exists():
        raise PkiError(
            f"{authority} is missing, and without it nobody can be verified; put it back, or "
            f"move {authority.parent} away to have new certificates made",
        )
    made = pki.create_authority(purpose, now=wanted.now, profile=wanted.profile)
    save_pair(authority, made)
    return [f"made {authority}"]


def _ensure_leaf(role: Role, authority: Path, leaf: Path, wanted: _Wanted) -> list[str]:
    """Issue a leaf that is missing, renew one that is due, and say so."""
    client = role is Role.CLIENT
    hosts = () if client else wanted.hosts
    name = ROOT if client else wanted.name
    if client and leaf.parent.exists() and not (leaf.exists() and PkiFiles.key_of(leaf).exists()):
        return []  # the administrator took it to where it is used
    reason = "is missing"
    if leaf.exists():
        reason = _renewal_reason(role, authority, leaf, hosts, wanted.now)
    if not reason:
        return []
    signer = load_authority(authority)
    if signer is None and not leaf.exists():
        raise PkiError(f"{leaf} is missing, and so is the key of {authority} to make it")
    if signer is None:
        return [f"{leaf} {reason}, but the key of {authority} is not here to renew it"]
    now, profile = wanted.now, wanted.profile
    if not leaf.exists():
        made = pki.issue(signer, role, name, hosts=hosts, now=now, profile=profile)
        pki_index.note(authority, role, [made.certificate])
        save_pair(leaf, made)
        return [f"made {leaf}"]
    try:
        pair = pki.renew(signer, role, leaf.read_bytes(), hosts=hosts, now=now, profile=profile)
    except PkiError as error:
        raise PkiError(
            f"{leaf} cannot be renewed: {error}; put it back, or move it and its key away to have "
            f"new ones made"
        ) from None
    pki_index.note(authority, role, [pair.certificate])
    save_pair(leaf, pair)
    return [f"renewed {leaf}, since it {reason}"]


def _renewal_reason(
    role: Role,
    authority: Path,
    leaf: Path,
    hosts: Sequence[str],
    now: datetime,
) -> str:
    """Say why a leaf must be made anew; nothing when it is good for now."""
    try:
        bundle = pki.verify(
            role,
            chain=leaf.read_bytes(),
            key=PkiFiles.key_of(leaf).read_bytes(),
            issuers=authority.read_bytes(),
            now=now,
            what=str(leaf),
        )
    except FileNotFoundError:
        return "has no key"
    except PkiError as error:
        return f"cannot be used ({error})"
    if bundle.renewal_due(now):
        return f"ends on {bundle.not_after:%Y-%m-%d}"
    missing = pki.uncovered_hosts(bundle, hosts)
    return f"does not name {', '.join(missing)}" if missing else ""


def create_member(
    path: Path,
    *,
    name: str,
    hosts: Sequence[str],
    peer_ca: CertifiedKey,
    client_ca: CertifiedKey,
    now: datetime,
    profile: Profile,
    root_client: bool = True,
) -> None:
    """Make what one member needs, signed by the given CAs; their keys are not written.

    With `root_client` the user root gets a certificate too, in the member's directory.

    Raises:
        PkiError: the name or a host cannot stand in a certificate.
        OSError: the disk does not do it.
    """
    files = PkiFiles(path)
    write_private(files.peer_ca, peer_ca.certificate)
    write_private(files.client_ca, client_ca.certificate)
    for role, signer, leaf in (
        (Role.SERVER, client_ca, files.server),
        (Role.PEER, peer_ca, files.peer),
    ):
        save_pair(leaf, pki.issue(signer, role, name, hosts=hosts, now=now, profile=profile))
    if root_client:
        root = pki.issue(client_ca, Role.CLIENT, ROOT, now=now, profile=profile)
        save_pair(files.client(ROOT), root)
    write_private(files.client_crl, pki.revocation_list(client_ca, now=now))


def write_endpoints(path: Path, endpoints: Sequence[str]) -> None:
    """Note where clients find the member, for ``trioetcd certs env``.

    Raises:
        OSError: the disk does not do it.
    """
    write_private(PkiFiles(path).endpoints, (",".join(endpoints) + "\n").encode())


def read_endpoints(path: Path) -> str:
    """Give the endpoints that the member noted, comma-separated; the default if it did not."""
    try:
        return PkiFiles(path).endpoints.read_text(encoding="utf-8").strip() or DEFAULT_ENDPOINTS
    except (OSError, UnicodeDecodeError):
        return DEFAULT_ENDPOINTS
