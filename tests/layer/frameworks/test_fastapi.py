"""FastAPI's adapter."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse
from httpx import ASGITransport, AsyncClient
from pydantic import BaseModel
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.routing import BaseRoute, Match
from starlette.staticfiles import StaticFiles

from roadworthy import RouteRule, roadworthy
from roadworthy.errors import (
    APIError,
    BadRequestError,
    NotFoundError,
    UnsupportedMediaTypeError,
    ValidationError,
)
from roadworthy.layer.frameworks import detect
from roadworthy.layer.security_headers import inline_script_hashes
from tests.apps import fastapi_app
from tests.apps.common import CANARY
from tests.layer.frameworks.driving import drive
from tests.served import served

pytestmark = pytest.mark.anyio


def _attached(app: FastAPI) -> Any:
    framework = detect(app)
    framework.attach()
    return framework


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/items", "/items"),
        ("/items/7", "/items/{item_id}"),
        ("/items/7/notes/a/b", "/items/{item_id}/notes/{note_id:path}"),
        ("/ok", "/ok"),
        ("/below/v1/items/7", "/below/v1/items/{item_id}"),
        ("/docs", "/docs"),
        ("/below/docs", "/below/docs"),
        ("/nowhere", None),
        ("/below/nowhere", None),
    ],
)
async def test_the_route_is_the_whole_template(path: str, template: str | None) -> None:
    """A request's route is its template with all prefixes, of lazy routers too (fastapi/fastapi#15745)."""
    app = fastapi_app.create()
    seen = await drive(app, _attached(app), path=path)
    assert seen.route == template


async def test_a_method_that_a_route_lacks_still_names_the_route() -> None:
    """A 405 counts for the route it missed."""
    app = fastapi_app.create()
    seen = await drive(app, _attached(app), "DELETE", "/items/7")
    assert (seen.driven.status, seen.route) == (405, "/items/{item_id}")


async def test_mounts_keep_their_templates(tmp_path: Any) -> None:
    """A mount with a parameter and one of static files are named by template, not by the path that came."""
    (tmp_path / "a.txt").write_text("a")
    inner = FastAPI()
    inner.add_api_route("/x/{y}", fastapi_app.ok)
    app = FastAPI()
    router = APIRouter()
    router.mount("/files", StaticFiles(directory=tmp_path))
    app.include_router(router, prefix="/v2")
    app.mount("/tenants/{tenant}", inner)
    app.mount("/static", StaticFiles(directory=tmp_path))
    framework = _attached(app)
    assert (await drive(app, framework, path="/tenants/acme/x/1")).route == "/tenants/{tenant}/x/{y}"
    assert (await drive(app, framework, path="/static/a.txt")).route == "/static/{path:path}"
    assert (await drive(app, framework, path="/v2/files/a.txt")).route == "/v2/files/{path:path}"


async def test_a_frontend_is_one_route(tmp_path: Any) -> None:
    """All files of an ``app.frontend()`` count as one route, and it is among the routes."""
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    app = FastAPI()
    app.frontend("/ui", directory=str(tmp_path))
    framework = _attached(app)
    seen = await drive(app, framework, path="/ui/index.html")
    assert (seen.driven.status, seen.route) == (200, "/ui/{path:path}")
    assert "/ui/{path:path}" in {route.template for route in framework.routes()}


def test_every_route_is_listed() -> None:
    """Routes of all routers are there (laurentS/slowapi#281, stephenhillier/starlette_exporter#107)."""
    found = {route.template for route in detect(fastapi_app.create()).routes()}
    assert {
        "/items",
        "/items/{item_id}",
        "/items/{item_id}/notes/{note_id:path}",
        "/below/v1/items/{item_id}/notes/{note_id:path}",
        "/below/docs",
        "/ok",
        "/ws",
        "/docs",
    } <= found


def test_a_route_carries_its_methods_and_endpoint() -> None:
    """An included route is listed with the function that carries its rules."""
    routes = [one for one in detect(fastapi_app.create()).routes() if one.template == "/items"]
    assert {tuple(sorted(one.methods)): one.endpoint for one in routes} == {
        ("GET",): fastapi_app.list_items,
        ("POST",): fastapi_app.create_item,
    }


class Strange(BaseRoute):
    """A route of a kind of the app's own, which takes what begins with its prefix."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def matches(self, scope: Any) -> tuple[Match, Any]:
        return (Match.FULL if scope["path"].startswith(self.prefix) else Match.NONE), {}

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("strange")(scope, receive, send)


async def test_a_route_of_the_app_s_own_kind_is_served_unmatched() -> None:
    """It keeps its place before and after others, below a mount too; their rules are not its own."""
    app, below = FastAPI(), FastAPI()
    rule = RouteRule(rate_limit="1/hour")
    app.router.routes.append(Strange("/plain/first"))
    app.get("/plain/{name}")(lambda name: name)
    below.router.routes.append(Strange("/below"))
    app.mount("/below", below)
    app.router.routes.append(Strange("/"))
    layer = roadworthy(app, routes={"/plain/{name}": rule})
    async with served(layer) as client:
        answers = [await client.get(path) for path in ("/plain/first", "/below/x", "/other", "/plain/first")]
        assert [(one.status_code, one.text) for one in answers] == [(200, "strange")] * 4
        assert [(await client.get("/plain/second")).status_code for _ in range(2)] == [200, 429]


def test_a_rule_that_only_such_a_route_could_meet_is_refused_by_name() -> None:
    """No limit may lapse in silence (laurentS/slowapi#281)."""
    app = FastAPI()
    app.router.routes.append(Strange("/"))
    layer = roadworthy(app, routes={"/strange": RouteRule(rate_limit="1/hour")})
    with pytest.raises(ValueError, match=r"'/strange' covers no route .* kind .*test_fastapi\.Strange serve"):
        _ = layer.operations


def test_docs_paths_are_those_of_the_app() -> None:
    """Documentation pages are found where the app put them, and nowhere when it has none."""
    paths = detect(FastAPI(docs_url="/help", redoc_url=None)).docs_paths()
    assert paths == {"/help", "/docs/oauth2-redirect"}
    assert detect(FastAPI(openapi_url=None)).docs_paths() == frozenset()


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_docs_scripts_are_allowed_by_their_hashes(root_path: str) -> None:
    """Docs pages as they are served run their own inline scripts, and no injected one would run."""
    app = FastAPI(
        title="Parts & <b>more</b>",
        swagger_ui_init_oauth={"clientId": "docs"},
        swagger_ui_parameters={"tryItOutEnabled": True},
    )
    app.root_path = root_path
    wrapped = roadworthy(app)
    async with AsyncClient(transport=ASGITransport(wrapped), base_url="http://test") as client:
        for path in ("/docs", "/docs/oauth2-redirect"):
            page = await client.get(path)
            scripts = re.search(r"script-src ([^;]*)", page.headers["content-security-policy"])
            assert scripts
            sources = scripts[1].split()
            hashes = inline_script_hashes(page.content)
            assert hashes
            assert set(hashes) <= set(sources)
            assert "'unsafe-inline'" not in sources


async def test_docs_pages_of_the_app_itself_keep_their_scripts() -> None:
    """Where the app answers with a docs page of its own, its scripts cannot be known and are allowed."""
    app = FastAPI(docs_url=None)

    @app.get("/help", include_in_schema=False)
    def help_page() -> HTMLResponse:
        return HTMLResponse("<script>own()</script>")

    app.docs_url = "/help"
    assert list(detect(app).docs_pages()) == []


async def test_an_error_of_the_service_is_the_verdict() -> None:
    """A raised APIError reaches the exchange although the app has a catch-all handler for Exception."""

    async def swallow(request: Request, exception: Exception) -> JSONResponse:
        return JSONResponse({"swallowed": True}, 500)

    app = fastapi_app.create()
    app.add_exception_handler(Exception, swallow)
    seen = await drive(app, _attached(app), path="/conflict")
    assert seen.exchange.error is not None
    assert (seen.exchange.error.status, seen.exchange.exception) == (409, None)


async def test_an_error_of_a_middleware_is_the_verdict_too() -> None:
    """An APIError raised in user middleware keeps its status; Starlette's own 500 begins before it is out."""

    async def refuse(request: Request, call_next: Any) -> Any:
        raise NotFoundError

    app = fastapi_app.create()
    app.add_middleware(BaseHTTPMiddleware, dispatch=refuse)
    seen = await drive(app, _attached(app), path="/ok")
    assert isinstance(seen.exchange.error, NotFoundError)


async def test_an_error_in_a_mounted_app_is_the_verdict() -> None:
    """A mounted FastAPI app has handlers of its own, so they are registered there as well."""
    inner = FastAPI()
    inner.add_api_route("/x", fastapi_app.conflict)
    app = FastAPI()
    app.mount("/inner", inner)
    seen = await drive(app, _attached(app), path="/inner/x")
    assert (seen.exchange.error is not None, seen.raised) == (True, None)


async def test_a_5xx_error_keeps_its_stack() -> None:
    """The stack of an APIError with a 5xx survives: Starlette clears it once a handler has answered."""
    app = FastAPI()

    @app.get("/x")
    async def fail() -> None:
        raise APIError("down", 503, "DOWN")

    seen = await drive(app, _attached(app), path="/x")
    assert seen.exchange.exception is not None
    traceback = seen.exchange.exception.__traceback__
    assert traceback is not None
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback.tb_frame.f_code.co_name == "fail"


async def test_an_unhandled_exception_is_known_before_the_response() -> None:
    """The exception of a 500 is in the exchange, and the app's own 500 page is still sent."""

    def page(request: Request, exception: Exception) -> JSONResponse:
        return JSONResponse({"own": True}, 500)

    app = fastapi_app.create()
    app.add_exception_handler(500, page)
    seen = await drive(app, _attached(app), path="/fail")
    assert str(seen.exchange.exception) == CANARY
    assert seen.driven.json() == {"own": True}


async def _refused(body: bytes, content_type: str = "application/json") -> APIError | None:
    app = fastapi_app.create()
    seen = await drive(app, _attached(app), "POST", "/items", body, content_type)
    assert seen.raised is None
    return seen.exchange.error


async def test_refused_fields_are_named_without_their_values() -> None:
    """A 422 names each field and echoes neither secrets nor a validator's text (fastapi/fastapi#459)."""
    error = await _refused(b'{"name": "SECRETVALUE", "price": "x", "password": 5, "more": 1}')
    assert isinstance(error, ValidationError)
    assert [(one.pointer, one.code) for one in error.errors] == [
        ("/name", "value_error"),
        ("/price", "float_parsing"),
        ("/password", "string_type"),
        ("/more", "extra_forbidden"),
    ]
    assert error.errors[0].message == "Invalid value"
    assert "SECRETVALUE" not in repr(error.errors)


@pytest.mark.parametrize(
    "body", [b'{"name": NaN}', b'{"name": Infinity}', b'{"\\ud800": 1}', b'{"name": "\\ud800"}']
)
async def test_input_that_json_cannot_carry_back_is_refused(body: bytes) -> None:
    """NaN, Infinity and lone surrogates are refused, not answered with 500 (fastapi/fastapi#459)."""
    error = await _refused(body)
    assert isinstance(error, ValidationError)
    json.dumps([one.pointer for one in error.errors]).encode()
    "".join(one.pointer + one.message for one in error.errors).encode()


async def test_malformed_json_is_400() -> None:
    """Text that is no JSON is 400, not 422."""
    assert isinstance(await _refused(b'{"name": '), BadRequestError)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"]
)
async def test_another_media_type_is_415(content_type: str) -> None:
    """A body of another type than JSON is 415 on a JSON route."""
    assert isinstance(await _refused(b'{"name": "a"}', content_type), UnsupportedMediaTypeError)


async def test_json_suffixes_are_json() -> None:
    """A type with the suffix ``+json`` is read as JSON (RFC 6839 §3.1)."""
    assert await _refused(b'{"name": "a"}', "application/merge-patch+json") is None


async def test_query_and_path_have_pointers_of_their_own() -> None:
    """Refused parameters are named by their place."""
    app = fastapi_app.create()
    seen = await drive(app, _attached(app), path="/items/x?limit=0")
    assert isinstance(seen.exchange.error, ValidationError)
    assert [one.pointer for one in seen.exchange.error.errors] == ["path/item_id", "query/limit"]


async def own_validation_answer(request: Request, exception: Exception) -> JSONResponse:
    """Answer as an app may."""
    return JSONResponse({"own": True}, 422)


async def test_a_handler_of_the_app_stays() -> None:
    """An app's own handler for validation errors is not replaced."""
    app = fastapi_app.create()
    app.add_exception_handler(RequestValidationError, own_validation_answer)
    seen = await drive(app, _attached(app), path="/items/x")
    assert (seen.exchange.error, seen.driven.json()) == (None, {"own": True})


async def test_the_apps_own_format_is_fastapis_without_the_input() -> None:
    """With ``error_format=app`` the 422 keeps FastAPI's shape and loses ``input`` and ``ctx``."""
    app = fastapi_app.create()
    framework = detect(app)
    framework.attach("app")
    seen = await drive(app, framework, path="/items/secret")
    assert seen.driven.json() == {
        "detail": [
            {
                "type": "int_parsing",
                "loc": ["path", "item_id"],
                "msg": "Input should be a valid integer, unable to parse string as an integer",
            }
        ]
    }


async def test_default_bodies_are_recognised() -> None:
    """FastAPI's 404, 405 and 500 bodies are known as such, with the message of an HTTPException kept."""
    app = fastapi_app.create()

    @app.get("/gone")
    async def gone() -> None:
        raise HTTPException(410, "It went away")

    framework = _attached(app)
    codes: dict[str, Any] = {}
    for method, path in (("GET", "/nowhere"), ("DELETE", "/ok"), ("GET", "/fail"), ("GET", "/gone")):
        found = (await drive(app, framework, method, path)).recognised(framework)
        codes[path] = (found.status, found.code, found.message)
    assert codes == {
        "/nowhere": (404, "NOT_FOUND", "Resource not found"),
        "/ok": (405, "METHOD_NOT_ALLOWED", "Method not allowed"),
        "/fail": (500, "INTERNAL_ERROR", "Internal Server Error"),
        "/gone": (410, "GONE", "It went away"),
    }


@pytest.mark.parametrize(
    "body",
    [b'{"detail":"Not Found","more":1}', b'{"detail":{"a":1}}', b'{"error":"x"}', b"[]", b'{"detail":', b""],
)
def test_bodies_of_the_app_are_left_alone(body: bytes) -> None:
    """Anything that is not exactly the default body is the app's own."""
    assert detect(FastAPI()).problem_of(404, "application/json", body, {}) is None


def test_a_default_422_of_the_app_is_recognised() -> None:
    """FastAPI's list of errors is read without the input, also when the app sends it by itself."""
    body = json.dumps(
        {
            "detail": [
                {"type": "missing", "loc": ["body", "a/b", 0], "msg": "Field required", "input": "secret"}
            ]
        }
    ).encode()
    found = detect(FastAPI()).problem_of(422, "application/json", body, {})
    assert isinstance(found, ValidationError)
    assert [(one.pointer, one.message) for one in found.errors] == [("/a~1b/0", "Field required")]


def _document(error_format: Any, prepare: Callable[[FastAPI], None] = lambda app: None) -> dict[str, Any]:
    app = fastapi_app.create()
    prepare(app)
    detect(app).patch_openapi(error_format)
    first = app.openapi()
    assert app.openapi() == first
    return first


def test_the_document_shows_problem_details() -> None:
    """The OpenAPI document's default 422 is the one that clients get; FastAPI's schemas for it are gone."""
    document = _document("problem")
    response = document["paths"]["/items"]["post"]["responses"]["422"]
    assert response["content"] == {
        "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
    }
    assert {"HTTPValidationError", "ValidationError"}.isdisjoint(document["components"]["schemas"])


def test_the_document_shows_the_envelope() -> None:
    """With the envelope the document has the envelope."""
    response = _document("envelope")["paths"]["/items"]["post"]["responses"]["422"]
    assert list(response["content"]) == ["application/json"]
    assert response["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorEnvelope")


def test_responses_of_the_app_stay_in_the_document() -> None:
    """A 422 that the app declared and a model with a taken name are not touched."""

    class Problem(BaseModel):
        mine: int

    def prepare(app: FastAPI) -> None:
        app.post("/own", responses={422: {"model": Problem}})(fastapi_app.create_item)

    document = _document("problem", prepare)
    own = document["paths"]["/own"]["post"]["responses"]["422"]["content"]
    assert own == {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert list(document["components"]["schemas"]["Problem"]["properties"]) == ["mine"]
    assert "RoadworthyProblem" in document["components"]["schemas"]


def test_an_app_with_its_own_422_keeps_its_document() -> None:
    """Where the app answers validation errors itself, the document does not claim otherwise."""

    def prepare(app: FastAPI) -> None:
        app.add_exception_handler(RequestValidationError, own_validation_answer)

    assert "HTTPValidationError" in _document("problem", prepare)["components"]["schemas"]


def test_the_apps_own_format_leaves_the_document() -> None:
    """With ``error_format=app`` the document is FastAPI's."""
    assert "HTTPValidationError" in _document("app")["components"]["schemas"]


def test_native_tracing_needs_a_provider() -> None:
    """FastAPI's own telemetry counts only when it has a tracer to use."""
    from opentelemetry.sdk.trace import TracerProvider

    assert detect(FastAPI()).native_tracing is False
    provider = TracerProvider()
    try:
        assert detect(FastAPI(telemetry={"tracer_provider": provider})).native_tracing is True
        assert (
            detect(FastAPI(telemetry={"tracer_provider": provider, "tracing": False})).native_tracing is False
        )
    finally:
        provider.shutdown()
