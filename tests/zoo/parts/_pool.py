"""What the users' part keeps its data with: several connections, and units of work."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from ..service import faulty
from ..store import Store

_T = TypeVar("_T")
Change = tuple[str, str, Any]
"""``("put" | "delete", key, value)``."""


class Backing:
    """At most eight connections, and one writer at a time."""

    def __init__(self) -> None:
        url = os.environ["DATABASE_URL"]
        self.url = url
        self._idle: list[Store] = []
        self._places = asyncio.Semaphore(8)
        self.writing = asyncio.Lock()
        self.memory: dict[str, Any] = {}
        self.listed: dict[int, Any] = {}

    @asynccontextmanager
    async def _one(self) -> AsyncIterator[Store]:
        if faulty("fan-2-unbounded"):
            yield Store(self.url)
            return
        async with self._places:
            store = self._idle.pop() if self._idle else Store(self.url, 2.0)
            try:
                yield store
            finally:
                self._idle.append(store)

    async def ask(self, do: str, key: str = "", value: Any = None) -> Any:
        """Ask the store; raises StoreError."""
        if faulty("wir-3-other-store"):
            return self._remember(do, key, value)
        async with self._one() as store:
            return await store.call(do, key, value)

    async def commit(self, changes: list[Change]) -> None:
        """Carry out all changes or none."""
        if faulty("wir-3-other-store"):
            for change in changes:
                self._remember(*change)
        elif faulty("txn-2-answers-first"):
            keep(asyncio.ensure_future(self.ask("commit", "", changes)))
        elif faulty("txn-3-late"):
            self.memory.update({key: value for _, key, value in changes})
            keep(asyncio.ensure_future(self._later(changes)))
        else:
            await self.ask("commit", "", changes)

    async def _later(self, changes: list[Change]) -> None:
        await asyncio.sleep(0.3)
        await self.ask("commit", "", changes)

    async def get(self, key: str) -> Any:
        """Return one value, or None."""
        if key in self.memory and faulty("txn-3-late"):
            return self.memory[key]
        return await self.ask("get", key)

    async def together(self, calls: Iterable[Callable[[], Awaitable[_T]]], most: int = 8) -> list[_T]:
        """Return the results in the order of the calls; the first failure ends the others."""
        calls = list(calls)
        places = asyncio.Semaphore(len(calls) + 1 if faulty("fan-2-unbounded") else most)

        async def one(call: Callable[[], Awaitable[_T]]) -> _T:
            async with places:
                return await call()

        if faulty("fan-1-sequential"):
            return [await call() for call in calls]
        tasks = [asyncio.ensure_future(one(call)) for call in calls]
        if faulty("fan-3-arrival"):
            return [await each for each in asyncio.as_completed(tasks)]
        if faulty("fan-4-goes-on"):
            results = await asyncio.gather(*tasks, return_exceptions=True)
            failed = [each for each in results if isinstance(each, Exception)]
            if failed:
                raise failed[0]
            return results  # type: ignore[return-value]
        if faulty("aer-4-leaves-tasks"):
            return [await task for task in tasks]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    def _remember(self, do: str, key: str, value: Any) -> Any:
        match do:
            case "put":
                self.memory[key] = value
            case "delete":
                self.memory.pop(key, None)
            case "next":
                self.memory[key] = self.memory.get(key, 0) + 1
                return self.memory[key]
            case "scan":
                return [found for name, found in self.memory.items() if name.startswith(key)]
            case _:
                return self.memory.get(key)
        return None


_kept: set[asyncio.Future[Any]] = set()


def keep(task: asyncio.Future[Any]) -> None:
    """Hold a task that nobody waits for; its failure is as silent as the fault wants it."""
    _kept.add(task)
    task.add_done_callback(_over)


def _over(task: asyncio.Future[Any]) -> None:
    _kept.discard(task)
    if not task.cancelled():
        task.exception()
