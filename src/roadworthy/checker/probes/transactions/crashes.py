"""What is left after the service was killed in the middle of writes and transfers (kill -9, no warning)."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from ...bench import Bench
from ...errors import ControlFailed
from ...http.wire import Answer
from ...needs import Need
from ...read.shapes import members
from ..shared import contract
from ..shared.contract import Resource
from ..shared.together import many

__all__ = ("Crash", "Written", "crashes", "is_soon", "is_there")

# Parts of the time that the same work took before: from the first statement to after the last answer.
_MOMENTS = (0.2, 0.5, 0.8)
_PAIRS = 4
_POSTS = 25
_WRITERS = 4
# Before the transfers begin: some of what is confirmed has to be older than the last commit.
_WRITES = 6
# Where nothing is transferred: so many writes more are the work in the middle of which the service is killed.
_MORE = 24
# One that is changed, one that is deleted, and one that is only created.
_ALONE = 3


@dataclass(slots=True)
class _Pair:
    """Two parents and the children that go to and fro between them."""

    owner: Resource
    other: Resource
    children: list[Any]


@dataclass(slots=True)
class Crash:
    """One kill and what was found after the restart.

    Parameters:
        acknowledged: writes that were answered with success.
        unanswered: requests that were in flight.
        lost: successes whose effect is not there, or not readable.
        half: transfers of which a part was done, in words.
    """

    acknowledged: int = 0
    unanswered: int = 0
    lost: list[Answer] = field(default_factory=list[Answer])
    half: list[str] = field(default_factory=list[str])


async def crashes(bench: Bench) -> list[Crash]:
    """Kill the service several times in the middle of work, and look at the same store each time.

    The work is to create, and to transfer what is below where that is declared.
    """
    found: list[Crash] = []
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(bench.launch())
        before = await bench.create()
        if not before.path or not await is_soon(bench, before.path):
            raise ControlFailed(f"what was created cannot be read ({before.path or 'it names no id'})")
        pairs = [await _pair(bench) for _ in range(_PAIRS if bench.has(Need.TRANSFERS) else 0)]
        if first.store is not None:
            # So slow that the moment of a kill lies well between two statements, where that can be done.
            first.store.delay = lambda: 0.004
        usual = await _measure(bench, pairs)
        for moment in _MOMENTS:
            target = bench.target
            crash, begun = Crash(), asyncio.Event()
            work = asyncio.create_task(_work(bench, pairs, begun))
            await begun.wait()
            await asyncio.sleep(usual * moment)
            target.process.kill()
            await target.process.wait_end(10)
            written, moved = await work
            await stack.enter_async_context(bench.launch(same_store_as=first))
            await _judge(bench, crash, pairs, written, moved)
            found.append(crash)
        # Once more at rest, right behind the last answer: nobody else's commit takes a write along.
        crash, target = Crash(), bench.target
        written = [await _alone(bench, turn) for turn in range(_ALONE)]
        target.process.kill()
        await target.process.wait_end(10)
        await stack.enter_async_context(bench.launch(same_store_as=first))
        await _judge(bench, crash, [], written, [])
        found.append(crash)
    return found


async def _alone(bench: Bench, turn: int) -> Written:
    """Write one thing after the other, with nobody else there."""
    one = Written(await bench.call(bench.manifest.routes.by_role["create"]))
    if turn < _ALONE - 1:
        await is_soon(bench, bench.path_of(one.created))
        await one.go_on(bench, turn)
    return one


async def _pair(bench: Bench) -> _Pair:
    owner, other = await contract.parent(bench), await contract.parent(bench)
    for one in (owner, other):
        await is_soon(bench, one.path)
    made = await many(lambda: _child(bench, owner), _POSTS)
    for _ in range(20):
        if (await contract.child_ids(bench, owner.id) or set()) >= set(made):
            break
        await asyncio.sleep(0.1)
    return _Pair(owner, other, made)


async def _child(bench: Bench, owner: Resource) -> Any:
    """Create below a resource, at once or as soon as it can be; return the id."""
    route = bench.manifest.routes.by_role["child_create"]
    made, answer = await bench.until(lambda: bench.call(route, owner.id), lambda found: found.ok, 2)
    if not made:
        raise ControlFailed(f"the valid body of routes.child_create was answered {answer}")
    return contract.raw_id(answer, route.id)


async def _measure(bench: Bench, pairs: list[_Pair]) -> float:
    """Return how many seconds the same work takes when nobody kills it."""
    begun = asyncio.Event()
    work = asyncio.create_task(_work(bench, pairs, begun))
    await begun.wait()
    began = bench.now()
    written, moved = await work
    seconds = bench.now() - began
    created = [one.created for one in written]
    if not all(answer.ok for answer in moved) or not any(answer.ok for answer in created):
        what, refused = ("transfers", moved) if pairs else ("writes", created)
        raise ControlFailed(f"{what} are refused: {', '.join(map(str, refused))}")
    for pair in pairs:
        pair.owner, pair.other = pair.other, pair.owner
    return seconds


@dataclass(slots=True)
class Written:
    """A resource that was created, perhaps changed, perhaps deleted, and what was answered to each.

    Parameters:
        body: what it was changed into.
    """

    created: Answer
    body: Any = None
    changed: Answer | None = None
    deleted: Answer | None = None

    @property
    def answers(self) -> list[Answer]:
        """All that was answered."""
        return [answer for answer in (self.created, self.changed, self.deleted) if answer is not None]

    async def go_on(self, bench: Bench, turn: int, **options: Any) -> None:
        """Change it, and delete every second one, where routes do so and its id is known."""
        routes = bench.manifest.routes.by_role
        identifier = str(contract.raw_id(self.created, routes["create"].id))
        update, delete = routes.get("update"), routes.get("delete")
        if not self.created.ok or not identifier:
            return
        if delete is not None and (turn % 2 or update is None):
            self.deleted = await bench.call(delete, identifier, **options)
        elif update is not None:
            self.body = bench.fresh(update.body)
            path = contract.path_of(update, identifier)
            self.changed = await bench.request(
                update.method, path, update.headers, json_body=self.body, **options
            )

    async def lost(self, bench: Bench) -> list[Answer]:
        """Return the successes whose effect is not there."""
        if self.deleted is not None:
            # Without an answer nobody knows whether it was deleted.
            gone = not self.deleted.ok or not await is_there(bench, self.created)
            return [] if gone else [self.deleted]
        if not self.created.ok:
            return []
        if not await is_there(bench, self.created):
            return [self.created]
        if self.changed is None or not self.changed.ok:
            return []
        found = members((await bench.get(bench.path_of(self.created))).json())
        before = members(self.created.json())
        # What reads as it was created and was changed into something else has lost the change.
        lost = [
            name
            for name, value in members(self.body).items()
            if name in found and found[name] != value and found[name] == before.get(name, found[name])
        ]
        return [self.changed] if lost else []


async def _work(bench: Bench, pairs: list[_Pair], begun: asyncio.Event) -> tuple[list[Written], list[Answer]]:
    """Write, and then transfer all pairs meanwhile; return what was written and the answers of transfers."""
    over, enough, plenty = asyncio.Event(), asyncio.Event(), asyncio.Event()
    written: list[Written] = []
    route = bench.manifest.routes.by_role["create"]

    async def write() -> None:
        while not over.is_set():
            one = Written(await bench.call(route, patient=False))
            written.append(one)
            await one.go_on(bench, len(written), patient=False)
            count = sum(len(each.answers) for each in written)
            if count >= _WRITES or not one.created.ok:
                enough.set()
            if count >= _WRITES + _MORE or not one.created.ok:
                plenty.set()
            if not one.created.ok:
                return

    writers = [asyncio.create_task(write()) for _ in range(_WRITERS)]
    await enough.wait()
    begun.set()
    moved = await asyncio.gather(
        *(contract.transfer(bench, pair.owner.raw, pair.other.raw, pair.children) for pair in pairs)
    )
    if not pairs:
        await plenty.wait()
    over.set()
    await asyncio.gather(*writers)
    return written, list(moved)


async def is_soon(bench: Bench, path: str) -> bool:
    """Wait until what was created is read; a service that answers before it writes may lose it in a crash."""
    return (await bench.until(lambda: bench.get(path), lambda found: found.ok, 2))[0]


async def is_there(bench: Bench, answer: Answer) -> bool:
    """Tell whether what an answer of routes.create speaks of can be read.

    Raises:
        ControlFailed: it is neither read nor missing.
    """
    path = bench.path_of(answer)
    known, found = await bench.until(
        lambda: bench.get(path), lambda found: found.ok or found.status in {404, 410}, 5
    )
    if not known:
        raise ControlFailed(f"what was created is neither read nor missing ({path}: {found})")
    return found.ok


async def _judge(
    bench: Bench, crash: Crash, pairs: list[_Pair], written: list[Written], moved: list[Answer]
) -> None:
    answers = [*(answer for one in written for answer in one.answers), *moved]
    crash.acknowledged = sum(answer.ok for answer in answers)
    crash.unanswered = sum(not answer.complete for answer in answers)
    for one in written:
        crash.lost += await one.lost(bench)
    for pair, answer in zip(pairs, moved, strict=True):
        mine = set(pair.children)
        before = mine & (await contract.child_ids(bench, pair.owner.id) or set())
        after = mine & (await contract.child_ids(bench, pair.other.id) or set())
        if before | after != mine or before & after or (before and after):
            crash.half.append(f"{len(after)} of {len(mine)} moved, {len(before)} stayed")
        if answer.ok and after != mine:
            crash.lost.append(answer)
        if not before:
            pair.owner, pair.other = pair.other, pair.owner
