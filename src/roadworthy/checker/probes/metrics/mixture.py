"""Requests of every kind, for what counts and measures requests."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import cycle

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ..shared.survey import Ask, asks

__all__ = ("ALL", "Mixture")

ALL = 137
_MANY = {
    **dict.fromkeys(("HEAD list", "validation", "large", "missing"), 2),
    **dict.fromkeys(("delete", "update", "exception"), 3),
    **dict.fromkeys(("OPTIONS list", "read"), 5),
    **dict(zip(("list", "create", "malformed", "unknown path, POST"), (23, 17, 13, 11), strict=True)),
}
"""Of these kinds there are so many, of all others one; unknown paths make up the rest."""
_WIDE = 8
_REST = "unknown path"
_OPERATIONS = ("live", "ready", "HEAD live", "document", "page ")
"""What a service need not count."""


class Mixture:
    """The requests by their kind; use :meth:`make`.

    Parameters:
        bench: sends each request once, whatever the answer is.
        kinds: what there is to ask for.
    """

    def __init__(self, bench: Bench, kinds: dict[str, Ask]) -> None:
        self._bench = bench
        self._kinds = kinds

    @classmethod
    async def make(cls, bench: Bench) -> Mixture:
        """Create what is deleted later, and leave out what does not arrive.

        RFC 9112 §9.6: a server that closes before it has read the whole request may destroy its own answer.
        """
        bench = bench.beside()
        bench.counted = True
        await bench.openapi()  # fetched once for all probes, and not amid what is counted
        kinds = {kind: ask for kind, ask in (await asks(bench)).items() if not kind.startswith(_OPERATIONS)}
        for kind in [kind for kind in kinds if kind.startswith("too large")]:
            if not (await kinds[kind]({})).complete:
                del kinds[kind]
        kinds["unknown path, DELETE"] = partial(bench.request, "DELETE", bench.unknown_path())
        kinds["unknown path, OPTIONS"] = partial(bench.request, "OPTIONS", bench.unknown_path())
        kinds[_REST] = lambda fields: bench.get(bench.unknown_path(), fields)
        if "delete" in kinds:
            route, ids = bench.manifest.routes.by_role["delete"], list[str]()
            with suppress(ControlFailed):
                ids = [(await bench.create()).id for _ in range(_MANY["delete"])]
            turn = cycle(ids or [""])
            kinds["delete"] = lambda fields: bench.call(route, next(turn), headers=fields)
        return cls(bench, kinds)

    async def send(self) -> list[Answer]:
        """Send 137 requests, of each kind a third at the same time."""
        found: list[Answer] = []
        for ask, count in self._counts():
            found += [await ask({}) for _ in range(count - count // 3)]
            found += await asyncio.gather(*(ask({}) for _ in range(count // 3)))
        return found

    async def send_each(self) -> list[Answer]:
        """Send one of each kind beside others, and one alone."""
        found = [await ask({}) for ask in self._kinds.values()]
        waiting = list(self._kinds.values())
        while waiting:
            found += await asyncio.gather(*(ask({}) for ask in waiting[:_WIDE]))
            del waiting[:_WIDE]
        return found

    def _counts(self) -> Iterator[tuple[Ask, int]]:
        counts = {kind: _MANY.get(kind, 1) for kind in self._kinds if kind != _REST}
        counts[_REST] = ALL - sum(counts.values())
        return ((self._kinds[kind], count) for kind, count in counts.items())
