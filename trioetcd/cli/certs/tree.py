"""A directory of certificates as a tree, each with its fingerprint; coloured on a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from trioetcd import pki

__all__ = ["print_tree"]

_WIDTH: Final = 160


def print_tree(directory: Path) -> None:
    """Print what lies in a directory.

    Raises:
        PkiError: a certificate in it cannot be read.
    """
    tree = Tree(Text(str(directory), style="bold"), guide_style="dim")
    _grow(tree, directory)
    console = Console(highlight=False)
    console.width = max(console.width, _WIDTH)  # a fingerprint is shown whole, or is worth nothing
    console.print(tree)


def _grow(tree: Tree, directory: Path) -> None:
    for path in sorted(directory.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            _grow(tree.add(Text(path.name, style="bold")), path)
        elif path.suffix == ".crt":
            words = Text(path.name, style="green")
            words.append(f"  {pki.fingerprint(path.read_bytes())}", style="dim")
            tree.add(words)
        else:
            tree.add(Text(path.name, style="red" if path.suffix == ".key" else ""))
