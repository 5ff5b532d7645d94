"""Who a request is for, as far as it shows."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ..layer.exchange import current_exchange
from ._request import user_key

__all__ = ("principals", "whose")

_SESSION = re.compile(rb"sess|sid|auth|login|token|jwt|remember")
_FORGERY = re.compile(rb"csrf|xsrf")
"""Names of cookies that carry a session, in the defaults of the frameworks (``sessionid``, ``connect.sid``,
``JSESSIONID``, ``remember_token``); and of the ones against forgery, which change within a session."""

_MOST_COOKIES = 256
"""Chromium keeps 180 for a site (kDomainMaxCookies), and the other browsers no more than that."""


def principals() -> tuple[str, ...]:
    """Return by what the client of the request will be known again: who it is for, and the address.

    By both, as signing in and out changes the one but not the other. () outside a request.
    """
    exchange = current_exchange.get()
    if exchange is None:
        return ()
    address = f"address {exchange.client_key}"
    who = whose(exchange.headers)
    return (address,) if who is None else (f"user {who}", address)


def whose(fields: Mapping[bytes, bytes]) -> str | None:
    """Return who a request is for, None where nothing shows it.

    Parameters:
        fields: of the request; names in lower case.
    """
    user = user_key()
    if user is not None:
        return user
    given = fields.get(b"authorization") or _session(fields.get(b"cookie", b""))
    # A secret is not to lie in a table.
    return hashlib.sha256(given).hexdigest() if given else None


def _session(cookies: bytes) -> bytes:
    """Return the cookies that say whose session it is; all where no name shows it or there are too many."""
    if cookies.count(b";") >= _MOST_COOKIES:
        return cookies
    pairs = [pair.strip() for pair in cookies.split(b";")]
    names = {pair: pair.partition(b"=")[0].lower() for pair in pairs}
    named = [pair for pair, name in names.items() if _SESSION.search(name) and not _FORGERY.search(name)]
    return b";".join(sorted(named or pairs))
