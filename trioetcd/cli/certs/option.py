"""Options that several commands take, and the files behind them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

import click

from trioetcd.pki import KeyKind, PkiError, Profile, Role

__all__ = [
    "DIRECTORY",
    "FILE",
    "ROLE",
    "authority_options",
    "data_dir_option",
    "days_option",
    "host_option",
    "key_option",
    "profile_option",
    "read_profile",
]

DIRECTORY: Final = click.Path(path_type=Path, file_okay=False)
FILE: Final = click.Path(path_type=Path, dir_okay=False, exists=True)
ROLE: Final = click.Choice([role.value for role in Role])
_DAYS_MAX: Final = 20 * 366

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
days_option = click.option(
    "--days",
    type=click.IntRange(1, _DAYS_MAX),
    help="How long it lasts, instead of what the profile says.",
)
host_option = click.option(
    "--host",
    "--san",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="A name or address it stands for; give it as often as needed.",
)
key_option = click.option(
    "--key",
    "kind",
    type=click.Choice([kind.value for kind in KeyKind]),
    default=KeyKind.EC_P256.value,
    show_default=True,
    help="What kind of key is drawn.",
)
_ca_option = click.option(
    "--ca",
    "authority",
    type=FILE,
    help="The CA that signs, if it is another than the directory's.",
)
_ca_key_option = click.option(
    "--ca-key",
    "authority_key",
    type=FILE,
    help="Its key, if that is not beside it.",
)


def authority_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command `--ca` and `--ca-key`."""
    return _ca_option(_ca_key_option(command))


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
