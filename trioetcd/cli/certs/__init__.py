"""``trioetcd certs``: make certificates, sign, revoke, export and look at them.

One module per family of commands; each hands its command to the group here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from trioetcd.cli.certs.authority import ca
from trioetcd.cli.certs.check import check
from trioetcd.cli.certs.crl import crl
from trioetcd.cli.certs.csr import csr
from trioetcd.cli.certs.doctor import doctor
from trioetcd.cli.certs.env import env
from trioetcd.cli.certs.export import export
from trioetcd.cli.certs.init import init
from trioetcd.cli.certs.issue import issue
from trioetcd.cli.certs.listing import list_command
from trioetcd.cli.certs.renew import renew
from trioetcd.cli.certs.revoke import revoke
from trioetcd.cli.certs.show import fingerprint, show
from trioetcd.cli.certs.verify import verify
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
    """Make certificates, take them back, look at them, and say how to talk to a member.

    A member without TLS flags makes its own certificates; `init` makes them beforehand, for one
    member or for several that must trust each other. Nothing that is there is overwritten unless
    that is asked for; keys are readable by their owner alone.

    \b
    trioetcd certs init --out certs n1=10.0.0.1 n2=10.0.0.2 n3=10.0.0.3
    trioetcd certs issue client alice --data-dir certs
    trioetcd certs revoke alice --data-dir certs
    """


for _command in (
    init,
    issue,
    csr,
    doctor,
    ca,
    renew,
    list_command,
    check,
    show,
    verify,
    fingerprint,
    revoke,
    crl,
    export,
    env,
):
    _certs.add_command(_command)
