"""Request ids: one id per exchange, in its response, its error body and all of its records."""

from __future__ import annotations

import os
import random
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..settings import Settings
    from .exchange import Exchange

__all__ = ("RequestId",)

_FIELD = b"x-request-id"
_LONGEST = 128
_SAFE = (string.ascii_letters + string.digits + "._-").encode()

# Ids have to differ, not to be secret, so the fast generator does; it is seeded by the operating system.
_generator = random.Random()  # noqa: S311
os.register_at_fork(after_in_child=_generator.seed)


class RequestId:
    """Keeps the client's ``X-Request-Id`` when it is well formed, and makes one otherwise.

    Well formed are 1 to 128 ASCII letters, digits, dots, underscores and hyphens; anything else could forge
    records or grow them, and is replaced without a word. An ``X-Request-Id`` that the app itself puts on its
    response stays as it is; records still carry the id of the exchange.
    """

    def __init__(self, settings: Settings) -> None:
        self._sent = settings.request_id_header
        self._bits = _generator.getrandbits

    def admit(self, exchange: Exchange) -> None:
        """Give the exchange its id."""
        given = exchange.headers.get(_FIELD)
        # What is left after every safe byte is removed; faster than a regular expression.
        if given and len(given) <= _LONGEST and not given.translate(None, _SAFE):
            exchange.request_id = given.decode("ascii")
        else:
            exchange.request_id = self._bits(128).to_bytes(16, "big").hex()

    def respond(self, exchange: Exchange) -> None:
        """Put the id on the response."""
        if _FIELD in exchange.response_names or not self._sent:
            return
        exchange.add(((_FIELD, exchange.request_id.encode("ascii")),))
