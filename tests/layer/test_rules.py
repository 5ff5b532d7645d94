"""Rules of routes that stand outside of the code do what the same rules in code do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from roadworthy import RouteRule, roadworthy, route_rule
from roadworthy.layer import Layer, RequestInfo
from roadworthy.settings import SettingsError
from tests.asgi_driver import Call, ask, http_scope

pytestmark = pytest.mark.anyio

CANARY = "Canary-7f3a91-must-not-appear"
SOURCES = ("toml", "environment", "code")
LONG = "so long that it is worth compressing; " * 200


class Seen:
    """The app's routes ``/ruled`` and ``/other``, which do the same, and what became of their handlers."""

    def __init__(self) -> None:
        self.cancelled = self.page = False
        self.app = Starlette(
            routes=[Route(path, self._serve, methods=["GET", "POST"]) for path in ("/ruled", "/other")]
        )

    async def _serve(self, request: Request) -> Response:
        if "wait" in request.headers:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        await request.body()
        return PlainTextResponse(LONG, media_type="text/html" if self.page else "text/plain")


def user_of(request: RequestInfo) -> str | None:
    """Return whom a request of these tests is for."""
    return request.headers.get("x-user")


def layered(place: Path, source: str, values: dict[str, Any], seen: Seen, **more: Any) -> Layer:
    """Put the layer around the app, with a rule for ``/ruled`` from ``source``."""
    routes = {}
    if source == "toml":
        lines = (f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        (place / "roadworthy.toml").write_text('[rules."/ruled"]\n' + "".join(lines))
    elif source == "environment":
        (place / ".env").write_text(f"ROADWORTHY_RULES='{json.dumps({'/ruled': values})}'\n")
    else:
        routes = {"/ruled": RouteRule(**values)}
    return roadworthy(seen.app, routes=routes, user_key=user_of, **more)


@pytest.fixture(autouse=True)
def clean_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Read no file but those of the test."""
    monkeypatch.chdir(tmp_path)


async def _statuses(app: Layer, path: str, *users: str) -> list[int]:
    return [(await ask(app, path=path, headers=[(b"x-user", one.encode())])).status for one in users]


async def rate_limit(app: Layer, path: str, seen: Seen) -> object:
    """The second request."""
    return await _statuses(app, path, "a", "a")


async def rate_key(app: Layer, path: str, seen: Seen) -> object:
    """The second request of each of two users from one address."""
    return await _statuses(app, path, "a", "b", "a")


async def body_limit(app: Layer, path: str, seen: Seen) -> object:
    """A body of ten bytes."""
    return (await ask(app, "POST", path, body=b"0123456789")).status


async def timeout(app: Layer, path: str, seen: Seen) -> object:
    """A handler that waits for ever, until it is cut or a moment has passed."""
    call = Call(app, http_scope("GET", path, [(b"wait", b"1")]))
    try:
        return (await call.done(0.8)).status
    except TimeoutError:
        return None


async def body_timeout(app: Layer, path: str, seen: Seen) -> object:
    """A body that does not come."""
    call = Call(app, http_scope("POST", path, [(b"content-length", b"5")]))
    try:
        return (await call.done(0.8)).status
    except TimeoutError:
        return None


async def cancel_on_disconnect(app: Layer, path: str, seen: Seen) -> object:
    """A client that leaves."""
    seen.cancelled = False
    call = Call(app, http_scope("GET", path, [(b"wait", b"1")]))
    call.leave()
    for _ in range(20):
        await asyncio.sleep(0)
    found = seen.cancelled
    if not found:
        call.task.cancel()
        await asyncio.wait((call.task,))
    return found


async def compress(app: Layer, path: str, seen: Seen) -> object:
    """A body that is worth it."""
    return (await ask(app, path=path, headers=[(b"accept-encoding", b"gzip")])).headers.get(
        "content-encoding"
    )


def field_of(name: str) -> Callable[[Layer, str, Seen], Awaitable[object]]:
    """Return what asks for one field of a page."""

    async def asked(app: Layer, path: str, seen: Seen) -> object:
        seen.page = True
        return (await ask(app, path=path)).headers.get(name)

    return asked


Effect = tuple[Callable[[Layer, str, Seen], Awaitable[object]], object, dict[str, Any], object, object]
EFFECTS: dict[str, Effect] = {
    "rate_limit": (rate_limit, "1/hour", {}, [200, 429], [200, 200]),
    "rate_key": (rate_key, "user", {"rate_limit": "1/hour"}, [200, 200, 429], [200, 429, 429]),
    "body_limit": (body_limit, 5, {}, 413, 200),
    "timeout": (timeout, "100ms", {}, 504, None),
    "body_timeout": (body_timeout, "100ms", {}, 408, None),
    "cancel_on_disconnect": (cancel_on_disconnect, True, {}, True, False),
    "compress": (compress, False, {}, None, "gzip"),
    "frame_ancestors": (field_of("x-frame-options"), "none", {}, "DENY", "SAMEORIGIN"),
    "coop": (
        field_of("cross-origin-opener-policy"),
        "same-origin",
        {},
        "same-origin",
        "same-origin-allow-popups",
    ),
    "csp": (
        field_of("content-security-policy"),
        "img-src *",
        {},
        "img-src *; frame-ancestors 'self'",
        "frame-ancestors 'self'",
    ),
}
"""Field of a rule -> what is done, a value, further settings, and what is seen with the rule and without."""


def test_every_field_of_a_rule_is_here() -> None:
    """A field that is added has to be added here."""
    assert {one.name for one in fields(RouteRule)} == set(EFFECTS)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", EFFECTS)
async def test_a_rule_has_the_same_effect_wherever_it_stands(name: str, source: str, tmp_path: Path) -> None:
    """One route is changed, and the other is not."""
    act, value, more, ruled, free = EFFECTS[name]
    seen = Seen()
    app = layered(tmp_path, source, {name: value}, seen, **more)
    assert await act(app, "/ruled", seen) == ruled
    # Of the service's own limit the rule has taken nothing, for one route counts by itself only with one.
    fresh = layered(tmp_path, source, {name: value}, seen, **more)
    assert await act(fresh, "/other", seen) == free


CANDIDATES = (True, 5, "5/minute", "5s", "5", "off", "user", "DENY", "SAMEORIGIN", "same-origin", "none")


@pytest.mark.parametrize("name", [one.name for one in fields(RouteRule)])
def test_every_field_is_taken_from_a_file(name: str, tmp_path: Path) -> None:
    """Whatever the class takes in code is taken from TOML, as the same rule."""
    (found,) = [one for one in fields(RouteRule) if one.name == name]
    assert found.default is not MISSING
    taken = 0
    for value in CANDIDATES:
        try:
            in_code = RouteRule(**{name: value})  # type: ignore[arg-type]
        except ValueError:
            continue
        (tmp_path / "roadworthy.toml").write_text(f'[rules."/ruled"]\n{name} = {json.dumps(value)}\n')
        try:
            app = roadworthy(Seen().app, user_key=user_of)
            ((_, _, rule),) = app.pass_.rules
        except SettingsError:
            continue  # of another type: code is judged by the type checker
        assert rule == in_code
        taken += 1
    assert taken


MISTAKES: dict[str, tuple[str, str]] = {
    'ruels = 1\n[rules."/ruled"]': ("roadworthy.toml:1", "there is no table ruels; did you mean rules?"),
    "rules = 1": ("roadworthy.toml:1", "rules is a table for each route"),
    "[rules]\ntimeout = 3": ("roadworthy.toml:1", "rules is a table for each route"),
    '[rules."/ruled"]\ntimeout': ("roadworthy.toml:2", "this is not TOML"),
    '[rules."/ruled"]\n\nbody_limt = 1': ("roadworthy.toml:3", "did you mean body_limit?"),
    f'[rules."/ruled"]\nbody_limit = "{CANARY}"': ("roadworthy.toml:2", "a size is bytes"),
    f'[rules."/ruled"]\nrate_limit = "{CANARY}"': ("roadworthy.toml:2", "a rate is N/second"),
    f'[rules."/ruled"]\ntimeout = "{CANARY}"': ("roadworthy.toml:2", "a duration is seconds"),
    f'[rules."/ruled"]\nrate_key = "{CANARY}"': ("roadworthy.toml:2", 'rate_key is "client" or "user"'),
    f'[rules."/ruled"]\ncompress = "{CANARY}"': ("roadworthy.toml:2", "expected true or false"),
    '[rules."/ruled"]\nbody_limit = true': ("roadworthy.toml:2", "expected a whole number or a text"),
    f'[rules."/ruled"]\ntimeout = ["{CANARY}"]': ("roadworthy.toml:2", "expected a number or a text"),
    '[rules."/rulde"]\ncompress = false': ("roadworthy.toml:1", "covers no route of the app; did you mean"),
    '[rules."PUT /ruled"]\ncompress = false': ("roadworthy.toml:1", "covers no route of the app"),
    '[rules."ruled"]\ncompress = false': ("roadworthy.toml:1", '"METHOD /template" or "/template"'),
    '[rules."/in-code"]\ncompress = false': ("roadworthy.toml:1", "has a rule in the code; keep one of them"),
    '[rules]\n"GET /attached" = { compress = false }': ("roadworthy.toml:2", "has a rule in the code"),
    '[rules."/ruled"]\nrate_key = "user"': ("roadworthy.toml:2", "needs user_key of roadworthy()"),
}


def _app() -> Layer:
    @route_rule(timeout=3)
    async def attached(request: Request) -> Response:
        return Response()

    async def in_code(request: Request) -> Response:
        return Response()

    seen = Seen()
    seen.app.router.routes += [Route("/attached", attached), Route("/in-code", in_code)]
    return roadworthy(seen.app, routes={"/in-code": RouteRule(timeout=5)})


def problems_of(make: Callable[[], object]) -> list[str]:
    """Return what is refused, without a value in it."""
    with pytest.raises(SettingsError) as raised:
        make()
    assert CANARY not in str(raised.value)
    return [str(problem) for problem in raised.value.problems]


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_named_by_its_line(text: str, tmp_path: Path) -> None:
    """What is wrong in the file stops the start, by file and line."""
    (tmp_path / "roadworthy.toml").write_text(text)
    place, message = MISTAKES[text]
    (problem,) = problems_of(lambda: _app().pass_)
    assert problem.startswith(f"{place}: ")
    assert message in problem


def test_all_mistakes_are_reported_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the file, of the variable and of the routes; beside other settings those of the values."""
    (tmp_path / "roadworthy.toml").write_text(
        f'[rules."/ruled"]\nbody_limt = 1\ntimeout = "{CANARY}"\n'
        '[rules."/nowhere"]\n[rules."/in-code"]\n[x]\n'
    )
    monkeypatch.setenv("ROADWORTHY_RULES", json.dumps({"/other": {"rate_limit": CANARY}}))
    assert len(problems_of(lambda: _app().pass_)) == 6
    monkeypatch.setenv("ROADWORTHY_GRACE", CANARY)
    assert len(problems_of(_app)) == 5


def test_the_variable_replaces_the_files_rule_of_a_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the environment wins over files; rules of other routes stay."""
    (tmp_path / "roadworthy.toml").write_text(
        '[start]\ncommand = ["x"]\n[rules."/ruled"]\ntimeout = 1\ncompress = false\n'
        '[rules."/other"]\ntimeout = 2\n'
    )
    monkeypatch.setenv("ROADWORTHY_RULES", '{"/ruled": {"timeout": 3}}')
    app = roadworthy(Seen().app)
    assert {template: (rule.timeout, rule.compress) for _, template, rule in app.pass_.rules} == {
        "/ruled": (3.0, True),
        "/other": (2.0, True),
    }
    assert {one["route"]: one["source"] for one in app.hosting.rules()} == {
        "GET,HEAD,POST /ruled": "ROADWORTHY_RULES",
        "GET,HEAD,POST /other": "roadworthy.toml:6",
    }


async def test_an_app_of_which_no_route_is_known_has_rules_too(tmp_path: Path) -> None:
    """They stand alone, as those in code do."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    (tmp_path / "roadworthy.toml").write_text('[rules."POST /files/{name}"]\nbody_limit = 5\n')
    made = roadworthy(app)
    assert (await ask(made, "POST", "/files/a", body=b"0123456789")).status == 413
    assert (await ask(made, "POST", "/other", body=b"0123456789")).status == 200


def test_a_file_that_cannot_be_read_is_a_mistake(tmp_path: Path) -> None:
    """A folder of its name, or bytes that are no text."""
    (tmp_path / "roadworthy.toml").write_bytes(b"\xff")
    assert problems_of(lambda: _app().pass_) == ["roadworthy.toml: cannot be read (UnicodeDecodeError)"]
    (tmp_path / "roadworthy.toml").unlink()
    (tmp_path / "roadworthy.toml").mkdir()
    assert problems_of(lambda: _app().pass_) == ["roadworthy.toml: cannot be read (IsADirectoryError)"]
