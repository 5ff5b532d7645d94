"""A client of the reference API: connections, the shapes of ``openapi.yaml``, what a test needs to begin."""

from __future__ import annotations

import json
import select
import socket
import ssl
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from http.client import HTTPResponse
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import yaml
from jsonschema import Draft202012Validator

__all__ = ("CANARY", "DOCUMENT", "MISSING_ID", "Answer", "Api", "ErrorFormat", "check", "document")

ErrorFormat = Literal["problem", "envelope"]

DOCUMENT = Path(__file__).with_name("openapi.yaml")
CANARY = "canary-8c2f41d7"
"""What a test sends inside refused values, and no error may repeat."""

MISSING_ID = 2**53 - 1
"""An id that may be asked for and that no service has reached."""

_PATIENCE = 120.0  # seconds that one request is repeated while the service says 429


@dataclass(frozen=True, slots=True)
class Answer:
    """A response read from a raw connection."""

    status_code: int
    headers: httpx.Headers
    content: bytes


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    loaded: dict[str, Any] = yaml.safe_load(DOCUMENT.read_text(encoding="utf-8"))
    return loaded


@cache
def _validator(schema: str) -> Draft202012Validator:
    return Draft202012Validator({**document(), "$ref": f"#/components/schemas/{schema}"})


def check(schema: str, value: Any) -> None:
    """Assert that a value has the shape that the document gives to ``schema``."""
    mistakes: Iterable[Any] = _validator(schema).iter_errors(value)  # pyright: ignore[reportUnknownMemberType]
    told = [f"{mistake.json_path}: {mistake.message}" for mistake in mistakes]
    assert not told, f"this is no {schema}: " + "; ".join(told)


class Api:
    """One service under test.

    Parameters:
        base_url: where it listens.
        error_format: the shape of errors that it is configured for.
    """

    def __init__(self, base_url: str, error_format: ErrorFormat = "problem") -> None:
        self.base_url = base_url.rstrip("/")
        self.error_format: ErrorFormat = error_format
        self._http = httpx.Client(base_url=self.base_url, timeout=60.0, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def send(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        params: Mapping[str, str | int] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Send one request; while the service says 429, wait as long as it asks and send it again.

        ``content`` is sent as JSON unless ``headers`` say what else it is.
        """
        fields = {"Content-Type": "application/json", **(headers or {})} if content is not None else headers
        until = time.monotonic() + _PATIENCE
        while True:
            response = self._http.request(
                method, path, json=json, content=content, params=params, headers=fields
            )
            if response.status_code != 429:
                return response
            self.refused(response, 429, "RATE_LIMITED")
            pause = float(response.headers["Retry-After"])
            assert time.monotonic() + pause < until, "rate limited; start the service without a rate limit"
            time.sleep(pause)

    def refused(
        self, response: httpx.Response | Answer, status: int, code: str, message: str | None = None
    ) -> list[dict[str, str]]:
        """Assert that a response is exactly this refusal, in the service's error format.

        Returns the entries of refused fields, none where the refusal is not about fields.
        """
        text = response.content.decode()
        assert response.status_code == status, f"{status} {code} expected, got {response.status_code}: {text}"
        body = json.loads(text)
        # `instance` is the path that was asked for; nothing else repeats anything.
        assert CANARY not in json.dumps({**body, "instance": ""}), "the error repeats what the client sent"
        for name, value in response.headers.items():
            assert CANARY not in value, f"the response field {name} repeats what the client sent"
        if self.error_format == "problem":
            told, fields = self._problem(response, body, status)
        else:
            told, fields = self._envelope(response, body)
        assert told == (code, message or told[1])
        assert (status == 422) == bool(fields), "entries of refused fields belong to 422, and to nothing else"
        return fields

    def _problem(
        self, response: httpx.Response | Answer, body: Any, status: int
    ) -> tuple[tuple[str, str], list[dict[str, str]]]:
        assert _media_type(response) == "application/problem+json"
        check("ValidationProblem" if status == 422 else "Problem", body)
        assert body["status"] == status
        assert "stack" not in body, "a stack belongs to development only"
        named = response.headers.get("X-Request-Id", body["request_id"])
        assert body["request_id"] == named, "body and header name different requests"
        fields: list[dict[str, str]] = body.get("errors", [])
        return (body["code"], body["detail"]), fields

    def _envelope(
        self, response: httpx.Response | Answer, body: Any
    ) -> tuple[tuple[str, str], list[dict[str, str]]]:
        assert _media_type(response) == "application/json"
        check("Envelope", body)
        assert "stack" not in body["error"], "a stack belongs to development only"
        fields: list[dict[str, str]] = body["error"].get("details", {}).get("errors", [])
        for field in fields:
            check("FieldError", field)
        return (body["error"]["code"], body["error"]["message"]), fields

    def invalid(self, response: httpx.Response, *pointers: str) -> None:
        """Assert that a response is 422 with exactly one entry for each of these fields.

        A pointer such as ``/email`` is matched as it is; ``query/limit`` and ``path/id`` by their last part,
        since stacks name the parts of a request differently.
        """
        fields = self.refused(response, 422, "VALIDATION_ERROR", "Validation failed")
        seen = sorted(field["pointer"] for field in fields)
        if not all(pointer.startswith("/") or not pointer for pointer in pointers):
            seen = sorted(pointer.rpartition("/")[2] for pointer in seen)
            pointers = tuple(pointer.rpartition("/")[2] for pointer in pointers)
        assert seen == sorted(pointers)

    def accepted(self, response: httpx.Response, status: int, schema: str) -> Any:
        """Assert that a response has this status and a JSON body of this shape; return the body."""
        assert response.status_code == status, f"{status} expected: {response.status_code} {response.text}"
        assert _media_type(response) == "application/json"
        body = response.json()
        check(schema, body)
        return body

    def unique(self, label: str) -> str:
        """Return a text that nobody has sent before."""
        return f"{label}-{uuid.uuid4().hex}"

    def unique_email(self) -> str:
        """Return an e-mail address that no user has."""
        return f"{self.unique('contract')}@example.com"

    def create_user(self, name: str = "Ada") -> httpx.Response:
        """Create a user with an address of its own."""
        return self.send("POST", "/api/users", json={"name": name, "email": self.unique_email()})

    def create_post(self, user_id: int, title: str = "Notes", body: str = "On the engine.") -> httpx.Response:
        """Create a post."""
        return self.send("POST", f"/api/users/{user_id}/posts", json={"title": title, "body": body})

    def user(self, name: str = "Ada") -> dict[str, Any]:
        """Create a user and return it."""
        user: dict[str, Any] = self.accepted(self.create_user(name), 201, "User")
        return user

    def post(self, user_id: int, title: str = "Notes", body: str = "On the engine.") -> dict[str, Any]:
        """Create a post and return it."""
        post: dict[str, Any] = self.accepted(self.create_post(user_id, title, body), 201, "Post")
        return post

    def send_all(
        self, method: str, path: str, bodies: Iterable[object], headers: Mapping[str, str] | None = None
    ) -> list[httpx.Response]:
        """Send one request for each body, all at the same time."""

        def send(body: object) -> httpx.Response:
            return self.send(method, path, json=body, headers=headers)

        waiting = list(bodies)
        with ThreadPoolExecutor(len(waiting)) as pool:
            return list(pool.map(send, waiting))

    def upload(self, path: str, size: int, *, chunked: bool) -> Answer:
        """Post a JSON text of this many bytes and return what the service says, however early it says it."""
        url = httpx.URL(self.base_url + path)
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        head = (
            f"POST {url.raw_path.decode()} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\n"
            f"Content-Type: application/json\r\n{framing}\r\nConnection: close\r\n\r\n"
        )
        with _connect(url) as connection:
            connection.sendall(head.encode())
            # A service that refuses by the declared length answers now; sending on would lose its answer when
            # it closes the connection.
            answered = not chunked and _readable(connection, 0.5)
            for part in () if answered else _parts(size, chunked):
                if _readable(connection, 0.0):
                    break
                try:
                    connection.sendall(part)
                except OSError:
                    break
            response = HTTPResponse(connection)
            response.begin()
            return Answer(response.status, httpx.Headers(response.getheaders()), response.read())


def _media_type(response: httpx.Response | Answer) -> str:
    declared: str = response.headers.get("Content-Type", "")
    return declared.partition(";")[0].strip().lower()


def _connect(url: httpx.URL) -> socket.socket:
    secure = url.scheme == "https"
    connection = socket.create_connection((url.host, url.port or (443 if secure else 80)), timeout=60.0)
    if secure:
        return ssl.create_default_context().wrap_socket(connection, server_hostname=url.host)
    return connection


def _readable(connection: socket.socket, seconds: float) -> bool:
    return bool(select.select([connection], [], [], seconds)[0])


def _parts(size: int, chunked: bool) -> Iterator[bytes]:
    step = 1 << 16
    for start in range(0, size, step):
        part = b" " * min(step, size - start)
        yield b"%x\r\n%b\r\n" % (len(part), part) if chunked else part
    if chunked:
        yield b"0\r\n\r\n"
