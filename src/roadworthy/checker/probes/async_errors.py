"""Probes of ``async-errors`` (AER)."""

from __future__ import annotations

import asyncio
import re
import uuid

from ..bench import Bench
from ..http.wire import Answer
from ..needs import Need
from ..phases import Phase
from ..probe import Probe, probe
from ..read.records import Record
from ..read.shapes import members
from ..store.faults import Fault
from ..verdict import Lines, Verdict
from .shared import contract
from .shared.failures import ABANDONED, errors_of, request_id_of
from .shared.kinds import judge_kinds
from .shared.outage import during_outage, quiet_bytes

__all__ = ("PROBES",)


@probe("AER-1", phase=Phase.FAULTS, needs=(Need.COMMAND, Need.FAILS), quick=False, samples=8, seconds=90)
async def _failures_are_recorded_once(bench: Bench) -> Verdict:
    """Provokes eight exceptions at the same time, and failures of the store, and counts their records."""
    routes = bench.manifest.routes.by_role
    since = bench.now()
    # Half of the clients name their requests: the service may take the name, for answer and record alike.
    names: list[dict[str, str]] = [{"X-Request-Id": str(uuid.uuid4())} if at % 2 else {} for at in range(8)]
    answers = list(await asyncio.gather(*(bench.call(routes["fails"], headers=each) for each in names)))
    bench.control("the route fails", all(answer.status >= 500 for answer in answers))
    bench.control("each response names its request id", all(map(request_id_of, answers)))
    named, path = {"X-Request-Id": str(uuid.uuid4())}, routes["fails"].path
    answers.append(await bench.call(routes["fails"], headers=named))
    if "{" not in path:
        head = await bench.request(
            "HEAD", path, {**routes["fails"].headers, "X-Request-Id": str(uuid.uuid4())}
        )
        # A response without a body can name its id in a field only.
        answers += [head] if head.status >= 500 and request_id_of(head) else []
    await _judge_records(bench, "an exception", answers, since)
    await _judge_causes(bench, answers, since)
    if bench.has(Need.CREATE) and bench.has(Need.STORE):
        found = await bench.shared(during_outage)
        failed = [answer for answer in found.answers.values() if answer.status >= 500]
        if not failed:
            bench.missed("a failure of the store", "no route failed while the store was away")
        await _judge_records(bench, "a failure of the store", failed, found.since)
    return bench.verdict()


async def _judge_records(bench: Bench, what: str, answers: list[Answer], since: float) -> None:
    ids = [request_id_of(answer) or "?" for answer in answers]
    found = await bench.wait_records(lambda seen: all(_of(seen, one) for one in ids), since)
    for answer, one in zip(answers, ids, strict=True):
        mine = _of(found, one)
        lines = tuple(record.line.text[:500] for record in found if record.mentions(one))
        bench.expect(
            len(mine) == 1,
            f"{what} does not leave exactly one record with its request id",
            "one record",
            str(len(mine)),
            answer,
            evidence=(Lines("records of this request", lines),),
        )


async def _judge_causes(bench: Bench, answers: list[Answer], since: float) -> None:
    """Judge that all records of the same failure have its cause, if one has: an access record is none."""

    def bare(seen: list[Record]) -> list[Answer]:
        causes = [record for record in seen if record.get("error") is not None]
        return [answer for answer in answers if not errors_of(causes, request_id_of(answer) or "?")]

    found = await bench.wait_records(lambda seen: len(bare(seen)) in {0, len(answers)}, since, 1.0)
    if 0 < len(bare(found)) < len(answers):
        title = "the record of an exception does not have the request id of its response"
        expected = "as the records of the same failure of others"
        bench.fail(title, expected, "another id, or none", *bare(found)[:2])


def _of(records: list[Record], request_id: str) -> list[Record]:
    """Return the records of a failed request; a service may hold an outage for a mere warning."""
    return errors_of(records, request_id) or [
        record for record in records if record.rank == 30 and record.mentions(request_id)
    ]


@probe(
    "AER-2",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.READ, Need.STORE),
    quick=False,
    samples=2,
    seconds=120,
)
async def _failure_is_no_success(bench: Bench) -> Verdict:
    """Takes the store away and calls each route: what is a success all the same has to be true."""
    routes = bench.manifest.routes.by_role
    found = await bench.shared(during_outage)
    answers, lies = found.answers, found.lies
    bench.control("the routes work with the store", found.worked)
    felt = any(not answer.ok for answer in answers.values())
    bench.control(f"the service feels the fault ({found.fault})", felt or lies)
    for role, answer in answers.items():
        bench.expect(
            role not in lies,
            f"{routes[role]} answers a success without the store ({found.fault})",
            "an error",
            f"{answer}: {answer.text[:200]}",
            answer,
        )
    if "fails" in routes:
        answer = await bench.call(routes["fails"])
        bench.expect(not answer.ok, "an exception is answered as a success", "5xx", str(answer), answer)
    return bench.verdict()


@probe("AER-3", phase=Phase.FAULTS, needs=(Need.CREATE,), quick=False, samples=4, seconds=90)
async def _failures_have_one_handler(bench: Bench) -> Verdict:
    """Compares the errors of the router, the validation, the service, its store and an exception."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    nothing = str(contract.missing(one.raw))
    as_json = {"Content-Type": "application/json"}
    create = routes["create"]
    answers = {
        "the router": await bench.get(bench.unknown_path()),
        "a wrong method": await bench.request("PATCH", create.path),
        "the parser": await bench.request(create.method, create.path, {**create.headers, **as_json}, b"{"),
        "the validation": await bench.request(create.method, create.path, create.headers, json_body={}),
    }
    for role in ("read", "overview", "child_list"):
        if role in routes:
            answers[f"what is missing ({routes[role]})"] = await bench.call(routes[role], nothing)
    if "primes" in routes:
        answers["a wrong parameter"] = await bench.call(routes["primes"], "x")
    if "fails" in routes:
        answers["an exception"] = await bench.call(routes["fails"])
    if bench.has(Need.STORE) and not bench.url_mode:
        found = await bench.shared(during_outage)
        answers |= {f"the store ({routes[role]})": answer for role, answer in found.answers.items()}
    failed = {kind: answer for kind, answer in answers.items() if answer.status >= 400}
    bench.control(f"{len(failed)} kinds of failure were seen", len(failed) >= 4)
    wanted = _shape(failed["the router"]) if "the router" in failed else _shape(next(iter(failed.values())))
    bench.sample(len(failed))
    others = {kind: (_shape(each), each) for kind, each in failed.items() if _shape(each) != wanted}
    judge_kinds(bench, "a failure has another shape than the others", wanted, others)
    nameless = {kind: ("none", each) for kind, each in failed.items() if not request_id_of(each)}
    judge_kinds(bench, "a failure has no request id", "a request id", nameless)
    return bench.verdict()


# What only some errors have: the fields that are wrong, what the service adds, the stack in development.
_SOME = {"errors", "details", "stack"}


def _shape(answer: Answer) -> str:
    body = members(answer.json())
    names = sorted(set(body) - _SOME) + [
        f"error.{name}" for name in sorted(set(members(body.get("error"))) - _SOME)
    ]
    return f"{answer.media_type or 'no media type'}: {', '.join(names) or 'no JSON object'}"


@probe(
    "AER-4",
    phase=Phase.FAULTS,
    needs=(Need.COMMAND, Need.CREATE, Need.OVERVIEW),
    quick=False,
    samples=10,
    seconds=120,
)
async def _no_task_is_left_behind(bench: Bench) -> Verdict:
    """Lets parts of concurrent work fail, then listens to the store's connections and to the log."""
    routes = bench.manifest.routes.by_role
    one = await contract.parent(bench)
    good = await contract.overview(bench, one.id)
    bench.control("the parts work together", good.ok)
    store = bench.target.store
    usual = await quiet_bytes(store) if store is not None else 0
    since = bench.now()
    nothing = str(contract.missing(one.raw))
    for _ in range(10):
        answer = await contract.overview(bench, nothing)
        title = "a part that fails does not end its request"
        bench.expect(400 <= answer.status < 500, title, "404", str(answer), answer)
    if "batch" in routes:
        wide = await contract.batch(bench, [one.raw] * 200)
        bench.control("a batch is answered", wide.ok)
        if store is not None and Fault.REFUSE in store.can:
            running = asyncio.create_task(contract.batch(bench, [one.raw] * 500, seconds=20))
            await store.inject(Fault.RESET)
            answer = await running
            bench.note(f"a batch whose connections were reset was answered {answer}")
    if store is not None and store.to_server:
        left = await quiet_bytes(store)
        bench.sample()
        # What a service asks its store by itself (health checks) goes on; a few bytes more are no work.
        if left > 3 * usual + 4096:
            bench.fail(
                "work goes on after its request was answered",
                f"no bytes to the store, as before ({usual})",
                f"{left} bytes within a second",
            )
    await bench.target.process.wait_line(lambda text: bool(ABANDONED.search(text)), 0.3, since)
    lines = [line.text for line in bench.target.process.lines if line.at >= since]
    if found := [text for text in lines if ABANDONED.search(text)]:
        bench.fail(
            "a failure that nobody waited for is in the log",
            "none",
            found[0][:200],
            evidence=(Lines("failures without an owner", tuple(text[:500] for text in found[:10])),),
        )
    return bench.verdict()


@probe("AER-5", phase=Phase.FAULTS, needs=(Need.COMMAND, Need.FAILS), quick=False)
async def _records_keep_the_cause(bench: Bench) -> Verdict:
    """Reads in the record of an exception, and in that of an outage, what the cause was and where."""
    routes = bench.manifest.routes.by_role
    since = bench.now()
    answer = await bench.call(routes["fails"])
    bench.control("the route fails and names its request id", answer.status >= 500 and request_id_of(answer))
    found = await _records_of(bench, answer, since)
    text = "\n".join(record.line.text for record in found)
    wanted = routes["fails"].message
    bench.expect(
        wanted in text if wanted else _PLACE.search(text),
        "the record of an exception does not hold its cause",
        "the exception's text, or where it was raised",
        text[:300] or "no record",
        answer,
    )
    if bench.has(Need.CREATE) and bench.has(Need.STORE):
        outage = await bench.shared(during_outage)
        answer = outage.answers["create"]
        found = await _records_of(bench, answer, outage.since)
        if answer.status >= 500:
            bench.sample()
            if not any(record.get("error") is not None for record in found if record.rank >= 30):
                title = "the record of an outage does not say what failed"
                bench.warn(title, "the store's error", "none", answer)
    return bench.verdict()


async def _records_of(bench: Bench, answer: Answer, since: float) -> list[Record]:
    """Return the records that name the request, once the one of its failure is among them."""
    number = request_id_of(answer) or "?"
    found = await bench.wait_records(lambda seen: bool(_of(seen, number)), since)
    return [record for record in found if record.mentions(number)]


_PLACE = re.compile(r'File \\"|\bat .+:\d+|\.go:\d+|\.java:\d+')

PROBES: tuple[Probe, ...] = (
    _failures_are_recorded_once,
    _failure_is_no_success,
    _failures_have_one_handler,
    _no_task_is_left_behind,
    _records_keep_the_cause,
)
