"""Probes of ``transactions`` (TXN)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from ....checklist import Dimension
from ...bench import Bench
from ...http.fields import location_of, path_in
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...store.faults import Fault
from ...verdict import Table, Verdict
from ..shared import contract
from ..shared.contract import Resource
from .crashes import Crash, Written, crashes, is_soon, is_there
from .keys import PROBES as _KEYS

__all__ = ("PROBES",)

_FAMILY = (Need.CREATE, Need.READ, Need.CHILD_CREATE, Need.CHILD_LIST)
_RACES = 5
_CREATED = 3
"""Writes while every commit fails."""


@probe(
    "TXN-1",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, *_FAMILY, Need.TRANSFERS, Need.STORE),
    quick=False,
    samples=9,
    seconds=180,
)
async def _nothing_is_half_done(bench: Bench) -> Verdict:
    """Transfers that are refused in the middle, and during which the service is killed three times."""
    owner, foreign, target = [await contract.parent(bench) for _ in range(3)]
    mine = [await contract.child(bench, owner) for _ in range(6)]
    others = await contract.child(bench, foreign)
    alone = await contract.transfer(bench, owner.raw, target.raw, [mine[0].raw])
    bench.control("a valid transfer is carried out", alone.ok)
    ids = [one.raw for one in mine[1:]]
    for wrong in (others.raw, contract.missing(others.raw)):
        for at in (0, len(ids) // 2, len(ids)):
            mixed = [*ids[:at], wrong, *ids[at:]]
            answer = await contract.transfer(bench, owner.raw, target.raw, mixed)
            left = await contract.child_ids(bench, owner.id) or set()
            bench.expect(
                not answer.ok and set(ids) <= left,
                "a transfer that fails in the middle is half done",
                f"a refusal, and {len(ids)} where they were",
                f"{answer}, {len(left & set(ids))} where they were",
                answer,
            )
    found = await bench.shared(crashes)
    _show(bench, found)
    bench.control("requests were in flight when the service was killed", any(one.unanswered for one in found))
    for one in found:
        bench.sample()
        for text in one.half:
            bench.fail("a kill left a transfer half done", "all moved or none", text)
    return bench.verdict()


def _show(bench: Bench, found: list[Crash]) -> None:
    rows = tuple(
        (str(number), str(one.acknowledged), str(one.unanswered), str(len(one.lost)), str(len(one.half)))
        for number, one in enumerate(found, 1)
    )
    columns = ("kill", "acknowledged", "unanswered", "lost", "half done")
    bench.show(Table("kills in the middle of writes and transfers", columns, rows))


@probe(
    "TXN-2",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.READ, Need.STORE),
    quick=False,
    samples=_CREATED,
    seconds=90,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.REPEAT),
)
async def _success_follows_the_commit(bench: Bench) -> Verdict:
    """Lets every commit fail, writes through each route, and reads what was answered with success."""
    async with bench.launch() as target:
        store = target.store
        if store is None or Fault.COMMIT not in store.can:
            return bench.inconclusive("the commits of this store cannot be made to fail")
        before = await bench.create()
        bench.control("what is written while commits work is read", await is_soon(bench, before.path))
        below = await _children(bench)
        others = [Written((await bench.create()).answer) for _ in range(4)]
        for one in others:
            await is_soon(bench, bench.path_of(one.created))
        await store.inject(Fault.COMMIT)
        try:
            route = bench.manifest.routes.by_role["create"]
            # A service that answers first may serve nothing more once its commit has failed.
            for turn, one in enumerate(others):
                await one.go_on(bench, turn, seconds=15)
            created = [await bench.call(route, seconds=15) for _ in range(_CREATED)]
            if below is not None:
                await below.change(bench)
        finally:
            await store.restore()
        answers = [*created, *(below.answers if below else [])]
        answers += [answer for one in others for answer in one.answers[1:]]
        felt = store.commits_cut or any(not answer.ok for answer in answers)
        # Whoever answers before the commit shows no failure: what is missing afterwards does.
        async with bench.launch(same_store_as=target):
            lost = [answer for answer in created if answer.ok and not await is_there(bench, answer)]
            lost += await below.lost(bench) if below is not None else []
            lost += [answer for one in others for answer in await one.lost(bench)]
        bench.control("a commit was seen to fail, or a write to be refused", felt or lost)
    for answer in answers:
        bench.expect(
            answer not in lost,
            "success was answered although the commit failed",
            "an error, or the change is there",
            f"{answer}, and it is not there",
            answer,
        )
    return bench.verdict()


@dataclass(slots=True)
class _Children:
    """What is below a resource, and what was answered when more was created and all of it transferred."""

    owner: Resource
    other: Resource
    mine: list[Resource]
    added: list[Answer] = field(default_factory=list[Answer])
    moved: list[Answer] = field(default_factory=list[Answer])

    @property
    def answers(self) -> list[Answer]:
        """All that was answered."""
        return [*self.added, *self.moved]

    async def change(self, bench: Bench) -> None:
        """Create below the resource, and transfer what was there before."""
        routes = bench.manifest.routes.by_role
        self.added = [await bench.call(routes["child_create"], self.owner.id, seconds=15) for _ in range(2)]
        if "transfers" in routes:
            ids = [one.raw for one in self.mine]
            self.moved = [await contract.transfer(bench, self.owner.raw, self.other.raw, ids)]

    async def lost(self, bench: Bench) -> list[Answer]:
        """Return the successes whose change is not there."""
        known = await _ids(bench, self.owner)
        lost = [answer for answer in self.added if answer.ok and contract.raw_id(answer) not in known]
        left = known & {one.raw for one in self.mine}
        return lost + [answer for answer in self.moved if answer.ok and left]


async def _children(bench: Bench) -> _Children | None:
    """Create what is below a resource; None where nothing below one is declared."""
    if not (bench.has(Need.CHILD_CREATE) and bench.has(Need.CHILD_LIST)):
        return None
    owner, other = await contract.parent(bench), await contract.parent(bench)
    return _Children(owner, other, [await contract.child(bench, owner) for _ in range(3)])


@probe(
    "TXN-3",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.READ, Need.STORE),
    quick=False,
    samples=10,
    seconds=180,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.PARALLEL),
)
async def _acknowledged_writes_survive(bench: Bench) -> Verdict:
    """Kills the service between writes and answers, restarts it, and reads all that it confirmed."""
    found = await bench.shared(crashes)
    _show(bench, found)
    if not bench.has(Need.TRANSFERS):
        bench.note("nothing is transferred (routes.transfers), so what was created alone was looked for")
    bench.control("requests were in flight when the service was killed", any(one.unanswered for one in found))
    for one in found:
        bench.sample(one.acknowledged)
        if one.lost:
            bench.fail(
                "a write that was acknowledged is gone after a kill",
                f"all of {one.acknowledged}",
                f"{len(one.lost)} are not there",
                *one.lost[:2],
            )
    return bench.verdict()


@probe("TXN-4", phase=Phase.SERVE, needs=(*_FAMILY, Need.TRANSFERS), samples=4, seconds=90, ways=False)
async def _no_update_is_lost(bench: Bench) -> Verdict:
    """Lets six transfers of the same children to different targets race, five times."""
    owner = await contract.parent(bench)
    mine = [(await contract.child(bench, owner)).raw for _ in range(3)]
    targets = [await contract.parent(bench) for _ in range(6)]
    alone = await contract.transfer(bench, owner.raw, targets[0].raw, mine)
    bench.control("one transfer alone is carried out", alone.ok)
    holder, refused = targets[0], 0
    for _ in range(_RACES):
        racing = [one for one in (*targets, owner) if one is not holder]
        answers = await asyncio.gather(
            *(contract.transfer(bench, holder.raw, one.raw, mine) for one in racing)
        )
        won = [(one, answer) for one, answer in zip(racing, answers, strict=True) if answer.ok]
        if not won:
            refused += 1
            continue
        bench.expect(
            len(won) == 1,
            "several transfers of the same children succeeded",
            "one success",
            f"{len(won)} successes",
            *(answer for _, answer in won[:2]),
        )
        holders = [one for one in (holder, *racing) if set(mine) <= await _ids(bench, one)]
        if len(holders) != 1 or holders[0] not in [one for one, _ in won]:
            bench.fail(
                "the children are not with the parent that the answer names",
                "the winner",
                f"{len(holders)} holders",
            )
            break
        holder = holders[0]
    if refused > 1:
        bench.missed("the winner of a race", f"in {refused} of {_RACES} all transfers were refused")
    return bench.verdict()


async def _ids(bench: Bench, owner: Resource) -> set[object]:
    return await contract.child_ids(bench, owner.id) or set()


@probe(
    "TXN-5",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, *_FAMILY, Need.DELETE, Need.STORE),
    quick=False,
    samples=5,
    seconds=90,
    varies=(Dimension.PARALLEL, Dimension.REPEAT),
)
async def _children_go_with_their_parent(bench: Bench) -> Verdict:
    """Deletes a parent, also while children come and while its commit fails, and looks for the children."""
    routes = bench.manifest.routes.by_role
    async with bench.launch() as target:
        owner = await contract.parent(bench)
        children = [await contract.child(bench, owner) for _ in range(5)]
        bench.control("the children are there", await _ids(bench, owner) >= {one.raw for one in children})
        store = target.store
        if store is not None and Fault.COMMIT in store.can:
            await store.inject(Fault.COMMIT)
            try:
                answer = await bench.call(routes["delete"], owner.id, seconds=15)
            finally:
                await store.restore()
            async with bench.launch(same_store_as=target):
                left = await _ids(bench, owner) & {one.raw for one in children}
            bench.expect(
                len(left) in {0 if answer.ok else len(children), len(children)},
                "a parent whose deletion failed has lost children",
                f"{len(children)} children",
                f"{len(left)} ({answer})",
                answer,
            )
            again = None if answer.ok else await bench.call(routes["delete"], owner.id)
            if again is not None and again.ok:
                known = [(one.path, one.raw) for one in children]
                await _judge_orphans(bench, known, again)
    # On the process of the phase: the one before may not have survived its full disk.
    await _delete_while_children_come(bench)
    return bench.verdict()


async def _delete_while_children_come(bench: Bench) -> None:
    routes = bench.manifest.routes.by_role
    owner = await contract.parent(bench)
    known = [await contract.child(bench, owner) for _ in range(5)]
    deleting = asyncio.create_task(bench.call(routes["delete"], owner.id))
    late = await asyncio.gather(*(bench.call(routes["child_create"], owner.id) for _ in range(8)))
    deleted = await deleting
    bench.control("the parent is deleted", deleted.ok)
    made = [(one.path, one.raw) for one in known]
    for answer in late:
        if answer.ok:
            url = location_of(answer)
            made.append((path_in(url) if url else "", contract.raw_id(answer)))
    await _judge_orphans(bench, made, deleted)


async def _judge_orphans(bench: Bench, made: list[tuple[str, object]], deleted: Answer) -> None:
    """Judge that nothing is left of the children of a parent that was deleted, by their paths and ids."""
    here, there = await contract.parent(bench), await contract.parent(bench)
    for path, identifier in made:
        answer = await bench.get(path) if path else deleted
        orphan = path and answer.ok
        if bench.has(Need.TRANSFERS):
            # Who may not move a child because it belongs to another user learns that it is still there.
            answer = await contract.transfer(bench, here.raw, there.raw, [identifier])
            nothing = await contract.transfer(bench, here.raw, there.raw, [contract.missing(identifier)])
            orphan = orphan or answer.status != nothing.status
        bench.expect(not orphan, "a child is there without its parent", "404", str(answer), deleted, answer)


PROBES: tuple[Probe, ...] = (
    _nothing_is_half_done,
    _success_follows_the_commit,
    _acknowledged_writes_survive,
    _no_update_is_lost,
    _children_go_with_their_parent,
    *_KEYS,
)
