"""Response fields that make browsers careful.

Fields that restrict what a page may do (``Content-Security-Policy``, ``Cross-Origin-Resource-Policy``) and
``Cache-Control: no-store`` are defaults for JSON only: an admin site, a docs page or a static file has needs
that a layer cannot know. ``X-XSS-Protection`` is not sent: browsers have dropped it, and where it still works
it opens holes (OWASP HTTP Headers Cheat Sheet). Cookies are the app's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable
from hashlib import sha256

from ..settings import Settings
from ..types import Headers
from .exchange import Exchange

__all__ = ("SecurityHeaders", "inline_script_hashes")

# Distinct Content-Type values remembered before the memory starts afresh.
_REMEMBERED = 512

_INLINE_SCRIPT = re.compile(rb"<script(?![^>]*\bsrc\s*=)[^>]*>(.*?)</script\s*>", re.IGNORECASE | re.DOTALL)

# Where the docs pages of FastAPI (Swagger UI, ReDoc) and Litestar (also Scalar, RapiDoc, Stoplight Elements)
# load from. Styles are set inline by every one of them.
_SCRIPTS = "https://cdn.jsdelivr.net https://cdn.redoc.ly https://unpkg.com"
_DOCS_POLICY = (
    "default-src 'none'; script-src 'self' {inline} " + _SCRIPTS + "; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://unpkg.com "
    "https://fonts.googleapis.com; "
    "img-src 'self' data: https://cdn.jsdelivr.net https://cdn.redoc.ly https://fastapi.tiangolo.com; "
    "font-src 'self' data: https://fonts.gstatic.com https://fonts.scalar.com; "
    "connect-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


class SecurityHeaders:
    """Adds the security fields that a response does not have; the app's own always win.

    Parameters:
        settings: ``hsts`` (seconds, 0 for none), ``hsts_subdomains``, ``csp``, ``referrer_policy``.
        docs_paths: paths of API docs pages: HTML there gets a policy under which they work
            (TypeError/secure#43, mahdijafaridev/fastapi-middlewares#5).
        docs_pages: returns those pages' HTML as far as it is known, for a prefix at which the server mounts
            the app; called with the first request of one. The hashes of the inline scripts then stand in the
            policy in place of ``'unsafe-inline'``; a page whose script differs later stays blank.

    - Every response: ``X-Content-Type-Options: nosniff``, ``X-Frame-Options: DENY`` (unless a policy of the
      app's has ``frame-ancestors``), ``Referrer-Policy``; over https ``Strict-Transport-Security``, which
      browsers ignore elsewhere (RFC 6797 §8.1).
    - JSON: ``Content-Security-Policy``, ``Cross-Origin-Resource-Policy: same-origin``, ``Cache-Control:
      no-store`` (unless there is ``Expires`` or ``Pragma``).
    - HTML: ``Cross-Origin-Opener-Policy: same-origin``.
    - HTML of docs pages: the docs policy, and no opener policy: it would cut the OAuth2 window off.

    ``same-origin`` does not get in the way of CORS: browsers apply the resource policy to requests made
    without CORS only (Fetch standard, "cross-origin resource policy check").
    """

    def __init__(
        self,
        settings: Settings,
        docs_paths: Iterable[str] = (),
        docs_pages: Callable[[str], Iterable[bytes]] = lambda root: (),
    ) -> None:
        always = [
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
        ]
        if settings.referrer_policy:
            always.append((b"referrer-policy", _value("REFERRER_POLICY", settings.referrer_policy)))
        json = [(b"cross-origin-resource-policy", b"same-origin"), (b"cache-control", b"no-store")]
        if settings.csp:
            json.append((b"content-security-policy", _value("CSP", settings.csp)))
        secure: Headers = []
        if settings.hsts >= 1:
            subdomains = b"; includeSubDomains" if settings.hsts_subdomains else b""
            secure.append((b"strict-transport-security", b"max-age=%d" % int(settings.hsts) + subdomains))

        self._docs = frozenset(docs_paths)
        # ``/schema/*`` stands for all below it.
        self._below_docs = tuple(path[:-1] for path in self._docs if path.endswith("/*"))
        self._other = _Fields(always, secure)
        self._json = _Fields([*always, *json], secure)
        self._html = _Fields([*always, (b"cross-origin-opener-policy", b"same-origin")], secure)
        self._docs_pages = docs_pages
        self._docs_html: dict[str, _Fields] = {}
        self._always, self._secure = always, secure
        self._kinds: dict[bytes | None, _Fields] = {None: self._other}
        every = (self._json, self._html)
        names = frozenset(name for fields in every for name, _ in fields.https)
        self._ours = names | {b"content-security-policy", b"expires", b"pragma"}

    def respond(self, exchange: Exchange) -> None:
        """Add what this response lacks."""
        names = exchange.response_names
        content_type = names.get(b"content-type")
        fields = self._kinds.get(content_type) or self._learn(content_type)
        if fields is self._html and self._is_docs(exchange.route_path):
            fields = self._docs_html.get(exchange.root) or self._read_docs(exchange.root)
        secure = exchange.scheme == "https"
        added = fields.https if secure else fields.http
        if self._ours.isdisjoint(names):
            exchange.add(added, fields.https_lines if secure else fields.http_lines)
        else:
            exchange.add([field for field in added if not _settled(field[0], names)])

    def _is_docs(self, path: str) -> bool:
        return path in self._docs or path.startswith(self._below_docs)

    def _read_docs(self, root: str) -> _Fields:
        """Make the fields of docs pages when one is first asked for: until then the app may change them."""
        hashes = sorted({found for page in self._docs_pages(root) for found in inline_script_hashes(page)})
        policy = _DOCS_POLICY.format(inline=" ".join(hashes) or "'unsafe-inline'").encode("ascii")
        if len(self._docs_html) >= _REMEMBERED:
            self._docs_html.clear()
        fields = _Fields([*self._always, (b"content-security-policy", policy)], self._secure)
        self._docs_html[root] = fields
        return fields

    def _learn(self, content_type: bytes | None) -> _Fields:
        media_type = (content_type or b"").partition(b";")[0].strip().lower()
        fields = self._other
        if media_type == b"application/json" or media_type.endswith(b"+json"):
            fields = self._json
        elif media_type in (b"text/html", b"application/xhtml+xml"):
            fields = self._html
        if len(self._kinds) >= _REMEMBERED:
            self._kinds.clear()
        self._kinds[content_type] = fields
        return fields


class _Fields:
    """The fields of one kind of response, ready for either scheme."""

    __slots__ = ("http", "http_lines", "https", "https_lines")

    def __init__(self, fields: Headers, secure: Headers) -> None:
        self.http = fields
        self.https = [*fields, *secure]
        self.http_lines = _lines(self.http)
        self.https_lines = _lines(self.https)


def _lines(fields: Headers) -> bytes:
    return b"".join(b"%b: %b\r\n" % field for field in fields)


def inline_script_hashes(page: bytes) -> tuple[str, ...]:
    """Return the policy sources (``'sha256-…'``, CSP level 3 §2.3.1) of a page's inline scripts."""
    digests = [sha256(script).digest() for script in _INLINE_SCRIPT.findall(page)]
    return tuple(f"'sha256-{b64encode(digest).decode('ascii')}'" for digest in digests)


def _settled(name: bytes, names: dict[bytes, bytes]) -> bool:
    """Return whether the app has decided what our field ``name`` would decide."""
    if name in names:
        return True
    if name == b"cache-control":
        return b"expires" in names or b"pragma" in names
    # frame-ancestors is the newer form of X-Frame-Options (CSP level 3 §6.4.2).
    return (
        name == b"x-frame-options"
        and b"frame-ancestors" in names.get(b"content-security-policy", b"").lower()
    )


def _value(setting: str, text: str) -> bytes:
    """Encode a field value that is taken from the settings."""
    if not text.isascii() or not text.isprintable():
        raise ValueError(
            f"ROADWORTHY_{setting}: it becomes a field value, so write printable ASCII on one line"
        )
    return text.encode("ascii")
