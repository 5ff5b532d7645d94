"""A rule follows the route that is served, by whatever spelling of its path a request got there."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy import RouteRule
from roadworthy.types import Message, Receive, Scope, Send
from tests.asgi_driver import Call, Driven, http_scope, websocket_scope
from tests.layer.route_apps import BODY_LIMIT, BUILDERS, RULES, TIMEOUT, Built, build, urls_of

pytestmark = [
    pytest.mark.anyio,
    # Django leaves the file of a body that was refused while it was read to the collector.
    pytest.mark.filterwarnings("ignore:Unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:.*SpooledTemporaryFile:pytest.PytestUnraisableExceptionWarning"),
]

PATHS = (
    *(
        "/login",
        "/login/",
        "//login",
        "/login//",
        "/./login",
        "/x/../login",
        "/login/.",
        "/login/..",
        "/login.",
    ),
    *("/%6cogin", "/%4cogin", "/LOGIN", "/Login", "/%2flogin", "/login%2f", "/login%252f", "/%5clogin"),
    *(
        "/login%0a",
        "/login%0d",
        "/login%0d%0a",
        "/login%0a%0a",
        "/login%00",
        "/login%20",
        "/%20login",
        "/login%09",
    ),
    *("/login%0b", "/login%c2%85", "/login%e2%80%a8", "/login%e2%80%8b", "/login%3fx", "/login%23x"),
    *(
        "/login;x=1",
        "/login%3bx=1",
        "/;x=1/login",
        "/%ef%bd%8cogin",
        "/log%c4%b1n",
        "/%c1%acogin",
        "/login%cc%81",
    ),
    *("/users/me", "/users/me/", "/users/me%0a", "/users/ME", "/users/%6d%65", "/users//me", "/users/me;x"),
    *("/users/7", "/users/7/", "/users/7%0a", "/users/a%2fb", "/users/", "/users/%0a", "//users/7"),
    *("/files/x/y", "/files/", "/files/x%0ay", "/files/x%0a", "/files/../login", "/files//x", "/files%0a"),
    *("/free", "/free/", "/free%0a", "/FREE", "/sub/inner", "/sub/inner%0a", "/sub//inner", "/sub/inner/"),
    *(
        "/sub%0a/inner",
        "/%73ub/inner",
        "/a/b/deep",
        "/a/b/deep%0a",
        "/a//b/deep",
        "/a/b//deep/",
        "/a/b/deep;x",
    ),
    *("", "/", "*", "login", "/other", "/other%0a"),
    # Folded in one way and not in another: a doubled slash and no query, parameters and no backslash.
    *("//users/%3fme", "/a/b/deep;%5ca=1", "/A/b/./deep;x", "/FILES/../login", "/users/me%3f;x"),
)
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PROPFIND", "post")
_MISSED = {"fastapi-rooted": {"deep"}}
_clients = itertools.count(1)


@pytest.fixture(params=sorted(BUILDERS))
def framework(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each framework, Django with the URLs of this service."""
    with urls_of(request.param):
        yield request.param


def _unmatched(built: Built) -> float:
    """Count what was answered by a handler or refused for its route, and is under no route in the metrics."""
    page = built.layer.pass_.metrics.exposition().body.decode()
    found = re.findall(r'http_requests_total\{.*route="unmatched",status="(?:200|413|429|504)"\} (\S+)', page)
    return sum(map(float, found))


async def _send(built: Built, client: str, method: str, path: str, parts: int = 0, **more: Any) -> Driven:
    """Send one request, its path as a server decodes it, with a body of ``parts`` times the limit."""
    built.ran.clear()
    fields = [*more.pop("headers", [(b"host", b"localhost")])]
    if parts:
        fields.append((b"transfer-encoding", b"chunked"))
    scope = {**http_scope(method, "/", fields, **more), "path": path, "client": (client, 1)}
    call = Call(built.layer, scope)
    for _ in range(parts):
        call.feed(b"x" * BODY_LIMIT, more=True)
    call.feed()
    return await call.done(30)


def _host(number: int) -> str:
    return f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"


async def check(built: Built, framework: str, method: str, raw: str, **more: Any) -> str | None:
    """Send one spelling until its limit must be reached, and return the handler that served it."""
    path = unquote(raw, errors="replace")
    client = _host(next(_clients))
    cell = f"{framework}: {method} {raw!r} {more or ''}"
    name = None
    for turn in range(4):
        driven = await _send(built, client, method, path, **more)
        if not built.ran:
            break
        ((name, left),) = built.ran
        policy = dict(driven.messages[0]["headers"]).get(b"ratelimit-policy", b"").decode()
        if name not in RULES:
            assert "q=600" in policy, cell
            assert left > TIMEOUT, cell
            break
        count = RULES[name]
        assert left <= TIMEOUT, cell
        if count is None:
            # Where routes cannot be known, another spelling may be another path: it stays limited.
            assert not policy or (framework == "plain" and "q=600" in policy), cell
            break
        assert f"q={count};" in policy, cell
        assert turn < count, f"{cell} was served beyond the limit of {name}"
        if name != "login":
            # That limits are kept is shown with one of them; whose limit it is shows in the policy.
            break
    if name in RULES:
        other = _host(next(_clients))
        driven = await _send(built, other, method, path, parts=2, **more)
        assert (driven.status, built.ran) == (413, []), cell
    if name == "login":
        assert (await _send(built, client, method, path, **more)).status == 429, cell
    return name


@pytest.mark.parametrize("method", METHODS)
async def test_every_spelling_that_is_served_is_under_the_rule(framework: str, method: str) -> None:
    """Limit, body limit, timeout, record and metrics are the route's, for each spelling that gets to it."""
    built = build(framework)
    served = {name for raw in PATHS if (name := await check(built, framework, method, raw)) is not None}
    if method in ("GET", "POST"):
        # FastAPI cuts its own prefix off before a mounted app, whether it is there or not.
        assert served >= {"login", "user", "files", "inner", "deep", "free"} - _MISSED.get(framework, set())
    if framework != "plain":
        # An app of no framework says nothing of its routes.
        assert _unmatched(built) == 0


@pytest.mark.parametrize(
    "raw", ["/login", "/login%0a", "/login/", "/users/me", "/users/7", "/sub/inner", "/a/b/deep"]
)
@pytest.mark.parametrize("root", ["/api", "/api/", "/v1/api"])
async def test_a_prefix_of_the_proxy_changes_nothing(framework: str, root: str, raw: str) -> None:
    """With ``root_path``, a path may come with the prefix or without it; its rule is the same."""
    built = build(framework)
    for path in (raw, root + raw, root.rstrip("/") + raw, root.rstrip("/") + root.rstrip("/") + raw):
        await check(built, framework, "POST", path, root_path=root)


async def test_a_route_of_another_host_has_its_own_rule() -> None:
    """The same path at another host is another route: the rule of the one does not cover the other."""
    built = build("starlette")
    headers = [(b"host", b"api.example")]
    assert await check(built, "starlette", "POST", "/login", headers=headers) == "any"
    assert await check(built, "starlette", "POST", "/login%0a", headers=headers) == "any"
    assert await check(built, "starlette", "POST", "/login") == "login"


class Alias:
    """A middleware that gives the app another path, in a scope of its own."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ``/alias/login`` as ``/login``."""
        path = scope.get("path", "")
        inside = {
            **scope,
            "path": path.removeprefix("/alias"),
            "raw_path": path.removeprefix("/alias").encode(),
        }
        await self.app(inside if path.startswith("/alias/") else scope, receive, send)


async def test_a_path_that_a_middleware_rewrites_is_under_the_rule_of_what_is_served(framework: str) -> None:
    """What no look-up before the app can know, the app's own choice decides: refused before the handler."""
    if framework == "plain":
        pytest.skip("an app of no framework tells its route with its response, if at all")
    built = build(framework, Alias)
    for path, name in (("/login", "login"), ("/users/7", "user"), ("/users/me", "me"), ("/files/x", "files")):
        assert await check(built, framework, "POST", "/alias" + path) == name
    assert _unmatched(built) == 0


async def test_an_app_that_tells_its_route_late_is_limited_all_the_same() -> None:
    """An app of no framework may name its route in the scope; beyond the limit, 429 leaves in its place."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope["route"] = "/login"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"secret"})

    built = Built(lambda _: app, {}, routes={"/login": RouteRule(rate_limit="2/hour")})
    answers = [await _send(built, "198.51.100.1", "GET", "/sign/in") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    assert b"secret" not in answers[2].body


_mutations = st.sampled_from(
    [
        *(
            lambda p, i, c=c: p[:i] + c + p[i:]
            for c in ("/", "%0a", "%0d", "%00", "%20", ".", "/./", "/../", ";a=1")
        ),
        *(
            lambda p, i, c=c: p[:i] + c + p[i:]
            for c in ("%2f", "%252f", "%3f", "%23", "%5c", "%e2%80%8b", "%cc%81")
        ),
        lambda p, i: p[:i] + f"%{ord(p[i]):02x}" + p[i + 1 :] if i < len(p) else p + "/",
        lambda p, i: p[:i] + p[i:].swapcase(),
        lambda p, i: p[:i] + p[i + 1 :],
        lambda p, i: p + p[i:],
    ]
)
_BASES = ("/login", "/users/me", "/users/7", "/files/a/b", "/sub/inner", "/a/b/deep", "/free")


def test_no_mutation_of_a_path_gets_around_its_rule(framework: str) -> None:
    """Whatever inserting, encoding, doubling and cutting makes of a path, its handler runs under its rule."""
    with asyncio.Runner() as runner:
        built = build(framework)

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(
            st.sampled_from(_BASES),
            st.lists(st.tuples(_mutations, st.integers(0, 12)), max_size=3),
            st.sampled_from(METHODS),
            st.sampled_from(["", "/api"]),
        )
        def one(base: str, changes: list[tuple[Any, int]], method: str, root: str) -> None:
            raw = base
            for change, at in changes:
                raw = change(raw, min(at, len(raw)))
            runner.run(check(built, framework, method, root + raw, root_path=root))

        one()


def _message(**fields: Any) -> Message:
    return fields


@pytest.mark.parametrize("framework", ["starlette", "fastapi", "litestar"])
@pytest.mark.parametrize("raw", ["/ws", "/ws/", "/ws%0a", "//ws", "/ws%20", "/WS", "/w%73"])
async def test_a_websocket_is_under_the_rule_of_its_route(framework: str, raw: str) -> None:
    """Each spelling that opens a WebSocket counts against its route; the one too many is refused with 429."""
    built = build(framework)
    client = _host(next(_clients))
    opened, denied = 0, 0
    for _ in range(4):
        sent: list[Message] = []
        inbox = iter([_message(type="websocket.connect"), _message(type="websocket.disconnect", code=1000)])

        async def receive() -> Message:
            return next(inbox)  # noqa: B023

        async def send(message: Message) -> None:
            sent.append(message)  # noqa: B023

        scope = websocket_scope(path=unquote(raw), raw_path=raw.encode(), client=(client, 1))
        await built.layer(scope, receive, send)
        opened += sent[0]["type"] == "websocket.accept"
        denied += sent[0].get("status") == 429
    assert (opened, denied) in [(2, 2), (0, 0)], raw
    assert opened == len(built.ran)
    if raw == "/ws":
        assert opened == 2
    if opened:
        page = built.layer.pass_.metrics.exposition().body.decode()
        assert re.search(r'http_requests_total\{method="GET",route="/ws",status="429"\} 2', page)
