"""``certs ca``: look at the CAs, trust more or fewer of them, replace one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import FILE, data_dir_option
from trioetcd.cli.certs.rotate import PURPOSE_ARGUMENT, rotate
from trioetcd.cli.certs.table import print_table
from trioetcd.node import pki_files, rotation
from trioetcd.node.pki_layout import PURPOSES, find_layout
from trioetcd.node.private_file import alone_in, write_private
from trioetcd.pki import PkiError, words_left

__all__ = ["ca"]


@click.group("ca")
def ca() -> None:
    """Look at the CAs, trust more or fewer of them, replace one."""


@ca.command("show")
@data_dir_option
def _show(data_dir: Path) -> None:
    """Say which CAs there are, which one signs, and who trusts them."""
    layout = find_layout(data_dir)
    now = datetime.now(UTC)
    rows = []
    for purpose in PURPOSES:
        authority = layout.authority(purpose)
        signer = pki_files.load_authority(authority) if authority.exists() else None
        first = pki.inspect(signer.certificate, str(authority))[0].fingerprint if signer else ""
        for path in layout.trust_files(purpose):
            for facts in pki.inspect(path.read_bytes(), str(path)):
                signs = "signs" if facts.fingerprint == first and path == authority else ""
                left = words_left(facts.not_after, now)
                rows.append((str(path), facts.common_name, facts.fingerprint[:16], signs, left))
    print_table(("FILE", "CA", "FINGERPRINT", "", "LEFT"), rows)


@ca.group("bundle")
def _bundle() -> None:
    """Trust a CA from elsewhere, or trust one no more."""


@_bundle.command("add")
@PURPOSE_ARGUMENT
@click.argument("file", type=FILE)
@data_dir_option
def _add(purpose: str, file: Path, data_dir: Path) -> None:
    """Trust the CAs in FILE, too, in every directory here."""
    layout = find_layout(data_dir)
    with alone_in(layout.authorities):
        for path in layout.trust_files(purpose):
            before = path.read_bytes()
            after = pki.join_trust(before, file.read_bytes())
            if len(pki.inspect(after, "")) == len(pki.inspect(before, "")):
                click.echo(f"{path}: trusts them already")
                continue
            write_private(path, after)
            click.echo(f"{path}: trusts {len(pki.inspect(after, str(path)))} CAs now")


@_bundle.command("remove")
@PURPOSE_ARGUMENT
@click.argument("fingerprint")
@data_dir_option
def _remove(purpose: str, fingerprint: str, data_dir: Path) -> None:
    """Trust the CA with FINGERPRINT (its beginning will do) no more, in every directory here.

    It is refused while a certificate here is signed by that CA, and while the CA is part of a
    rotation. Members are not asked: use `certs ca rotate` for a CA of this directory.
    """
    layout = find_layout(data_dir)
    wanted = fingerprint.replace(":", "").lower()
    with alone_in(layout.authorities):
        if rotation.load(layout, purpose) is not None:
            raise PkiError(
                f"the {purpose} CA is being replaced; `trioetcd certs ca rotate finish {purpose}` "
                "forgets the old one"
            )
        found = {
            facts.fingerprint: one
            for path in layout.trust_files(purpose)
            for one in pki.split_certificates(path.read_bytes(), str(path))
            for facts in pki.inspect(one, str(path))
            if len(wanted) >= 8 and facts.fingerprint.startswith(wanted)
        }
        if len(found) != 1:
            raise PkiError(
                f"{fingerprint!r} is the fingerprint of no CA here; `trioetcd certs ca show` gives "
                "them, and eight digits are the least"
            )
        [(gone, certificate)] = found.items()
        used = [path for path in layout.leaves() if pki.signer_of(path.read_bytes(), certificate)]
        if used:
            raise PkiError(f"{used[0]} is signed by that CA, so it is still needed")
        for path in layout.trust_files(purpose):
            before = path.read_bytes()
            if gone in {facts.fingerprint for facts in pki.inspect(before, str(path))}:
                write_private(path, pki.without_authority(before, gone))
                click.echo(f"{path}: trusts it no more")


ca.add_command(rotate)
