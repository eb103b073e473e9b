"""The life of a member's credentials: followed, renewed, watched as they come to their end.

Five tasks: the files are followed (`trioetcd.transport.living`), and SIGHUP reads them at once;
once a second somebody looks whether a certificate in use may be used still, a member's own or of
somebody connected; connections of retired generations, of clients and of peers, are moved; and what
the member made for itself is renewed when two thirds of its life are over.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final

import trio

from trioetcd.pki import Bundle, Objection, PkiError
from trioetcd.ports import Entropy
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.trace import Log
from trioetcd.transport.credentials import Contexts, Credentials
from trioetcd.transport.living import FileSet, LivingFiles
from trioetcd.transport.streams import InThread, run_in_thread
from trioetcd.transport.tenure import LOOK_SECONDS, wall_clock

__all__ = ["CredentialKeeper", "OwnCertificates", "tell_ended"]

WARNINGS: Final = (timedelta(days=30), timedelta(days=7))
"""So long before its end a certificate is warned of, if it lasted longer at all."""

RENEWAL_LOOK_SECONDS: Final = 60.0
RENEWAL_RETRY: Final = timedelta(minutes=10)
RENEWAL_DAY: Final = timedelta(days=1)
"""At least so often everything that the member made is looked at, such as its clients' part."""

_SHARE: Final = 2 / 3
_JITTER_SHARE: Final = 1 / 24
"""Renewal comes later by a random part of this share of the life: members do not act at once."""


@dataclass(frozen=True, slots=True)
class OwnCertificates:
    """What the member made for itself and renews.

    Attributes:
        server: whether the client listener's certificate is among it.
        peer: whether the member's certificate among its peers is.
        ensure: makes what is missing and renews what is due; blocks, and says what it did.
    """

    server: bool
    peer: bool
    ensure: Callable[[datetime], Sequence[str]]

    def bundles(self, contexts: Contexts) -> Iterator[Bundle]:
        """Give those of the certificates in use that the member made."""
        if self.server:
            yield contexts.server
        if self.peer:
            yield contexts.peer


class CredentialKeeper:
    """Keeps the credentials of one member.

    Args:
        credentials: what is in use.
        sets: the files to be followed.
        own: what the member renews by itself; None if nothing.
        metrics: where everything is counted.
        log: where everything is told.
        entropy: for jitter.
        hang_ups: calls its argument at every SIGHUP, until cancelled.
        in_thread: runs what blocks.
        now: the time.
    """

    def __init__(
        self,
        credentials: Credentials,
        sets: Sequence[FileSet],
        *,
        own: OwnCertificates | None,
        metrics: Metrics,
        log: Log,
        entropy: Entropy,
        hang_ups: Callable[[Callable[[], None]], Awaitable[None]],
        in_thread: InThread = run_in_thread,
        now: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._credentials = credentials
        self._own = own
        self._metrics = metrics
        self._log = log
        self._entropy = entropy
        self._hang_ups = hang_ups
        self._in_thread = in_thread
        self._now = now
        self._living = LivingFiles(sets, witness=self, in_thread=in_thread)
        self._said: set[tuple[str, str, object]] = set()
        self._renewal_said = ""
        self._due: tuple[int, datetime] = (0, now())
        for files in sets:
            for result in ("taken", "refused"):
                metrics.trioetcd_tls_reload_total.labels(files.name, result).value += 0
            metrics.trioetcd_tls_reload_failing.labels(files.name).value = 0
        for side, tenures in (("client", credentials.clients), ("peer", credentials.peers)):
            metrics.trioetcd_tls_retired_connections.labels(side).read = tenures.retired
        self._show()

    async def run(self) -> None:
        """Keep them, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._living.run)
            nursery.start_soon(self._credentials.clients.run)
            nursery.start_soon(self._credentials.peers.run)
            nursery.start_soon(self._look_always)
            nursery.start_soon(self._hang_ups, self._hung_up)
            if self._own is not None:
                nursery.start_soon(self._renew_always, self._own)

    def _hung_up(self) -> None:
        self._log.info("received signal; reading certificates again", signal="SIGHUP")
        self._living.hasten()

    # As a Witness

    def reloaded(self, name: str, /) -> None:
        """Note that files were read anew and are in force."""
        self._metrics.trioetcd_tls_reload_total.labels(name, "taken").value += 1
        self._metrics.trioetcd_tls_reload_failing.labels(name).value = 0
        contexts = self._credentials.current
        self._log.info(
            "read changed files; what they hold is in force",
            files=name,
            generation=contexts.generation,
            **{
                "server-certificate-ends": f"{contexts.server.not_after:%Y-%m-%dT%H:%M:%SZ}",
                "peer-certificate-ends": f"{contexts.peer.not_after:%Y-%m-%dT%H:%M:%SZ}",
            },
        )
        self._show()

    def refused(self, name: str, sentence: str, /) -> None:
        """Note that changed files failed a check."""
        self._metrics.trioetcd_tls_reload_total.labels(name, "refused").value += 1
        self._metrics.trioetcd_tls_reload_failing.labels(name).value = 1
        self._log.error(
            "changed files are refused; what was in force stays", files=name, error=sentence
        )

    # What is in use

    async def _look_always(self) -> None:
        while True:
            await self._credentials.look()
            self._warn_of_ends()
            await trio.sleep(LOOK_SECONDS)

    def _ends(self) -> Iterator[tuple[str, datetime | None, datetime]]:
        """Give what is in use: its role, and when it begins and ends."""
        contexts = self._credentials.current
        yield "server", contexts.server.not_before, contexts.server.not_after
        yield "peer", contexts.peer.not_before, contexts.peer.not_after
        yield "peer-ca", None, contexts.peer_authorities.first_end
        if contexts.client_authorities is not None:
            yield "client-ca", None, contexts.client_authorities.first_end

    def _show(self) -> None:
        metrics = self._metrics
        contexts = self._credentials.current
        metrics.trioetcd_tls_generation.value = contexts.generation
        for role, _, end in self._ends():
            gauge = metrics.trioetcd_tls_certificate_expiry_timestamp_seconds.labels(role)
            gauge.value = end.timestamp()
        for role, authorities in (
            ("client", contexts.client_authorities),
            ("peer", contexts.peer_authorities),
        ):
            update = None if authorities is None else authorities.lists.next_update
            shown = metrics.trioetcd_tls_crl_next_update_timestamp_seconds
            if update is None:
                shown.forget(role)
            else:
                shown.labels(role).value = update.timestamp()

    def _warn_of_ends(self) -> None:
        """Say once of each certificate that it ends in 30 days, in 7, and that it has ended."""
        now = self._now()
        for role, begin, end in self._ends():
            left = end - now
            if left <= timedelta(0):
                self._say(self._log.error, role, "ended", end, "a certificate in use has ended")
                continue
            for before in reversed(WARNINGS):
                if left <= before:
                    if begin is None or end - begin > before:
                        what = f"a certificate in use ends within {before.days} days"
                        self._say(self._log.warn, role, before, end, what)
                    break
        for authorities in (
            self._credentials.current.client_authorities,
            self._credentials.current.peer_authorities,
        ):
            for crl in () if authorities is None else authorities.lists.lists:
                if crl.next_update is not None and now >= crl.next_update:
                    what = "a revocation list is outdated and is used on; put a new one in place"
                    self._say(self._log.error, crl.issuer, "outdated", crl.next_update, what)

    def _say(
        self, tell: Callable[..., None], role: str, kind: object, end: datetime, what: str
    ) -> None:
        key = role, str(kind), end
        if key not in self._said:
            self._said.add(key)
            tell(what, role=role, ends=f"{end:%Y-%m-%dT%H:%M:%SZ}")

    # What the member made

    async def _renew_always(self, own: OwnCertificates) -> None:
        looked = self._now()
        while True:
            await trio.sleep(RENEWAL_LOOK_SECONDS)
            now = self._now()
            due = self._renewal_due(own)
            if now >= due or now - looked >= RENEWAL_DAY:
                looked = now
                await self._renew(own, now, counted=now >= due)

    def _renewal_due(self, own: OwnCertificates) -> datetime:
        """Give when the next renewal is due; drawn anew for each generation."""
        contexts = self._credentials.current
        generation, due = self._due
        if generation != contexts.generation:
            share = _SHARE + self._entropy.bits(16) / 2**16 * _JITTER_SHARE
            due = min(
                bundle.not_before + (bundle.not_after - bundle.not_before) * share
                for bundle in own.bundles(contexts)
            )
            self._due = contexts.generation, due
        return due

    async def _renew(self, own: OwnCertificates, now: datetime, *, counted: bool) -> None:
        """Renew what is due; the changed files are then read like any others."""
        results = self._metrics.trioetcd_tls_renewal_total
        sentence = ""
        try:
            said = await self._in_thread(partial(own.ensure, now))
        except (PkiError, OSError) as error:
            sentence = str(error)
        else:
            assert isinstance(said, Sequence)
            done = [each for each in said if each.startswith(("renewed", "made"))]
            for each in done:
                self._log.info(each)
            results.labels("renewed").value += len(done)
            sentence = "; ".join(each for each in said if each not in done)
        if counted:
            # Whether it worked is seen by a new generation, which draws its own time.
            self._due = self._due[0], now + RENEWAL_RETRY
        if sentence:
            results.labels("failed").value += 1
            if sentence != self._renewal_said:
                self._log.error("certificates could not be renewed", error=sentence)
        self._renewal_said = sentence


def tell_ended(metrics: Metrics, log: Log, side: str, remote: str, objection: Objection) -> None:
    """Count and tell that a connection is ended because of its certificate."""
    ended = metrics.trioetcd_tls_connections_ended_total
    ended.labels(side, objection.reason.value).value += 1
    log.warn(
        "ended a connection whose certificate may not be used any more",
        side=side,
        **{"remote-addr": remote, "error": objection.sentence},
    )
