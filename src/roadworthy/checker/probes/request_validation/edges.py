"""Probes of request validation that are about the rest of a request: paths, queries, fields, refusals."""

from __future__ import annotations

from collections.abc import Mapping

from ....checklist import Dimension, Severity
from ...bench import Bench
from ...bench.ways import PLAIN
from ...errors import ControlFailed
from ...http.request import build_request
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...read.shapes import elements, members
from ...verdict import Verdict
from ..shared.kinds import judge_kinds
from .bodies import refused, send, sinks, valid

__all__ = ("bad_paths_and_queries", "refusals_name_the_field")

_IDS = (
    "abc",
    "-1",
    "0",
    "1e3",
    "1.5",
    str(2**63),
    "9" * 400,
    "%00",
    "%ff",
    "%2e%2e",
    "%F0%9F%98%80",
    "'%20OR%201=1--",
)
_HUGE = 1_000_000_000
_QUERIES = (
    f"limit={_HUGE}",
    "limit=-1",
    "limit=0",
    "limit=",
    "cursor=",
    "limit=abc",
    "limit=1&limit=2",
    "limit[]=1",
    "limit=%00",
    "cursor=%ff%fe",
    "page=-1",
    "offset=99999999999999999999",
)
# What a service may take for "all".
_ALL = (f"limit={_HUGE}", "limit=-1", "limit=0", "limit=")
# More than any usual page, so that an answer with all of them shows no bound.
_ROWS = 110


@probe(
    "VAL-9",
    phase=Phase.SERVE,
    needs=(Need.CREATE,),
    samples=8,
    seconds=120,
    varies=(Dimension.ROUTE, Dimension.VALUE),
)
async def bad_paths_and_queries(bench: Bench) -> Verdict:
    """Reads resources by ids that cannot be, lists with absurd parameters, and counts what comes back."""
    known = await valid(bench)
    read, listing = bench.manifest.routes.by_role.get("read"), bench.manifest.routes.by_role.get("list")
    if read is None and listing is None:
        why = "needs a route that reads or lists (routes.read, routes.list)"
        return bench.inconclusive(why, undeclared=("routes.list",))
    if read is not None and known.read is None:
        bench.missed("ids in paths", "what was created names no id to read it by")
    if known.read is not None and read is not None:
        bench.control(f"a good id is answered ({known.read})", known.read.ok)
        answers = {
            _shown(identifier): await bench.get(read.path.replace("{id}", identifier), read.headers)
            for identifier in (*_IDS, f"{known.identifier}abc")
        }
        _judge_ids(bench, f"GET {read.path}", answers)
    if listing is not None:
        good = await bench.call(listing)
        bench.control(f"the list is answered ({good})", good.ok)
        join = "&" if "?" in listing.path else "?"
        listed = {
            query: await bench.get(f"{listing.path}{join}{query}", listing.headers) for query in _QUERIES
        }
        bench.sample(len(listed))
        expected, route = "400, 404 or 422, or a bounded list", f"GET {listing.path}"
        judge_kinds(bench, "a bad parameter makes the service fail", expected, _failing(listed), route=route)
        # So many need be created once only.
        if bench.full and bench.way is PLAIN:
            await _judge_bound(bench, f"{listing.path}{join}")
    return bench.verdict()


def _shown(identifier: str) -> str:
    return identifier if len(identifier) < 30 else f"{identifier[:20]}…"


def _failing(answers: Mapping[str, Answer]) -> dict[str, tuple[str, Answer]]:
    return {
        what: (str(answer), answer)
        for what, answer in answers.items()
        if not answer.complete or answer.status >= 500
    }


def _judge_ids(bench: Bench, route: str, answers: Mapping[str, Answer]) -> None:
    bench.sample(len(answers))
    expected = "400, 404 or 422"
    judge_kinds(bench, "a bad id makes the service fail", expected, _failing(answers), route=route)
    found = {
        what: (str(answer), answer)
        for what, answer in answers.items()
        if answer.ok and what not in {"0", "%2e%2e"}
    }
    judge_kinds(bench, "a bad id finds something", expected, found, route=route)


async def _judge_bound(bench: Bench, path: str) -> None:
    try:
        for _ in range(_ROWS):
            await bench.create(patient=False)
    except ControlFailed as refusal:
        bench.note(f"the size of a list was not judged, which takes {_ROWS} resources: {refusal}")
        return
    answers = {query: await bench.get(f"{path}{query}") for query in _ALL}
    bench.sample(len(answers))
    unbounded = {
        query: (f"{count} entries, {len(answer.body):,} bytes", answer)
        for query, answer in answers.items()
        if answer.ok and (count := _longest(answer.json())) >= _ROWS
    }
    expected = f"a refusal, or fewer than {_ROWS} entries"
    judge_kinds(bench, "nothing shows that a list is bounded", expected, unbounded, warns=True)


def _longest(document: object) -> int:
    """Return the length of the longest array in a document, its outermost objects and arrays included."""
    entries = elements(document)
    inner = [_longest(value) for value in members(document).values()]
    return max([len(entries), *inner])


@probe(
    "VAL-10",
    phase=Phase.SERVE,
    needs=(Need.CREATE,),
    samples=4,
    varies=(Dimension.METHOD, Dimension.ROUTE, Dimension.VALUE),
)
async def refusals_name_the_field(bench: Bench) -> Verdict:
    """Reads refusals of single fields for their names and for what was sent; then sends oversize messages."""
    known = await valid(bench)
    canary, password = bench.canary("a refused value"), bench.canary("a refused password")
    named = 0
    for sink in await sinks(bench, known):
        for name in sink.fields.types:
            answer = await send(bench, {**members(sink.body(bench)), name: [canary]}, to=sink)
            if not refused(answer):
                continue
            named += 1
            bench.expect(
                name in answer.text,
                f"a refusal does not name the field{sink.behind}",
                f"{name} in the body of the {answer.status}",
                answer.text[:200],
                answer,
            )
            _judge_echo(bench, answer, canary)
    bench.control("a wrong value of a single field is refused", named)
    answer = await send(bench, {**members(bench.fresh(known.route.body)), "password": password})
    if refused(answer):
        _judge_echo(bench, answer, password)
    malformed = await send(bench, f'{{"password": "{password}", '.encode())
    if refused(malformed):
        _judge_echo(bench, malformed, password)
    await _judge_transport(bench)
    return bench.verdict()


def _judge_echo(bench: Bench, answer: Answer, canary: str) -> None:
    bench.sample()
    text = (answer.head.raw.decode("latin-1") if answer.head else "") + answer.text
    if canary in text:
        bench.fail("a refusal repeats what was sent", "no value of the request", "the value", answer)


async def _judge_transport(bench: Bench) -> None:
    path = bench.manifest.health.live or "/"
    join = "&" if "?" in path else "?"
    oversize = {
        "a field of 64 KiB": await bench.get(path, {"X-Large": "a" * (64 << 10)}),
        "a target of 16 KiB": await bench.get(f"{path}{join}a={'a' * (16 << 10)}"),
    }
    for what, answer in oversize.items():
        bench.sample()
        if answer.status >= 500 and answer.status != 501:
            bench.fail(f"{what} makes the service fail", "4xx, or the connection closed", str(answer), answer)
        elif answer.ok:
            expected, route = "431, 414 or another 4xx", f"GET {path}"
            bench.warn(f"{what} is accepted", expected, str(answer), answer, route=route)
    fields = bench.headers([("Content-Length", "5"), ("Transfer-Encoding", "chunked")])
    connection = await bench.connect()
    async with connection:
        request, data = build_request(connection.address, "GET", path, fields)
        await connection.send(data + b"0\r\n\r\n")
        answer = await connection.answer(request, bench.patience(3))
        kept = answer.ok and not await connection.wait_over(bench.patience(1))
    bench.sample()
    # RFC 9112 §6.1: such a message may be processed by its chunks alone, but what comes behind it on the same
    # connection must not be: a proxy may have read it otherwise.
    if kept or (answer.status >= 500 and answer.status != 501):
        title = "a message with Content-Length and Transfer-Encoding is not refused"
        got = f"{answer}, and the connection kept" if kept else str(answer)
        bench.fail(title, "400, or the connection closed", got, answer, severity=Severity.LOW)
    elif answer.ok:
        bench.note("Content-Length beside Transfer-Encoding is passed over, and the connection closed")
