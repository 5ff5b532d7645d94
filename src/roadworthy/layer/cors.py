"""Cross-origin resource sharing, as the Fetch standard defines it
(https://fetch.spec.whatwg.org/#http-cors-protocol).

Preflights are answered here and never reach the app, its authentication or its limits: a browser sends them
without credentials. Every other response gets its fields at the very outside, so that errors have them too.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from ..settings import Settings
from ..types import Headers
from .exchange import Exchange, Reply
from .fields import add_vary

__all__ = ("Cors", "is_preflight")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443", "ws": ":80", "wss": ":443"}


def is_preflight(exchange: Exchange) -> bool:
    """Return whether a browser asks if it may send another request (Fetch §3.2.2)."""
    headers = exchange.headers
    return (
        exchange.method == "OPTIONS" and b"origin" in headers and b"access-control-request-method" in headers
    )


class Cors:
    """Grants the configured origins access to responses.

    Parameters:
        settings: ``cors_origins`` has origins (``https://app.example.com``) or ``*`` alone; without any, CORS
            is off: no field is ever sent, and ``OPTIONS`` belongs to the app.

    Raises:
        ValueError: an origin, method or field name is malformed, or ``*`` is combined with credentials, which
            the Fetch standard forbids and which is otherwise answered by granting every site
            (Kludex/starlette#3246).

    A preflight is answered 204. One from an origin that is not configured gets no grant, which makes the
    browser refuse. One from a configured origin gets the complete lists even when it asks for more than they
    hold: the browser refuses just the same and can name the method or field that is missing.

    An app that sets ``Access-Control-Allow-Origin`` itself keeps its own grant.
    """

    def __init__(self, settings: Settings) -> None:
        origins = [_origin(number, text) for number, text in enumerate(settings.cors_origins, 1)]
        self.enabled = bool(origins)
        self._any = "*" in origins
        if self._any and len(origins) > 1:
            raise ValueError("ROADWORTHY_CORS_ORIGINS: * stands alone; leave it out or leave the others out")
        credentials = settings.cors_credentials
        if self._any and credentials:
            raise ValueError(
                "ROADWORTHY_CORS_ORIGINS: * together with ROADWORTHY_CORS_CREDENTIALS lets every site read "
                "what a user's cookies unlock. Name the origins, or turn credentials off"
            )
        methods = _words("CORS_METHODS", settings.cors_methods, credentials)
        allowed = _words("CORS_HEADERS", settings.cors_headers, credentials)
        exposed = _words("CORS_EXPOSE", settings.cors_expose, credentials)

        self._grants: dict[bytes, Headers] = {}
        self._preflights: dict[bytes, Headers] = {}
        for origin in origins:
            value = origin.encode("ascii")
            grant = [(b"access-control-allow-origin", value)]
            if credentials:
                grant.append((b"access-control-allow-credentials", b"true"))
            preflight = [*grant, (b"access-control-allow-methods", methods)]
            if allowed:
                preflight.append((b"access-control-allow-headers", allowed))
            preflight.append((b"access-control-max-age", b"%d" % int(settings.cors_max_age)))
            if exposed:
                grant.append((b"access-control-expose-headers", exposed))
            self._grants[value] = grant
            self._preflights[value] = preflight
        self._vary = (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")

    def admit(self, exchange: Exchange) -> Reply | None:
        """Answer a preflight; let everything else pass."""
        if exchange.method != "OPTIONS" or not self.enabled:
            return None
        if not is_preflight(exchange):
            return None
        grant = self._preflights.get(b"*" if self._any else exchange.headers[b"origin"], ())
        return Reply(204, [*grant, self._vary])

    def respond(self, exchange: Exchange) -> None:
        """Add the grant for this request's origin, and ``Vary: Origin`` wherever the grant depends on it.

        ``Vary`` goes on responses without a grant as well: a shared cache would otherwise hand the response
        made for one visitor, without a grant, to a site that has one (Kludex/starlette#3516). The answer to a
        preflight has both already and stays as it is.
        """
        if not self.enabled:
            return
        names = exchange.response_names
        if self._any:
            grant = self._grants[b"*"]
        else:
            add_vary(exchange, b"Origin")
            origin = exchange.headers.get(b"origin")
            if origin is None or origin not in self._grants:
                return
            grant = self._grants[origin]
        if b"access-control-allow-origin" in names:
            return
        exchange.add([field for field in grant if field[0] not in names])

    def websocket_allowed(
        self, origin: bytes | None, host: bytes | None, *, credentials: bool = True
    ) -> bool:
        """Return whether a page of ``origin`` may open a WebSocket to ``host``.

        Browsers do not apply CORS to WebSockets and do send cookies with the handshake (RFC 6455 §10.2), so
        the check is made here: the same origin, or a configured one. A handshake without ``Origin`` is not
        from a browser and passes. Behind a proxy that replaces ``Host``, the service's own origin has to be
        configured too.

        Parameters:
            origin: the ``Origin`` field of the handshake.
            host: its ``Host`` field.
            credentials: whether the handshake carries ``Cookie`` or ``Authorization``. ``*`` grants every
                site access without credentials, so it covers only handshakes without them.
        """
        if origin is None or origin in self._grants:
            return True
        if self._any and not credentials:
            return True
        scheme, separator, authority = origin.decode("latin-1").lower().partition("://")
        if not separator or not host:
            return False
        port = _DEFAULT_PORTS.get(scheme, "")
        return authority.removesuffix(port) == host.decode("latin-1").lower().removesuffix(port)


def _origin(number: int, text: str) -> str:
    """Bring a configured origin into the form in which browsers send it (RFC 6454 §6.2)."""
    if text == "*":
        return text
    origin = text.lower()
    hint = ""
    if origin == "null":
        hint = "null is sent by every sandboxed frame and local file, so it cannot be trusted"
    elif not origin.isascii():
        hint = "write a name outside ASCII in its xn-- form"
    elif "://" not in origin:
        hint = (
            "the scheme is missing; put https:// before it" if _ORIGIN.fullmatch("https://" + origin) else ""
        )
    elif "*" in origin:
        hint = "patterns are not supported; list each origin, or * alone for all"
    elif origin.endswith("/") and _ORIGIN.fullmatch(origin[:-1]):
        hint = "an origin has no slash at its end"
    if hint or _ORIGIN.fullmatch(origin) is None:
        hint = hint or "an origin is scheme://host or scheme://host:port, without path"
        raise ValueError(f"ROADWORTHY_CORS_ORIGINS: entry {number} is not an origin: {hint}")
    return origin.removesuffix(_DEFAULT_PORTS.get(urlsplit(origin).scheme, "\0"))


def _words(setting: str, words: tuple[str, ...], credentials: bool) -> bytes:
    for number, word in enumerate(words, 1):
        if _TOKEN.fullmatch(word) is None:
            raise ValueError(
                f"ROADWORTHY_{setting}: entry {number} is not a name that HTTP allows (RFC 9110 §5.6.2)"
            )
        if word == "*" and credentials:
            raise ValueError(
                f"ROADWORTHY_{setting}: with credentials browsers read * as a name, not as all; list them"
            )
    return ", ".join(words).encode("ascii")
