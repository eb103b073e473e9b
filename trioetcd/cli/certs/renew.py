"""``certs renew``: successors for certificates, once or for ever."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import SystemRandom
from typing import Final

import click
import trio

from trioetcd import pki
from trioetcd.cli.certs.option import data_dir_option, profile_option, read_profile
from trioetcd.cli.certs.rotate import stand
from trioetcd.cli.certs.table import print_json, rfc3339
from trioetcd.node import rotation
from trioetcd.node.pki_layout import PURPOSES, Layout, find_layout
from trioetcd.node.private_file import alone_in
from trioetcd.node.renewal import Due, choose, next_due, renew_leaf, renew_list
from trioetcd.node.renewal_daemon import JITTER_SHARE, keep_renewed
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import PkiError, Profile, words_left

__all__ = ["renew"]

_RENEWED, _NOT_NEEDED, _FAILED = 0, 1, 2
_SHELL: Final = "/bin/sh"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """What was asked for."""

    data_dir: Path
    names: tuple[str, ...]
    if_needed: bool
    before: timedelta | None
    keep_key: bool
    dry_run: bool
    profile: Profile
    early: float
    clients_ready: bool
    unasked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What became of one certificate or revocation list."""

    name: str
    outcome: str
    sentence: str
    ends: datetime | None = None


@click.command("renew")
@click.argument("names", nargs=-1, metavar="[all|NAME...]")
@data_dir_option
@profile_option
@click.option("--if-needed", is_flag=True, help="Only what is due; exit code 1 if nothing is.")
@click.option("--before", help="Due with less left than this: 30d, 12h.  [default: a third]")
@click.option(
    "--rekey/--keep-key",
    default=True,
    show_default=True,
    help="Draw a new key, so that one that leaked unnoticed is of no use any more; or keep it.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be done; do nothing.")
@click.option("--daemon", is_flag=True, help="Renew what is due, for ever; implies --if-needed.")
@click.option("--exec", "command", help="With --daemon: what a shell is to do after a renewal.")
@click.option(
    "--clients-ready",
    is_flag=True,
    help="While the client CA is replaced: every client has the new client-ca.crt.",
)
@click.option("--unasked", is_flag=True, help="While a CA is replaced: the cluster is down.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def renew(
    names: tuple[str, ...],
    data_dir: Path,
    profile_file: Path | None,
    before: str | None,
    command: str | None,
    output: str,
    *,
    if_needed: bool,
    rekey: bool,
    dry_run: bool,
    daemon: bool,
    clients_ready: bool,
    unasked: bool,
) -> int:
    """Put the successor of certificates in their place: all of them, a member's, or single ones.

    Names, usages and everything else stays, but for the dates. Key and certificate are replaced
    together, by one rename; what was there before stays in a hidden directory beside them until
    the next renewal. A member reads its new certificates by itself. Revocation lists that are due
    are signed anew, too.

    While a CA is replaced (`certs ca rotate`), `renew all` asks every member whether it trusts the
    new one; if all do, the new one signs from then on, and until then the old one.

    Exit code 0: renewed. 1: nothing was due (with --if-needed). 2: something could not be renewed.

    \b
    trioetcd certs renew all --data-dir certs
    trioetcd certs renew n1 clients/alice --data-dir certs --if-needed
    trioetcd certs renew all --data-dir certs --daemon --exec 'rsync -a certs/n1/ n1:/etc/trioetcd'
    """
    try:
        if command and not daemon:
            raise click.UsageError("--exec needs --daemon; a shell can do it after this command")
        wish = _Wish(
            data_dir=data_dir,
            names=names or ("all",),
            if_needed=if_needed or daemon,
            before=None if before is None else pki.read_span(before),
            keep_key=not rekey,
            dry_run=dry_run,
            profile=read_profile(profile_file),
            early=SystemRandom().random() * JITTER_SHARE if daemon else 0.0,
            clients_ready=clients_ready,
            unasked=unasked,
        )
        if daemon:
            return trio.run(_stay, wish, command, output)
        results, _ = _once(wish, datetime.now(UTC))
    except PkiError as error:
        click.echo(f"trioetcd: {error}", err=True)
        return _FAILED
    except OSError as error:
        click.echo(f"trioetcd: {sentence_of(error)}", err=True)
        return _FAILED
    return _tell(results, output)


def _once(wish: _Wish, now: datetime) -> tuple[list[_Result], datetime | None]:
    """Renew what is wished for; give what became of it, and when something is due next."""
    layout = find_layout(wish.data_dir)
    with alone_in(layout.authorities):
        results = [] if wish.dry_run or "all" not in wish.names else _switch(layout, wish, now)
        chosen = choose(layout, wish.names, now=now, before=wish.before, early=wish.early)
        wanted = [due for due in chosen if due.reason or not wish.if_needed]
        results += [_renew(layout, due, wish, now) for due in wanted]
        results += _lists(layout, wish, now)
        after = choose(layout, wish.names, now=now, early=wish.early)
        return results, next_due(layout, after, early=wish.early)


def _switch(layout: Layout, wish: _Wish, now: datetime) -> list[_Result]:
    """Let a CA that comes sign, if every member trusts it."""
    results = []
    for purpose in PURPOSES:
        under_way = rotation.load(layout, purpose)
        if under_way is None or rotation.signs(layout, under_way) == under_way.comes:
            continue
        reasons = []
        if purpose == "client" and not wish.clients_ready:
            reasons.append("say --clients-ready when every client has the new client-ca.crt")
        if not wish.unasked:
            reasons += stand(layout, under_way, (), now).missing(new_leaves=False)
        name = f"{purpose}-ca"
        if reasons:
            sentence = "the old CA signs: " + "; ".join(reasons)
            results.append(_Result(name=name, outcome="waits", sentence=sentence))
        else:
            rotation.switch(layout, under_way)
            results.append(_Result(name=name, outcome="switched", sentence="the new CA signs"))
    return results


def _renew(layout: Layout, due: Due, wish: _Wish, now: datetime) -> _Result:
    why = f" ({due.reason})" if due.reason else ""
    if wish.dry_run:
        left = words_left(due.facts.not_after, now)
        return _Result(
            name=due.name, outcome="would renew", sentence=f"{left} left{why}", ends=None
        )
    try:
        made = renew_leaf(layout, due, now=now, profile=wish.profile, keep_key=wish.keep_key)
    except PkiError as error:
        return _Result(name=due.name, outcome="failed", sentence=str(error))
    except OSError as error:
        return _Result(name=due.name, outcome="failed", sentence=sentence_of(error))
    sentence = f"until {made.not_after:%Y-%m-%d}, signed by {made.issuer}{why}"
    return _Result(name=due.name, outcome="renewed", sentence=sentence, ends=made.not_after)


def _lists(layout: Layout, wish: _Wish, now: datetime) -> list[_Result]:
    if wish.dry_run:
        return []
    results = []
    for purpose in PURPOSES:
        name = f"{purpose}-crl"
        try:
            if renew_list(layout, purpose, now=now, early=wish.early):
                results.append(_Result(name=name, outcome="renewed", sentence="signed anew"))
        except PkiError as error:
            results.append(_Result(name=name, outcome="failed", sentence=str(error)))
        except OSError as error:
            results.append(_Result(name=name, outcome="failed", sentence=sentence_of(error)))
    return results


def _tell(results: Sequence[_Result], output: str) -> int:
    if output == "json":
        print_json([_value(result) for result in results])
    else:
        for result in results:
            click.echo(
                f"{result.name}: {result.outcome} {result.sentence}"
                if result.outcome != "failed"
                else f"trioetcd: {result.name}: {result.sentence}",
                err=result.outcome == "failed",
            )
        if not results:
            click.echo("nothing is due")
    if any(result.outcome == "failed" for result in results):
        return _FAILED
    return _RENEWED if any(result.outcome != "waits" for result in results) else _NOT_NEEDED


def _value(result: _Result) -> dict[str, object]:
    value: dict[str, object] = {
        "name": result.name,
        "outcome": result.outcome,
        "sentence": result.sentence,
    }
    if result.ends is not None:
        value["ends"] = rfc3339(result.ends)
    return value


async def _stay(wish: _Wish, command: str | None, output: str) -> int:
    """Renew until a signal comes."""

    async def attempt() -> datetime | None:
        now = datetime.now(UTC)
        try:
            results, due = await trio.to_thread.run_sync(_once, wish, now)
        except PkiError as error:
            _say(output, "failed", str(error))
            return None
        except OSError as error:
            _say(output, "failed", sentence_of(error))
            return None
        for result in results:
            _say(output, result.outcome, f"{result.name}: {result.sentence}")
        renewed = [result.name for result in results if result.outcome == "renewed"]
        if renewed and command and not await _execute(command, renewed, output):
            return None
        if any(result.outcome == "failed" for result in results):
            return None
        return due or now + timedelta(days=1)

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: keep_renewed(attempt, now=lambda: datetime.now(UTC)))
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break
    return _RENEWED


async def _execute(command: str, names: Sequence[str], output: str) -> bool:
    done = await trio.run_process(
        [_SHELL, "-c", command],
        env={**os.environ, "TRIOETCD_RENEWED": " ".join(names)},
        check=False,
    )
    if done.returncode:
        _say(output, "failed", f"--exec ended with exit code {done.returncode}")
    return done.returncode == 0


def _say(output: str, outcome: str, sentence: str) -> None:
    """Tell what happened on standard error, where a service's log comes from."""
    if output == "json":
        moment = rfc3339(datetime.now(UTC))
        line = json.dumps({"ts": moment, "outcome": outcome, "sentence": sentence})
        click.echo(line, err=True)
    else:
        click.echo(f"{outcome}: {sentence}", err=True)
