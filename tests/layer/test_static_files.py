"""Static files have a budget of their own, and nothing else has it."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roadworthy import Layer, RouteRule, roadworthy
from roadworthy.settings import Settings
from tests.asgi_driver import Call, Driven, http_scope
from tests.layer.route_apps import urls_of
from tests.layer.static_apps import SERVICES, cells

pytestmark = [
    pytest.mark.anyio,
    # Files that nobody reads to the end are left to the collector by Django.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

_BUDGETS = {"api": "default", "app": "default", "files": "static"}
_API, _FILES = 2, 5
_clients = itertools.count(1)


class Service:
    """A service under the layer, and who served the last request."""

    def __init__(self, framework: str, folder: Path, routes: Any = None, **settings: Any) -> None:
        self.served: list[str] = []
        limits = {"rate_limit": f"{_API}/hour", "rate_limit_static": f"{_FILES}/hour", **settings}
        made = Settings(_env_file=None, log_level="critical", **limits)
        self.layer: Layer = roadworthy(
            SERVICES[framework](self.served.append, folder), settings=made, routes=routes
        )

    async def get(self, client: str, path: str, method: str = "GET", **more: Any) -> Driven:
        """Send one request; ``path`` is percent-encoded, and given to the app as a server decodes it."""
        self.served.clear()
        scope = {
            **http_scope(method, "/", [(b"host", b"localhost")], **more),
            "path": unquote(path, errors="replace"),
            "client": (client, 1),
        }
        call = Call(self.layer, scope)
        call.feed()
        return await call.done(30)


def _client() -> str:
    number = next(_clients)
    return f"198.{18 + number // 65536}.{number // 256 % 256}.{number % 256}"


def _budget(driven: Driven) -> str:
    field: str = dict(driven.messages[0]["headers"]).get(b"ratelimit-policy", b"").decode()
    return field.partition(";")[0].strip('"')


@pytest.fixture(params=sorted(SERVICES))
def framework(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each framework, Django with the URLs of this service."""
    with urls_of(request.param):
        yield request.param
        # Django leaves its request's body to the collector; not to the one at the end of the session.
        gc.collect()


@pytest.fixture
def service(framework: str, folder: Path) -> Service:
    """The service in each framework."""
    return Service(framework, folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file and a page."""
    (tmp_path / "a.txt").write_text("a")
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    return tmp_path


async def test_each_route_counts_in_its_budget(framework: str, service: Service) -> None:
    """Files count as files, in a sub-app too; routes and mounted applications against the service's limit."""
    wrong = {
        path: budget
        for path, kind in cells(framework).items()
        if (budget := _budget(await service.get(_client(), path))) != _BUDGETS[kind]
    }
    assert wrong == {}


async def test_files_leave_the_budget_of_the_api_alone(framework: str, service: Service) -> None:
    """One client loads all the files it may, and then has the whole limit of the API."""
    client = _client()
    paths = {kind: path for path, kind in reversed(cells(framework).items())}
    files = [(await service.get(client, paths["files"])).status for _ in range(_FILES + 1)]
    assert files[-1] == 429
    assert 429 not in files[:-1]
    assert service.served == []
    api = [(await service.get(client, paths["api"])).status for _ in range(_API + 1)]
    assert api == [200, 200, 429]


_SPELLINGS = (
    *(
        "/static/../users",
        "/static/..%2fusers",
        "/static/%2e%2e/users",
        "/static//users",
        "//static/../users",
    ),
    *("/users/../static/a.txt", "/users%2f..%2fstatic/a.txt", "/users%0a", "/users;/static/a.txt", "/users/"),
    *("/users?/static/a.txt", "/users%3f/static/a.txt", "/users%23/static/a.txt", "/users/static", "/Users"),
    *("/static%2fa.txt", "/static%0a", "/static", "/static/", "/STATIC/a.txt", "/static%00/../users", "/"),
    *("/app/static/a.txt", "/app/../static/a.txt", "/app/nothing", "/app", "/sub/static", "/sub/nothing"),
    *("/sub/static/../inner", "/sub/inner%0a", "/media/../users", "/users/7%0a", "/%75sers", "/users/%2e%2e"),
)


async def _exhaust(service: Service, raw: str, method: str, **more: Any) -> Counter[str]:
    """Send one spelling until it must be refused, and return who has served it how often."""
    client, found = _client(), Counter[str]()
    for _ in range(_FILES + _API + 1):
        driven = await service.get(client, raw, method, **more)
        for kind in service.served[:1]:
            found[kind] += 1
            assert _budget(driven) == _BUDGETS[kind], (raw, method, more)
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
async def test_no_spelling_serves_the_api_at_the_limit_of_files(service: Service, method: str) -> None:
    """However a path looks, a handler runs as often as the service's limit admits, and no more."""
    for raw in _SPELLINGS:
        for root in ("", "/static", "/users"):
            found = await _exhaust(service, root + raw, method, root_path=root)
            assert found["api"] + found["app"] <= _API, (raw, root)
            assert found["files"] <= _FILES, (raw, root)


_insertions = st.sampled_from(
    [
        "/",
        "//",
        "/../",
        "/./",
        "%2f",
        "%2e%2e%2f",
        "%0a",
        "%00",
        ";",
        "%3f",
        "%5c",
        "static",
        "/static/",
        "app",
    ]
)
_Change = Callable[[str, int], str]


def test_no_mutation_serves_the_api_at_the_limit_of_files(framework: str, folder: Path) -> None:
    """Whatever is put into a path, who serves it is who counts it."""
    bases = tuple(cells(framework))
    with asyncio.Runner() as runner:
        service = Service(framework, folder)

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(
            st.sampled_from(bases),
            st.lists(st.tuples(_insertions, st.integers(0, 14)), max_size=3),
            st.sampled_from(["GET", "POST", "HEAD", "PROPFIND"]),
        )
        def one(base: str, changes: list[tuple[str, int]], method: str) -> None:
            raw = base
            for inserted, at in changes:
                raw = raw[:at] + inserted + raw[at:]
            found = runner.run(_exhaust(service, raw, method))
            assert found["api"] + found["app"] <= _API, raw

        one()


@pytest.mark.parametrize(
    ("given_", "budgets"),
    [
        ({"rate_limit": "off"}, ("", "")),
        ({"rate_limit": "off", "rate_limit_static": "9/hour"}, ("", '"static";q=9;w=3600')),
        ({"rate_limit": "9/hour"}, ('"default";q=9;w=3600', '"static";q=6000;w=60')),
        ({"rate_limit": "9000/minute"}, ('"default";q=9000;w=60', '"static";q=9000;w=60')),
        ({"rate_limit": "9/hour", "rate_limit_static": "off"}, ('"default";q=9;w=3600', "")),
    ],
)
async def test_the_limit_of_files_follows_that_of_the_service(
    folder: Path, given_: dict[str, str], budgets: tuple[str, str]
) -> None:
    """What is not set is off with the service's limit, and never below it; what is set stays."""
    made = Settings(_env_file=None, log_level="critical", **given_)
    served: list[str] = []
    layer = roadworthy(SERVICES["starlette"](served.append, folder), settings=made)
    seen: list[str] = []
    for path in ("/users", "/static/a.txt"):
        call = Call(layer, http_scope("GET", path))
        call.feed()
        driven = await call.done(30)
        seen.append(dict(driven.messages[0]["headers"]).get(b"ratelimit-policy", b"").decode())
    assert tuple(seen) == budgets


async def test_a_rule_moves_a_route_between_the_budgets(folder: Path) -> None:
    """A route may count with the files, and files by a rate of their own; other rules change nothing."""
    routes = {
        "/users": RouteRule(rate_limit="static"),
        "/wrapped": RouteRule(rate_limit="4/hour"),
        "/static": RouteRule(compress=False),
    }
    service = Service("starlette", folder, routes)
    paths = ("/users", "/users/7", "/wrapped/a.txt", "/static/a.txt", "/sub/static/a.txt")
    found = [_budget(await service.get(_client(), path)) for path in paths]
    assert found == ["static", "default", "/wrapped/*", "static", "static"]


async def test_a_rule_that_makes_a_route_a_file_covers_the_exact_path_alone_where_routing_is_unknown() -> (
    None
):
    """What may be another path to an app of no framework stays under the service's limit."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    routes = {"/assets/*": RouteRule(rate_limit="static")}
    layer = roadworthy(app, settings=Settings(_env_file=None, log_level="critical"), routes=routes)
    found: dict[str, str] = {}
    for path in ("/assets/a/b.js", "/ASSETS/a.js", "/x//assets/a.js", "/assets", "/x/../assets/a.js"):
        call = Call(layer, {**http_scope("GET", "/"), "path": path})
        call.feed()
        found[path] = _budget(await call.done(30))
    assert found.pop("/assets/a/b.js") == "static"
    assert set(found.values()) == {"default"}
