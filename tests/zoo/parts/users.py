"""The contract's users and their posts."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
from typing import Any

from ..http import Request, Response
from ..service import Part, Problem, Zoo, faulty
from ..store import StoreError
from . import _together
from ._pool import Backing, Change
from ._values import read_json, refuse

_MOST = 2**53 - 1
_TEMPLATES = {
    "/api/users": ("GET", "POST"),
    "/api/users/batch": ("POST",),
    "/api/users/{id}": ("GET", "PUT", "DELETE"),
    "/api/users/{id}/overview": ("GET",),
    "/api/users/{id}/posts": ("GET", "POST"),
    "/api/users/{id}/posts/{post}": ("GET",),
    "/api/transfers": ("POST",),
}
_PATTERNS = {
    template: re.compile(re.sub(r"\{\w+\}", "([^/]+)", template)) for template in _TEMPLATES
}  # in this order: "batch" is no id


class Users(Part):
    """``/api/users`` and what is below it."""

    def __init__(self) -> None:
        self.backing: Backing | None = None
        self._began = time.monotonic()
        self._cached: dict[str, Any] = {}

    async def start(self, zoo: Zoo) -> None:
        """Make the connections."""
        if os.environ.get("DATABASE_URL"):
            self.backing = Backing()

    async def route(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer the contract's routes."""
        if self.backing is None:
            return None
        fitting = ((template, each.fullmatch(request.path)) for template, each in _PATTERNS.items())
        template, match = next(((one, found) for one, found in fitting if found), ("", None))
        if match is None:
            return None
        request.facts["route"] = template
        method = "GET" if request.method == "HEAD" else request.method
        allowed = ", ".join((*_TEMPLATES[template], "HEAD", "OPTIONS"))
        if method == "OPTIONS":
            return Response(204, b"", [("Allow", allowed)])
        if method not in _TEMPLATES[template]:
            raise Problem(405, "this is not possible here", headers={"Allow": allowed})
        if time.monotonic() - self._began < 0.8 and faulty("wir-1-too-early"):
            raise RuntimeError("there is no such table")
        if zoo.draining and faulty("wir-2-pool-first"):
            raise RuntimeError("the pool is closed")
        ids = [_id(part) for part in match.groups()]
        try:
            return await self._keyed(zoo, request, method, template, ids)
        except StoreError as error:
            return self._store_failed(zoo, request, template, error)

    def _store_failed(self, zoo: Zoo, request: Request, template: str, error: StoreError) -> Response:
        if faulty("aer-2-swallows"):
            return Response.json(201 if request.method == "POST" else 200, {"id": 1, "items": []})
        cause = {} if faulty("aer-5-no-cause") else {"error": str(error)}
        number = "" if faulty("aer-1-no-id") else request.id
        zoo.log("error", "the store failed", request_id=number, **cause)
        if faulty("aer-1-twice"):
            zoo.log("error", "the request failed", request_id=number, **cause)
        if template.endswith("overview") and faulty("aer-3-second-handler"):
            return Response(503, b"try again", [("Content-Type", "text/plain")])
        return zoo.problem(request, 503, "try again later", headers={"Retry-After": "1"})

    async def _keyed(
        self, zoo: Zoo, request: Request, method: str, template: str, ids: list[str]
    ) -> Response:
        key = request.fields.get("idempotency-key")
        if method != "POST" or not key or faulty("txn-6-ignores") or template.endswith("batch"):
            return await self._act(zoo, request, method, template, ids)
        assert self.backing is not None
        if faulty("txn-6-race"):
            return await self._once(zoo, request, template, ids, key)
        async with self.backing.writing:
            return await self._once(zoo, request, template, ids, key)

    async def _once(self, zoo: Zoo, request: Request, template: str, ids: list[str], key: str) -> Response:
        """Carry out a request with a key, or repeat what was answered to it."""
        assert self.backing is not None
        name = f"answer:{request.path}:{key}"
        digest = hashlib.sha256(request.body).hexdigest()
        known = await self.backing.get(name)
        if faulty("txn-6-race"):
            await asyncio.sleep(0.1)
        if known is not None and known["digest"] != digest:
            raise Problem(422, "the key was used for another request", code="KEY_REUSED")
        if known is None:
            response = await self._act(zoo, request, "POST", template, ids, locked=not faulty("txn-6-race"))
            known = {
                "digest": digest,
                "status": response.status,
                "body": json.loads(response.body),
                "location": response.get("Location"),
            }
            await self.backing.commit([("put", name, known)])
        response = Response.json(known["status"], known["body"])
        if known["location"]:
            response.set("Location", known["location"])
        return response

    async def _act(
        self,
        zoo: Zoo,
        request: Request,
        method: str,
        template: str,
        ids: list[str],
        *,
        locked: bool = False,
    ) -> Response:
        work = Work(self, zoo, request, locked)
        match method, template:
            case "GET", "/api/users":
                return await work.page("user:")
            case "POST", "/api/users":
                return await work.create_user()
            case "GET", "/api/users/{id}":
                return await work.read_user(ids[0])
            case "PUT", "/api/users/{id}":
                return await work.replace_user(ids[0])
            case "DELETE", "/api/users/{id}":
                return await work.delete_user(ids[0])
            case "GET", "/api/users/{id}/posts":
                await work.user(ids[0])
                return await work.page("post:", user=int(ids[0]))
            case "POST", "/api/users/{id}/posts":
                return await work.create_post(ids[0])
            case "GET", "/api/users/{id}/posts/{post}":
                return await work.read_post(*ids)
            case _, "/api/users/{id}/overview":
                return await _together.overview(work, ids[0], self._cached)
            case _, "/api/users/batch":
                return await _together.batch(work, self._cached)
            case _:
                return await _together.transfers(work)


class Work:
    """One request at work."""

    def __init__(self, part: Users, zoo: Zoo, request: Request, locked: bool) -> None:
        assert part.backing is not None
        self.backing = part.backing
        self.zoo, self.request = zoo, request
        self._locked = locked

    async def write(self, changes: Any) -> Any:
        """Run ``changes`` as the only writer."""
        if self._locked:
            return await changes()
        async with self.backing.writing:
            return await changes()

    async def user(self, number: str) -> dict[str, Any]:
        """Return a user, or raise 404."""
        found = await self.backing.get(f"user:{number}")
        if found is None:
            code = {"code": "USER_GONE"} if self.request.method == "PUT" and faulty("ecl-1-by-route") else {}
            raise Problem(404, "there is no such user", **code)
        return dict(found)

    async def page(self, prefix: str, user: int | None = None) -> Response:
        """Return one page of users or posts."""
        query = self.request.query
        limit = query.get("limit", "20")
        if not limit.isdecimal() or not 1 <= int(limit) <= 100:
            if not faulty("ctl-6-unbounded"):
                raise refuse({"query/limit": "has to be between 1 and 100"})
            limit = "1000000000"
        cursor = query.get("cursor", "0")
        if not cursor.isdecimal():
            raise refuse({"query/cursor": "is none of this list"})
        found = [
            one for one in await self.backing.ask("scan", prefix) if user is None or one["user_id"] == user
        ]
        found.sort(
            key=lambda one: one["id"], reverse=self.backing.url.endswith("also") and faulty("svc-4-other")
        )
        if faulty("ctl-6-offset"):
            chosen = found[int(cursor) :]
        else:
            chosen = [one for one in found if one["id"] > int(cursor)]
        if "limit" not in query and faulty("ctl-6-unbounded"):
            limit = "1000000000"
        more = len(chosen) > int(limit)
        if more and int(limit) == 1 and cursor != "0" and faulty("ctl-6-ones"):
            chosen = chosen[1:]
        chosen = chosen[: int(limit)]
        following = (
            str(int(cursor) + len(chosen) if faulty("ctl-6-offset") else chosen[-1]["id"]) if more else None
        )
        if faulty("svc-2-old-list"):
            chosen = [self.backing.listed.setdefault(one["id"], one) for one in chosen]
        return Response.json(200, {"items": chosen, "next_cursor": following})

    def values(self, **most: int) -> dict[str, str]:
        """Return the texts of the body."""
        value = read_json(self.request)
        wrong: dict[str, str] = {}
        for name, length in most.items():
            text = value.get(name)
            least = 0 if self.request.method == "PUT" and faulty("svc-1-empty-put") else 1
            if self.request.method == "PUT" and faulty("svc-1-long-put"):
                length = 10_000
            if not isinstance(text, str) or not least <= len(text) <= length or "\0" in text:
                wrong[f"/{name}"] = f"has to be a text of 1 to {length} characters"
        wrong |= {f"/{name}": "is unknown" for name in value if name not in most}
        if not wrong and "email" in most and "@" not in value["email"]:
            wrong["/email"] = "has to be an address"
        if wrong:
            raise refuse(wrong)
        return value

    async def create_user(self) -> Response:
        """Create a user."""
        value = self.values(name=100, email=254)

        async def change() -> dict[str, Any]:
            await self._free(value["email"], None)
            number = await self.backing.ask("next", "users")
            user = {"id": number, **value, "created_at": "2026-01-01T00:00:00Z"}
            await self.backing.commit(
                [("put", f"user:{number}", user), ("put", f"email:{value['email']}", number)]
            )
            return user

        user = await self.write(change)
        response = Response.json(200 if faulty("ctl-1-create-200") else 201, user)
        if not faulty("ctl-2-no-location"):
            other = "/posts" if faulty("ctl-2-elsewhere") else ""
            response.set("Location", f"/api/users/{user['id']}{other}")
        return response

    async def _free(self, email: str, owner: int | None) -> None:
        taken = await self.backing.get(f"email:{email}")
        if taken is not None and taken != owner:
            if faulty("ctl-5-500"):
                raise RuntimeError("UNIQUE constraint failed")
            if self.request.method == "PUT" and faulty("ecl-1-own-code"):
                raise Problem(409, "the address is taken", code="VALIDATION_ERROR")
            if self.request.method == "PUT" and faulty("svc-1-own-check"):
                raise Problem(400, "the address is taken")
            raise Problem(409, "the address is taken", code="EMAIL_TAKEN")

    async def read_user(self, number: str) -> Response:
        """Return one user."""
        if faulty("ctl-3-null"):
            return Response.json(200, await self.backing.get(f"user:{number}"))
        user = await self.user(number)
        if faulty("svc-3-row"):
            user["password_hash"] = "x"
        return Response.json(200, user)

    async def replace_user(self, number: str) -> Response:
        """Replace a user's values."""
        value = self.values(name=100, email=254)

        async def change() -> dict[str, Any]:
            old = await self.user(number)
            user = {**old, **value}
            if faulty("ctl-5-changes"):
                await self.backing.commit([("put", f"user:{number}", {**old, "name": value["name"]})])
            await self._free(value["email"], old["id"])
            await self.backing.commit(
                [
                    ("delete", f"email:{old['email']}", None),
                    ("put", f"user:{number}", user),
                    ("put", f"email:{value['email']}", old["id"]),
                ]
            )
            return user

        return Response.json(200, await self.write(change))

    async def delete_user(self, number: str) -> Response:
        """Delete a user and the user's posts."""

        async def change() -> None:
            if await self.backing.get(f"user:{number}") is None and faulty("ctl-3-delete-500"):
                raise RuntimeError("nothing was deleted")
            user = await self.user(number)
            posts = await self.backing.ask("scan", "post:")
            mine = [f"post:{post['id']}" for post in posts if post["user_id"] == user["id"]]
            changes: list[Change] = [("delete", key, None) for key in mine]
            if faulty("txn-5-two-units"):
                for key in mine:
                    await self.backing.ask("delete", key)
            if faulty("txn-5-orphans"):
                changes = []
            changes += [("delete", f"user:{number}", None), ("delete", f"email:{user['email']}", None)]
            await self.backing.commit(changes)

        await self.write(change)
        return Response.json(200, {}) if faulty("ctl-1-delete-200") else Response(204)

    async def create_post(self, number: str) -> Response:
        """Create a post of a user."""
        value = self.values(title=200, body=10_000)

        async def change() -> dict[str, Any]:
            if await self.backing.get(f"user:{number}") is None and faulty("svc-1-unchecked"):
                raise Problem(422, "the user is wrong")
            user = await self.user(number)
            post = {
                "id": await self.backing.ask("next", "posts"),
                "user_id": user["id"],
                **value,
                "created_at": "2026-01-01T00:00:00Z",
            }
            await self.backing.commit([("put", f"post:{post['id']}", post)])
            return post

        post = await self.write(change)
        response = Response.json(201, post)
        response.set("Location", f"/api/users/{number}/posts/{post['id']}")
        return response

    async def read_post(self, number: str, post_id: str) -> Response:
        """Return one post of a user."""
        post = await self.backing.get(f"post:{post_id}")
        if post is None or post["user_id"] != int(number):
            raise Problem(404, "there is no such post")
        return Response.json(200, post)


def _id(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,16}", text) or not 1 <= int(text) <= _MOST:
        raise refuse({"path/id": "has to be a whole number"})
    return str(int(text))
