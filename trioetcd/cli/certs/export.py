"""``certs export``: a certificate in the form that a browser, a program or Kubernetes takes."""

from __future__ import annotations

import base64
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from trioetcd import pki
from trioetcd.cli.certs.option import FILE, data_dir_option
from trioetcd.cli.certs.place import find_place
from trioetcd.node import pki_files
from trioetcd.node.pki_files import PkiFiles
from trioetcd.pki import PkiError, Role

__all__ = ["export"]


@click.group("export")
def export() -> None:
    """Export a client's certificate for other programs.

    Certificate, key and CA come together, in the form that the others take. What comes out holds
    the key: treat it like the key.
    """


_OBJECT_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_user_argument = click.argument("user")
_force_option = click.option("--force", is_flag=True, help="Replace a file that is there.")


@dataclass(frozen=True, slots=True)
class _Parts:
    certificate: bytes
    key: bytes
    authority: bytes


@export.command("p12")
@_user_argument
@data_dir_option
@click.option("--out", type=click.Path(path_type=Path), help="The file; default: USER.p12.")
@click.option("--password-file", type=FILE, help="Holds the password in its first line.")
@_force_option
def _p12(
    user: str, data_dir: Path, out: Path | None, password_file: Path | None, *, force: bool
) -> None:
    """Write USER.p12 for a browser or a key store, encrypted with a password.

    The password is asked for, or read from a file; a command line is no place for it, since every
    user of the machine can read that.
    """
    parts = _read(user, data_dir)
    target = out or Path(f"{pki_files.file_name_of(user)}.p12")
    _check_free(target, force=force)
    made = pki.export_pkcs12(
        user,
        chain=parts.certificate,
        key=parts.key,
        authorities=parts.authority,
        password=_password(password_file),
    )
    pki_files.write_private(target, made)
    click.echo(f"{target}: import it where it is used, and delete it")


@export.command("bundle")
@_user_argument
@data_dir_option
@click.option("--out", type=click.Path(path_type=Path), help="The file; default: USER.pem.")
@_force_option
def _bundle(user: str, data_dir: Path, out: Path | None, *, force: bool) -> None:
    """Write key, certificate and CA into one PEM file, as curl and HAProxy take it."""
    parts = _read(user, data_dir)
    target = out or Path(f"{pki_files.file_name_of(user)}.pem")
    _check_free(target, force=force)
    pki_files.write_private(target, parts.key + parts.certificate + parts.authority)
    click.echo(f"{target}: key, certificate and CA")


@export.command("k8s-secret")
@_user_argument
@data_dir_option
@click.option("--secret", help="The secret's name; default: trioetcd-USER.")
@click.option("--namespace", help="Its namespace; default: the one kubectl is in.")
@click.option("--out", type=click.Path(path_type=Path), help="A file instead of standard output.")
@_force_option
def _k8s_secret(
    user: str,
    data_dir: Path,
    secret: str | None,
    namespace: str | None,
    out: Path | None,
    *,
    force: bool,
) -> None:
    """Print a Kubernetes secret of the type kubernetes.io/tls, with the CA in it.

    \b
    trioetcd certs export k8s-secret apiserver --data-dir certs | kubectl apply -f -
    """
    parts = _read(user, data_dir)
    metadata = {"name": secret or f"trioetcd-{user}".lower()}
    if not _OBJECT_NAME.fullmatch(metadata["name"]):
        raise PkiError(
            f"Kubernetes takes no name such as {metadata['name']!r}; give one with --secret, of "
            f"small letters, digits and '-'"
        )
    if namespace:
        metadata["namespace"] = namespace
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": "kubernetes.io/tls",
        "data": {
            name: base64.b64encode(data).decode()
            for name, data in (
                ("ca.crt", parts.authority),
                ("tls.crt", parts.certificate),
                ("tls.key", parts.key),
            )
        },
    }
    text = json.dumps(document, indent=2) + "\n"
    if out is not None:
        _check_free(out, force=force)
        pki_files.write_private(out, text.encode())
        click.echo(f"{out}: for `kubectl apply -f`")
    elif sys.stdout.isatty():
        raise PkiError("this would print a private key on your screen; use a pipe, or --out FILE")
    else:
        click.echo(text, nl=False)


def _read(user: str, data_dir: Path) -> _Parts:
    place = find_place(data_dir)
    certificate = place.files.client(user)
    key = PkiFiles.key_of(certificate)
    for path in (certificate, key):
        if not path.exists():
            raise PkiError(
                f"{path} is not there; `trioetcd certs issue client {user}` makes a certificate"
            )
    authority = place.authority(Role.CLIENT)
    return _Parts(certificate.read_bytes(), key.read_bytes(), authority.read_bytes())


def _check_free(path: Path, *, force: bool) -> None:
    if path.exists() and not force:
        raise PkiError(f"{path} is there already; nothing was changed (--force replaces it)")


def _password(path: Path | None) -> bytes:
    if path is not None:
        lines = path.read_bytes().splitlines()
        if not lines or not lines[0]:
            raise PkiError(f"{path} holds no password in its first line")
        return lines[0]
    if not sys.stdin.isatty():
        raise PkiError("there is no terminal to ask for the password; give --password-file FILE")
    answer: str = click.prompt("Password for the file", hide_input=True, confirmation_prompt=True)
    return answer.encode()
