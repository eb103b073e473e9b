"""``certs csr``: a key stays where it was made, and its certificate is signed elsewhere."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.option import (
    DIRECTORY,
    FILE,
    ROLE,
    authority_options,
    data_dir_option,
    days_option,
    host_option,
    key_option,
    profile_option,
    read_profile,
)
from trioetcd.cli.certs.place import find_signer
from trioetcd.node import pki_files, pki_index
from trioetcd.pki import KeyKind, PkiError, Role, SigningRequest

__all__ = ["csr"]


@click.group("csr")
def csr() -> None:
    """Sign certificates for keys that stay elsewhere.

    For nodes whose key must not travel, and for a CA that is kept on no network.

    \b
    trioetcd certs csr new n1 --host 10.0.0.1            on the node
    trioetcd certs csr show n1.csr                       where the CA is
    trioetcd certs csr sign n1.csr --role server --data-dir certs --approve
    """


@csr.command("new")
@click.argument("name")
@host_option
@key_option
@click.option(
    "--out", type=DIRECTORY, default=Path(), help="Where to write; by default right here."
)
def _new(name: str, hosts: tuple[str, ...], kind: str, out: Path) -> None:
    """Draw a key, and make the request for its certificate: NAME.key and NAME.csr.

    Send the request to who has the CA, and keep the key.
    """
    stem = pki_files.file_name_of(name)
    request_path, key_path = out / f"{stem}.csr", out / f"{stem}.key"
    for path in (request_path, key_path):
        if path.exists():
            raise PkiError(f"{path} is there already; nothing was changed. Move it away first")
    request, key = pki.create_request(name, hosts=hosts, kind=KeyKind(kind))
    pki_files.write_private(key_path, key)
    pki_files.write_private(request_path, request)
    told = pki.read_request(request, str(request_path))
    click.echo(f"{key_path}: stays here")
    click.echo(f"{request_path}: goes to who has the CA, and signs it by `trioetcd certs csr sign`")
    click.echo(f"public key {told.fingerprint}")


@csr.command("show")
@click.argument("file", type=FILE)
def _show(file: Path) -> None:
    """Say what a request asks for, and what of it nobody gets."""
    _print(file, pki.read_request(file.read_bytes(), str(file)))


@csr.command("sign")
@click.argument("file", type=FILE)
@click.option("--role", type=ROLE, required=True, help="What the certificate is for.")
@click.option("--name", help="The name it gets instead of the one asked for.")
@data_dir_option
@authority_options
@host_option
@days_option
@click.option("--out", type=click.Path(path_type=Path), help="The certificate; default: FILE.crt.")
@profile_option
@click.option("--approve", is_flag=True, help="Sign it; without this it is only shown.")
@click.option("--force", is_flag=True, help="Replace a certificate that is there.")
def _sign(
    file: Path,
    role: str,
    name: str | None,
    data_dir: Path,
    authority: Path | None,
    authority_key: Path | None,
    hosts: tuple[str, ...],
    days: int | None,
    out: Path | None,
    profile_file: Path | None,
    *,
    approve: bool,
    force: bool,
) -> None:
    """Show what would be signed, and with --approve sign it.

    Taken from the request are its public key and its name, and for members the hosts. What it
    asks for beyond that, such as the rights of a CA, it never gets: --role decides.
    """
    data = file.read_bytes()
    request = pki.read_request(data, str(file))
    wanted = Role(role)
    target = out or file.with_suffix(".crt")
    _print(file, request)
    given = pki.hosts_to_sign(wanted, request.hosts, hosts)
    click.echo(f"\nIt becomes the {role} {name or request.common_name}, {target}")
    click.echo(f"  standing for {', '.join(given) or 'no host'}")
    if not approve:
        raise PkiError("nothing was signed; compare the public key, and say --approve")
    if target.exists() and not force:
        raise PkiError(f"{target} is there already; nothing was changed (--force replaces it)")
    signer = find_signer(wanted, data_dir, authority, authority_key)
    now = datetime.now(UTC)
    made = pki.sign_request(
        signer.pair,
        wanted,
        data,
        what=str(file),
        name=name or "",
        hosts=hosts,
        now=now,
        profile=read_profile(profile_file),
        days=days,
    )
    pki_index.note(signer.path, wanted, [made])
    pki_files.write_private(target, made)
    click.echo(f"\n{pki.describe(made, now=now)}\n")
    click.echo(f"Bring {target} and {signer.path} to where the key is; check them there:\n")
    words = ["trioetcd", "certs", "verify", str(target), "--ca", str(signer.path)]
    click.echo(f"  {shlex.join([*words, '--role', role, '--key', str(file.with_suffix('.key'))])}")


def _print(file: Path, request: SigningRequest) -> None:
    click.echo(f"{file}: a request for {request.common_name or 'nobody by name'}")
    click.echo(f"  hosts        {', '.join(request.hosts) or 'none'}")
    click.echo(f"  key          {request.key}")
    click.echo(f"  public key   {request.fingerprint}")
    for wish in request.left_out:
        click.echo(f"  NOT given    {wish}")
