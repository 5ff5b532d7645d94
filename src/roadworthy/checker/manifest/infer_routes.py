"""What can be found out over HTTP alone: documents, health, metrics, routes, limits."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..bench.bodies import found_id, fresh
from ..bench.json_example import example
from ..http.request import Address
from ..http.wire import Answer, exchange
from ..read.exposition import read_exposition
from ..read.openapi import OpenApi
from ..read.shapes import members
from .links import collection, like, linked_paths, own_link
from .model import Manifest
from .routes import Route

__all__ = ("Explorer", "Fact")

_DOCUMENTS = (
    "/openapi.json",
    "/v3/api-docs",
    "/v2/api-docs",
    "/swagger.json",
    "/spec.json",
    "/spec",
    "/api/spec.json",
    "/api/swagger.json",
    "/swagger/doc.json",
    "/swagger/v1/swagger.json",
    "/api/openapi.json",
    "/api-docs",
    "/api-json",
    "/docs-json",
    "/docs/json",
    "/api/schema/?format=json",
)
_LIVE = (
    *("/livez", "/live", "/health/live", "/actuator/health/liveness", "/healthz", "/health"),
    *("/api/health", "/-/healthy", "/ping"),
)
_READY = ("/readyz", "/ready", "/health/ready", "/actuator/health/readiness", "/-/ready", "/api/ready")
_METRICS = ("/metrics", "/actuator/prometheus", "/prometheus", "/api/metrics")
# Where there is no document: collections that examples and tutorials have.
_COLLECTIONS = tuple(
    f"{base}/{name}" for base in ("/api", "/api/v1", "") for name in ("users", "items", "posts", "todos")
)
_SIZES = (64 << 10, 100 << 10, 256 << 10, 512 << 10, 1_000_000, 1 << 20, 2 << 20, 4 << 20, 5 << 20, 10 << 20)
_MOST_ROUTES = 8
_ROOTS = ("/", "/api", "/api/", "/api/v1", "/v1")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was found out, and how."""

    value: Any
    evidence: str


@dataclass(slots=True)
class Explorer:
    """Asks one service.

    Parameters:
        add: takes a place in the manifest, a value and the evidence.
        note: receives what could not be determined.
        may_write: whether a request may be sent that changes the service's data.
    """

    address: Address
    manifest: Manifest
    add: Callable[[str, Any, str], None]
    note: Callable[[str], None]
    may_write: Callable[[], bool]
    document: OpenApi = field(default_factory=OpenApi)
    _seen: list[Answer] = field(default_factory=list[Answer])
    _made: tuple[str, str] = ("", "")

    async def everything(self, others: list[tuple[str, Address]]) -> None:
        """Find out what there is.

        Parameters:
            others: further listeners, with the variable that sets the port where there is one.
        """
        unknown = await self._get(f"/{secrets.token_hex(12)}")
        if unknown.status != 404:
            self.note(
                f"a path at random is answered {unknown.status}, so existing paths are hard to recognise"
            )
        await self._find_document()
        await self._find_health(unknown)
        await self._find_metrics(others)
        if not await self._find_routes_of_document() and not await self._find_linked_routes():
            await self._find_known_routes()
        self._find_rate_limit()

    async def _get(self, path: str, address: Address | None = None) -> Answer:
        return await self._send("GET", path, address=address)

    async def _send(self, method: str, path: str, body: Any = None, address: Address | None = None) -> Answer:
        headers = {"User-Agent": "roadworthy-check/init", "Accept": "*/*"}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        answer = await exchange(address or self.address, method, path, headers, data, seconds=10)
        self._seen.append(answer)
        return answer

    # Documents, health, metrics

    async def _find_document(self) -> None:
        declared = self.manifest.openapi
        for path in (declared,) if declared else _DOCUMENTS:
            answer = await self._get(path)
            document = OpenApi(members(answer.json()))
            if answer.ok and document:
                self.document = document
                self.add("openapi", path, f"200, JSON with {len(document.paths)} paths")
                if len(answer.body) >= 8192:
                    route = Route(role="large", method="GET", path=path)
                    self.add("routes.large", route, f"{len(answer.body)} bytes of JSON")
                return
        self.note("no OpenAPI document was found, so routes could only be guessed at")

    async def _find_health(self, unknown: Answer) -> None:
        live = await self._first(_LIVE, unknown)
        ready = await self._first(_READY, unknown)
        for key, found in (("live", live), ("ready", ready)):
            if found is not None:
                evidence = f"{found.status}, and {unknown.status} for a path at random"
                self.add(f"health.{key}", found.request.path, evidence)
        if ready is not None:
            self.add("ready.path", ready.request.path, "the readiness path")

    async def _first(self, paths: tuple[str, ...], unknown: Answer) -> Answer | None:
        if unknown.ok:
            return None
        for path in paths:
            answer = await self._get(path)
            if answer.ok:
                return answer
        return None

    async def _find_metrics(self, others: list[tuple[str, Address]]) -> None:
        for name, address in (("", self.address), *others):
            for path in _METRICS:
                answer = await self._get(path, address)
                before = read_exposition(answer.body, answer.media_type).samples if answer.ok else {}
                if not before or "# TYPE" not in answer.text:
                    continue
                if not name and address != self.address:
                    self.note(f"metrics are on port {address.port}, which no variable known here sets")
                    return
                where = f"on the port of {name}" if name else "on the public port"
                self.add("metrics.path", path, f"{len(before)} samples {where}")
                if name:
                    self.add("metrics.port_env", name, "the port it was found on")
                for _ in range(3):
                    await self._get(f"/{secrets.token_hex(12)}")
                answer = await self._get(path, address)
                after = read_exposition(answer.body, answer.media_type).samples
                moved = {one.name for one, value in after.items() if value - before.get(one, 0) >= 3}
                counters = sorted(name for name in moved if re.search(r"requests?(_total|_count)?$", name))
                if counters:
                    self.add("metrics.requests", counters[0], "it grew with three requests")
                return

    # Routes

    async def _find_routes_of_document(self) -> bool:
        tried = 0
        for path, operations in self.document.paths.items():
            if "{" in path or "post" not in members(operations):
                continue
            one = re.compile(re.escape(path) + r"/\{[^}/]+\}")
            item = next(filter(one.fullmatch, self.document.paths), "")
            if item and "get" not in members(self.document.paths[item]):
                continue
            tried += 1
            if tried > _MOST_ROUTES:
                break
            body = example(self.document, self.document.body_schema("POST", path))
            if await self._try_resource(path, re.sub(r"\{[^}]+\}", "{id}", item), body):
                await self._try_changes(item)
                return True
        if tried and self.may_write():
            self.note("no documented resource could be created and read back (needs a login, or other data?)")
        return False

    async def _try_resource(self, path: str, template: str, body: Any) -> bool:
        """Create a resource and read it back, where its document says it is or where the answer does.

        Parameters:
            template: where it is read, with ``{id}``; empty where nothing says it.
        """
        if not self.may_write():
            return False
        made = await self._send("POST", path, fresh(body, secrets.token_hex(8)))
        identifier = found_id(made, "$.id") or found_id(made, "$.data.id")
        template = template or _place_of(made, identifier) or f"{path}/{{id}}"
        if not made.ok or not identifier:
            return False
        read = await self._get(template.replace("{id}", identifier))
        if not read.ok:
            return False
        where = "$.data.id" if found_id(made, "$.id") != identifier else "$.id"
        create = Route(role="create", method="POST", path=path, body=body, id=where)
        self.add("routes.create", create, f"{made.status}, and what it made was read back")
        reading = Route(role="read", method="GET", path=template)
        self.add("routes.read", reading, f"{read.status} for what was created")
        self._made = (template, identifier)
        listed = await self._get(path)
        if listed.ok and "json" in listed.media_type:
            listing = Route(role="list", method="GET", path=path)
            self.add("routes.list", listing, f"{listed.status} {listed.media_type}")
        await self._find_body_limit(path)
        return True

    async def _try_changes(self, item: str) -> None:
        """Change and delete what was created here, where the document has such an operation."""
        template, identifier = self._made
        path = template.replace("{id}", identifier)
        for method in ("PUT", "PATCH"):
            if item and method in self.document.methods(item):
                body = example(self.document, self.document.body_schema(method, item))
                answer = await self._send(method, path, fresh(body, secrets.token_hex(8)))
                if answer.ok:
                    route = Route(role="update", method=method, path=template, body=body)
                    self.add("routes.update", route, f"{answer.status} for what was created")
                    break
        if not item or "DELETE" in self.document.methods(item):
            answer = await self._send("DELETE", path)
            if answer.ok and not (await self._get(path)).ok:
                route = Route(role="delete", method="DELETE", path=template)
                self.add("routes.delete", route, f"{answer.status}, and it was gone afterwards")

    async def _find_linked_routes(self) -> bool:
        """Follow the links of a root document to a collection, and from there to what is in it."""
        for root in _ROOTS:
            answer = await self._get(root)
            if not answer.ok:
                continue
            for path in linked_paths(answer)[:_MOST_ROUTES]:
                if await self._try_collection(path, root):
                    return True
        return False

    async def _try_collection(self, path: str, root: str) -> bool:
        listed = await self._get(path)
        found = collection(listed.json()) if listed.ok else None
        if found is None:
            return False
        listing = Route(role="list", method="GET", path=path)
        self.add("routes.list", listing, f"{listed.status} {listed.media_type}, linked from {root}")
        for entry in found[:1]:
            await self._try_element(path, members(entry))
        return True

    async def _try_element(self, path: str, element: dict[str, Any]) -> None:
        """Read an element of a collection by its own link, or below the collection; create one like it."""
        template, identifier = own_link(element)
        if not identifier and isinstance(element.get("id"), str | int):
            template, identifier = f"{path.rstrip('/')}/{{id}}", str(element["id"])
        if not identifier:
            return
        body = like(element)
        if body and await self._try_resource(path, template, body):
            await self._try_changes("")
            return
        read = await self._get(template.replace("{id}", identifier))
        if read.ok:
            route = Route(role="read", method="GET", path=template, id=identifier)
            self.add("routes.read", route, f"{read.status} {read.media_type} for an element of the list")

    async def _find_known_routes(self) -> None:
        for path in _COLLECTIONS:
            listed = await self._get(path)
            one = await self._get(f"{path}/1")
            if one.ok and "json" in one.media_type:
                route = Route(role="read", method="GET", path=f"{path}/{{id}}", id="1")
                self.add("routes.read", route, f"{one.status} {one.media_type} for id 1")
                if not listed.ok:
                    route = Route(role="list", method="GET", path=f"{path}/1")
                    self.add("routes.list", route, "a GET that answers without anything being created first")
            if listed.ok and "json" in listed.media_type:
                route = Route(role="list", method="GET", path=path)
                self.add("routes.list", route, f"{listed.status} {listed.media_type}")
            if one.ok or listed.ok:
                return

    # Limits

    async def _find_body_limit(self, path: str) -> None:
        """Find the largest body that is read: where it is, one byte more is 413."""
        for size in _SIZES:
            if (await self._send("POST", path, _body_of(size + 1))).status != 413:
                continue
            if (await self._send("POST", path, _body_of(size))).status != 413:
                self.add("limits.body", size, f"{size} bytes are read, one more is 413")
            return
        self.note(f"a body of {_SIZES[-1]} bytes was read; no limit was looked for above that")

    def _find_rate_limit(self) -> None:
        for answer in self._seen:
            policy = re.search(r";\s*q=(\d{1,18}).*?;\s*w=(\d{1,18})", answer.field("ratelimit-policy") or "")
            if policy:
                evidence = f"RateLimit-Policy of {answer.request.method} {answer.request.path}"
                self.add("rate_limit.requests", int(policy[1]), evidence)
                self.add("rate_limit.window", float(policy[2]), evidence)
                return
        for answer in self._seen:
            limit = answer.field("ratelimit-limit") or answer.field("x-ratelimit-limit") or ""
            number = re.match(r"\d{1,18}", limit)
            if number:
                self.add("rate_limit.requests", int(number[0]), "the limit field of a response")
                self.note("the window of the rate limit could not be inferred (rate_limit.window)")
                return


def _place_of(made: Answer, identifier: str) -> str:
    """Return where a created resource is, by the Location of the answer (RFC 9110 §10.2.2), with ``{id}``."""
    path = urlsplit(made.field("location") or "").path
    before, slash, last = path.rstrip("/").rpartition("/")
    return f"{before}/{{id}}" if slash and last == identifier and path.startswith("/") else ""


def _body_of(size: int) -> bytes:
    """Return JSON of exactly so many bytes that is no valid body, so that nothing is kept of it."""
    return b'["' + b"a" * (size - 4) + b'"]'
