"""``certs crl``: the revocation lists of the CAs: show, make anew, check."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import FILE, authority_options, data_dir_option
from trioetcd.cli.certs.place import Place, find_place, find_signer
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_index import AuthorityFiles
from trioetcd.pki import LIST_DAYS, Index, PkiError, Role

__all__ = ["crl", "distribute", "list_days_option", "say_where"]

list_days_option = click.option(
    "--list-days",
    "days",
    type=click.IntRange(1, 3650),
    default=LIST_DAYS,
    show_default=True,
    help="Days until a newer list is due.",
)


@click.group("crl")
def crl() -> None:
    """Show, renew and check the lists of what is revoked.

    There is one list per CA.

    A list says until when a newer one is due; members use an older one on, and warn. Make it anew
    before that with `crl renew`, and copy it to the members; `certs revoke` does so by itself.
    """


@crl.command("show")
@click.argument("files", nargs=-1, type=FILE)
@data_dir_option
def _show(files: tuple[Path, ...], data_dir: Path) -> None:
    """Say what lists revoke, since when, why, and when newer ones are due."""
    now = datetime.now(UTC)
    for path in files or _lists(find_place(data_dir)):
        authority = _authority_of(path)
        index = pki_index.read(authority) if authority else Index()
        for each in pki.describe_lists(path.read_bytes(), str(path)):
            click.echo(f"{path}: list {each.number} of {each.issuer}")
            click.echo(f"  made         {each.this_update:%Y-%m-%d %H:%M} UTC, {_due(each, now)}")
            click.echo(f"  revokes      {len(each.entries) or 'nobody'}")
            names = {row.serial: f"{row.role} {row.name}" for row in index.issued}
            for serial, since, reason in each.entries:
                whose = names.get(serial, "")
                click.echo(
                    f"    {since:%Y-%m-%d %H:%M}  {reason:<20}  {serial:x}  {whose}".rstrip()
                )


@crl.command("renew")
@data_dir_option
@authority_options
@list_days_option
def _renew(
    data_dir: Path,
    authority: Path | None,
    authority_key: Path | None,
    days: int,
) -> None:
    """Make the lists anew, with a later date, and copy them to the members that are here."""
    now = datetime.now(UTC)
    place = None if authority else find_place(data_dir)
    for role in (Role.PEER, Role.CLIENT):
        path = authority or find_place(data_dir).authority(role)
        if authority is not None and role is Role.PEER:
            continue  # one CA, one list
        if path.exists():
            signer = find_signer(role, data_dir, path, authority_key)
            made = pki_index.publish(path, signer.pair, now=now, days=days)
            say_where(path, made, distribute(path, made, place))


@crl.command("verify")
@click.argument("file", type=FILE)
@click.option("--ca", "authority", type=FILE, help="Whose list it is.")
def _verify(file: Path, authority: Path | None) -> None:
    """Check that a list is its CA's, whole, and not outdated; the exit code is 1 if not."""
    path = authority or _authority_of(file)
    if path is None:
        raise click.UsageError("say with --ca whose list it is")
    now = datetime.now(UTC)
    lists = pki.verify_lists(file.read_bytes(), trust=path.read_bytes(), now=now, what=str(file))
    if lists.warnings:
        raise PkiError("; ".join(lists.warnings))
    for each in lists.lists:
        click.echo(f"{file}: list {each.number} of {each.issuer} is genuine, {_due(each, now)}")


def distribute(authority: Path, made: bytes, place: Place | None) -> list[Path]:
    """Copy a CA's new list to the members' directories; give the copies."""
    if place is None or place.together:
        return []
    name = AuthorityFiles(authority).revocation_list.name
    copies = [files.path / name for files in place.members]
    for copy in copies:
        pki_files.write_private(copy, made)
    return copies


def say_where(authority: Path, made: bytes, copies: list[Path]) -> None:
    """Say where a new list stands, and where it has to go."""
    path = AuthorityFiles(authority).revocation_list
    due = pki.describe_lists(made, str(path))[0].next_update
    click.echo(f"{path}: made anew; the next one is due on {due:%Y-%m-%d}")
    for copy in copies:
        click.echo(f"{copy}: likewise")
    side = "peer" if path.name.startswith("peer") else "client"
    click.echo(f"Members elsewhere need a copy of {path.name} (--{side}-crl-file).")


def _due(each: pki.ListReport | pki.Crl, now: datetime) -> str:
    if each.next_update is None:
        return "without a date for a newer one"
    when = f"{each.next_update:%Y-%m-%d}"
    if now >= each.next_update:
        return f"outdated since {when}: `trioetcd certs crl renew`"
    return f"a newer one is due on {when}"


def _lists(place: Place) -> list[Path]:
    both = (place.authorities.peer_ca, place.authorities.client_ca)
    paths = [AuthorityFiles(path).revocation_list for path in both]
    found = [path for path in paths if path.exists()]
    if not found:
        raise PkiError(f"{place.authorities.path} holds no revocation list; `crl renew` makes one")
    return found


def _authority_of(path: Path) -> Path | None:
    """Give the CA beside a list, by the list's name."""
    stem = path.stem.removesuffix("-crl")
    name = "ca.crt" if path.stem == "crl" else f"{stem}-ca.crt"
    authority = path.with_name(name)
    return authority if authority.exists() else None
