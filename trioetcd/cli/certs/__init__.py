"""``trioetcd certs``: make certificates, give one to a client, say how to talk to a member.

One module per family of commands; each hands its command to the group here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from trioetcd.cli.certs.check import check
from trioetcd.cli.certs.env import env
from trioetcd.cli.certs.init import init
from trioetcd.cli.certs.issue import issue
from trioetcd.cli.certs.listing import list_command
from trioetcd.cli.certs.show import show
from trioetcd.node.sentence import sentence_of
from trioetcd.pki import PkiError

__all__ = ["certs"]


def certs(arguments: Sequence[str]) -> int:
    """Run ``trioetcd certs ...`` and give the exit code.

    Args:
        arguments: the words after ``certs``.
    """
    try:
        code = _certs.main(list(arguments), prog_name="trioetcd certs", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        return 130
    except PkiError as error:
        print(f"trioetcd: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"trioetcd: {sentence_of(error)}", file=sys.stderr)
        return 1
    return code if isinstance(code, int) else 0  # what a command with codes of its own gave


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def _certs() -> None:
    """Make certificates, and say how to talk to a member.

    A member without TLS flags makes its own certificates; `init` makes them beforehand, for one
    member or for several that must trust each other.
    """


for _command in (init, issue, list_command, check, env, show):
    _certs.add_command(_command)
