"""Requests that are refused whatever they ask for."""

import pytest

from .api import CANARY, Api

WRITES = [
    pytest.param("POST /api/users", marks=pytest.mark.row("POST /api/users")),
    pytest.param("PUT /api/users/{id}", marks=pytest.mark.row("PUT /api/users/{id}")),
    pytest.param("POST /api/users/{id}/posts", marks=pytest.mark.row("POST /api/users/{id}/posts")),
    pytest.param("POST /api/users/batch", marks=pytest.mark.row("POST /api/users/batch")),
    pytest.param("POST /api/transfers", marks=pytest.mark.row("POST /api/transfers")),
]


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest, api: Api) -> tuple[str, str]:
    """Method and path of each route that reads a body."""
    method, path = request.param.split()
    return method, path.format(id=api.user()["id"]) if "{id}" in path else path


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"name": }',
        b"{'name': 'Ada'}",
        b'{"name": "Ada",}',
        b'{"name": "' + CANARY.encode(),
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": -Infinity}',
        b'{"name": "Ada"} {"name": "Ada"}',
        b'{"name": "a\nb"}',
        b'{"name": 01}',
        b"nul",
        b"name=" + CANARY.encode(),
        b"[" * 100,
    ],
    ids=lambda body: repr(body[:20])[2:-1],
)
def test_malformed_json(api: Api, write: tuple[str, str], body: bytes) -> None:
    """What is not JSON (RFC 8259) is 400, before any field is looked at."""
    api.refused(api.send(*write, content=body), 400, "BAD_REQUEST")


@pytest.mark.parametrize("body", [b"null", b"true", b"7", b'"' + CANARY.encode() + b'"', b"[]", b"[{}]"])
def test_json_that_is_no_object(api: Api, write: tuple[str, str], body: bytes) -> None:
    """JSON that is not an object is 422 for the whole body."""
    api.invalid(api.send(*write, content=body), "")


def test_no_body(api: Api, write: tuple[str, str]) -> None:
    """A missing body is a refusal: not JSON, or a value that is missing."""
    answer = api.send(*write, content=b"")
    if answer.status_code == 400:
        api.refused(answer, 400, "BAD_REQUEST")
    else:
        api.refused(answer, 422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "value",
    [b"[" * 50_000 + b"]" * 50_000, b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b"9" * 50_000, b"1e999999"],
    ids=["lists", "objects", "digits", "exponent"],
)
def test_hostile_json(api: Api, write: tuple[str, str], value: bytes) -> None:
    """Deep nesting and numbers beyond every type are refused, not a failure."""
    answer = api.send(*write, content=b'{"name": %b}' % value)
    code = {400: "BAD_REQUEST", 422: "VALIDATION_ERROR", 413: "PAYLOAD_TOO_LARGE"}.get(answer.status_code, "")
    api.refused(answer, answer.status_code, code)


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/xml",
        "application/octet-stream",
        "json",
    ],
)
def test_other_media_type(api: Api, write: tuple[str, str], media_type: str) -> None:
    """A body that is not declared as JSON is 415: a form on another site can send nothing else (CSRF)."""
    answer = api.send(
        *write, content=b'{"name": "' + CANARY.encode() + b'"}', headers={"Content-Type": media_type}
    )
    api.refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.row("POST /api/users")
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_large_body(api: Api, chunked: bool) -> None:
    """A body of 2 MiB is 413, whether its length is declared or only counted."""
    api.refused(api.upload("/api/users", 2 << 20, chunked=chunked), 413, "PAYLOAD_TOO_LARGE")


@pytest.mark.row("POST /api/users")
def test_large_field(api: Api) -> None:
    """A body within the limit with a field far above its own is 422, and short."""
    answer = api.send("POST", "/api/users", json={"name": CANARY * 60_000, "email": api.unique_email()})
    api.invalid(answer, "/name")
    assert len(answer.content) < 4096


@pytest.mark.parametrize(
    "path", ["/", "/api", f"/{CANARY}", "/api/users/1/nothing", "/api/users/1/posts/1/comments", "/apiusers"]
)
def test_unknown_path(api: Api, path: str) -> None:
    """A path that is not there is 404 in the same shape, whoever in the stack noticed."""
    api.refused(api.send("GET", path), 404, "NOT_FOUND", "Resource not found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        pytest.param("DELETE", "/api/users", {"GET", "POST"}, id="users"),
        pytest.param("PATCH", "/api/users/1", {"GET", "PUT", "DELETE"}, id="user"),
        pytest.param("POST", "/api/users/1", {"GET", "PUT", "DELETE"}, id="user, post"),
        pytest.param("PUT", "/api/users/1/posts", {"GET", "POST"}, id="posts"),
        pytest.param("DELETE", "/api/users/1/posts/1", {"GET"}, id="post"),
    ],
)
def test_other_method(api: Api, method: str, path: str, allowed: set[str]) -> None:
    """A method that a resource lacks is 405, and Allow names every one that it has (RFC 9110 §15.5.6)."""
    answer = api.send(method, path)
    api.refused(answer, 405, "METHOD_NOT_ALLOWED")
    assert (
        allowed
        <= {name.strip() for name in answer.headers["Allow"].split(",")}
        <= {*allowed, "HEAD", "OPTIONS"}
    )


def test_request_ids_differ(api: Api) -> None:
    """Two errors name two requests."""
    if api.error_format == "envelope":
        pytest.skip("the envelope has no request id")
    ids = {api.send("GET", "/nowhere").json()["request_id"] for _ in range(10)}
    assert len(ids) == 10
