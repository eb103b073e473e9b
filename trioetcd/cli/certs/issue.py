"""``certs issue``: a certificate under a CA that is there."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import (
    DIRECTORY,
    authority_options,
    data_dir_option,
    days_option,
    host_option,
    key_option,
    profile_option,
    read_profile,
)
from trioetcd.cli.certs.place import find_place, find_signer, warn_of_near_keys
from trioetcd.node import pki_files, pki_index
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import KeyKind, PkiError, Role

__all__ = ["issue"]

_HELP = {
    Role.CLIENT: """Make a certificate for the client NAME.

    With access control on, NAME is the user it logs in as.

    \b
    trioetcd certs issue client alice --data-dir default.etcd
    trioetcd certs issue client backup-job --user backup --days 30 --data-dir certs
    """,
    Role.SERVER: """Make a certificate for the client listener of the member NAME.

    localhost, 127.0.0.1 and ::1 are among its names without being asked for.

    \b
    trioetcd certs issue server n1 --host 10.0.0.1 --host n1.example.org --data-dir certs
    """,
    Role.PEER: """Make a certificate for the member NAME among its peers.

    localhost, 127.0.0.1 and ::1 are among its names without being asked for.

    \b
    trioetcd certs issue peer n1 --host 10.0.0.1 --data-dir certs
    """,
}


@click.group("issue")
def issue() -> None:
    """Make a certificate under a CA that is there.

    What a certificate may be used for is decided by its role, and by nothing else: a server's to
    be dialled by clients, a peer's to be dialled and to dial, a client's to dial.
    """


def _command(role: Role) -> click.Command:
    """Make the command of a role; only a client's user may be called otherwise than its files."""

    @click.argument("name")
    @data_dir_option
    @authority_options
    @host_option
    @days_option
    @key_option
    @click.option("--out", type=DIRECTORY, help="Write it here instead of where it belongs.")
    @profile_option
    @click.option("--force", is_flag=True, help="Replace a certificate that is there.")
    def run(
        name: str,
        data_dir: Path,
        authority: Path | None,
        authority_key: Path | None,
        hosts: tuple[str, ...],
        days: int | None,
        kind: str,
        out: Path | None,
        profile_file: Path | None,
        *,
        force: bool,
        user: str | None = None,
    ) -> None:
        target = _target(role, name, data_dir, authority, out)
        key = PkiFiles.key_of(target)
        if (target.exists() or key.exists()) and not force:
            raise PkiError(f"{target} is there already; nothing was changed (--force replaces it)")
        signer = find_signer(role, data_dir, authority, authority_key)
        if role is not Role.CLIENT:
            hosts = pki_files.server_hosts(hosts, own=False)
        now = datetime.now(UTC)
        pair = pki.issue(
            signer.pair,
            role,
            user or name,
            hosts=hosts,
            now=now,
            profile=read_profile(profile_file),
            days=days,
            kind=KeyKind(kind),
        )
        # Noted first: what nobody has received may be revoked, what nobody has noted may not.
        pki_index.note(signer.path, role, [pair.certificate])
        pki_files.save_pair(target, pair)
        click.echo(f"{target}\n{key}\n\n{pki.describe(pair.certificate, now=now)}")
        if authority is None:
            warn_of_near_keys(find_place(data_dir))
            _say_next(role, name, data_dir, out)

    if role is Role.CLIENT:
        run = click.option("--user", help="The user it logs in as, if that is not NAME.")(run)
    return click.command(role.value, help=_HELP[role])(run)


def _target(
    role: Role, name: str, data_dir: Path, authority: Path | None, out: Path | None
) -> Path:
    if out is not None:
        stem = pki_files.file_name_of(name) if role is Role.CLIENT else role.value
        return out / f"{stem}.crt"
    if authority is not None:
        raise click.UsageError("with --ca, say with --out where the certificate goes")
    return find_place(data_dir).target(role, name)


def _say_next(role: Role, name: str, data_dir: Path, out: Path | None) -> None:
    if role is Role.CLIENT and out is None:
        words = f"--data-dir {shlex.quote(str(data_dir))} --user {shlex.quote(name)}"
        click.echo(f'\nUse it:\n\n  eval "$(trioetcd certs env {words})"')


for _role in Role:
    issue.add_command(_command(_role))
