"""Who a request is for: the service's own function, what it is given, and what it may return."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from .exchange import Exchange

__all__ = ("KeyFunction", "RequestInfo", "UserKey", "checked_function", "checked_key")

_log = logging.getLogger("roadworthy.rate_limiting")

_NEVER_A_KEY = 100
"""Requests with credentials for which no key was returned, and none before, until a warning: a service that
has just started may get a few with expired tokens."""


class _RequestFields(Mapping[str, str]):
    """Request fields by name, in any case: ``headers["Authorization"]``, ``headers.get("x-tenant")``."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self._fields = fields

    def __getitem__(self, name: str) -> str:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            # No example here: what follows the name of a secret is masked in records.
            raise TypeError(f"the names of request fields are text, not {type(name).__name__}")
        return self._fields[name.lower().encode("latin-1", "replace")].decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._fields)

    def __len__(self) -> int:
        return len(self._fields)


class RequestInfo:
    """A request as ``user_key`` and ``principal`` see it. Nothing of it is verified yet.

    Parameters:
        fields: names in lower case, and values; several lines of a field are one.
        method: ``GET`` for the handshake of a WebSocket.
        path: decoded, without the query.
        query: as it was sent, without the question mark.
        client: the client's address, that behind trusted proxies where there are some; "" when unknown.
    """

    __slots__ = ("_fields", "client", "method", "path", "query")

    def __init__(
        self, fields: Mapping[bytes, bytes], method: str, path: str, query: bytes, client: str
    ) -> None:
        self._fields = fields
        self.method = method
        self.path = path
        self.query = query.decode("latin-1")
        self.client = client

    @property
    def headers(self) -> Mapping[str, str]:
        """The request's fields by name, in any case."""
        return _RequestFields(self._fields)

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies by name, as they were sent.

        A name that is there twice with different values is left out: the app might read the other one.
        """
        found: dict[str, str] = {}
        doubtful: set[str] = set()
        for pair in self._fields.get(b"cookie", b"").decode("latin-1").split(";"):
            name, equals, value = pair.partition("=")
            name, value = name.strip(), value.strip()
            if equals and found.setdefault(name, value) != value:
                doubtful.add(name)
        return {name: value for name, value in found.items() if name not in doubtful}


UserKey: TypeAlias = Callable[[RequestInfo], str | None]
"""Returns who a request is for, once that is verified, else None."""


def checked_function(name: str, function: Any) -> UserKey:
    """Return ``function`` if it can be a :data:`UserKey`.

    Parameters:
        name: of the argument that it was given as.

    Raises:
        TypeError: it cannot be called with a request, or is an async function.
    """
    if not callable(function):
        raise TypeError(f"{name} is {type(function).__name__}; give a function of the request")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise TypeError(
            f"{name} is an async function; it is called for every request before anything waits, so it has "
            "to be a plain function that verifies what the request carries (a signed token or cookie)"
        )
    try:
        inspect.signature(function).bind(object())
    except ValueError:
        pass  # a built-in has no signature
    except TypeError:
        raise TypeError(f"{name} has to take one argument, the request: def {name}(request)") from None
    return cast("UserKey", function)


def checked_key(name: str, key: Any) -> str | None:
    """Return what such a function has returned; the empty text is None.

    Raises:
        TypeError: it is neither text nor None; the message has its type, and not the value.
    """
    if isinstance(key, str):
        return key or None
    if key is None:
        return None
    if inspect.iscoroutine(key):
        key.close()
    if isinstance(key, Awaitable):
        raise TypeError(f"{name} returned something to await; it has to be a plain function")
    raise TypeError(f"{name} returned {type(key).__name__}; it has to return text, or None for nobody")


class KeyFunction:
    """Asks ``user_key`` of the service who a request is for.

    It warns once if nobody is ever recognised though requests carry credentials: then limits by user count by
    address, and nothing else would show it.

    Parameters:
        function: the service's own.

    Raises:
        TypeError: see :func:`checked_function`.
    """

    def __init__(self, function: UserKey) -> None:
        self._function = checked_function("user_key", function)
        self._missed: int | None = 0

    def __call__(self, exchange: Exchange) -> str | None:
        """Return who the exchange is for.

        Raises:
            TypeError: see :func:`checked_key`.
        """
        fields = exchange.headers
        request = RequestInfo(fields, exchange.method, exchange.path, exchange.query, exchange.client)
        key = checked_key("user_key", self._function(request))
        if self._missed is not None:
            self._missed = None if key else self._count_missed(self._missed, fields)
        return key

    def _count_missed(self, missed: int, fields: Mapping[bytes, bytes]) -> int | None:
        if not (b"authorization" in fields or b"cookie" in fields):
            return missed
        if missed + 1 < _NEVER_A_KEY:
            return missed + 1
        _log.warning(
            "user_key has returned None for the first %d requests with an Authorization field or cookies, "
            'and never a key: limits with rate_key="user" count them by address. It gets the request: '
            'request.headers.get("authorization"), request.cookies.get("session")',
            _NEVER_A_KEY,
        )
        return None
