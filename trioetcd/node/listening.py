"""Opening the listeners that a configuration names by their URLs."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

from trioetcd.node.machine import Machine
from trioetcd.transport.listener import Accepted, Address, Check, Listener, Network, Rejected
from trioetcd.transport.tenure import Tenures
from trioetcd.url import Url

__all__ = ["open_listener"]


async def open_listener(
    url: Url,
    machine: Machine,
    *,
    reuse_port: bool,
    context: Callable[[], ssl.SSLContext] | None,
    serve: Callable[[Accepted], Awaitable[None]],
    rejected: Rejected,
    networks: Sequence[Network] = (),
    check: Check | None = None,
    tenures: Tenures | None = None,
) -> Listener:
    """Listen at a URL of a machine; the other arguments are those of `Listener`.

    Raises:
        OSError: nobody can listen there; its filename is the URL.
    """
    address = Address(url.host, url.port, url.path if url.unix else None)
    try:
        sockets = await machine.listen(address, reuse_port=reuse_port)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(url)) from None
    return Listener(
        sockets,
        context=context,
        serve=serve,
        rejected=rejected,
        networks=networks,
        check=check,
        in_thread=machine.in_thread,
        tenures=tenures,
    )
