"""Who calls, in tests: nobody, or somebody with a token or a certificate."""

from __future__ import annotations

from trioetcd.pki import NOWHERE, Identity, Origin

__all__ = ["Metadata", "NoMetadata", "certified", "shown"]


class Metadata:
    """What comes along with a call (`api.context.Metadata`)."""

    def __init__(self, origin: Origin = NOWHERE, **said: bytes) -> None:
        self.origin = origin
        self._said = said

    def get(self, name: str, /) -> bytes | None:
        """Give what was said under a name."""
        return self._said.get(name)


class NoMetadata(Metadata):
    """Nothing is said, and nobody knows who calls."""

    def __init__(self) -> None:
        super().__init__()


def certified(
    common_name: str, *, dns: tuple[str, ...] = (), uris: tuple[str, ...] = ()
) -> Metadata:
    """Come with a certificate of these names."""
    return Metadata(Origin(Identity(common_name, dns, uris, "00"), "192.0.2.1:1"))


def shown(token: str) -> Metadata:
    """Come with a token."""
    return Metadata(Origin(None, "192.0.2.1:1"), token=token.encode())
