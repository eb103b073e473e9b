"""``certs revoke``: a certificate counts no more."""

from __future__ import annotations

import re
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.cli.certs.crl import distribute, list_days_option, say_where
from trioetcd.cli.certs.option import FILE, ROLE, authority_options, data_dir_option
from trioetcd.cli.certs.place import Place, find_place, find_signer
from trioetcd.node import pki_index
from trioetcd.pki import Issued, PkiError, RevocationReason, Role

__all__ = ["revoke"]

_REASONS: Final = {
    re.sub(r"(?=[A-Z])", "-", each.value).lower(): each.value for each in RevocationReason
}


@click.command("revoke")
@click.argument("name", required=False)
@click.option("--serial", help="By its number, hexadecimal as `certs show` prints it.")
@click.option("--cert", "certificate", type=FILE, help="By the certificate itself.")
@click.option("--role", type=ROLE, help="Which of the certificates of that name.")
@click.option(
    "--reason",
    type=click.Choice(list(_REASONS)),
    default="unspecified",
    show_default=True,
    help="Why; it stands in the list for everyone to read.",
)
@data_dir_option
@authority_options
@list_days_option
def revoke(
    name: str | None,
    serial: str | None,
    certificate: Path | None,
    role: str | None,
    reason: str,
    data_dir: Path,
    authority: Path | None,
    authority_key: Path | None,
    days: int,
) -> None:
    """Revoke certificates: by name, serial or file.

    By NAME every one is revoked that is still good. The CA's revocation list is made anew, and
    copied to the members' directories that are here. Members that run with it end the connections
    of who is revoked. It cannot be taken back: give NAME a new certificate by `certs issue`.

    \b
    trioetcd certs revoke alice --reason key-compromise --data-dir certs
    trioetcd certs revoke --cert stolen.crt --data-dir certs
    """
    if sum(given is not None for given in (name, serial, certificate)) != 1:
        raise click.UsageError("say whose certificate: NAME, or --serial, or --cert FILE")
    place = None if authority else find_place(data_dir)
    authorities = [authority] if authority else _authorities(place)
    found: dict[Path, list[Issued]] = {}
    for path in authorities:
        if certificate is not None:
            entries = _by_certificate(path, certificate)
        elif serial is not None:
            entries = _by_serial(path, serial)
        else:
            entries = _by_name(path, name or "", place)
        found[path] = [entry for entry in entries if role in {None, entry.role}]
    now = datetime.now(UTC)
    _check_found(found, name or serial or str(certificate), now)
    for path, entries in found.items():
        good = [entry for entry in entries if entry.revoked is None and entry.not_after > now]
        if good:
            signed_by = Role.PEER if place and path == place.authorities.peer_ca else Role.CLIENT
            signer = find_signer(signed_by, data_dir, path, authority_key)
            made = pki_index.revoke(
                path, signer.pair, good, reason=_REASONS[reason], now=now, days=days
            )
            for entry in good:
                click.echo(f"revoked {entry.role} {entry.name}, serial {entry.serial:x}")
            say_where(path, made, distribute(path, made, place))
    _say_next(found, data_dir)


def _authorities(place: Place | None) -> list[Path]:
    assert place is not None
    both = (place.authorities.peer_ca, place.authorities.client_ca)
    return [path for path in both if path.exists()]


def _by_certificate(authority: Path, certificate: Path) -> list[Issued]:
    data = certificate.read_bytes()
    usage = pki.inspect(data, str(certificate))[0].role
    role = Role(usage) if usage in {each.value for each in Role} else None
    try:
        entry = pki.entry_of(data, role, authority=authority.read_bytes())
    except PkiError:
        return []  # another CA's
    return [pki_index.read(authority).find(entry.authority, entry.serial) or entry]


def _by_serial(authority: Path, serial: str) -> list[Issued]:
    try:
        number = int(serial.replace(":", ""), 16)
    except ValueError:
        raise click.UsageError(f"{serial!r} is no hexadecimal number") from None
    return [row for row in pki_index.read(authority).issued if row.serial == number]


def _by_name(authority: Path, name: str, place: Place | None) -> list[Issued]:
    """Give what the index has of that name, and the client's file where that is not noted.

    What was signed by CAs that are trusted no more counts no more, and is left out.
    """
    trusted = pki.marks_of(authority.read_bytes())
    index = pki_index.read(authority)
    rows = [row for row in index.issued if row.name == name and row.authority in trusted]
    if place is None or authority != place.authorities.client_ca:
        return rows
    path = place.files.client(name)
    if path.exists():
        rows += [row for row in _by_certificate(authority, path) if row not in rows]
    return rows


def _check_found(found: dict[Path, list[Issued]], what: str, now: datetime) -> None:
    rows = [entry for entries in found.values() for entry in entries]
    if not rows:
        raise PkiError(
            f"no certificate of {what} is known here, or none that this CA signed; nothing was "
            f"changed. Give the certificate itself with --cert, or look with `trioetcd certs list`"
        )
    if all(row.revoked is not None for row in rows):
        raise PkiError(f"{what} is revoked already, since {rows[-1].revoked:%Y-%m-%d %H:%M} UTC")
    if all(row.not_after <= now for row in rows if row.revoked is None):
        raise PkiError(f"{what} has no certificate that is still good; nothing was changed")
    roles = {row.role for row in rows if row.revoked is None}
    if Role.CLIENT.value in roles and roles & {Role.PEER.value, Role.SERVER.value}:
        raise PkiError(
            f"both a member and a client are called {what}; say with --role which certificate"
        )


def _say_next(found: dict[Path, list[Issued]], data_dir: Path) -> None:
    roles = {entry.role for entries in found.values() for entry in entries}
    if Role.CLIENT.value not in roles:
        click.echo(
            "\nIf its machine is in other hands, remove the member too: `etcdctl member remove`."
        )
        return
    names = sorted({entry.name for entries in found.values() for entry in entries})
    for name in names:
        words = f"{shlex.quote(name)} --force --data-dir {shlex.quote(str(data_dir))}"
        click.echo(f"\nA new certificate, if it is to go on: trioetcd certs issue client {words}")
