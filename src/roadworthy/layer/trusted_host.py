"""Which hosts this service answers for.

An app that builds links, redirects or cache keys from ``Host`` trusts the client with them; here the field is
checked before the app sees it.
"""

from __future__ import annotations

import re

from ..errors import APIError, BadRequestError, Limit, MisdirectedRequestError, refused_by
from ..settings import Settings
from .exchange import Exchange

__all__ = ("TrustedHost",)

# Accepted values remembered before the memory starts afresh. Under "*.example.com" a client can send any
# number of them; 255 bytes each bound the memory to 256 KiB.
_REMEMBERED = 1_024

# RFC 3986 §3.2.2 allows more in a reg-name (sub-delims, percent escapes); no DNS name has them, and they are
# what Host attacks are made of. 255 bytes is the longest DNS name (RFC 1035 §2.3.4).
_LONGEST = 255
_LABEL = r"[a-z0-9_]++(?:-++[a-z0-9_]++)*+"
_NAME = rf"{_LABEL}(?:\.{_LABEL})*+"
_HOST = re.compile(rf"({_NAME}|\[[0-9a-f:.]+\])\.?(?::([0-9]{{1,5}}))?")
_ALLOWED = re.compile(rf"(?:\*\.)?{_NAME}|\[[0-9a-f:.]+\]")


class TrustedHost:
    """Refuses requests whose ``Host`` (``:authority`` in HTTP/2) is missing, malformed or not ours.

    Parameters:
        settings: ``allowed_hosts`` has exact names (``example.com``) and ``*.example.com`` for every name
            below one, at any depth and without the name itself; ports and case do not matter. Without any,
            every well-formed host is let through, and without ``http_strict`` every other one as well.

    Raises:
        ValueError: an entry of ``allowed_hosts`` is neither.

    A missing, repeated or malformed field is 400 (RFC 9112 §3.2), unless ``http_strict`` is off and every
    host is let through; a host that is not served is 421 (RFC 9110
    §15.5.20). HTTP/1.0 has no ``Host``, so a request of that version may leave it out.
    """

    def __init__(self, settings: Settings) -> None:
        names: set[str] = set()
        suffixes: list[str] = []
        for number, entry in enumerate(settings.allowed_hosts, 1):
            name = entry.lower().removesuffix(".")
            if name == "*":
                suffixes.append("")
            elif _ALLOWED.fullmatch(name) is None:
                raise ValueError(
                    f"ROADWORTHY_ALLOWED_HOSTS: entry {number} is not a host. Write example.com, or "
                    "*.example.com for every name below it, without scheme, port and path"
                )
            elif name.startswith("*."):
                suffixes.append(name[1:])
            else:
                names.add(name)
        self._names = frozenset(names)
        self._suffixes = tuple(suffixes) if names or suffixes else ("",)
        # A name that is not one is none of those that are allowed.
        self._strict = settings.http_strict or "" not in self._suffixes
        self.good: set[bytes] = set()
        """Values of the field that were let through before: they need not be looked at again."""

    def admit(self, exchange: Exchange) -> APIError | None:
        """Let the request pass, or give the error that refuses it."""
        headers = exchange.headers
        host = headers.get(b"host")
        if host in self.good:
            return None
        if host is None:
            host = headers.get(b":authority")
            if host is None:
                if exchange.http_version == "1.0":
                    return None
                return self._invalid("The Host field is missing")
        if b"," in host:
            return self._invalid("There is more than one Host field")
        match = _HOST.fullmatch(host.decode("latin-1").lower()) if len(host) <= _LONGEST else None
        if match is None or int(match[2] or 0) > 65535:
            return self._invalid("The Host field is malformed")
        name = match[1]
        if name not in self._names and not name.endswith(self._suffixes):
            return refused_by(MisdirectedRequestError(), Limit("ALLOWED_HOSTS"))
        if len(self.good) >= _REMEMBERED:
            self.good.clear()
        self.good.add(host)
        return None

    def _invalid(self, message: str) -> APIError | None:
        return BadRequestError(message) if self._strict else None
