"""What the probes of compression ask about: one large text, plain and in each coding that is offered."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest

from ...bench import Bench
from ...http.codings import CODINGS, codings_of
from ...http.wire import Answer, Ending
from ...read.shapes import elements, members

__all__ = (
    "CHANGES",
    "TRIES",
    "Facts",
    "ask",
    "ask_between",
    "negotiated",
    "resource",
    "same_text",
    "used_codings",
)

# Nobody is to blame for leaving less than this alone: Starlette begins at 500 bytes, Express at 1,024, and a
# large text has to be larger than either beyond doubt.
_LARGE = 8 << 10
_TEXT = re.compile(r"text/(?!event-stream)|.*[/+](?:json|xml|javascript|yaml)\b")


TRIES = 3
"""How often two texts are asked for right behind each other, until nobody has changed what is in them."""
CHANGES = "two identical requests for {} in a row had different answers, so the route changes by itself"


@dataclass(slots=True)
class Facts:
    """A large text, plain and coded.

    Parameters:
        plain: the text without a coding.
        coded: the answer by the coding that was asked for alone and used.
        refused: the answers in which the coding that was asked for was not used.
        around: by coding, the plain text right before it was asked for and right after.
    """

    path: str
    fields: Mapping[str, str]
    plain: Answer
    coded: dict[str, Answer] = field(default_factory=dict[str, Answer])
    refused: dict[str, Answer] = field(default_factory=dict[str, Answer])
    around: dict[str, tuple[Answer, Answer]] = field(default_factory=dict[str, tuple[Answer, Answer]])

    @property
    def usual(self) -> str:
        """A coding that the service speaks, gzip if it does."""
        return next(iter(self.coded), "")


async def _facts(bench: Bench) -> Facts | None:
    for path, fields in await _large(bench):
        plain = await bench.get(path, {**fields, "Accept-Encoding": "identity"})
        if not plain.ok or len(plain.body) < _LARGE or not _TEXT.match(plain.media_type):
            continue
        found = Facts(path, fields, plain)
        for coding in CODINGS:
            answer = await ask_between(bench, found, coding)
            (found.coded if used_codings(answer) else found.refused)[coding] = answer
        return found
    return None


async def ask_between(bench: Bench, facts: Facts, coding: str) -> Answer:
    """Ask for the text in a coding, between two requests for the plain one, and remember these."""
    before = await ask(bench, facts, "identity")
    answer = await ask(bench, facts, coding)
    facts.around[coding] = before, await ask(bench, facts, "identity")
    return answer


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


async def ask(bench: Bench, facts: Facts, accepted: str | None, **fields: str | None) -> Answer:
    """Ask for the text with this ``Accept-Encoding`` and further fields; None leaves a field out."""
    more = {name.replace("_", "-"): value for name, value in fields.items() if value is not None}
    wanted = {} if accepted is None else {"Accept-Encoding": accepted}
    return await bench.get(facts.path, {**facts.fields, **wanted, **more})


def used_codings(answer: Answer) -> tuple[str, ...]:
    """Return the codings of an answer, in the order in which they were applied."""
    return codings_of(answer.field("content-encoding"))


def same_text(body: bytes, before: Answer, after: Answer) -> bool | None:
    """Compare a body with the plain answers before and after it, leaving out what differs between these two.

    None where nothing is left to compare: others write to a service, too, and some texts hold the time.
    """
    if body in (before.body, after.body):
        return True
    if before.body == after.body:
        return False
    one, two = before.json(), after.json()
    if one is not None and two is not None:
        found = Answer(before.request, Ending.COMPLETE, body=body).json()
        compared = list(_compared(found, one, two))
    else:
        compared = list(_compared(body.splitlines(), before.body.splitlines(), after.body.splitlines()))
    return all(compared) if compared else None


def _compared(coded: object, one: object, two: object) -> Iterator[bool]:
    """Yield for each part that two plain answers have alike whether the coded one has it, too."""
    if one == two:
        yield coded == one
        return
    first, second = members(one), members(two)
    if first and set(first) == set(second):
        third = members(coded)
        if set(third) != set(first):
            yield False
        for name in first:
            yield from _compared(third.get(name), first[name], second[name])
    rows, others, found = elements(one), elements(two), elements(coded)
    if rows and len(rows) == len(others):
        if len(found) != len(rows):
            yield False
        yield from (each for row in zip_longest(found, rows, others) for each in _compared(*row))
