"""Tests of `trioetcd.transport.living`: changes are read when whole, and kept out when bad."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
import trio.testing

from trioetcd.pki import PkiError
from trioetcd.testing.node_life import in_loop
from trioetcd.transport.living import LOOK_SECONDS, RETRY_SECONDS, LivingFiles


class Words:
    """Two files that must hold the same word: any set with a check of its own, such as JWT keys."""

    name = "words"

    def __init__(self, directory: Path) -> None:
        self.one, self.two = directory / "one", directory / "two"
        self.in_force = "first"
        self.loads = 0
        self.closed_for = ""
        for path in self.paths():
            path.write_text("first")

    def paths(self) -> tuple[Path, Path]:
        return self.one, self.two

    def load(self) -> Callable[[], bool]:
        self.loads += 1
        try:
            one, two = self.one.read_text(), self.two.read_text()
        except OSError as error:
            raise PkiError(f"cannot read {Path(error.filename).name}") from None
        if one != two or one == self.closed_for:
            raise PkiError(f"{one} and {two}")

        def put_in_force() -> bool:
            before, self.in_force = self.in_force, one
            return before != one

        return put_in_force


class Told:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def reloaded(self, name: str, /) -> None:
        self.lines.append(f"{name} reloaded")

    def refused(self, name: str, sentence: str, /) -> None:
        self.lines.append(f"{name}: {sentence}")


@pytest.fixture
def words(tmp_path: Path) -> Words:
    return Words(tmp_path)


async def follow(words: Words, nursery: trio.Nursery) -> tuple[Told, LivingFiles]:
    told = Told()
    living = LivingFiles([words], witness=told, in_thread=in_loop)
    nursery.start_soon(living.run)
    await trio.sleep(1)
    return told, living


def replace(path: Path, text: str) -> None:
    """Write as a careful tool does."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    beside.rename(path)


async def test_a_change_is_in_force_within_a_second(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """Whether the files are replaced or written into; what is no different is not told of."""
    async with trio.open_nursery() as nursery:
        told, _ = await follow(words, nursery)
        assert [] == told.lines
        for write, word in ((replace, "second"), (Path.write_text, "third-")):
            for path in words.paths():
                write(path, word)
            await trio.sleep(1)
            assert words.in_force == word
        os.utime(words.one)
        await trio.sleep(1)

        assert ["words reloaded"] * 2 == told.lines
        nursery.cancel_scope.cancel()


async def test_nothing_is_read_while_nothing_changes(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """An hour of looks reads no file again."""
    async with trio.open_nursery() as nursery:
        await follow(words, nursery)
        before = words.loads
        await trio.sleep(3600)

        assert before == words.loads == 1
        nursery.cancel_scope.cancel()


async def test_what_is_being_written_is_not_taken_for_the_whole(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """Files that change from look to look are left alone until they have come to rest."""
    async with trio.open_nursery() as nursery:
        told, _ = await follow(words, nursery)
        before = words.loads
        for length in range(1, 20):
            words.one.write_text("x" * length)
            await trio.sleep(0.6 * LOOK_SECONDS)
        assert before == words.loads
        words.two.write_text("x" * 19)
        await trio.sleep(1)

        assert ["words reloaded"] == told.lines
        nursery.cancel_scope.cancel()


async def test_what_is_bad_changes_nothing_and_is_told_once(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """One line per reason, however long it lasts; a file that is gone is one; then all is well."""
    async with trio.open_nursery() as nursery:
        told, _ = await follow(words, nursery)
        replace(words.one, "second")
        await trio.sleep(3600)
        replace(words.one, "thirdly")
        await trio.sleep(60)
        words.one.unlink()
        await trio.sleep(60)
        assert words.in_force == "first"
        replace(words.one, "fourthly")
        replace(words.two, "fourthly")
        await trio.sleep(1)

        assert told.lines == [
            "words: second and first",
            "words: thirdly and first",
            "words: cannot read one",
            "words reloaded",
        ]
        assert words.in_force == "fourthly"
        nursery.cancel_scope.cancel()


async def test_what_failed_is_tried_again_though_no_file_changes(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """Some checks depend on the clock: a certificate that begins in a minute is good then."""
    async with trio.open_nursery() as nursery:
        told, _ = await follow(words, nursery)
        words.closed_for = "later"
        for path in words.paths():
            replace(path, "later")
        await trio.sleep(60)
        words.closed_for = ""
        await trio.sleep(RETRY_SECONDS + 1)

        assert ["words: later and later", "words reloaded"] == told.lines
        nursery.cancel_scope.cancel()


async def test_a_hang_up_waits_for_nothing(
    words: Words, autojump_clock: trio.testing.MockClock
) -> None:
    """Everything is read at once, at rest or not."""
    async with trio.open_nursery() as nursery:
        _, living = await follow(words, nursery)
        for path in words.paths():
            replace(path, "second")
        before = trio.current_time()
        living.hasten()
        await trio.testing.wait_all_tasks_blocked()

        assert (before, "second") == (trio.current_time(), words.in_force)
        nursery.cancel_scope.cancel()
