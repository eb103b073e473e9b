"""``certs ca rotate``: replace a CA while the cluster runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import trio

from trioetcd import pki
from trioetcd.cli.certs.option import data_dir_option, profile_option, read_profile
from trioetcd.cli.certs.table import print_json, print_table
from trioetcd.client import DisconnectedError, EtcdError, OutcomeUnknownError, open_client
from trioetcd.node import pki_files, rotation
from trioetcd.node.pki_files import PkiFiles
from trioetcd.node.pki_layout import PURPOSES, Layout, find_layout
from trioetcd.node.private_file import alone_in
from trioetcd.node.probe import Place, read_place
from trioetcd.node.renewal import renew_list
from trioetcd.node.rotation import Rotation
from trioetcd.node.rotation_standing import Standing, Told, ask
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import PkiError, State

__all__ = ["PURPOSE_ARGUMENT", "rotate", "stand"]

_READY, _NOT_READY, _FAILED = 0, 1, 2
_ASK_SECONDS: Final = 10.0
PURPOSE_ARGUMENT: Final = click.argument("purpose", type=click.Choice(PURPOSES))
_unasked_option = click.option(
    "--unasked", is_flag=True, help="Do not ask the members: for a cluster that is down."
)


def _places_option(command: click.decorators.FC) -> click.decorators.FC:
    client = click.option("--endpoint", "clients", multiple=True, help="A member's client port.")
    peer = click.option("--peer-endpoint", "peers", multiple=True, help="A member's peer port.")
    return client(peer(command))


@click.group("rotate")
def rotate() -> None:
    """Replace a CA while the cluster runs: start, renew all, finish.

    \b
    trioetcd certs ca rotate start peer --data-dir certs     # a new CA; all directories trust both
      ... give every member its directory ...
    trioetcd certs ca rotate status peer --data-dir certs    # does every member trust it?
    trioetcd certs renew all --data-dir certs                # the new CA signs
      ... give every member its directory ...
    trioetcd certs ca rotate finish peer --data-dir certs    # the old CA is trusted no more
      ... give every member its directory ...

    Each step asks the members before it does anything that they must be ready for, and can be run
    again. `undo` turns round at any point before the end.
    """


@rotate.command("start")
@PURPOSE_ARGUMENT
@data_dir_option
@profile_option
@_places_option
def _start(
    purpose: str,
    data_dir: Path,
    profile_file: Path | None,
    clients: tuple[str, ...],
    peers: tuple[str, ...],
) -> None:
    """Make the new CA, and let every directory here trust both."""
    layout = find_layout(data_dir)
    profile = read_profile(profile_file)
    places = _read_places(clients, peers)
    with alone_in(layout.authorities):
        begun = rotation.begin(
            layout, purpose, now=datetime.now(UTC), profile=profile, places=places
        )
    for word, certificate in (("goes", begun.goes), ("comes", begun.comes)):
        facts = pki.inspect(certificate, "the CA")[0]
        click.echo(f"{word}  {facts.common_name}  {facts.fingerprint}")
    for path in layout.trust_files(purpose):
        click.echo(f"{path}: trusts both")
    if purpose == "client":
        click.echo(
            "\nClients verify members by this CA, too: give every client the new "
            f"{layout.trust_files(purpose)[-1]}."
        )
    _advise_copy(layout)
    click.echo(f"Then: trioetcd certs ca rotate status {purpose} --data-dir {data_dir}")


@rotate.command("status")
@PURPOSE_ARGUMENT
@data_dir_option
@_places_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def _status(
    purpose: str, data_dir: Path, clients: tuple[str, ...], peers: tuple[str, ...], output: str
) -> int:
    """Ask every member which CA its certificate is of, and whom it trusts; change nothing.

    Exit code 0: ready for the next step. 1: not ready. 2: it cannot be said.
    """
    try:
        layout = find_layout(data_dir)
        under_way = rotation.load(layout, purpose)
        places = _read_places(clients, peers)
        if under_way is None:
            return _tell_past(layout, purpose, places, output)
        now = datetime.now(UTC)
        standing = stand(layout, under_way, places, now)
        issuing = rotation.signs(layout, under_way) == under_way.comes
        reasons = rotation.unready(layout, under_way, now=now) if issuing else []
        reasons += standing.missing(new_leaves=issuing)
        command = f"ca rotate finish {purpose}" if issuing else "renew all"
        step = f"trioetcd certs {command} --data-dir {data_dir}"
        if purpose == "client" and not issuing:
            step += " --clients-ready"
    except PkiError as error:
        click.echo(f"trioetcd: {error}", err=True)
        return _FAILED
    except OSError as error:
        click.echo(f"trioetcd: {sentence_of(error)}", err=True)
        return _FAILED
    _print_standing(standing, output, {"ready": not reasons, "reasons": reasons, "next": step})
    if output == "table":
        click.echo()
        for reason in reasons:
            click.echo(f"not yet: {reason}")
        click.echo(f"next: {step}")
    return _NOT_READY if reasons else _READY


def _tell_past(layout: Layout, purpose: str, places: Sequence[Place], output: str) -> int:
    """Say whether anybody still trusts the CA that was forgotten last."""
    now = datetime.now(UTC)
    authority = layout.authority(purpose)
    gone = rotation.archived(layout, purpose)
    current = pki_files.load_authority(authority) if authority.exists() else None
    if gone is None or current is None:
        click.echo(f"the {purpose} CA is not being replaced", err=True)
        return _READY
    standing = ask(
        layout,
        purpose,
        new=current,
        old=gone,
        places=places,
        now=now,
        ask_client_port=_ask_members,
    )
    reasons = [
        f"{answer.member or answer.place} still trusts the CA that was forgotten; give it its "
        "directory"
        for answer in standing.answers
        if answer.trusts_old
    ]
    reasons += standing.missing(new_leaves=True)
    _print_standing(standing, output, {"ready": not reasons, "reasons": reasons, "next": ""})
    if output == "table":
        click.echo()
        for reason in reasons:
            click.echo(f"not yet: {reason}")
        if not reasons:
            click.echo(f"the {purpose} CA has been replaced, and nobody trusts the old one")
    return _NOT_READY if reasons else _READY


@rotate.command("finish")
@PURPOSE_ARGUMENT
@data_dir_option
@_places_option
@_unasked_option
@click.option("--drop-clients", is_flag=True, help="Shut out clients unknown to the new CA.")
def _finish(
    purpose: str,
    data_dir: Path,
    clients: tuple[str, ...],
    peers: tuple[str, ...],
    *,
    unasked: bool,
    drop_clients: bool,
) -> None:
    """Trust the old CA no more, and archive it with its key."""
    layout = find_layout(data_dir)
    now = datetime.now(UTC)
    with alone_in(layout.authorities):
        under_way = _under_way(layout, purpose)
        reasons = rotation.unready(layout, under_way, now=now)
        if not drop_clients:
            reasons += rotation.abandoned(layout, under_way, now=now)
        if not reasons and not unasked:
            places = _read_places(clients, peers)
            reasons += stand(layout, under_way, places, now).missing(new_leaves=True)
        if reasons:
            raise PkiError("not yet, and nothing was changed: " + "; ".join(reasons))
        kept = rotation.end(layout, under_way)
        renew_list(layout, purpose, now=now, early=1.0)
    click.echo(f"the old CA is trusted no more here; it is kept as {kept}, its key beside it")
    _advise_copy(layout)
    click.echo(f"Then: trioetcd certs ca rotate status {purpose} --data-dir {data_dir}")


@rotate.command("undo")
@PURPOSE_ARGUMENT
@data_dir_option
def _undo(purpose: str, data_dir: Path) -> None:
    """Turn round: the CA that was to be forgotten stays, and the other one goes.

    The way back has the same steps: `certs renew all` until every certificate is of the CA that
    stays, then `certs ca rotate finish`.
    """
    layout = find_layout(data_dir)
    with alone_in(layout.authorities):
        turned = rotation.reverse(layout, _under_way(layout, purpose))
    facts = pki.inspect(turned.comes, "the CA")[0]
    click.echo(f"turned round: {facts.common_name} stays")
    click.echo(f"Then: trioetcd certs ca rotate status {purpose} --data-dir {data_dir}")


def stand(layout: Layout, under_way: Rotation, places: Sequence[Place], now: datetime) -> Standing:
    """Ask every member how far it has come with a rotation.

    Raises:
        PkiError: a CA's key is not here to ask with.
    """
    return ask(
        layout,
        under_way.purpose,
        new=rotation.pair_of(layout, under_way, under_way.comes),
        old=rotation.pair_of(layout, under_way, under_way.goes),
        places=(*under_way.places, *places),
        now=now,
        ask_client_port=_ask_members,
    )


def _ask_members(layout: Layout, urls: Sequence[str]) -> Told:
    """Ask at client ports, as root, who the members are; nothing if none tells."""
    certificate, trust = layout.client(pki_files.ROOT), layout.authority("client")
    if certificate is None or not trust.exists():
        return []
    key = PkiFiles.key_of(certificate)

    async def listed() -> Told:
        with trio.fail_after(_ASK_SECONDS):
            async with open_client(urls, cacert=trust, cert=certificate, key=key) as client:
                return [
                    (member.name, member.peer_urls, member.client_urls)
                    for member in await client.member_list()
                ]

    try:
        return trio.run(listed)
    except (EtcdError, DisconnectedError, OutcomeUnknownError, OSError, trio.TooSlowError):
        return []


def _under_way(layout: Layout, purpose: str) -> Rotation:
    under_way = rotation.load(layout, purpose)
    if under_way is None:
        raise PkiError(
            f"the {purpose} CA is not being replaced; `trioetcd certs ca rotate start {purpose}` "
            "begins it"
        )
    return under_way


def _read_places(clients: Sequence[str], peers: Sequence[str]) -> list[Place]:
    return [read_place(text, "client") for text in clients] + [
        read_place(text, "peer") for text in peers
    ]


def _advise_copy(layout: Layout) -> None:
    if layout.together:
        click.echo("\nThe member reads the files by itself.")
    else:
        click.echo(f"\nGive every member its directory below {layout.root}.")


def _print_standing(standing: Standing, output: str, more: dict[str, object]) -> None:
    if output == "json":
        members = [
            {
                "member": answer.member,
                "endpoint": str(answer.place),
                "presents": answer.presents,
                "trusts_new": answer.trusts_new,
                "trusts_old": answer.trusts_old,
                "reason": answer.reason,
            }
            for answer in standing.answers
        ]
        print_json({**more, "members": members})
        return
    print_table(
        ("MEMBER", "ENDPOINT", "PRESENTS", "TRUSTS-OLD", "TRUSTS-NEW"),
        [
            (
                answer.member or "?",
                str(answer.place),
                answer.presents or "nothing",
                {True: "yes", False: "no", None: "?"}[answer.trusts_old],
                "yes" if answer.trusts_new else f"no: {answer.reason}",
            )
            for answer in standing.answers
        ],
        [State.OK if answer.trusts_new else State.CRITICAL for answer in standing.answers],
    )
