"""What the probes of request validation send: the valid body with exactly one thing changed."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....checklist import Severity
from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...manifest.routes import Route
from ...read.shapes import elements, members
from ...verdict import Verdict

__all__ = (
    "JSON",
    "Sink",
    "Valid",
    "closing",
    "found_in",
    "judge_refused",
    "read_back",
    "refused",
    "send",
    "sinks",
    "type_of",
    "valid",
    "with_raw",
)

JSON = "application/json"
_MARK = "@roadworthy-raw@"


@dataclass(frozen=True, slots=True)
class _Fields:
    """The fields of the body of one route.

    Parameters:
        types: the JSON type of each, by the service's document or by the declared body.
        documented: those of which the document says the type.
        required: those that the document requires, or None if it does not name any.
    """

    types: dict[str, str]
    documented: frozenset[str]
    required: frozenset[str] | None
    nullable: frozenset[str]


@dataclass(frozen=True, slots=True)
class Valid:
    """A valid request that was accepted: the control of the whole family.

    Parameters:
        identifier: of what was created; empty where the answer names none.
        shown: the fields that the resource shows when it is read.
    """

    route: Route
    identifier: str
    sent: dict[str, Any]
    made: Answer
    read: Answer | None
    fields: _Fields

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that can be read back."""
        document = (self.read or self.made).json()
        return tuple(name for name in self.sent if found_in(document, name)[0])


async def _make(bench: Bench) -> Valid | None:
    route = bench.manifest.routes.by_role["create"]
    created = await bench.create()
    sent = members(created.sent)
    if not sent:
        return None
    read = await bench.get(created.path) if created.path else None
    return Valid(route, created.id, sent, created.answer, read, await _fields(bench, route, sent))


async def _fields(bench: Bench, route: Route, sent: Mapping[str, Any]) -> _Fields:
    schema = (await bench.openapi()).body_schema(route.method, route.path)
    properties = members(schema.get("properties"))
    documented = {name: kind for name in sent if (kind := _declared(properties.get(name)))}
    return _Fields(
        {name: documented.get(name) or type_of(value) for name, value in sent.items()},
        frozenset(documented),
        frozenset(map(str, elements(schema["required"]))) if "required" in schema else None,
        frozenset(name for name in sent if "null" in json.dumps(properties.get(name, ""))),
    )


async def valid(bench: Bench) -> Valid:
    """Return the valid request of this phase; without one nothing can be judged."""
    found = await bench.shared(_make)
    if found is None:
        raise ControlFailed("routes.create has no JSON object as its body, so nothing can be changed in it")
    bench.control(f"the valid request is accepted ({found.made})", found.made.ok)
    return found


def _declared(schema: Any) -> str:
    kind = members(schema).get("type")
    return kind if isinstance(kind, str) else ""


def type_of(value: object) -> str:
    """Return the JSON type of a value."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"


def found_in(document: object, name: str) -> tuple[bool, Any]:
    """Look for a member in a document, in its outermost object first; many wrap the resource in ``data``."""
    waiting = deque([document])
    while waiting:
        entries = members(waiting.popleft())
        if name in entries:
            return True, entries[name]
        waiting.extend(entries.values())
    return False, None


async def send(
    bench: Bench, body: Any, media_type: str | None = JSON, to: Sink | None = None, **options: Any
) -> Answer:
    """Send a body; bytes as they are, anything else as JSON.

    Parameters:
        to: where; the route that creates when left out.
    """
    route = bench.manifest.routes.by_role["create"] if to is None else to.route
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {name: value for name, value in route.headers.items() if name.lower() != "content-type"}
    if media_type == JSON:
        # Some write application/merge-patch+json.
        own = (value for name, value in route.headers.items() if name.lower() == "content-type")
        media_type = next(own, JSON)
    if media_type is not None:
        fields["Content-Type"] = media_type
    return await bench.request(route.method, route.path if to is None else to.path, fields, data, **options)


@dataclass(frozen=True, slots=True)
class Sink:
    """A route that takes a body, and the path that it is sent to.

    Parameters:
        identifier: of the resource that is changed; empty for the route that creates.
        behind: how findings name it, behind what was sent; empty for the route that creates.
    """

    route: Route
    path: str
    fields: _Fields
    identifier: str = ""
    behind: str = ""

    def body(self, bench: Bench) -> Any:
        """Return a fresh valid body."""
        return bench.fresh(self.route.body)


async def sinks(bench: Bench, known: Valid) -> list[Sink]:
    """Return the routes that create and that change, for what each has to refuse in the same way.

    What is changed was made for it: the first change of it that the service sees is the probe's.
    """
    found = [Sink(known.route, known.route.path, known.fields)]
    fields = await bench.shared(_change)
    if isinstance(fields, str):
        bench.note(f"changes were not tried: the valid body of routes.update was answered {fields}")
    if isinstance(fields, _Fields):
        update = bench.manifest.routes.by_role["update"]
        identifier = update.literal or (await bench.create()).id
        path = update.path.replace("{id}", identifier)
        found.append(Sink(update, path, fields, identifier, " in a change"))
    return found


async def _change(bench: Bench) -> _Fields | str | None:
    """Change a resource; return the fields of the body, or what was answered to it, None without a route."""
    update = bench.manifest.routes.by_role.get("update")
    if update is None or not members(update.body):
        return None
    identifier = update.literal or (await bench.create()).id
    body = bench.fresh(update.body)
    answer = await bench.request(
        update.method, update.path.replace("{id}", identifier), update.headers, json_body=body
    )
    return await _fields(bench, update, members(body)) if answer.ok else str(answer)


def with_raw(bench: Bench, name: str, raw: bytes, to: Sink | None = None, padding: int = 0) -> bytes:
    """Return a fresh valid body in which the value of ``name`` is these bytes, JSON or not.

    Parameters:
        to: whose body; that of the route that creates when left out.
        padding: blanks before it, which mean nothing (RFC 8259 §2) and make it larger than one read.
    """
    route = bench.manifest.routes.by_role["create"] if to is None else to.route
    body = json.dumps({**members(bench.fresh(route.body)), name: _MARK})
    return b" " * padding + body.encode().replace(f'"{_MARK}"'.encode(), raw)


async def closing(bench: Bench) -> Verdict:
    """Return the verdict; after a finding the next probe gets a fresh process.

    What should have been refused may be stored now, and a list that contains it may fail ever after.
    """
    if bench.findings:
        await bench.renew()
    return bench.verdict()


async def read_back(bench: Bench, answer: Answer, to: Sink | None = None) -> Answer:
    """Return the resource that an answer speaks of, or that answer itself where no route reads it.

    Parameters:
        to: where the request was sent; the route that creates when left out.
    """
    read = bench.manifest.routes.by_role.get("read")
    if to is not None and to.identifier:
        path = read.path.replace("{id}", to.identifier) if read is not None else ""
    else:
        path = bench.path_of(answer)
    return await bench.get(path) if path else answer


def refused(answer: Answer) -> bool:
    """Tell whether a request was refused for what is in it.

    Raises:
        ControlFailed: it was refused because of its sender, so its content was not judged.
    """
    if answer.status in {401, 403}:
        raise ControlFailed(f"the service wants other credentials ({answer}); see auth.header")
    return answer.complete and 400 <= answer.status < 500 and answer.status not in {405, 407, 429}


def judge_refused(
    bench: Bench,
    what: str,
    answer: Answer,
    *,
    accepted: Severity | None = None,
    crashed: Severity | None = None,
) -> bool:
    """Count a sample and fail unless the request was refused; return whether it was."""
    bench.sample()
    if refused(answer):
        return True
    if answer.ok:
        bench.fail(f"{what} is accepted", "a refusal, 4xx", str(answer), answer, severity=accepted)
    elif answer.status == 429:
        bench.missed(what, answer)
    elif answer.complete and answer.status < 500:
        bench.fail(f"{what} is neither accepted nor refused", "a refusal, 4xx", str(answer), answer)
    else:
        bench.fail(f"{what} makes the service fail", "a refusal, 4xx", str(answer), answer, severity=crashed)
    return False
