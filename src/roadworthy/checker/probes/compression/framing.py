"""Probes of compression that are about bytes: true lengths, nothing coded twice, streams in steps."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...bench import Bench
from ...http.codings import Undecodable, decode, decoder
from ...http.fields import is_closing
from ...http.request import build_request
from ...http.response import ResponseParser
from ...http.wire import Answer, Connection
from ...needs import Need
from ...phases import Phase
from ...probe import probe
from ...verdict import Point, Timeline, Verdict
from .facts import CHANGES, TRIES, Facts, negotiated, used_codings

__all__ = ("codings_and_lengths_are_true", "streams_are_not_held_back")


@dataclass(slots=True, eq=False)
class _Line:
    """One connection for several requests: a body that is longer than declared spoils the next answer."""

    bench: Bench
    connection: Connection | None = None

    async def exchange(self, method: str, path: str, fields: Mapping[str, str]) -> Answer:
        if self.connection is None or self.connection.over:
            await self.close()
            self.connection = await self.bench.connect()
        self.bench.requests += 1
        answer = await self.connection.exchange(
            method, path, self.bench.headers(fields), seconds=self.bench.patience(5)
        )
        if not answer.complete or is_closing(answer):
            # What should not be there comes right behind the head, or never.
            await self.connection.wait_over(0.1)
            await self.close()
        return answer

    async def close(self) -> None:
        if self.connection is not None:
            await self.connection.close()
            self.connection = None


@probe("CMP-8", phase=Phase.SERVE, needs=(Need.COMPRESSION,), samples=3)
async def codings_and_lengths_are_true(bench: Bench) -> Verdict:
    """Sends HEAD, DELETE, a range and GETs on one connection, so that a byte too many or too few is felt."""
    facts = await negotiated(bench)
    asked = {**facts.fields, "Accept-Encoding": facts.usual}
    line = _Line(bench)
    try:
        whole = await line.exchange("GET", facts.path, asked)
        _judge_once(bench, facts, whole)
        await _judge_head(bench, facts, line)
        if bench.has(Need.CREATE) and bench.has(Need.DELETE):
            created = await bench.create()
            route = bench.manifest.routes.by_role["delete"]
            fields = {**route.headers, "Accept-Encoding": facts.usual}
            gone = await line.exchange(route.method, route.path.replace("{id}", created.id), fields)
            if gone.status == 204:
                bench.expect(
                    gone.field("content-encoding") is None and gone.field("content-length") is None,
                    "a response without a body has fields of one",
                    "neither Content-Encoding nor Content-Length",
                    f"{gone.field('content-encoding')}, {gone.field('content-length')}",
                    gone,
                )
        after = await line.exchange("GET", facts.path, asked)
        between = "bytes that belong to no response stand between two"
        other = "the same request is answered otherwise behind others on one connection"
        bench.expect(
            after.complete and after.status == whole.status,
            other if after.complete else between,
            str(whole),
            f"{after} {after.problem}",
            after,
        )
        await _judge_range(bench, facts, line)
    finally:
        await line.close()
    await _judge_compressed_already(bench, facts)
    return bench.verdict()


def _judge_once(bench: Bench, facts: Facts, answer: Answer) -> None:
    used = used_codings(answer)
    bench.expect(
        len(used) <= 1, "a coding is applied on top of another", "one coding", ", ".join(used), answer
    )
    try:
        body = decode(used, answer.body)
    except Undecodable:
        body = b""
    known = next((name for name, start in _STARTS.items() if body.startswith(start)), "")
    if known and not facts.plain.body.startswith(_STARTS[known]):
        bench.fail(
            "the body is coded twice but declares one coding", "a text", f"{known} inside {used[0]}", answer
        )


# How coded bytes begin: no text does.
_STARTS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}


async def _judge_head(bench: Bench, facts: Facts, line: _Line) -> None:
    """Compare the length that HEAD returns with those of both variants, before and after it."""
    asked = {**facts.fields, "Accept-Encoding": facts.usual}
    plain = {**facts.fields, "Accept-Encoding": "identity"}
    for _ in range(TRIES):
        before = [await line.exchange("GET", facts.path, fields) for fields in (plain, asked)]
        head = await line.exchange("HEAD", facts.path, asked)
        after = [await line.exchange("GET", facts.path, fields) for fields in (plain, asked)]
        length = head.field("content-length")
        if not head.complete or length is None or head.status != before[1].status:
            bench.sample()
            return
        is_coded = used_codings(head) == used_codings(before[1])
        lengths = {len(pair[is_coded].body) for pair in (before, after)}
        if len(lengths) == 1:
            break
    else:
        bench.missed("the length that HEAD returns", CHANGES.format(facts.path))
        return
    kind, expected = ", ".join(used_codings(head)) or "plain", lengths.pop()
    bench.expect(
        length == str(expected),
        f"HEAD returns a false length ({kind})",
        f"Content-Length: {expected}, or none",
        f"Content-Length: {length}",
        head,
        before[is_coded],
    )


async def _judge_range(bench: Bench, facts: Facts, line: _Line) -> None:
    answer = await line.exchange(
        "GET", facts.path, {**facts.fields, "Accept-Encoding": facts.usual, "Range": "bytes=0-99"}
    )
    if answer.status != 206:
        return
    match = re.fullmatch(r"bytes (\d{1,18})-(\d{1,18})/(?:\d+|\*)", answer.field("content-range") or "")
    size = int(match[2]) - int(match[1]) + 1 if match else -1
    bench.expect(
        answer.complete and len(answer.body) == size,
        "a partial body is not the declared part",
        f"{size} bytes, as in Content-Range",
        str(answer),
        answer,
    )


async def _judge_compressed_already(bench: Bench, facts: Facts) -> None:
    route = bench.manifest.routes.by_role.get("binary")
    if route is None:
        bench.note("no route answers with what is compressed already (routes.binary), so none was asked for")
        return
    answer = await bench.call(route, headers={"Accept-Encoding": ", ".join(facts.coded)})
    bench.expect(
        not used_codings(answer),
        "what is compressed already is compressed again",
        f"{answer.media_type} as it is",
        f"Content-Encoding: {', '.join(used_codings(answer))}",
        answer,
    )


async def _arrivals(bench: Bench, accepted: str) -> tuple[Answer, list[tuple[float, int]]]:
    """Return the answer of the stream, and when how much of it could be read, decoded."""
    route = bench.manifest.routes.by_role["stream"]
    fields = bench.headers({**route.headers, "Accept-Encoding": accepted})
    connection = await bench.connect()
    async with connection:
        request, data = build_request(connection.address, route.method, route.path, fields)
        await connection.send(data)
        # Streams need not end: what came by then is enough.
        answer = await connection.answer(request, bench.patience(5))
    used = used_codings(answer)
    coded = decoder(used[0]) if used else None
    parser, seen, at, readable = ResponseParser(route.method), 0, 0, 0
    found: list[tuple[float, int]] = []
    for event in connection.events:
        if event.kind != "data":
            continue
        parser.feed(bytes(connection.received[at : at + event.count]))
        at += event.count
        fresh = bytes(parser.body[seen:])
        seen += len(fresh)
        more = len(fresh) if coded is None else len(coded.feed(fresh))
        if more:
            readable += more
            found.append((event.at - answer.began, readable))
    return answer, found


@probe("CMP-9", phase=Phase.SERVE, needs=(Need.COMPRESSION, Need.STREAM), samples=2, ways=False)
async def streams_are_not_held_back(bench: Bench) -> Verdict:
    """Reads a stream plain and with codings asked for, and counts in how many steps it becomes readable."""
    ask = ("identity", "gzip", "gzip, br, zstd, deflate")
    plain, *coded = await asyncio.gather(
        *(_arrivals(bench, accepted) for accepted in ask), return_exceptions=True
    )
    if isinstance(plain, BaseException):
        raise plain
    steps = len(plain[1])
    bench.control(f"the plain stream comes in steps ({steps})", plain[0].status == 200 and steps >= 3)
    for accepted, arrival in zip(ask[1:], coded, strict=True):
        if isinstance(arrival, Undecodable):
            bench.sample()
            bench.fail("the compressed stream cannot be decoded", accepted, str(arrival))
            continue
        if isinstance(arrival, BaseException):
            raise arrival
        answer, seen = arrival
        points = [Point(at, accepted, f"{count} bytes readable") for at, count in seen]
        timeline = Timeline("the stream becomes readable", tuple(points))
        bench.expect(
            len(seen) * 3 >= steps,
            "a stream is held back until a buffer is full",
            f"readable in about {steps} steps, as the plain one",
            f"in {len(seen)}",
            answer,
            evidence=(timeline,),
        )
    return bench.verdict()
