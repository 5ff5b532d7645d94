"""Response fields that make browsers careful.

Fields that restrict what a page may do (``Content-Security-Policy``, ``Cross-Origin-Resource-Policy``) and
``Cache-Control: no-store`` are defaults for JSON only: an admin site, a docs page or a static file has needs
that a layer cannot know. What is no JSON may be framed by pages of the service itself and may open popups:
pages do, and other sites are kept out all the same. ``X-XSS-Protection`` is not sent: browsers have dropped
it, and where it still works it opens holes (OWASP HTTP Headers Cheat Sheet). Cookies are the app's.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from ..settings import Settings
from ..types import Headers
from .exchange import Exchange

if TYPE_CHECKING:
    from .routes import RouteRule

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
    "connect-src 'self'; worker-src 'self' blob:; form-action 'self'; base-uri 'none'"
)
# The words of X-Frame-Options (RFC 7034 §2.1) for sources of frame-ancestors, quotes aside.
_OPTIONS: dict[tuple[str, ...], bytes] = {("none",): b"DENY", ("self",): b"SAMEORIGIN"}
_ANCESTORS = re.compile(r"(?:^|(?<=;))\s*frame-ancestors(?![\w-])[^;]*;?", re.IGNORECASE)
# An app that sends one of these has decided something that we would.
_OURS = frozenset(
    {
        b"x-content-type-options",
        b"x-frame-options",
        b"referrer-policy",
        b"content-security-policy",
        b"cross-origin-opener-policy",
        b"cross-origin-resource-policy",
        b"strict-transport-security",
        b"cache-control",
        b"expires",
        b"pragma",
    }
)


class SecurityHeaders:
    """Adds the security fields that a response does not have; the app's own always win.

    Parameters:
        settings: ``hsts`` (seconds, 0 for none), ``hsts_subdomains``, ``csp``, ``csp_pages``,
            ``frame_ancestors``, ``coop``, ``referrer_policy``.
        docs_paths: paths of API docs pages: HTML there gets a policy under which they work
            (TypeError/secure#43, mahdijafaridev/fastapi-middlewares#5).
        docs_pages: returns those pages' HTML as far as it is known, for a prefix at which the server mounts
            the app; called with the first request of one. The hashes of the inline scripts then stand in the
            policy in place of ``'unsafe-inline'``; a page whose script differs later stays blank.

    - Every response: ``X-Content-Type-Options: nosniff``, ``X-Frame-Options``, ``Referrer-Policy``; over
      https ``Strict-Transport-Security``, which browsers ignore elsewhere (RFC 6797 §8.1).
    - JSON: ``Content-Security-Policy``, ``Cross-Origin-Resource-Policy: same-origin``, ``Cache-Control:
      no-store`` (unless there is ``Expires`` or ``Pragma``).
    - HTML: ``Content-Security-Policy`` with ``frame-ancestors``, ``Cross-Origin-Opener-Policy``.
    - HTML of docs pages: the docs policy, and no opener policy: it would cut the OAuth2 window off.

    ``X-Frame-Options`` says what the policy's ``frame-ancestors`` says, as far as it can: browsers read it
    where there is no such directive (CSP level 3 §6.4.2). An app that sends one of the two has decided, and
    gets the other neither.

    ``same-origin`` does not get in the way of CORS: browsers apply the resource policy to requests made
    without CORS only (Fetch standard, "cross-origin resource policy check").
    """

    def __init__(
        self,
        settings: Settings,
        docs_paths: Iterable[str] = (),
        docs_pages: Callable[[str], Iterable[bytes]] = lambda root: (),
    ) -> None:
        self._settings = settings
        self._docs = _Docs(docs_paths, docs_pages)
        self._service = _Kinds(settings, self._docs, None)
        # By identity, with the rule, so that its id stays its own.
        self._ruled: dict[int, tuple[RouteRule, _Kinds]] = {}

    def respond(self, exchange: Exchange) -> None:
        """Add what this response lacks."""
        names = exchange.response_names
        rule = exchange.rule
        kinds = self._service if rule is None or not rule.sets_headers else self._of(rule)
        content_type = names.get(b"content-type")
        fields = kinds.known.get(content_type) or kinds.learn(content_type)
        if fields is kinds.html and self._docs.has(exchange.route_path):
            fields = kinds.docs_html(exchange.root)
        secure = exchange.scheme == "https"
        added = fields.https if secure else fields.http
        if _OURS.isdisjoint(names):
            exchange.add(added, fields.https_lines if secure else fields.http_lines)
        else:
            exchange.add([field for each in added if (field := _unsettled(each, names)) is not None])

    def _of(self, rule: RouteRule) -> _Kinds:
        known = self._ruled.get(id(rule))
        if known is None:
            known = self._ruled[id(rule)] = rule, _Kinds(self._settings, self._docs, rule)
        return known[1]


class _Docs:
    """The pages of the API's documentation and their policy."""

    def __init__(self, paths: Iterable[str], pages: Callable[[str], Iterable[bytes]]) -> None:
        self._paths = frozenset(paths)
        # ``/schema/*`` stands for all below it.
        self._below = tuple(path[:-1] for path in self._paths if path.endswith("/*"))
        self._pages = pages

    def has(self, path: str) -> bool:
        """Return whether a page at this path is one of them."""
        return path in self._paths or path.startswith(self._below)

    def policy(self, root: str) -> str:
        """Return the policy of the pages below ``root``, the prefix at which the server mounts the app."""
        hashes = sorted({found for page in self._pages(root) for found in inline_script_hashes(page)})
        return _DOCS_POLICY.format(inline=" ".join(hashes) or "'unsafe-inline'")


class _Kinds:
    """The fields of each kind of response, as the settings have them and a rule changes them."""

    def __init__(self, settings: Settings, docs: _Docs, rule: RouteRule | None) -> None:
        opener: str = settings.coop
        data, pages = settings.csp, settings.csp_pages
        given: Sequence[str] | None = None
        if rule is not None:
            given = None if rule.frame_ancestors is None else tuple(rule.frame_ancestors)
            opener = opener if rule.coop is None else rule.coop
            if rule.csp is not None:
                data = pages = rule.csp
            elif given is not None:
                data, pages = _without_ancestors(data), _without_ancestors(pages)
        self._secure: Headers = []
        if settings.hsts >= 1:
            subdomains = b"; includeSubDomains" if settings.hsts_subdomains else b""
            self._secure.append(
                (b"strict-transport-security", b"max-age=%d" % int(settings.hsts) + subdomains)
            )
        self._always: Headers = [(b"x-content-type-options", b"nosniff")]
        if settings.referrer_policy:
            self._always.append((b"referrer-policy", _value("REFERRER_POLICY", settings.referrer_policy)))
        self._docs = docs
        self._docs_html: dict[str, _Fields] = {}
        self._ancestors = settings.frame_ancestors if given is None else given
        resources = [(b"cross-origin-resource-policy", b"same-origin"), (b"cache-control", b"no-store")]
        self._json = self._fields("CSP", data, given, given or ("none",), resources)
        openers = [(b"cross-origin-opener-policy", opener.encode("ascii"))] if opener else []
        self.html = self._fields("CSP_PAGES", pages, self._ancestors, self._ancestors, openers)
        # What has no Content-Type may update a stored page (304), whose policy it must not replace.
        worded = self._ancestors == ("*",) or tuple(self._ancestors) in _OPTIONS
        typeless = self._fields("CSP", "", None, self._ancestors if worded else ("self",), [])
        self._other = typeless if worded else self._fields("CSP", "", self._ancestors, (), [])
        self.known: dict[bytes | None, _Fields] = {None: typeless}

    def _fields(
        self,
        setting: str,
        policy: str,
        ancestors: Sequence[str] | None,
        unnamed: Sequence[str],
        further: Headers,
    ) -> _Fields:
        """Return the fields of one kind.

        Parameters:
            setting: where ``policy`` comes from, for a message.
            policy: a content security policy, "" for none.
            ancestors: who may frame it, unless the policy has it; None where the policy alone decides.
            unnamed: who may frame it by ``X-Frame-Options`` when no policy decides.
            further: other fields of this kind.
        """
        if ancestors is not None:
            policy = _with_ancestors(policy, ancestors)
        options = _frame_options(_ancestors_of(policy), unnamed)
        framing: Headers = [] if options is None else [(b"x-frame-options", options)]
        policies: Headers = [(b"content-security-policy", _value(setting, policy))] if policy else []
        return _Fields([*self._always, *framing, *policies, *further], self._secure)

    def docs_html(self, root: str) -> _Fields:
        """Return the fields of pages of the documentation below ``root``.

        Made when one is first asked for: until then the app may change them.
        """
        fields = self._docs_html.get(root)
        if fields is None:
            if len(self._docs_html) >= _REMEMBERED:
                self._docs_html.clear()
            policy = self._docs.policy(root)
            fields = self._fields("CSP", policy, self._ancestors, self._ancestors, [])
            self._docs_html[root] = fields
        return fields

    def learn(self, content_type: bytes | None) -> _Fields:
        """Return the fields of responses of this ``Content-Type``, and remember them in ``known``."""
        media_type = (content_type or b"").partition(b";")[0].strip().lower()
        fields = self._other
        if media_type == b"application/json" or media_type.endswith(b"+json"):
            fields = self._json
        elif media_type in (b"text/html", b"application/xhtml+xml"):
            fields = self.html
        if len(self.known) >= _REMEMBERED:
            typeless = self.known[None]
            self.known.clear()
            self.known[None] = typeless
        self.known[content_type] = fields
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


def _with_ancestors(policy: str, ancestors: Sequence[str]) -> str:
    """Return ``policy`` with a ``frame-ancestors``; its own stays, and everyone needs none."""
    if "*" in ancestors or _ancestors_of(policy) is not None:
        return policy
    sources = " ".join(f"'{one}'" if one in ("self", "none") else one for one in ancestors)
    return f"{policy.rstrip('; ')}; frame-ancestors {sources}" if policy else f"frame-ancestors {sources}"


def _without_ancestors(policy: str) -> str:
    return _ANCESTORS.sub("", policy).strip("; ")


def _ancestors_of(policy: str) -> Sequence[str] | None:
    """Return the sources of the policy's ``frame-ancestors``, None when it has no such directive."""
    for directive in policy.split(";"):
        name, *sources = directive.split() or [""]
        if name.lower() == "frame-ancestors":
            return [source.strip("'").lower() for source in sources] or ["none"]
    return None


def _frame_options(named: Sequence[str] | None, unnamed: Sequence[str]) -> bytes | None:
    """Return what ``X-Frame-Options`` says for the same sources, None for those that it has no word for."""
    return _OPTIONS.get(tuple(unnamed if named is None else named))


def inline_script_hashes(page: bytes) -> tuple[str, ...]:
    """Return the policy sources (``'sha256-…'``, CSP level 3 §2.3.1) of a page's inline scripts."""
    digests = [sha256(script).digest() for script in _INLINE_SCRIPT.findall(page)]
    return tuple(f"'sha256-{b64encode(digest).decode('ascii')}'" for digest in digests)


def _unsettled(field: tuple[bytes, bytes], names: dict[bytes, bytes]) -> tuple[bytes, bytes] | None:
    """Return the field that decides what the app has left open, None when it has decided all of it."""
    name, value = field
    if name in names:
        return None
    if name == b"cache-control":
        return None if b"expires" in names or b"pragma" in names else field
    if name == b"x-frame-options":
        # frame-ancestors is the newer form of X-Frame-Options (CSP level 3 §6.4.2).
        decided = b"frame-ancestors" in names.get(b"content-security-policy", b"").lower()
        return None if decided else field
    if name == b"content-security-policy" and b"x-frame-options" in names:
        # Browsers would read our directive in place of the app's older field.
        rest = _without_ancestors(value.decode("ascii"))
        return (name, rest.encode("ascii")) if rest else None
    return field


def _value(setting: str, text: str) -> bytes:
    """Encode a field value that is taken from the settings."""
    if not text.isascii() or not text.isprintable():
        raise ValueError(
            f"ROADWORTHY_{setting}: it becomes a field value, so write printable ASCII on one line"
        )
    return text.encode("ascii")
