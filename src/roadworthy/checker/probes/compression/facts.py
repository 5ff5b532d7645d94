"""What the probes of compression ask about: one large text, plain and in each coding that is offered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ...bench import Bench
from ...http.codings import CODINGS, codings_of
from ...http.wire import Answer, Ending
from ...read.shapes import elements, members

__all__ = ("Facts", "ask", "negotiated", "resource", "same_text", "used_codings")

# Nobody is to blame for leaving less than this alone: Starlette begins at 500 bytes, Express at 1,024, and a
# large text has to be larger than either beyond doubt.
_LARGE = 8 << 10
_TEXT = re.compile(r"text/(?!event-stream)|.*[/+](?:json|xml|javascript|yaml)\b")


@dataclass(slots=True)
class Facts:
    """A large text, plain and coded.

    Parameters:
        plain, again: the same request twice, for what changes by itself.
        coded: the answer by the coding that was asked for alone and used.
        refused: the answers in which the coding that was asked for was not used.
    """

    path: str
    fields: Mapping[str, str]
    plain: Answer
    again: Answer
    coded: dict[str, Answer] = field(default_factory=dict[str, Answer])
    refused: dict[str, Answer] = field(default_factory=dict[str, Answer])

    @property
    def usual(self) -> str:
        """A coding that the service speaks, gzip if it does."""
        return next(iter(self.coded), "")


async def _facts(bench: Bench) -> Facts | None:
    for path, fields in await _large(bench):
        plain = await bench.get(path, {**fields, "Accept-Encoding": "identity"})
        if not plain.ok or len(plain.body) < _LARGE or not _TEXT.match(plain.media_type):
            continue
        found = Facts(path, fields, plain, await bench.get(path, {**fields, "Accept-Encoding": "identity"}))
        for coding in CODINGS:
            answer = await bench.get(path, {**fields, "Accept-Encoding": coding})
            (found.coded if used_codings(answer) else found.refused)[coding] = answer
        return found
    return None


async def _large(bench: Bench) -> list[tuple[str, Mapping[str, str]]]:
    """Return paths that may answer with a large text, the declared one first."""
    routes = bench.manifest.routes.by_role
    found: list[tuple[str, Mapping[str, str]]] = []
    if "large" in routes:
        found.append((routes["large"].path, routes["large"].headers))
    if bench.manifest.openapi:
        found.append((bench.manifest.openapi, {}))
    if "html" in routes:
        found.append((routes["html"].path, routes["html"].headers))
    if "list" in routes:
        found.append((routes["list"].path, routes["list"].headers))
    return found


async def resource(bench: Bench) -> Facts:
    """Return the facts, collected once for the phase; inconclusive without a large text."""
    found = await bench.shared(_facts)
    bench.control("a text of at least 8 KiB is known (routes.large)", found, undeclared=("routes.large",))
    assert found is not None
    return found


async def negotiated(bench: Bench) -> Facts:
    """Return the facts of a service that does compress: nothing else can be judged on one that does not."""
    found = await resource(bench)
    bench.control("the large text is compressed for a client that accepts it", found.coded)
    return found


async def ask(bench: Bench, facts: Facts, accepted: str | None, **fields: str) -> Answer:
    """Ask for the text with this ``Accept-Encoding`` (None: without the field) and further fields."""
    more = {name.replace("_", "-"): value for name, value in fields.items()}
    wanted = {} if accepted is None else {"Accept-Encoding": accepted}
    return await bench.get(facts.path, {**facts.fields, **wanted, **more})


def used_codings(answer: Answer) -> tuple[str, ...]:
    """Return the codings of an answer, in the order in which they were applied."""
    return codings_of(answer.field("content-encoding"))


def _agrees(coded: object, one: object, two: object) -> bool:
    """Compare, leaving out what already differs between two plain answers."""
    if one == two:
        return coded == one
    first, second, third = members(one), members(two), members(coded)
    if first and second and third:
        return set(third) == set(first) and all(
            _agrees(third[name], first[name], second.get(name)) for name in third
        )
    rows = zip(elements(coded), elements(one), elements(two), strict=False)
    return all(_agrees(*row) for row in rows)


def same_text(body: bytes, facts: Facts) -> bool:
    """Compare a body with the plain answers, leaving out what changes by itself."""
    if body == facts.plain.body or body == facts.again.body:
        return True
    one, two = facts.plain.json(), facts.again.json()
    if one is not None and two is not None:
        answer = Answer(facts.plain.request, Ending.COMPLETE, body=body)
        return _agrees(answer.json(), one, two)
    return _agrees(body.splitlines(), facts.plain.body.splitlines(), facts.again.body.splitlines())
