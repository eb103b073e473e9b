"""The flags' table as text: ``--help``, and the table of docs/configuration.md."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import Final

from trioetcd.node.flags import FLAGS, Flag, Kind, Status

__all__ = ["help_text", "markdown_table"]

_INTRODUCTION: Final = """\
Usage:

  trioetcd [flags]            start a member
  trioetcd certs --help       make certificates
  trioetcd --version          print the versions

A member without flags is secure: it makes its certificates under default.etcd/pki and serves
https://localhost:2379 to clients that have one of them. Talk to it in another terminal:

  eval "$(trioetcd certs env)"
  etcdctl put greeting hello
  etcdctl get greeting

Every flag --some-name is also the variable ETCD_SOME_NAME and the key some-name in the file of
--config-file, which replaces flags and variables. Flags with * have no effect yet; flags with !
are refused until they work.
"""
_WIDTH: Final = 100
_INDENT: Final = 6
_MARKS: Final = {Status.WORKS: " ", Status.IDLE: "*", Status.REFUSED: "!"}
_STATUS_WORDS: Final = {
    Status.WORKS: "works",
    Status.IDLE: "no effect yet",
    Status.REFUSED: "refused",
    Status.REMOVED: "removed",
}


def help_text() -> str:
    """Give what ``trioetcd --help`` prints: how to begin, then the flags by group."""
    parts = [_INTRODUCTION]
    shown = (flag for flag in FLAGS.values() if flag.status is not Status.REMOVED)
    for group, flags in groupby(shown, key=lambda flag: flag.group):
        parts.append(f"\n{group}:\n\n")
        for flag in flags:
            parts.append(f" {_MARKS[flag.status]}--{flag.name}{_argument(flag)}\n")
            parts.append(textwrap.fill(flag.meaning, _WIDTH, initial_indent=" " * _INDENT,
                                       subsequent_indent=" " * _INDENT) + "\n")  # fmt: skip
    return "".join(parts)


def _argument(flag: Flag) -> str:
    if flag.kind is Kind.BOOL and flag.default == "false":
        return ""
    if flag.default:
        return f"={flag.default}"
    words = "|".join(word for word in flag.choices if word)
    return f" {words or flag.kind.value}"


def markdown_table() -> str:
    """Give the flags as one Markdown table per group."""
    parts: list[str] = []
    for group, flags in groupby(FLAGS.values(), key=lambda flag: flag.group):
        parts.append(
            f"### {group}\n\n| flag | default | status | what it does |\n|---|---|---|---|\n"
        )
        for flag in flags:
            default = f"`{flag.default}`" if flag.default else ""
            meaning = flag.meaning + (f" *({flag.reason})*" if flag.reason else "")
            path = ".".join(flag.file_path)
            if path != flag.name:
                meaning += f" In the file: `{path}`."
            row = f"| `--{flag.name}` | {default} | {_STATUS_WORDS[flag.status]} | {meaning} |\n"
            parts.append(row.replace("<data-dir>", "`<data-dir>`"))
        parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"
