"""One flipped bit, or a torn end, in a data directory: refused or harmless, never a wrong read.

`flip_bits` and `tear_logs` are proofs of any length (docs/adr/0002 says what they show): the fast
tests call them with a few dozen rounds, a long proof with thousands.
"""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from trioetcd.ports import BackendError
from trioetcd.storage.data_dir import DATABASE, DataDirError
from trioetcd.testing.sample_store import SampleStore, read_everything

__all__ = ["KINDS", "Tally", "flip_bits", "make_sample", "tear_logs"]

KINDS: Final = {"log": "*.log", "table": "*.ldb", "manifest": "MANIFEST-*", "current": "CURRENT"}
"""The kinds of files in the database, and how they are named."""

TEARS: Final = ("truncate", "zero", "garble")
"""What is done to the end of the newest log."""


@dataclass(slots=True)
class Tally:
    """What came of the rounds.

    Attributes:
        refused: the directory was refused with a sentence.
        detected: it was opened, and a read raised.
        harmless: it was opened and holds everything that was written.
        shortened: it was opened and lacks only the last batches (a torn end; never after a flip).
        sentences: the refusals, how often each.
    """

    refused: int = 0
    detected: int = 0
    harmless: int = 0
    shortened: int = 0
    sentences: Counter[str] = field(default_factory=Counter)


def make_sample(path: Path, *, batches: int = 120) -> int:
    """Make a data directory with rows in tables and in the log; give the number of batches."""
    store = SampleStore(path)
    store.write(batches // 2)
    store.compact()
    store.write(batches - batches // 2)
    last = store.batch
    store.close()
    return last


def _newest_log(database: Path) -> Path:
    return max(database.glob("*.log"))


def _open_and_read(path: Path, tally: Tally, last: int, what: str, *, may_shorten: bool) -> None:
    try:
        store = SampleStore(path)
    except DataDirError as error:
        tally.refused += 1
        tally.sentences[error.sentence.replace(str(path), "")] += 1
        return
    except BackendError:
        tally.detected += 1
        return
    try:
        found = read_everything(store.backend)
    except BackendError:
        tally.detected += 1
        return
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    finally:
        store.close()
    if found == last:
        tally.harmless += 1
        return
    assert may_shorten, f"{what}: batches {found + 1} to {last} were answered and are gone"
    assert found < last, f"{what}: batch {found} was never written"
    tally.shortened += 1


def flip_bits(directory: Path, *, rounds: int, seed: int, batches: int = 120) -> dict[str, Tally]:
    """Flip one random bit at a time in a copy of a data directory and open it.

    Args:
        directory: an existing directory to work in; it is left with the sample and no copies.
        rounds: how many bits, spread evenly over the kinds of files.
        seed: draws files and bits.
        batches: how many batches the sample has.

    Returns:
        What came of it, by kind of file.

    Raises:
        AssertionError: a wrong or a missing row was read after a flip; names file and bit.
    """
    random = Random(seed)  # noqa: S311 - a reproducible proof, no secret
    sample, copy = directory / "sample", directory / "copy"
    last = make_sample(sample, batches=batches)
    tallies = {kind: Tally() for kind in KINDS}
    for number in range(rounds):
        kind = list(KINDS)[number % len(KINDS)]
        shutil.copytree(sample, copy)
        # LevelDB's new log after a clean close is empty; whoever reopens leaves the full one.
        files = [file for file in (copy / DATABASE).glob(KINDS[kind]) if file.stat().st_size]
        file = random.choice(sorted(files))
        data = bytearray(file.read_bytes())
        bit = random.randrange(8 * len(data))
        data[bit // 8] ^= 1 << bit % 8
        file.write_bytes(data)
        what = f"bit {bit} of {file.name} (seed {seed}, round {number})"
        _open_and_read(copy, tallies[kind], last, what, may_shorten=False)
        shutil.rmtree(copy)
    return tallies


def tear_logs(directory: Path, *, rounds: int, seed: int, batches: int = 120) -> dict[str, Tally]:
    """Cut, zero or garble the end of the newest log in a copy of a data directory and open it.

    Args:
        directory: an existing directory to work in; it is left with the sample and no copies.
        rounds: how many tears, of 1 byte to 64 KiB, small ones as often as large ones.
        seed: draws them.
        batches: how many batches the sample has.

    Returns:
        What came of it, by kind of tear.

    Raises:
        AssertionError: a row is wrong, or a batch is missing before one that is there.
    """
    random = Random(seed)  # noqa: S311 - a reproducible proof, no secret
    sample, copy = directory / "sample", directory / "copy"
    last = make_sample(sample, batches=batches)
    tallies = {kind: Tally() for kind in TEARS}
    for number in range(rounds):
        kind = TEARS[number % len(TEARS)]
        shutil.copytree(sample, copy)
        file = _newest_log(copy / DATABASE)
        data = file.read_bytes()
        size = min(int(2 ** random.uniform(0, 16)), len(data))
        ends = {"truncate": b"", "zero": bytes(size), "garble": random.randbytes(size)}
        file.write_bytes(data[: len(data) - size] + ends[kind])
        what = f"{kind} {size} bytes of {file.name} (seed {seed}, round {number})"
        _open_and_read(copy, tallies[kind], last, what, may_shorten=True)
        shutil.rmtree(copy)
    return tallies
