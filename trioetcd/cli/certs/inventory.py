"""What certificates and revocation lists there are in files: the rows of `list` and `check`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from trioetcd import pki
from trioetcd.node.pki_layout import certificate_files, list_files
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import Facts, ListFacts, PkiError

__all__ = ["Entry", "collect"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One certificate or revocation list in a file, or why there is none.

    Attributes:
        path: the file.
        name: the file without the directory that was asked for and without its ending; a second
            certificate in it has a number behind.
        facts: of the certificate.
        revoked: of the revocation list.
        problem: what is wrong with the file.
    """

    path: Path
    name: str
    facts: Facts | None = None
    revoked: ListFacts | None = None
    problem: str = ""

    @property
    def role(self) -> str:
        """What it is for."""
        if self.facts is not None:
            return self.facts.role
        return "crl" if self.revoked is not None else "?"

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """From when to when it is good; None where it has no end, or cannot be read."""
        if self.facts is not None:
            return self.facts.not_before, self.facts.not_after
        if self.revoked is not None and self.revoked.next_update is not None:
            return self.revoked.this_update, self.revoked.next_update
        return None


def collect(places: Sequence[Path]) -> list[Entry]:
    """Give everything under some directories, or in some files.

    Raises:
        PkiError: a place is not there, or holds nothing.
    """
    entries: list[Entry] = []
    for place in places:
        if not place.exists():
            raise PkiError(f"{place} is not there; name a directory with certificates, or a file")
        root = place / "pki" if (place / "pki").is_dir() else place
        found = [*_certificates(root), *_lists(root)]
        if not found:
            raise PkiError(f"{place} holds neither certificates nor revocation lists")
        entries += found
    return entries


def _certificates(root: Path) -> Iterator[Entry]:
    for path in certificate_files(root):
        name = _name(root, path)
        try:
            every = pki.inspect(path.read_bytes(), str(path))
        except OSError as error:
            yield Entry(path=path, name=name, problem=sentence_of(error))
        except PkiError as error:
            yield Entry(path=path, name=name, problem=str(error))
        else:
            for number, facts in enumerate(every, 1):
                yield Entry(
                    path=path, name=name if number == 1 else f"{name}#{number}", facts=facts
                )


def _lists(root: Path) -> Iterator[Entry]:
    for path in list_files(root):
        name = _name(root, path)
        try:
            every = pki.inspect_lists(path.read_bytes(), str(path))
        except PkiError as error:
            yield Entry(path=path, name=name, problem=str(error))
        else:
            for number, revoked in enumerate(every, 1):
                yield Entry(
                    path=path, name=name if number == 1 else f"{name}#{number}", revoked=revoked
                )


def _name(root: Path, path: Path) -> str:
    return str(path.relative_to(root).with_suffix("")) if root != path else str(path)
