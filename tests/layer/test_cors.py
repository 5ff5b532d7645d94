"""Cross-origin resource sharing, judged as a browser judges it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.layer.cors import Cors
from roadworthy.layer.exchange import Reply
from roadworthy.settings import Settings
from roadworthy.types import Headers

from .conftest import make_exchange

_APP = b"https://app.example.com"
_OTHER = b"http://localhost:3000"
_LISTED = {"cors_origins": f"{_APP.decode()}, {_OTHER.decode()}"}
_STRANGERS = [
    b"https://evil.example",
    b"null",
    b"",
    b"*",
    b"https://app.example.com.evil.example",
    b"https://evilapp.example.com",
    b"https://sub.app.example.com",
    b"http://app.example.com",
    b"https://app.example.com:8443",
    b"https://app.example.com/",
    b"https://APP.example.com",
    b"https://app.example.com, https://evil.example",
    b"app.example.com",
]


def _cors(**settings: Any) -> Cors:
    return Cors(Settings(**settings))


def _response(
    item: Cors, origin: bytes | None, *response: tuple[bytes, bytes], status: int = 200, method: str = "GET"
) -> Headers:
    headers = [] if origin is None else [(b"origin", origin)]
    made = make_exchange(method=method, headers=headers, status=status, response_headers=response)
    assert item.admit(made) is None
    item.respond(made)
    return made.response_headers


def _preflight(item: Cors, origin: bytes, method: bytes = b"PUT", fields: bytes = b"content-type") -> Reply:
    headers = [(b"origin", origin), (b"access-control-request-method", method)]
    made = make_exchange("OPTIONS", headers=[*headers, (b"access-control-request-headers", fields)])
    reply = item.admit(made)
    assert reply is not None
    before = list(reply.headers)
    made.response_headers, made.response_names, made.status = reply.headers, dict(reply.headers), reply.status
    item.respond(made)
    assert reply.headers == before, "the answer to a preflight is complete as it is"
    return reply


def _value(headers: Headers, name: bytes) -> bytes | None:
    values = [value for key, value in headers if key.lower() == name]
    assert len(values) <= 1, f"{name!r} stands twice"
    return values[0] if values else None


def _granted(headers: Headers, origin: bytes, *, credentials: bool) -> bool:
    """The CORS check of the Fetch standard (§4.9)."""
    value = _value(headers, b"access-control-allow-origin")
    if value == b"*" and not credentials:
        return True
    if value != origin:
        return False
    return not credentials or _value(headers, b"access-control-allow-credentials") == b"true"


def _preflight_passes(reply: Reply, origin: bytes, method: bytes, fields: tuple[bytes, ...]) -> bool:
    """The CORS-preflight fetch of the Fetch standard (§4.8), steps 7 and later."""
    if not 200 <= reply.status <= 299 or not _granted(reply.headers, origin, credentials=False):
        return False
    methods = (_value(reply.headers, b"access-control-allow-methods") or b"").split(b", ")
    allowed = (_value(reply.headers, b"access-control-allow-headers") or b"").lower().split(b", ")
    if method not in (*methods, b"GET", b"HEAD", b"POST") and b"*" not in methods:
        return False
    return all(field in allowed or (b"*" in allowed and field != b"authorization") for field in fields)


def test_off_by_default() -> None:
    """Without origins no field is ever sent, and OPTIONS belongs to the app."""
    item = _cors()
    assert not item.enabled
    assert _response(item, _APP) == []
    made = make_exchange("OPTIONS", headers=[(b"origin", _APP), (b"access-control-request-method", b"PUT")])
    assert item.admit(made) is None
    item.respond(made)
    assert made.response_headers == []


@pytest.mark.parametrize("status", [200, 201, 304, 400, 401, 404, 413, 422, 429, 500, 503])
def test_every_response_of_a_listed_origin(status: int) -> None:
    """A listed origin may read every response, errors too (Kludex/starlette#1116, quarkusio/quarkus#3685)."""
    item = _cors(**_LISTED)
    for origin in (_APP, _OTHER):
        headers = _response(item, origin, status=status)
        assert _granted(headers, origin, credentials=False)
        assert not _granted(headers, origin, credentials=True)
        assert _value(headers, b"vary") == b"Origin"
        exposed = _value(headers, b"access-control-expose-headers")
        assert exposed
        assert b"X-Request-Id" in exposed


@pytest.mark.parametrize("origin", [None, *_STRANGERS])
def test_vary_without_a_grant(origin: bytes | None) -> None:
    """A response to anyone else has no grant and still names Origin in Vary (Kludex/starlette#3516)."""
    headers = _response(_cors(**_LISTED), origin)
    assert headers == [(b"vary", b"Origin")]


def test_credentials() -> None:
    """With credentials a listed origin is named together with the word true, also on a preflight."""
    item = _cors(**_LISTED, cors_credentials=True)
    assert _granted(_response(item, _APP), _APP, credentials=True)
    assert _granted(_preflight(item, _APP).headers, _APP, credentials=True)
    assert not _granted(_response(item, b"https://evil.example"), b"https://evil.example", credentials=True)


def test_star() -> None:
    """A static * is on every response, with or without Origin, and needs no Vary."""
    item = _cors(cors_origins="*")
    for origin in (None, _APP, b"null"):
        headers = _response(item, origin)
        assert _value(headers, b"access-control-allow-origin") == b"*"
        assert _value(headers, b"vary") is None
    assert _preflight_passes(_preflight(item, _APP), _APP, b"PUT", (b"content-type",))


@pytest.mark.parametrize(
    ("own", "merged"),
    [
        (b"Accept-Encoding", b"Accept-Encoding, Origin"),
        (b"Accept-Encoding, ORIGIN", b"Accept-Encoding, ORIGIN"),
        (b"origin", b"origin"),
        (b"*", b"*"),
        (b"X-Origin", b"X-Origin, Origin"),
        (b"", b"Origin"),
    ],
)
def test_vary_is_merged(own: bytes, merged: bytes) -> None:
    """Vary keeps what the app put there, in one field, and names Origin once."""
    assert _value(_response(_cors(**_LISTED), None, (b"Vary", own)), b"vary") == merged


def test_two_vary_fields_are_merged() -> None:
    """Two Vary fields of the app become one with all their names."""
    headers = _response(_cors(**_LISTED), None, (b"vary", b"Cookie"), (b"Vary", b"Accept"))
    assert _value(headers, b"vary") == b"Cookie, Accept, Origin"


def test_the_apps_own_grant_wins() -> None:
    """An app that has its own CORS middleware keeps its grant, and nothing stands twice."""
    own = (b"Access-Control-Allow-Origin", b"https://partner.example")
    for item in (_cors(**_LISTED), _cors(cors_origins="*")):
        headers = _response(item, _APP, own)
        assert _value(headers, b"access-control-allow-origin") == own[1]
        assert _value(headers, b"access-control-expose-headers") is None
    exposed = (b"access-control-expose-headers", b"X-Own")
    headers = _response(_cors(**_LISTED), _APP, exposed)
    assert _granted(headers, _APP, credentials=False)
    assert _value(headers, b"access-control-expose-headers") == b"X-Own"


def test_preflight() -> None:
    """A preflight for what the settings allow passes, is remembered, and depends on what it says."""
    reply = _preflight(_cors(**_LISTED), _APP)
    assert reply.status == 204
    assert reply.body == b""
    assert _preflight_passes(reply, _APP, b"PUT", (b"content-type", b"authorization"))
    assert _value(reply.headers, b"access-control-max-age") == b"600"
    vary = _value(reply.headers, b"vary")
    assert vary == b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    assert _value(reply.headers, b"access-control-expose-headers") is None


@pytest.mark.parametrize("origin", _STRANGERS)
def test_preflight_of_a_stranger(origin: bytes) -> None:
    """A preflight from another origin is answered without any grant, and still with Vary."""
    reply = _preflight(_cors(**_LISTED), origin)
    assert not _preflight_passes(reply, origin, b"GET", ())
    assert [name for name, _ in reply.headers] == [b"vary"]


def test_preflight_for_more_than_is_allowed() -> None:
    """A preflight for another method or field is refused by the browser, which can tell what is missing."""
    item = _cors(**_LISTED, cors_methods="GET, PUT", cors_headers="Content-Type")
    assert not _preflight_passes(_preflight(item, _APP, b"DELETE"), _APP, b"DELETE", ())
    assert not _preflight_passes(_preflight(item, _APP, fields=b"x-secret"), _APP, b"PUT", (b"x-secret",))
    assert _preflight_passes(_preflight(item, _APP), _APP, b"PUT", (b"content-type",))


def test_options_of_the_app() -> None:
    """OPTIONS without Access-Control-Request-Method, or without Origin, is the app's."""
    item = _cors(**_LISTED)
    headers = _response(item, _APP, (b"allow", b"GET"), method="OPTIONS")
    assert _granted(headers, _APP, credentials=False)
    made = make_exchange("OPTIONS", headers=[(b"access-control-request-method", b"PUT")])
    assert item.admit(made) is None


def test_answers_are_not_shared() -> None:
    """Fields added to one preflight answer do not show up in the next."""
    item = _cors(**_LISTED)
    _preflight(item, _APP).headers.append((b"x-request-id", b"1"))
    assert _value(_preflight(item, _APP).headers, b"x-request-id") is None


@pytest.mark.parametrize(
    ("origin", "hint"),
    [
        ("https://app.example.com/", "slash"),
        ("https://app.example.com/path", "without path"),
        ("app.example.com", "put https:// before it"),
        ("https://*.example.com", "patterns"),
        ("null", "null"),
        ("https://bücher.example", "xn--"),
        ("https://user@app.example.com", "scheme://host"),
        ("https://", "scheme://host"),
        ("https://app.example.com:port", "scheme://host"),
        ("https://a b", "scheme://host"),
    ],
)
def test_a_malformed_origin_stops_the_start(origin: str, hint: str) -> None:
    """An origin no browser would ever send is refused at start, with what to write instead."""
    with pytest.raises(ValueError, match="CORS_ORIGINS") as caught:
        _cors(cors_origins=(origin,))
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("configured", "sent"),
    [
        ("HTTPS://App.Example.COM", b"https://app.example.com"),
        ("https://app.example.com:443", b"https://app.example.com"),
        ("http://app.example.com:80", b"http://app.example.com"),
        ("http://app.example.com:443", b"http://app.example.com:443"),
        ("http://[::1]:3000", b"http://[::1]:3000"),
        ("capacitor://localhost", b"capacitor://localhost"),
        ("chrome-extension://abcdef", b"chrome-extension://abcdef"),
    ],
)
def test_origins_are_brought_into_the_form_browsers_send(configured: str, sent: bytes) -> None:
    """Case and default port of a configured origin do not matter; other schemes than http are allowed."""
    assert _granted(_response(_cors(cors_origins=configured), sent), sent, credentials=False)


def test_star_with_credentials_stops_the_start() -> None:
    """The combination that lets every site act as the user is refused (Kludex/starlette#3246)."""
    open_to_all = Settings(cors_origins="*").model_copy(update={"cors_credentials": True})
    with pytest.raises(ValueError, match="CORS_CREDENTIALS"):
        Cors(open_to_all)
    with pytest.raises(ValueError, match="CORS_ORIGINS"):
        _cors(cors_origins="*, https://app.example.com")


@pytest.mark.parametrize("name", ["cors_methods", "cors_headers", "cors_expose"])
def test_malformed_names_stop_the_start(name: str) -> None:
    """A method or field that is no token, or a * that credentials turn into a name, is refused by setting."""
    base = Settings(cors_origins="https://app.example.com")
    with pytest.raises(ValueError, match=f"(?i){name}"):
        Cors(base.model_copy(update={name: ("X Y\r\nZ",)}))
    with pytest.raises(ValueError, match=f"(?i){name}"):
        Cors(base.model_copy(update={name: ("*",), "cors_credentials": True}))


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, b"api.example.com", True),
        (b"https://api.example.com", b"api.example.com", True),
        (b"https://api.example.com", b"API.example.com:443", True),
        (b"https://api.example.com:443", b"api.example.com", True),
        (b"http://localhost:8000", b"localhost:8000", True),
        (_APP, b"api.example.com", True),
        (b"https://evil.example", b"api.example.com", False),
        (b"null", b"api.example.com", False),
        (b"", b"api.example.com", False),
        (b"https://api.example.com.evil.example", b"api.example.com", False),
        (b"http://localhost:3001", b"localhost:8000", False),
        (b"https://api.example.com", None, False),
        (b"https://", b"", False),
    ],
)
def test_websocket(origin: bytes | None, host: bytes | None, *, allowed: bool) -> None:
    """A WebSocket is opened to pages of the same or a listed origin, and to clients that are no browsers."""
    assert _cors(**_LISTED).websocket_allowed(origin, host) is allowed


def test_websocket_without_cors() -> None:
    """Without CORS the same origin is allowed still, and no other."""
    item = _cors()
    assert item.websocket_allowed(b"https://api.example.com", b"api.example.com")
    assert not item.websocket_allowed(_APP, b"api.example.com")


def test_websocket_under_star() -> None:
    """A * grants access without credentials, so a handshake that carries a cookie is not covered."""
    item = _cors(cors_origins="*")
    assert not item.websocket_allowed(_APP, b"api.example.com")
    assert item.websocket_allowed(_APP, b"api.example.com", credentials=False)


_LISTING = _cors(**_LISTED, cors_credentials=True)


@given(
    st.one_of(st.binary(max_size=60), st.from_regex(rb"https?://(sub\.)?app\.example\.com(:[0-9]+)?[a-z./]*"))
)
def test_only_listed_origins_are_granted(origin: bytes) -> None:
    """Whatever Origin is sent, only a listed one is ever granted, byte by byte."""
    granted = _value(_response(_LISTING, origin), b"access-control-allow-origin")
    assert granted == (origin if origin in (_APP, _OTHER) else None)
