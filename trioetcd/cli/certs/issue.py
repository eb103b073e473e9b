"""``certs issue``: a certificate under a CA that is there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import data_dir_option, profile_option, read_profile
from trioetcd.cli.certs.place import authority_near, find_set
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError, Role

__all__ = ["issue"]


@click.group("issue")
def issue() -> None:
    """Make a certificate under a CA that is there."""


@issue.command("client")
@click.argument("name")
@data_dir_option
@profile_option
@click.option("--force", is_flag=True, help="Replace a certificate of that name.")
def _issue_client(name: str, data_dir: Path, profile_file: Path | None, *, force: bool) -> None:
    """Make a certificate for the client NAME; with access control on, NAME is its user."""
    files = PkiFiles(find_set(data_dir))
    target = files.client(name)
    if (target.exists() or files.key_of(target).exists()) and not force:
        raise PkiError(f"{target} is there already; nothing was changed (--force replaces it)")
    authority = pki_files.load_authority(authority_near(files))
    if authority is None:
        raise PkiError(f"the key of {files.client_ca} is not here to sign with")
    now = datetime.now(UTC)
    profile = read_profile(profile_file)
    pair = pki.issue(authority, Role.CLIENT, name, now=now, profile=profile)
    pki_files.save_pair(target, pair)
    click.echo(f"{target}\n{files.key_of(target)}\n\n{pki.describe(pair.certificate, now=now)}")
