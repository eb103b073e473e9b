"""Tests of `trioetcd.node.credential_keeper`: renewal and warnings, at a time of the test's."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import trio
import trio.testing

from tests.transport.peers import Dice
from trioetcd import pki
from trioetcd.node import pki_files
from trioetcd.node.credential_keeper import (
    RENEWAL_LOOK_SECONDS,
    CredentialKeeper,
    OwnCertificates,
    tell_ended,
)
from trioetcd.node.pki_files import PkiFiles, write_private
from trioetcd.pki import PkiError, Profile
from trioetcd.runtime.metrics import Metrics
from trioetcd.testing.node_life import Diary, in_loop
from trioetcd.transport.credentials import (
    CredentialFiles,
    Credentials,
    CredentialSet,
    KeyFiles,
    load,
)

NOW = datetime.now(UTC)


@dataclass
class Clock:
    """A time that goes with the mock clock, and may be set."""

    start: datetime
    began: float

    def now(self) -> datetime:
        return self.start + timedelta(seconds=trio.current_time() - self.began)

    def set(self, start: datetime) -> None:
        self.start, self.began = start, trio.current_time()


@dataclass
class Kept:
    """Credentials that are kept, and a clock that goes with the mock one."""

    files: PkiFiles
    credentials: Credentials
    metrics: Metrics
    diary: Diary
    days: int
    clock: Clock
    failure: str = ""

    async def come_to(self, days: float) -> None:
        """Let it be so many days after the beginning, and a few minutes more."""
        self.clock.set(NOW + timedelta(days=days))
        await trio.sleep(3 * RENEWAL_LOOK_SECONDS)

    def ensure(self, now: datetime) -> Sequence[str]:
        if self.failure:
            raise PkiError(self.failure)
        return pki_files.ensure(
            self.files.path,
            name="m",
            hosts=(),
            now=now,
            profile=Profile(server_days=self.days, peer_days=self.days, client_days=self.days),
        )

    def said(self, level: str) -> list[str]:
        return [
            f"{message} {fields.get('role', fields.get('error', ''))}".strip()
            for _, at, message, fields in self.diary.lines
            if at == level
        ]


async def no_hang_ups(_told: Callable[[], None]) -> None:
    await trio.sleep_forever()


def key_files(certificate: Path, trust: Path, crl: Path | None = None) -> KeyFiles:
    return KeyFiles(certificate, PkiFiles.key_of(certificate), trust, crl)


@asynccontextmanager
async def kept(directory: Path, *, own: bool = True, days: int = 90) -> AsyncIterator[Kept]:
    """Keep the credentials that a member made for itself; `own` says whether it renews them."""
    made = PkiFiles(directory / "pki")
    profile = Profile(server_days=days, peer_days=days, client_days=days)
    pki_files.ensure(made.path, name="m", hosts=(), now=NOW, profile=profile)
    files = CredentialFiles(
        client=key_files(made.server, made.client_ca, made.client_crl),
        peer=key_files(made.peer, made.peer_ca),
    )
    metrics, diary = Metrics(), Diary()
    clock = Clock(NOW, trio.current_time())
    credentials = Credentials(
        load(files, now=NOW),
        entropy=Dice(1),
        ended=partial(tell_ended, metrics, diary),
        now=clock.now,
    )
    found = Kept(made, credentials, metrics, diary, days, clock)
    keeper = CredentialKeeper(
        found.credentials,
        [CredentialSet(files, found.credentials, warn=diary.warn, now=clock.now)],
        own=OwnCertificates(server=True, peer=True, ensure=found.ensure) if own else None,
        metrics=metrics,
        log=diary,
        entropy=Dice(1),
        hang_ups=no_hang_ups,
        in_thread=in_loop,
        now=clock.now,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        yield found
        nursery.cancel_scope.cancel()


def expiry(metrics: Metrics, role: str) -> float:
    return metrics.trioetcd_tls_certificate_expiry_timestamp_seconds.labels(role).value


async def test_what_the_member_made_is_renewed_before_it_ends(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """At two thirds of the life and some days, again and again, without a start or a warning."""
    async with kept(tmp_path, days=3) as found:
        first = found.credentials.current.server.fingerprint
        await found.come_to(1.9)
        assert found.credentials.current.server.fingerprint == first
        await found.come_to(2.2)
        assert found.credentials.current.server.fingerprint != first
        assert found.credentials.current.generation == 2
        await found.come_to(4.4)

        assert found.credentials.current.generation == 3
        assert expiry(found.metrics, "server") > found.clock.now().timestamp()
        assert found.metrics.trioetcd_tls_generation.value == 3
        assert found.metrics.trioetcd_tls_renewal_total.labels("renewed").value >= 4
        assert [] == found.said("error")


async def test_a_renewal_that_fails_is_told_and_tried_again(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """One line, however often it fails; when it works again all is well."""
    async with kept(tmp_path, days=3) as found:
        found.failure = "the disk is gone"
        await found.come_to(2.3)
        for hours in range(1, 6):
            await found.come_to(2.3 + hours / 24)
        assert found.said("error") == ["certificates could not be renewed the disk is gone"]
        assert found.metrics.trioetcd_tls_renewal_total.labels("failed").value > 3
        found.failure = ""
        await found.come_to(2.6)

        assert found.credentials.current.generation == 2
        assert found.metrics.trioetcd_tls_renewal_total.labels("renewed").value >= 2


async def test_ends_are_told_of_30_and_7_days_before_and_when_they_come(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Once each for each certificate, and an error when it has ended."""
    async with kept(tmp_path, own=False, days=90) as found:
        for days, warnings, errors in ((59, 0, 0), (61, 2, 0), (82, 2, 0), (84, 4, 0), (91, 4, 2)):
            found.clock.set(NOW + timedelta(days=days))
            await trio.sleep(5)
            said = [line for line in found.said("warn") if "ends within" in line]
            assert (days, warnings, errors) == (days, len(said), len(found.said("error")))
        assert [line for line in found.said("warn") if "ends within" in line] == [
            "a certificate in use ends within 30 days server",
            "a certificate in use ends within 30 days peer",
            "a certificate in use ends within 7 days server",
            "a certificate in use ends within 7 days peer",
        ]
        assert "a certificate in use has ended server" in found.said("error")


async def test_a_short_life_is_not_warned_of_all_the_time(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Who renews every three days does not want to hear that less than seven are left."""
    async with kept(tmp_path, own=False, days=3) as found:
        await trio.sleep(60)
        assert [] == [line for line in found.said("warn") if "ends within" in line]


async def test_an_outdated_list_is_told_of_loudly_and_used_on(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """An error in the log, once, and a metric that alerts can watch; nothing ends for it."""
    async with kept(tmp_path, own=False) as found:
        await trio.sleep(5)
        role = found.metrics.trioetcd_tls_crl_next_update_timestamp_seconds.labels("client")
        update = datetime.fromtimestamp(role.value, UTC)
        found.clock.set(update + timedelta(hours=1))
        await trio.sleep(60)

        outdated = [line for line in found.said("error") if "revocation list is outdated" in line]
        assert len(outdated) == 1
        assert found.credentials.current.generation == 1


async def test_a_refused_set_shows_in_the_metrics(
    tmp_path: Path, autojump_clock: trio.testing.MockClock
) -> None:
    """Whether older files are in use than those that are there is a gauge; results are counted."""
    async with kept(tmp_path, own=False) as found:
        failing = found.metrics.trioetcd_tls_reload_failing.labels("certificates")
        results = found.metrics.trioetcd_tls_reload_total
        good = found.files.client_ca.read_bytes()
        write_private(found.files.client_ca, b"nothing")
        await trio.sleep(2)
        assert (1, 1) == (failing.value, results.labels("certificates", "refused").value)
        newer = pki.create_authority("client", now=NOW, profile=Profile())
        write_private(found.files.client_ca, good + newer.certificate)
        await trio.sleep(2)

        assert (0, 1) == (failing.value, results.labels("certificates", "taken").value)
        assert found.metrics.trioetcd_tls_generation.value == 2
