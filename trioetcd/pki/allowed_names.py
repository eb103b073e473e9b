"""Who is let in of all whom a CA has signed: lists of names, as etcd has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from cryptography import x509
from cryptography.x509.oid import NameOID

from trioetcd.pki.bundle import covers
from trioetcd.pki.pem import read_certificate
from trioetcd.pki.profile import PkiError

__all__ = ["AllowedNames", "HostNames", "host_names"]


class HostNames(NamedTuple):
    """Where the holder of a certificate may be found.

    Attributes:
        dns: host names; may begin with ``*.``.
        addresses: IP addresses.
    """

    dns: tuple[str, ...]
    addresses: tuple[str, ...]


def host_names(der: bytes) -> HostNames:
    """Give the host names and addresses in a certificate (DER).

    Raises:
        PkiError: it cannot be read.
    """
    return _host_names(read_certificate(der, "the certificate"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedNames:
    """Names of which a certificate must carry one; without any, every certificate is welcome.

    Attributes:
        flag: the beginning of the flags that hold them, such as ``--peer-cert-allowed``.
        common_names: the common name must be one of these, to the letter (``-cn``).
        hosts: the certificate must stand for one of these host names or addresses
            (``-hostname``). etcd allows one list or the other; both together must both hold.
    """

    flag: str
    common_names: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    def refusal(self, der: bytes) -> str:
        """Say why a verified certificate (DER) is not welcome; nothing if it is.

        Raises:
            PkiError: it cannot be read.
        """
        if not self.common_names and not self.hosts:
            return ""
        certificate = read_certificate(der, "the certificate")
        if self.common_names:
            names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
            # Of several names, programs take the first or the last: nobody may profit from that.
            if len(names) != 1 or str(names[0].value) not in self.common_names:
                return f"its common name is none of {self.flag}-cn"
        if self.hosts:
            found = _host_names(certificate)
            carried = (*found.dns, *found.addresses)
            if not any(covers(name, host) for name in carried for host in self.hosts):
                return f"it names no host of {self.flag}-hostname"
        return ""


def _host_names(certificate: x509.Certificate) -> HostNames:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return HostNames((), ())
    except ValueError:
        raise PkiError("the certificate has damaged extensions") from None
    addresses = names.get_values_for_type(x509.IPAddress)
    return HostNames(tuple(names.get_values_for_type(x509.DNSName)), tuple(map(str, addresses)))
