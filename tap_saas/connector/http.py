"""How connections are made, and to whom credentials may go."""

from __future__ import annotations

from fnmatch import fnmatchcase
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

import msgspec

from tap_saas.connector.template import Template
from tap_saas.connector.units import ByteSize, Duration

_PORTS = {"http": 80, "https": 443}


class Timeout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{connect: 10s, read: 60s, total: 15m}`: how long an answer may take.

    connect: until the connection is there
    read: between two pieces of the answer
    total: until the whole answer is there
    """

    connect: Duration = Duration(seconds=10)
    read: Duration = Duration(seconds=60)
    total: Duration = Duration(minutes=15)


class HttpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`{timeout: {read: 2m}, hosts: ["*.acme.example"]}`: how connections are made.

    timeout: how long an answer may take
    proxy: the address of a proxy
    ca_file: certificates to trust instead of the public ones, a PEM file
    cert: a client certificate and its key, PEM files
    hosts: hosts besides the one of base_url that may see the credentials, * is any text
    max_body: the largest answer that is read
    """

    timeout: Timeout = Timeout()
    proxy: Template | None = None
    ca_file: str | None = None
    cert: list[str] | None = None
    hosts: list[str] = []
    max_body: ByteSize = ByteSize(256_000_000)

    def trusts(self, url: str, base_url: str) -> bool:
        """Whether credentials may go to `url`: the origin of `base_url`, or one of `hosts`.

        Only over https, or on loopback.
        """
        to, base = urlsplit(url), urlsplit(base_url)
        if not is_private(url) or to.hostname is None:
            return False
        if (to.scheme, to.hostname, _port(to)) == (base.scheme, base.hostname, _port(base)):
            return True
        return any(fnmatchcase(to.hostname, host.lower()) for host in self.hosts)


def is_private(url: str) -> bool:
    """Whether nobody on the way can read what is sent: https, or a host that is this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname))


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
