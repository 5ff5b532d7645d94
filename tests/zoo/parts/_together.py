"""The contract's routes that read or change several things: overview, batch and transfers."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from ..http import Response
from ..service import Problem, faulty
from ._pool import Change, keep
from ._values import read_json, refuse

if TYPE_CHECKING:
    from .users import Work


async def overview(work: Work, number: str, cached: dict[str, Any]) -> Response:
    """Return a user and the user's posts, both fetched at the same time."""
    backing = work.backing
    if f"overview {number}" in cached and faulty("svc-2-stale"):
        return Response.json(200, cached[f"overview {number}"])
    if faulty("aer-4-unretrieved"):
        # A part that nobody waits for: its failure comes up when it is collected.
        asyncio.ensure_future(_fail())  # noqa: RUF006

    async def posts() -> list[Any]:
        every = await backing.ask("scan", "post:")
        return [post for post in every if post["user_id"] == int(number)][:20]

    async def owner() -> Any:
        return await work.user(number)

    user, mine = await backing.together([owner, posts])
    if faulty("svc-3-overview"):
        user["internal_rank"] = 7
    found = {"user": user, "posts": mine}
    cached[f"overview {number}"] = found
    return Response.json(200, found)


async def _fail() -> None:
    raise RuntimeError("a part failed")


def _ids(value: dict[str, Any], name: str) -> list[int]:
    ids = value.get(name)
    if not isinstance(ids, list) or len(ids) > 1000:
        raise refuse({f"/{name}": "has to be a list of at most 1000 ids"})
    wrong = {
        f"/{name}/{at}": "has to be a whole number" for at, one in enumerate(ids) if type(one) is not int
    }
    if wrong:
        raise refuse(wrong)
    return ids


async def batch(work: Work, cached: dict[str, Any]) -> Response:
    """Return many users in the order asked."""
    ids = _ids(read_json(work.request), "ids")

    async def one(number: str) -> Any:
        if faulty("svc-2-cache"):
            if number not in cached:
                cached[number] = await work.backing.get(f"user:{number}")
            return cached[number]
        if faulty("aer-4-leaves-tasks"):
            keep(asyncio.ensure_future(_linger(work)))
        return await work.backing.get(f"user:{number}")

    users = await work.backing.together([partial(one, str(number)) for number in ids])
    if faulty("fan-3-compacts"):
        users = [user for user in users if user is not None]
    return Response.json(200, {"items": users})


async def _linger(work: Work) -> None:
    for _ in range(40):
        await asyncio.sleep(0.1)
        await work.backing.ask("get", "nothing")


async def transfers(work: Work) -> Response:
    """Move posts from one user to another, all or none."""
    value = read_json(work.request)
    wrong = {
        f"/{key}": "has to be an id" for key in ("from_user", "to_user") if type(value.get(key)) is not int
    }
    if wrong:
        raise refuse(wrong)
    ids = _ids(value, "post_ids")
    backing, source, target = work.backing, value["from_user"], value["to_user"]

    async def change() -> int:
        await work.user(str(source))
        await work.user(str(target))
        changes: list[Change] = []
        posts = await backing.together([partial(backing.get, f"post:{number}") for number in ids])
        if faulty("txn-4-unlocked"):
            await asyncio.sleep(0.2)
        for number, post in zip(ids, posts, strict=True):
            if post is None:
                raise Problem(404, "there is no such post")
            if post["user_id"] != source:
                raise Problem(409, "a post belongs to somebody else", code="NOT_OWNER")
            moved: Change = ("put", f"post:{number}", {**post, "user_id": target})
            changes.append(moved)
            if faulty("txn-1-one-by-one"):
                await backing.commit([moved])
        if faulty("txn-1-many-commits"):
            for moved in changes:
                await backing.commit([moved])
        else:
            await backing.commit(changes)
        return len(changes)

    moved = await (change() if faulty("txn-4-unlocked") else work.write(change))
    return Response.json(200, {"moved": moved})
