"""What a doctor looks at: the certificates of directories, or those of a member's settings."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trioetcd.node import pki_files
from trioetcd.node.config import Config, parse
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import PURPOSES, Layout, list_files
from trioetcd.node.rotation import load
from trioetcd.node.rotation_standing import CONFIG_FILE
from trioetcd.pki import Role, State

__all__ = ["Examined", "Finding", "Held", "of_config", "of_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        state: OK for a remark.
        where: the file, or the port.
        sentence: what is wrong.
        remedy: the command that mends it.
    """

    state: State
    where: str
    sentence: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A certificate in use: its file, and what it must be.

    Attributes:
        role: what for.
        certificate: its file.
        key: its key's file.
        trust: the CAs of which one must have signed it; None leaves that open.
        hosts: what it must name.
        renewal: the command that makes its successor.
    """

    role: Role
    certificate: Path
    key: Path
    trust: Path | None
    hosts: tuple[str, ...]
    renewal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """Everything that is looked at.

    Attributes:
        held: certificates with keys.
        trusts: files of CAs: pairs of the peers' and the clients', for each member.
        lists: revocation lists, each with the CAs whose they may be.
        server_directories: where members' keys lie, and a CA's key should not.
        together: whether CAs and the member's keys lie together, as a single member has them.
        remarks: findings that were made on the way.
    """

    held: tuple[Held, ...]
    trusts: tuple[tuple[Path, Path], ...]
    lists: tuple[tuple[Path, Path], ...]
    server_directories: tuple[Path, ...]
    together: bool
    remarks: tuple[Finding, ...] = ()


def of_layout(layout: Layout, data_dir: Path) -> Examined:
    """Give what is to be looked at in directories.

    Args:
        layout: what they hold.
        data_dir: how commands name it.
    """
    where = shlex.quote(str(data_dir))
    held = []
    for path in layout.leaves():
        files = PkiFiles(path.parent)
        role = {files.server: Role.SERVER, files.peer: Role.PEER}.get(path, Role.CLIENT)
        purpose = "peer" if role is Role.PEER else "client"
        own = files.path / f"{purpose}-ca.crt"
        held.append(
            Held(
                role=role,
                certificate=path,
                key=PkiFiles.key_of(path),
                trust=own if own.exists() else layout.authority(purpose),
                hosts=() if role is Role.CLIENT else _hosts(files.path, role),
                renewal=f"trioetcd certs renew {layout.name_of(path)} --data-dir {where}",
            )
        )
    return Examined(
        held=tuple(held),
        trusts=tuple(
            (files.peer_ca, files.client_ca)
            for files in layout.members
            if files.peer_ca.exists() and files.client_ca.exists()
        ),
        lists=tuple(
            (path, path.with_name(path.name.replace("-crl.pem", "-ca.crt")))
            for path in list_files(layout.root)
        ),
        server_directories=tuple(files.path for files in layout.members),
        together=layout.together,
        remarks=tuple(_rotations(layout, where)),
    )


def _rotations(layout: Layout, where: str) -> Iterator[Finding]:
    for purpose in PURPOSES:
        under_way = load(layout, purpose)
        if under_way is not None:
            yield Finding(
                state=State.OK,
                where=str(layout.authority(purpose)),
                sentence=f"the {purpose} CA is being replaced since {under_way.started:%Y-%m-%d}",
                remedy=f"trioetcd certs ca rotate status {purpose} --data-dir {where}",
            )


def _hosts(directory: Path, role: Role) -> tuple[str, ...]:
    """Give what a member's certificate must name, by what lies beside it."""
    config_file = directory / CONFIG_FILE
    if config_file.exists():
        config = parse([f"--config-file={config_file}"], {})
        peer = role is Role.PEER
        urls = config.initial_advertise_peer_urls if peer else config.advertise_client_urls
        return tuple(dict.fromkeys(url.host for url in urls if url.host))
    if role is Role.SERVER and (directory / "endpoints").exists():
        texts = pki_files.read_endpoints(directory).split(",")
        parts = [text.removeprefix("https://").rpartition(":")[0] for text in texts]
        return tuple(part.strip("[]") for part in parts if part)
    return ()


def of_config(config: Config, data_dir: Path) -> Examined:
    """Give what is to be looked at by a member's settings.

    Args:
        config: the settings.
        data_dir: how commands name the directory of the certificates.
    """
    own = PkiFiles(config.pki_path)
    client = (
        (own.server, PkiFiles.key_of(own.server), own.client_ca)
        if config.client_tls_generated
        else _given(config.cert_file, config.key_file, config.trusted_ca_file)
    )
    peer = (
        (own.peer, PkiFiles.key_of(own.peer), own.peer_ca)
        if config.peer_tls_generated
        else _given(config.peer_cert_file, config.peer_key_file, config.peer_trusted_ca_file)
    )
    held = []
    for role, (certificate, key, trust), urls in (
        (Role.SERVER, client, config.advertise_client_urls),
        (Role.PEER, peer, config.initial_advertise_peer_urls),
    ):
        held.append(
            Held(
                role=role,
                certificate=certificate,
                key=key,
                # Clients may know another CA than the one that signs clients.
                trust=trust if role is Role.PEER or config.client_tls_generated else None,
                hosts=tuple(
                    dict.fromkeys(
                        url.host for url in urls if role is Role.PEER or url.scheme == "https"
                    )
                ),
                renewal=f"trioetcd certs renew {shlex.quote(str(certificate))} "
                f"--data-dir {shlex.quote(str(data_dir))}",
            )
        )
    lists = [
        (Path(text), trust)
        for text, trust in (
            (config.client_crl_file, client[2]),
            (config.peer_crl_file, peer[2]),
        )
        if text and trust is not None
    ]
    both = [trust for trust in (peer[2], client[2]) if trust is not None]
    return Examined(
        held=tuple(held),
        trusts=((both[0], both[1]),) if len(both) == 2 else (),
        lists=tuple(lists),
        server_directories=tuple(dict.fromkeys((client[1].parent, peer[1].parent))),
        together=config.client_tls_generated and config.peer_tls_generated,
    )


def _given(certificate: str, key: str, trust: str) -> tuple[Path, Path, Path | None]:
    return Path(certificate), Path(key or certificate), Path(trust) if trust else None
