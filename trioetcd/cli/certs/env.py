"""``certs env``: what etcdctl needs to know, for a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from trioetcd.cli.certs.option import data_dir_option
from trioetcd.cli.certs.place import find_place
from trioetcd.node import pki_files
from trioetcd.pki import PkiError, Role

__all__ = ["env"]


@click.command("env")
@data_dir_option
@click.option("--user", default=pki_files.ROOT, show_default=True, help="Whose certificate.")
@click.option("--endpoints", help="Instead of those that the member noted at its start.")
def env(data_dir: Path, user: str, endpoints: str | None) -> None:
    """Print what etcdctl needs to know, for a shell.

    \b
    eval "$(trioetcd certs env)"
    """
    place = find_place(data_dir)
    files = place.files
    authority = files.client_ca if files.client_ca.exists() else place.authority(Role.CLIENT)
    certificate = files.client(user)
    key = files.key_of(certificate)
    missing = [path for path in (authority, certificate, key) if not path.exists()]
    if missing:
        raise PkiError(
            f"{missing[0]} is not there; make a certificate with "
            f"`trioetcd certs issue client {shlex.quote(user)} "
            f"--data-dir {shlex.quote(str(data_dir))}`",
        )
    for name, value in (
        ("ETCDCTL_ENDPOINTS", endpoints or pki_files.read_endpoints(files.path)),
        ("ETCDCTL_CACERT", str(authority.resolve())),
        ("ETCDCTL_CERT", str(certificate.resolve())),
        ("ETCDCTL_KEY", str(key.resolve())),
    ):
        click.echo(f"export {name}={shlex.quote(value)}")
