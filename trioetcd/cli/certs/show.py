"""``certs show`` and ``certs fingerprint``: certificates in words, of files and listeners."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from trioetcd import pki
from trioetcd.cli.certs.endpoint import fetch_chain, read_endpoint
from trioetcd.pki import PkiError

__all__ = ["fingerprint", "read_source", "show"]

_OTHERS = {
    b"CERTIFICATE REQUEST-----": "is a signing request; `trioetcd certs csr show` reads it",
    b"BEGIN X509 CRL-----": "is a revocation list; `trioetcd certs crl show` reads it",
    b"PRIVATE KEY-----": "is a private key, which nobody should be shown",
}


def read_source(source: str) -> tuple[bytes, ...]:
    """Give the certificates (PEM) of a file or of a listener, the leaf first.

    Raises:
        PkiError: there are none.
    """
    path = Path(source)
    endpoint = None if path.exists() else read_endpoint(source)
    if endpoint is not None:
        return fetch_chain(*endpoint)
    if not path.exists():
        raise PkiError(f"{source} is no file that is there, and no HOST:PORT")
    data = path.read_bytes()
    if b"-----BEGIN CERTIFICATE-----" not in data:
        for mark, sentence in _OTHERS.items():
            if mark in data:
                raise PkiError(f"{source} {sentence}")
    return pki.split_certificates(data, source)


@click.command("show")
@click.argument("sources", nargs=-1, required=True, metavar="(FILE | HOST:PORT)...")
@click.option("--chain", is_flag=True, help="Every certificate, not the first alone.")
@click.option("--pem", is_flag=True, help="As PEM instead of in words.")
def show(sources: tuple[str, ...], *, chain: bool, pem: bool) -> None:
    """Say in words what certificates are, for whom, and until when.

    Of a listener the certificate is shown that it sends to everybody; nothing about it is
    believed or checked (`trioetcd certs verify` does that).

    \b
    trioetcd certs show certs/n1/server.crt
    trioetcd certs show --chain 10.0.0.1:2379
    """
    now = datetime.now(UTC)
    for source in sources:
        found = read_source(source)
        for certificate in found if chain else found[:1]:
            if pem:
                click.echo(certificate.decode(), nl=False)
            else:
                click.echo(f"{source}: {pki.describe(certificate, now=now)}")


@click.command("fingerprint")
@click.argument("sources", nargs=-1, required=True, metavar="(FILE | HOST:PORT)...")
def fingerprint(sources: tuple[str, ...]) -> None:
    """Print the SHA-256 fingerprints of certificates.

    They look as openssl prints them. Compare the fingerprint of a CA by another way than the one
    it came by.
    """
    for source in sources:
        click.echo(f"{pki.fingerprint(read_source(source)[0])}  {source}")
