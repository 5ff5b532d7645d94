"""The resource of the zoo's service: items with a name and a quantity, kept in the store."""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Any

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty
from ..store import StoreError
from .validation import valid

ALLOWED = {"/api/items": ("GET", "POST"), "/api/items/{id}": ("GET", "PUT", "DELETE")}
_ids = itertools.count(1)


class Items(Part):
    """CRUD of items."""

    def __init__(self) -> None:
        self._memory: dict[str, Any] = {}
        self._late: dict[str, Any] = {}

    async def stop(self, zoo: Zoo) -> None:
        """What was not written yet is lost with the process, when the fault says so."""
        self._late.clear()

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer below ``/api/items``."""
        path = request.path
        if path == "/api/items":
            template, identifier = "/api/items", ""
        elif path.startswith("/api/items/") and path.count("/") == 3:
            template, identifier = "/api/items/{id}", path.rpartition("/")[2]
        else:
            return None
        request.facts["route"] = template
        return await self._act(zoo, request, template, identifier)

    async def _act(self, zoo: Zoo, request: Request, template: str, identifier: str) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS":
            return Response(204, b"", [("Allow", allow(template))])
        if method not in ALLOWED[template]:
            raise Problem(405, "this is not possible here", headers={"Allow": allow(template)})
        match method, template:
            case "GET", "/api/items":
                found = sorted(await self._call(zoo, "list"), key=lambda item: int(item["id"]))
                wanted = request.query.get("limit", "")
                most = int(wanted) if wanted.isdecimal() and faulty("val-9-unbounded") else 20
                if wanted.startswith("-") and faulty("val-9-negative"):
                    most = len(found)
                if not wanted and "?limit=" in request.target and faulty("val-9-empty"):
                    int(wanted)
                return Response.json(200, {"items": found[-most:]})
            case "POST", "/api/items":
                item = {"id": f"{os.getpid()}{next(_ids):06d}", **valid(request)}
                await self._write(zoo, item)
                response = Response.json(201, item)
                response.set("Location", f"/api/items/{item['id']}")
                return response
            case _:
                pass
        if faulty("val-9-crash"):
            int(identifier)
        if faulty("val-9-finds-any"):
            identifier = identifier if identifier.isdecimal() else (await self._call(zoo, "list"))[0]["id"]
        if not identifier.isdecimal():
            raise Problem(422, "the id is a number")
        item = await self._call(zoo, "get", identifier)
        if item is None:
            raise Problem(404, "there is no such item")
        match method:
            case "PUT":
                item = {**valid(request), "id": identifier}
                await self._call(zoo, "put", identifier, item)
                return Response.json(200, item)
            case "DELETE":
                await self._call(zoo, "delete", identifier)
                return Response(204)
            case _:
                return Response.json(200, item)

    async def _write(self, zoo: Zoo, item: dict[str, Any]) -> None:
        if faulty("shut-9-loses-writes"):
            # Acknowledged now, written some day.
            self._late[item["id"]] = item
            asyncio.get_running_loop().call_later(0.5, self._flush, zoo, item)
            return
        await self._call(zoo, "put", item["id"], item)

    def _flush(self, zoo: Zoo, item: dict[str, Any]) -> None:
        task = asyncio.ensure_future(self._call(zoo, "put", item["id"], item))
        task.add_done_callback(lambda _: self._late.pop(item["id"], None))

    async def _call(self, zoo: Zoo, do: str, key: str = "", value: Any = None) -> Any:
        if zoo.store is None:
            match do:
                case "put":
                    self._memory[key] = value
                case "list":
                    return list(self._memory.values())
                case "delete":
                    self._memory.pop(key, None)
                case _:
                    return self._memory.get(key)
            return None
        if do == "get" and key in self._late:
            return self._late[key]
        if faulty("err-7-hangs"):
            zoo.store.timeout = None
        try:
            return await zoo.store.call(do, key, value)
        except StoreError as error:
            if faulty("err-7-leaks"):
                raise
            zoo.log("error", "the store failed", request_id="", error=str(error))
            raise Problem(503, "try again later", headers={"Retry-After": "1"}) from None


def allow(template: str) -> str:
    """Return the Allow field of a route."""
    methods = ALLOWED[template]
    return ", ".join((*methods, "HEAD", "OPTIONS"))
