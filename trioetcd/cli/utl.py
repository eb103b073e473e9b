"""The entry point ``trioetcdutl``: what is done with files, without a member.

Of etcdutl's commands those that are not there say so, and what to use instead.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click

from trioetcd.cli.serve import version_text
from trioetcd.node.sentence import sentence_of
from trioetcd.schema.audit_chain import AuditCheck, AuditLine, read_line

__all__ = ["main"]

_FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
_LINE_BYTES_MAX: Final = 64 * 1024 * 1024
_BREAKS_SHOWN: Final = 10

_BROKEN: Final = 1
_USAGE: Final = 2
_INTERRUPTED: Final = 130

_ELSEWHERE: Final = {
    "defrag": "a running member is asked with `etcdctl defrag`, and gives space back by itself",
    "hashkv": "a running member is asked with `etcdctl endpoint hashkv`",
    "migrate": "the data has one form so far",
    "snapshot": "etcd's own etcdutl reads and restores what `etcdctl snapshot save` has written",
    "verify": "a member verifies its data whenever it starts",
    "completion": "`trioetcdutl --help` names the commands",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line says and give the exit code.

    Args:
        arguments: the command line without the program's name; the process's own by default.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in _ELSEWHERE:
        print(
            f"trioetcdutl: `trioetcdutl {words[0]}` does not exist yet; {_ELSEWHERE[words[0]]}",
            file=sys.stderr,
        )
        return _USAGE
    try:
        code = _utl.main(words, prog_name="trioetcdutl", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return _INTERRUPTED
    except OSError as error:
        print(f"trioetcdutl: {sentence_of(error)}", file=sys.stderr)
        return _USAGE
    return code if isinstance(code, int) else 0


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def _utl() -> None:
    """Work on the files of a member, without the member.

    \b
    trioetcdutl audit verify audit.log         is it as it was written?
    trioetcdutl audit verify audit.log.* audit.log
    """


@_utl.command("version")
def _version() -> None:
    """Print the versions."""
    click.echo(version_text(), nl=False)


@_utl.group("audit")
def _audit() -> None:
    """Look at audit logs (`trioetcd --audit-log FILE`)."""


@_audit.command("verify")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE...")
@click.option(
    "--contains",
    "anchors",
    multiple=True,
    metavar="SEQ:HASH",
    help="A line that must be there: a number and hash that the member's log has told.",
)
@click.option(
    "-w",
    "--write-out",
    type=click.Choice(["simple", "json"]),
    default="simple",
    help="Sentences, or one JSON object per chain.",
)
def _verify(files: tuple[Path, ...], anchors: tuple[str, ...], write_out: str) -> int:
    """Say whether audit logs are as they were written.

    Every line holds the hash of the line before, so that one which was changed, removed, added or
    moved is found. Files of one log, moved away as it grew, are given together, in any order.
    Lines cut off at the end are found by --contains only.

    Exit code 0: the chains hold; 1: they do not, and every place is told; 2: a file cannot be read.
    """
    wanted = dict(_read_anchor(anchor) for anchor in anchors)
    whole = True
    for group in _chains(files):
        check = AuditCheck(hashes=dict.fromkeys(wanted, ""))
        for file in group:
            with file.open("rb") as opened:
                check.read(str(file), iter(partial(opened.readline, _LINE_BYTES_MAX), b""))
        missing = [number for number, known in wanted.items() if check.hashes[number] != known]
        whole = whole and not check.breaks and not missing
        if write_out == "json":
            click.echo(json.dumps(_as_json(group, check, missing)))
        else:
            _tell(group, check, missing)
    return 0 if whole else _BROKEN


def _read_anchor(text: str) -> tuple[int, str]:
    number, _, known = text.partition(":")
    if not number.isdecimal() or len(known) != 64:
        raise click.UsageError(f"--contains={text} does not have the form SEQ:HASH")
    return int(number), known.lower()


def _chains(files: Sequence[Path]) -> Iterator[list[Path]]:
    """Give the files of each chain, in its order."""
    firsts = [(file, _first_line(file)) for file in dict.fromkeys(files)]
    names = {
        line.fields.get("log") for _, line in firsts if line is not None and "log" in line.fields
    }
    only = next(iter(names)) if len(names) == 1 else None
    groups: dict[object, list[tuple[int, Path]]] = {}
    for file, line in firsts:
        # What was cut at its beginning belongs to the one chain there is, or to none.
        name = line.fields.get("log", only) if line is not None else None
        at = line.sequence if line is not None else -1
        groups.setdefault(name or file, []).append((at, file))
    for group in groups.values():
        yield [file for _, file in sorted(group, key=lambda pair: pair[0])]


def _first_line(file: Path) -> AuditLine | None:
    """Give the first line of a file that is one."""
    with file.open("rb") as opened:
        for _ in range(2):  # a crash may have left the first one half written
            found = read_line(opened.readline(_LINE_BYTES_MAX))
            if found is not None:
                return found
    return None


def _place(line: AuditLine | None) -> dict[str, object] | None:
    if line is None:
        return None
    return {
        "seq": line.sequence,
        "time": line.fields.get("time"),
        "event": line.event or None,
        "hash": line.hash,
    }


def _as_json(files: Sequence[Path], check: AuditCheck, missing: Sequence[int]) -> object:
    return {
        "files": [str(file) for file in files],
        "whole": not check.breaks and not missing,
        "breaks": [
            {"file": at.file, "line": at.line, "expected": at.expected, "found": at.found}
            for at in check.breaks
        ],
        "missing": list(missing),
        "torn": [{"file": at.file, "line": at.line, "bytes": at.size} for at in check.torn],
        "crashes": check.crashes,
        "lines": check.lines,
        "records": check.records,
        "first": _place(check.first),
        "last": _place(check.last),
    }


def _tell(files: Sequence[Path], check: AuditCheck, missing: Sequence[int]) -> None:
    for at in check.breaks[:_BREAKS_SHOWN]:
        click.echo(f"{at.file} line {at.line}: expected {at.expected}, found {at.found}")
    if len(check.breaks) > _BREAKS_SHOWN:
        click.echo(f"... and {len(check.breaks) - _BREAKS_SHOWN} more places")
    for number in missing:
        click.echo(f"line {number} of the chain is not there, or has another hash")
    for torn in check.torn:
        click.echo(
            f"{torn.file} line {torn.line}: {torn.size} bytes that a crash left half written; the "
            f"restart has told of them"
        )
    names = " ".join(map(str, files))
    if check.breaks or missing:
        click.echo(f"{names}: the chain does not hold")
    else:
        click.echo(f"{names}: the chain holds")
    first, last = check.first, check.last
    if first is None or last is None:
        return
    click.echo(
        f"  {check.lines} lines, {check.records} of them records; from {first.fields.get('time')} "
        f"to {last.fields.get('time')}; {check.crashes} restarts after a crash"
    )
    if first.event == "continue":
        click.echo(f"  it goes on from line {first.sequence - 1}, which is in an older file")
    if last.event != "end":
        click.echo("  it has no end: the member is running, or has crashed")
    click.echo(f"  last line: {last.sequence}:{last.hash}")
