"""Flags, variables and file into one `Config`: what the command line and the node call.

The file, when there is one, replaces the flags and the variables, as in etcd.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from trioetcd.node.arguments import Given, merge_gates, read_arguments, read_environment
from trioetcd.node.config_file import flag_line_of, read_mapping
from trioetcd.node.flags import FLAGS, ConfigError, Value
from trioetcd.node.settings import Config, Members
from trioetcd.node.validation import validate
from trioetcd.url import Url, parse_url

__all__ = ["Config", "ConfigError", "configure", "load_file", "parse"]

_NOT_IN_CONFIG = frozenset({"config-file", "version", "help"})


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Make the settings of a member from its command line and environment.

    Args:
        arguments: the command line without the program's name.
        environment: the process's environment.

    Raises:
        ConfigError: they cannot be read, or the member must not start with them.
    """
    given = read_arguments(arguments)
    path = given.values.get("config-file") or environment.get("ETCD_CONFIG_FILE", "")
    if path:
        others = sorted(name for name in given.values if name != "config-file")
        given = load_file(Path(str(path)))
        if others:
            given.warnings.append(
                f"the file {path} replaces all flags and variables; no effect has "
                + ", ".join(f"--{name}" for name in others),
            )
    else:
        read_environment(environment, given)
    return configure(given)


def load_file(path: Path) -> Given:
    """Read a YAML or JSON configuration file.

    Raises:
        ConfigError: it cannot be opened, is neither, or holds unknown keys or unfit values.
    """
    import yaml  # ten milliseconds that a member without a file need not spend

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read the configuration file {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"the configuration file {path} is not UTF-8 text") from None
    line = flag_line_of(text)
    if line:
        raise ConfigError(
            f"the configuration file {path} holds command-line flags; it must be YAML, one "
            f"setting per line: {line}",
        )
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"the configuration file {path} is no YAML: {reason}") from None
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise ConfigError(
            f"the configuration file {path} holds no settings; write one per line: name: m1",
        )
    return read_mapping(document)


def configure(given: Given) -> Config:
    """Fill in defaults, derive what follows, and check the whole.

    Raises:
        ConfigError: the member must not start with these settings.
    """
    values: dict[str, Value] = {
        flag.field: given.values.get(name, flag.value)
        for name, flag in FLAGS.items()
        if name not in _NOT_IN_CONFIG
    }
    values["data_dir"] = str(values["data_dir"]).replace("${name}", str(values["name"]))
    told = "advertise-client-urls" in given.values or given.from_file  # as etcd decides it
    if "listen-client-urls" in given.values and not told:
        values["advertise_client_urls"] = ()
    # What is known to be there already: the defaults above carry every field of Config.
    config = Config(
        explicit=frozenset(given.values) - _NOT_IN_CONFIG,
        members=(),
        gates=merge_gates(str(values["feature_gates"]), given.gates),
        warnings=(),
        **cast("dict[str, Any]", values),
    )
    config = _with_members(config)
    return dataclasses.replace(config, warnings=(*given.warnings, *validate(config)))


def _with_members(config: Config) -> Config:
    """Read --initial-cluster; without it, this member is alone under its advertised URLs."""
    if not config.initial_cluster:
        members: Members = ((config.name, config.initial_advertise_peer_urls),)
        text = ",".join(f"{config.name}={url}" for url in config.initial_advertise_peer_urls)
        return dataclasses.replace(config, members=members, initial_cluster=text)
    members = _parse_members(config.initial_cluster)
    config = dataclasses.replace(config, members=members)
    if "initial-advertise-peer-urls" not in config.explicit:
        # A member that stands in the list is told there what it advertises.
        urls = dict(members).get(config.name, config.initial_advertise_peer_urls)
        config = dataclasses.replace(config, initial_advertise_peer_urls=urls)
    return config


def _parse_members(text: str) -> Members:
    members: dict[str, set[Url]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, url = part.partition("=")
        if not equals or not name:
            raise ConfigError(f"--initial-cluster: {part!r} does not have the form name=url")
        try:
            members.setdefault(name, set()).add(parse_url(url))
        except ValueError as error:
            raise ConfigError(f"--initial-cluster: {name}: {error}") from None
    return tuple((name, tuple(sorted(members[name], key=str))) for name in sorted(members))
