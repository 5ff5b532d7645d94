"""One request on its way through the service: what every route has in common."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import math
import os
import re
import sqlite3
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

from store import FAULT, Inventory  # type: ignore[import-not-found]

from settings import OWN, SETTINGS, SHARED, record  # type: ignore[import-not-found]

__all__ = (
    "PROTECTIVE",
    "Exchange",
    "Handler",
    "Problem",
    "Receive",
    "Response",
    "Send",
    "as_json",
    "encodable",
)

Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]
MAX_BODY = 64 * 1024
PROTECTIVE = (
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
    ("referrer-policy", "no-referrer"),
    ("permissions-policy", "camera=(), geolocation=(), microphone=()"),
    ("cross-origin-opener-policy", "same-origin"),
)
TITLES = {
    400: ("bad_request", "Bad Request"),
    401: ("unauthorized", "Unauthorized"),
    403: ("forbidden", "Forbidden"),
    404: ("not_found", "Not Found"),
    405: ("method_not_allowed", "Method Not Allowed"),
    409: ("conflict", "Conflict"),
    413: ("too_large", "Content Too Large"),
    415: ("unsupported_media_type", "Unsupported Media Type"),
    422: ("invalid", "Unprocessable Content"),
    429: ("rate_limited", "Too Many Requests"),
    500: ("internal", "Internal Server Error"),
    501: ("not_implemented", "Not Implemented"),
    503: ("unavailable", "Service Unavailable"),
}


@dataclass
class Problem(Exception):
    """An error with its status; what the client reads is made of it in one place."""

    status: int
    detail: str
    errors: list[dict[str, str]] | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass
class Response:
    """What a handler returns."""

    status: int = 200
    body: bytes = b""
    media: str = "application/json"
    fields: list[tuple[str, str]] = field(default_factory=list)


def as_json(value: object, status: int = 200, *fields: tuple[str, str]) -> Response:
    """Return a response of JSON."""
    return Response(status, json.dumps(value, separators=(",", ":")).encode(), fields=list(fields))


Handler: TypeAlias = Callable[..., Awaitable[Response]]


class Left(Exception):
    """The client has left in the middle of its body."""


class Exchange:
    """One request on its way through the service."""

    inventory: Inventory
    routes: tuple[tuple[str, re.Pattern[str], dict[str, Handler]], ...] = ()
    flying = 0
    stopping_busy = False
    failures = 0
    connections: set[object] = set()  # noqa: RUF012

    def __init__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = self.fields.get("x-request-id", "")
        self.id = given if re.fullmatch(r"[A-Za-z0-9_-]{8,64}", given) else uuid.uuid4().hex
        self.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        self.client: str = scope["client"][0]
        self.route = "unmatched"
        self.started = time.perf_counter()
        self.later: Callable[[], None] | None = None
        self.limit_fields: list[tuple[str, str]] = []

    # -- from the first byte to the record -------------------------------------------------------------

    async def run(self) -> None:
        """Answer the request, write its record and count it."""
        private = self.path in {"/health/live", "/health/ready", "/metrics"}
        if not private:
            SHARED.fly(1)
        type(self).flying += 1
        status = 499
        try:
            response = await self.guarded()
            status = response.status
            await self.reply(response)
            if self.later:
                await asyncio.to_thread(self.later)
        except Left:
            if FAULT == "py-err-leave-upload":
                os._exit(3)
        finally:
            type(self).flying -= 1
            self.finish(status, private)

    async def guarded(self) -> Response:
        """Return the response, made of an error where there was one."""
        try:
            return await self.route_request()
        except Problem as problem:
            return self.problem(problem)
        except sqlite3.OperationalError as error:
            type(self).failures += 1
            self.record_failure(error)
            return self.problem(Problem(503, "The store is not available.", fields=(("retry-after", "1"),)))
        except Left:
            raise
        except Exception as error:
            self.record_failure(error)
            detail = "Something went wrong."
            if FAULT == "py-err-html-leak" and self.fields.get("accept", "").startswith("text/html"):
                page = f"<h1>Internal Server Error</h1><pre>{error}</pre>"
                return Response(500, page.encode(), "text/html; charset=utf-8")
            return self.problem(Problem(500, detail))

    def record_failure(self, error: Exception) -> None:
        more: dict[str, object] = {
            "error": type(error).__name__,
            "stack": "".join(traceback.format_exception(error)),
        }
        if FAULT == "py-log-auth-on-failure":
            more["headers"] = self.fields
        record("error", "request failed", request_id=self.id, **more)

    def problem(self, problem: Problem) -> Response:
        code, title = TITLES[problem.status]
        body: dict[str, object] = {
            "type": "about:blank",
            "title": title,
            "status": problem.status,
            "code": code,
            "detail": problem.detail,
            "request_id": self.id,
        }
        if problem.errors:
            body["errors"] = problem.errors
        response = as_json(body, problem.status, ("cache-control", "no-store"), *problem.fields)
        response.media = "application/problem+json"
        return response

    async def reply(self, response: Response) -> None:
        """Complete the fields, compress what is worth it, and send."""
        fields = response.fields
        fields.append(("x-request-id", self.id))
        given = {name for name, _ in fields}
        plain = FAULT == "py-hdr-nosniff-201" and response.status == 201
        fields += [pair for pair in PROTECTIVE if pair[0] not in given and not (plain and "nosniff" in pair)]
        self.share(response)
        fields += self.limit_fields
        body = self.compress(response)
        if response.status not in {204, 304}:
            if response.body:
                fields.append(("content-type", response.media))
            length = 0 if FAULT == "py-err-head" and self.method == "HEAD" and len(body) > 4096 else len(body)
            fields.append(("content-length", str(length)))
        if self.method == "HEAD" or response.status in {204, 304}:
            body = b""
        lines = [(name.encode(), value.encode("latin-1")) for name, value in fields]
        await self.send({"type": "http.response.start", "status": response.status, "headers": lines})
        await self.send({"type": "http.response.body", "body": body})

    def compress(self, response: Response) -> bytes:
        if response.media.startswith("image/") or response.status in {204, 206}:
            return response.body
        accepted = self.fields.get("accept-encoding", "")
        if not (FAULT == "py-cmp-vary-plain" and not accepted):
            response.fields.append(("vary", "Accept-Encoding"))
        gzipped = len(response.body) >= 500 and self.wants_gzip(accepted)
        tagged = (
            self.method in {"GET", "HEAD"}
            and response.status == 200
            and response.media != "text/event-stream"
        )
        if tagged and self.path.startswith("/api/"):
            mark = "-gzip" if gzipped and FAULT != "py-cmp-etag" else ""
            tag = f'"{hashlib.sha256(response.body).hexdigest()[:20]}{mark}"'
            response.fields.append(("etag", tag))
            asked = [
                each.strip().removeprefix("W/") for each in self.fields.get("if-none-match", "").split(",")
            ]
            if tag in asked or "*" in asked:
                response.status = 304
                return b""
        if not gzipped:
            return response.body
        response.fields.append(("content-encoding", "gzip"))
        return gzip.compress(response.body, 6, mtime=0)

    @staticmethod
    def wants_gzip(accepted: str) -> bool:
        weights: dict[str, float] = {}
        for item in accepted.lower().split(","):
            name, _, parameter = item.partition(";")
            value = parameter.strip().removeprefix("q=")
            try:
                weights[name.strip()] = float(value) if parameter else 1.0
            except ValueError:
                weights[name.strip()] = 0.0
            if FAULT == "py-cmp-q000" and parameter and value not in {"0", "0.0"}:
                weights[name.strip()] = 1.0
        wanted = weights.get("gzip", weights.get("*", 0.0))
        return wanted > 0 and wanted >= weights.get("identity", 0.0)

    # -- origins ---------------------------------------------------------------------------------------

    def trusted(self, origin: str, status: int) -> bool:
        if FAULT == "py-cors-reflect-put" and self.method == "PUT":
            return bool(origin)
        if FAULT == "py-cors-suffix-4xx" and 400 <= status < 500:
            return any(origin.endswith(known.removeprefix("https://")) for known in SETTINGS.origins)
        if FAULT == "py-cors-scheme":
            return origin.partition("://")[2] in {known.partition("://")[2] for known in SETTINGS.origins}
        return origin in SETTINGS.origins

    def share(self, response: Response) -> None:
        """Grant an allowed origin its access."""
        origin = self.fields.get("origin", "")
        if not (FAULT == "py-cors-vary-404" and not origin and response.status == 404):
            response.fields.append(("vary", "Origin"))
        if self.method == "OPTIONS" or not self.trusted(origin, response.status):
            return
        if FAULT == "py-cors-429" and response.status == 429:
            return
        response.fields += [
            ("access-control-allow-origin", origin),
            ("access-control-allow-credentials", "true"),
            (
                "access-control-expose-headers",
                "X-Request-Id, Location, Retry-After, RateLimit, RateLimit-Policy, ETag",
            ),
        ]

    def preflight(self, methods: list[str]) -> Response:
        origin = self.fields.get("origin", "")
        asked = self.fields["access-control-request-method"]
        names = {
            each.strip().lower() for each in self.fields.get("access-control-request-headers", "").split(",")
        }
        known = {"content-type", "authorization", "x-request-id", "idempotency-key", ""}
        vary = ("vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
        loose = FAULT == "py-cors-any-field" and "{" in self.route
        first = FAULT != "py-cors-second-origin" or origin == SETTINGS.origins[0]
        if (
            not self.trusted(origin, 204)
            or asked not in methods
            or not (loose or names <= known)
            or not first
        ):
            raise Problem(403, "This cross-origin request is not allowed.", fields=(vary,))
        return Response(
            204,
            fields=[
                ("access-control-allow-origin", origin),
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-methods", ", ".join(methods)),
                (
                    "access-control-allow-headers",
                    ", ".join(sorted(names | known - {""}))
                    if loose
                    else "Authorization, Content-Type, Idempotency-Key, X-Request-Id",
                ),
                ("access-control-max-age", "600"),
                vary,
            ],
        )

    # -- limits ----------------------------------------------------------------------------------------

    async def limit(self) -> None:
        """Count the request against its client's limit, or refuse it."""
        if not SETTINGS.limit:
            return
        now = time.time()
        slot = int(now // SETTINGS.window)
        left_time = (slot + 1) * SETTINGS.window - now
        client = self.client
        if FAULT == "py-rtl-forwarded":
            client = self.fields.get("forwarded", client)
        shared = OWN if FAULT == "py-rtl-workers" else SHARED
        if FAULT == "py-rtl-race":
            used = shared.used(client, slot) + 1
            await asyncio.sleep(0.02)
            if used <= SETTINGS.limit:
                shared.use(client, slot)
        else:
            used = shared.use(client, slot)
        wait = max(1, math.ceil(left_time))
        self.limit_fields = [
            ("ratelimit-policy", f'"default";q={SETTINGS.limit};w={SETTINGS.window}'),
            ("ratelimit", f'"default";r={max(0, SETTINGS.limit - used)};t={wait}'),
        ]
        if used > SETTINGS.limit:
            raise Problem(429, "Too many requests; try again later.", fields=(("retry-after", str(wait)),))

    # -- routes ----------------------------------------------------------------------------------------

    async def route_request(self) -> Response:
        """Find the handler and call it."""
        if self.method == "TRACE":
            raise Problem(501, "The method is not supported.")
        found = None
        for template, pattern, handlers in self.routes:
            match = pattern.fullmatch(self.path)
            if match:
                found, self.route, arguments = handlers, template, match.groupdict()
                break
        if found is None:
            if self.path.startswith("/api/"):
                await self.limit()
            raise Problem(404, "There is no such resource.")
        methods = sorted({*found, "OPTIONS", *(["HEAD"] if "GET" in found else [])})
        if FAULT == "py-err-allow" and "{" in self.route:
            allow = ", ".join(each for each in methods if each != "DELETE")
        else:
            allow = ", ".join(methods)
        if self.method == "OPTIONS":
            if "origin" in self.fields and "access-control-request-method" in self.fields:
                return self.preflight(methods)
            return Response(204, fields=[("allow", allow)])
        if self.route.startswith("/api/") or (FAULT == "py-rtl-ready" and self.route == "/health/ready"):
            await self.limit()
        method = "GET" if self.method == "HEAD" else self.method
        if method not in found:
            raise Problem(405, "The resource does not have this method.", fields=(("allow", allow),))
        return await found[method](self, **arguments)

    async def body(self) -> dict[str, Any]:
        """Return the JSON object that was sent."""
        media = self.fields.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Problem(415, "Send application/json.")
        if int(self.fields.get("content-length", "0")) > MAX_BODY:
            raise Problem(413, "The body is too large.")
        data = b""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Left
            data += message.get("body", b"")
            if len(data) > MAX_BODY and not (FAULT == "py-val-chunked-put" and self.method == "PUT"):
                raise Problem(413, "The body is too large.")
            if not message.get("more_body"):
                break
        try:
            value = json.loads(data, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
        except (ValueError, RecursionError):
            raise Problem(400, "The body is not valid JSON.") from None
        if not isinstance(value, dict):
            raise Problem(
                422, "The body must be an object.", [{"pointer": "", "detail": "must be an object"}]
            )
        return value

    def key(self) -> str:
        """Return what makes a repeated request known: its key, for this resource."""
        key = self.fields.get("idempotency-key", "")
        return f"{self.path} {key}" if key else ""

    async def item_body(self) -> dict[str, Any]:
        value = await self.body()
        errors: list[dict[str, str]] = []
        if FAULT == "py-val-put-missing" and self.method == "PUT":
            value = {"quantity": 0} | value
        for name in ("name", "sku"):
            text = value.get(name)
            if not isinstance(text, str) or not 0 < len(text) <= (200 if name == "name" else 100):
                errors.append({"pointer": f"/{name}", "detail": "must be a text of ordinary length"})
            elif "\0" in text or (
                not encodable(text) and not (FAULT == "py-val-surrogate" and name == "name")
            ):
                errors.append({"pointer": f"/{name}", "detail": "has characters that cannot be stored"})
        quantity = value.get("quantity")
        if not isinstance(quantity, int) or (isinstance(quantity, bool) and FAULT != "py-val-bool"):
            errors.append({"pointer": "/quantity", "detail": "must be a whole number"})
        elif quantity < 0 or (quantity > 1_000_000 and FAULT != "py-val-int64"):
            errors.append({"pointer": "/quantity", "detail": "must be from 0 to 1000000"})
        extra = value.keys() - {"name", "sku", "quantity"}
        if FAULT == "py-val-extra-put" and self.method == "PUT":
            kept = json.dumps({name: value[name] for name in extra}) if extra else ""
            return {name: value[name] for name in value.keys() - extra} | {"extra": kept}
        errors += [{"pointer": f"/{name}"[:80], "detail": "is not known"} for name in sorted(extra, key=repr)]
        if errors:
            raise Problem(422, "Some fields are not right.", errors)
        return value

    def finish(self, status: int, private: bool) -> None:
        """Write the access record and count."""
        seconds = time.perf_counter() - self.started
        level = "error" if status >= 500 else "warning" if status == 429 else "info"
        more: dict[str, object] = {}
        if FAULT == "py-log-debug-cookie" and SETTINGS.level == "debug":
            more["request_headers"] = self.fields
        if FAULT == "py-log-newline-404" and status == 404:
            line = {"time": datetime.now(UTC).isoformat(), "level": level, "message": "request"}
            head = json.dumps(line)[:-1]
            print(
                f'{head}, "request_id": "{self.id}", "method": "{self.method}", "route": "{self.route}",'
                f' "path": "{self.path}",'
                f' "status": {status}, "duration_ms": {seconds * 1000:.3f}}}',
                flush=True,
            )
        elif not (FAULT == "py-log-413" and status == 413):
            record(
                level,
                "request",
                request_id=self.id,
                method=self.method,
                route=self.route,
                path=self.path,
                status=status,
                duration_ms=round(seconds * 1000, 3),
                client=self.client,
                **more,
            )
        if private:
            return
        SHARED.fly(-1)
        method = self.method if self.method in KNOWN_METHODS else "other"
        if FAULT == "py-met-head" and method == "HEAD":
            method = "GET"
        route = (
            self.path if FAULT == "py-met-404-path" and status == 404 and "{" in self.route else self.route
        )
        counts = OWN if FAULT == "py-met-workers-4xx" and 400 <= status < 500 else SHARED
        counts.count(method, route, status, seconds)
        connection = self.scope["client"]
        if FAULT == "py-err-double-count" and status == 500 and connection in self.connections:
            counts.count(method, route, status, seconds)
        self.connections.add(connection)


KNOWN_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"}


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a name stands twice")
    return dict(pairs)


def encodable(text: str) -> bool:
    """Whether a text is whole Unicode, without lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
