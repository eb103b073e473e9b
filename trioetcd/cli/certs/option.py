"""Options that several commands take, and the files behind them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import click

from trioetcd.pki import PkiError, Profile

__all__ = ["DIRECTORY", "FILE", "data_dir_option", "profile_option", "read_profile"]

DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)
FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)

data_dir_option = click.option(
    "--data-dir",
    type=DIRECTORY,
    default=Path("default.etcd"),
    show_default=True,
    help="A member's data directory, or what `certs init` wrote.",
)
profile_option = click.option(
    "--profile",
    "profile_file",
    type=FILE,
    help="TOML file with lifetimes in days.",
)


def read_profile(path: Path | None) -> Profile:
    """Give the lifetimes that a TOML file holds; the defaults when there is none.

    Raises:
        PkiError: it is no TOML, or says something else than lifetimes.
    """
    if path is None:
        return Profile()
    try:
        return Profile.read(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PkiError(f"{path} is no TOML: {error}") from None
