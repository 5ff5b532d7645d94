"""The declared resources as the probes of the code patterns use them: parents, their children, their errors.

What is not in the manifest (names of members, shapes of lists) is as the reference API has it: ``items`` and
``next_cursor``, ``from_user``, ``to_user`` and ``post_ids``, ``ids``.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from ...bench import Bench
from ...errors import ControlFailed
from ...http.fields import last_part, location_of, path_in
from ...http.wire import Answer
from ...manifest.links import collection
from ...manifest.routes import Route
from ...read.shapes import elements, members, whole_number

__all__ = (
    "Resource",
    "batch",
    "child",
    "child_ids",
    "code_of",
    "collide",
    "entries_of",
    "missing",
    "overview",
    "parent",
    "path_of",
    "pointer_of",
    "raw_id",
    "rows",
    "transfer",
    "walk",
    "wrong_bodies",
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource that the check created.

    Parameters:
        id: as it stands in a path.
        raw: as it stands in JSON.
        path: where it is read.
    """

    id: str
    raw: Any
    path: str
    sent: dict[str, Any]
    answer: Answer

    @property
    def value(self) -> dict[str, Any]:
        """What the service answered to its creation."""
        return members(self.answer.json())


async def parent(bench: Bench, changes: dict[str, Any] | None = None, **options: Any) -> Resource:
    """Create a resource through ``routes.create``.

    Raises:
        ControlFailed: the valid request was refused.
    """
    made = await bench.create(changes, **options)
    route = bench.manifest.routes.by_role["create"]
    return Resource(made.id, raw_id(made.answer, route.id), made.path, members(made.sent), made.answer)


async def child(bench: Bench, owner: Resource, **options: Any) -> Resource:
    """Create what belongs to a resource, through ``routes.child_create``.

    Raises:
        ControlFailed: the valid request was refused.
    """
    route = bench.manifest.routes.by_role["child_create"]
    sent = bench.fresh(route.body)
    path = route.path.replace("{id}", owner.id)
    answer = await bench.request(route.method, path, route.headers, json_body=sent, **options)
    if not answer.ok:
        raise ControlFailed(f"the valid body of routes.child_create was answered {answer}")
    raw = raw_id(answer, route.id)
    url = location_of(answer)
    return Resource(str(raw), raw, path_in(url) if url else "", members(sent), answer)


def raw_id(answer: Answer, path: str = "$.id") -> Any:
    """Return the id in an answer as JSON has it; else the last part of Location."""
    value: Any = answer.json()
    for part in path.removeprefix("$").strip(".").split("."):
        value = members(value).get(part)
    if value is not None:
        return value
    last = last_part(answer)
    number = whole_number(last)
    return last if number is None else number


def missing(known: Any) -> Any:
    """Return an id of the same kind that nothing has."""
    if isinstance(known, int):
        # The largest that every JSON reader keeps exactly (RFC 8259 §6), less what others may have taken.
        return 2**53 - 1 - uuid.uuid4().int % 1_000_000
    if re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", str(known)):
        return str(uuid.uuid4())
    if str(known).isdecimal():
        return str(2**53 - 1 - uuid.uuid4().int % 1_000_000)
    return f"x{uuid.uuid4().hex}"[: max(len(str(known)), 8)]


async def walk(bench: Bench, path: str, limit: int, most: int = 2000) -> list[Any] | None:
    """Return all elements of a list, page by page; None when a page was refused."""
    found: list[Any] = []
    query = f"limit={limit}"
    while len(found) < most:
        answer = await bench.get(f"{path}?{query}")
        if not answer.ok:
            return None
        found += rows(answer) or []
        following = members(answer.json()).get("next_cursor")
        if following is None:
            break
        query = f"limit={limit}&cursor={following}"
    return found


def rows(answer: Answer) -> list[Any] | None:
    """Return the elements of a list as services write them: ``items``, the array, or that of an object."""
    items = members(answer.json()).get("items")
    return elements(cast("object", items)) if isinstance(items, list) else collection(answer.json())


async def child_ids(bench: Bench, owner: str) -> set[Any] | None:
    """Return the ids of what belongs to a resource; None when the list was refused."""
    path = bench.manifest.routes.by_role["child_list"].path.replace("{id}", owner)
    found = await walk(bench, path, 100)
    return None if found is None else {members(one).get("id") for one in found}


async def transfer(bench: Bench, source: Any, target: Any, ids: Sequence[Any], **options: Any) -> Answer:
    """Ask for a transfer."""
    route = bench.manifest.routes.by_role["transfers"]
    body = {"from_user": source, "to_user": target, "post_ids": list(ids)}
    return await bench.request(route.method, route.path, route.headers, json_body=body, **options)


async def batch(bench: Bench, ids: Sequence[Any], **options: Any) -> Answer:
    """Ask for many resources at once."""
    route = bench.manifest.routes.by_role["batch"]
    return await bench.request(
        route.method, route.path, route.headers, json_body={"ids": list(ids)}, **options
    )


async def overview(bench: Bench, identifier: Any, **options: Any) -> Answer:
    """Ask for a resource together with what belongs to it."""
    return await bench.call(bench.manifest.routes.by_role["overview"], str(identifier), **options)


def code_of(answer: Answer) -> str:
    """Return the code for programs in an error, in either of the two shapes; empty without one."""
    body = members(answer.json())
    code = body.get("code") or members(body.get("error")).get("code")
    return code if isinstance(code, str) else ""


def entries_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the entries for single fields in an error, wherever its shape has them."""
    body = members(answer.json())
    inner = members(body.get("error"))
    details = inner.get("details")
    for found in (body.get("errors"), members(details).get("errors"), details, body.get("details")):
        if isinstance(found, list):
            return [members(one) for one in elements(cast("object", found))]
    return []


def pointer_of(entry: dict[str, Any]) -> str:
    """Return which field an entry is about, as a pointer: ``/name``, ``/ids/1``."""
    for name in ("pointer", "field", "path", "loc", "name", "instancePath"):
        value = entry.get(name)
        if isinstance(value, list):
            value = "/".join(str(part) for part in elements(cast("object", value)) if part != "body")
        if isinstance(value, str) and value:
            return "/" + value.removeprefix("#").strip("/").replace(".", "/")
    return ""


def _unique_of(route: Route, sent: dict[str, Any]) -> dict[str, Any]:
    """Return those members of what was sent that may collide: an address, else all that are unique."""
    declared = members(route.body)
    made = {name: sent[name] for name, value in declared.items() if "{unique}" in str(value)}
    # A name may repeat; the member in which nothing but the unique part is free is the one that may not.
    return {name: value for name, value in made.items() if "@" in str(value)} or made


async def collide(bench: Bench, first: Resource, second: Resource) -> Answer | None:
    """Change the second resource into the first one's values; None where no route changes."""
    routes = bench.manifest.routes.by_role
    update = routes.get("update")
    if update is None:
        return None
    taken = _unique_of(routes["create"], first.sent)
    body = members(bench.fresh(update.body))
    change = {**body, **{name: value for name, value in taken.items() if name in body}}
    path = path_of(update, second.id)
    return await bench.request(update.method, path, update.headers, json_body=change)


def wrong_bodies(bench: Bench, identifier: str) -> list[tuple[Route, str, dict[str, Any]]]:
    """Return each route that takes an object, its path, and a body with members of the wrong kind only."""
    routes = bench.manifest.routes.by_role
    chosen = [
        (route, path_of(route, identifier), members(route.body))
        for role in ("create", "update", "child_create")
        if (route := routes.get(role)) is not None
    ]
    for role, names in (("batch", ("ids",)), ("transfers", ("from_user", "to_user", "post_ids"))):
        if (route := routes.get(role)) is not None:
            chosen.append((route, route.path, dict.fromkeys(names)))
    return [(route, path, {name: {} for name in body}) for route, path, body in chosen]


def path_of(route: Route, identifier: Any) -> str:
    """Return a route's path with an id in it."""
    return route.path.replace("{id}", str(identifier))
