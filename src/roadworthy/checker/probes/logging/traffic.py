"""Requests whose lines in the log are distinguishable, and which of those lines are access records."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...bench import Bench
from ...http.wire import Answer
from ...read.records import Record, parse_record, records
from ...read.shapes import members
from ...service.process import Line
from ..shared.survey import asks

__all__ = (
    "COUNT",
    "Sent",
    "Traffic",
    "access_lines",
    "collect",
    "elsewhere",
    "is_split",
    "request_id",
    "survey",
    "traffic",
)

COUNT = 25
_TOGETHER = 4
_UNRECORDED = {"live", "HEAD live", "ready", "document", "too large"}
_LINES = 20
"""Lines of one record that is printed for people to read."""
_ID_FIELDS = ("x-request-id", "request-id", "x-correlation-id", "x-trace-id", "x-amzn-requestid")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request.

    Parameters:
        marker: stands in its path and nowhere else; empty for a declared route, which its id finds again.
    """

    marker: str
    answer: Answer

    @property
    def id(self) -> str:
        """The request id that the response names, or nothing."""
        return request_id(self.answer)

    def is_in(self, line: Line) -> bool:
        """Tell whether a line is about this request."""
        return any(text and text in line.text for text in (self.marker, self.id))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests, and every line that was written from the first of them on.

    Parameters:
        unnamed: responses that cannot be found again, because nothing distinguishes them.
    """

    sent: tuple[Sent, ...]
    lines: tuple[Line, ...]
    form: str
    unnamed: tuple[Answer, ...] = ()

    def records(self, one: Sent) -> list[Record]:
        """Return the access records of a request."""
        return records(access_lines(self.lines, one, self.form), form=self.form)


def request_id(answer: Answer) -> str:
    """Return the request id of a response, from a field or from the body of an error; nothing if none."""
    named = next((answer.field(name) for name in _ID_FIELDS if answer.field(name)), None)
    if named is None and answer.status >= 400:
        named = members(answer.json()).get("request_id")
    return named if isinstance(named, str) else ""


def elsewhere(bench: Bench) -> str:
    """Return why the records cannot be read, or nothing when they are on the standard streams."""
    logs = bench.manifest.logs
    return (
        f"the manifest declares logs.file = {logs.file!r}, and the check reads the streams"
        if logs.file
        else ""
    )


async def collect(bench: Bench) -> Traffic:
    """Send requests once per phase, of each kind among them; see :func:`traffic`."""
    return await traffic(bench, COUNT, await survey(bench))


async def survey(bench: Bench) -> list[Answer]:
    """Return two answers of each route by each method, several at a time.

    Health checks need no records, and what is too large may be refused before its request is known.
    """
    known = {kind: ask for kind, ask in (await asks(bench)).items() if kind not in _UNRECORDED}
    found: list[Answer] = []
    pending = [*known.values(), *known.values()]
    for at in range(0, len(pending), _TOGETHER):
        found += await asyncio.gather(*(ask({}) for ask in pending[at : at + _TOGETHER]))
    return [answer for answer in found if answer.complete]


async def traffic(bench: Bench, count: int, more: Sequence[Answer] = ()) -> Traffic:
    """Send ``count`` requests, most to paths that do not exist, and wait until each is in the log.

    Parameters:
        more: answers to other requests, which came just before.
    """
    since = min((bench.now(), *(answer.began for answer in more)))
    process = bench.target.process
    sent = [Sent("", answer) for answer in more if request_id(answer)]
    unnamed = [answer for answer in more if not request_id(answer)]
    count += len(sent)
    routes = [route for role in ("list", "create") if (route := bench.manifest.routes.by_role.get(role))]
    while len(sent) < count:
        # A declared route has nothing unique in its path: only an id distinguishes its lines.
        if routes and len(sent) % 5 in {3, 4}:
            one = Sent("", await bench.call(routes[len(sent) % len(routes)], patient=False))
            if one.id:
                sent.append(one)
            else:
                routes.clear()
                unnamed.append(one.answer)
        else:
            marker = f"rw-{bench.unique()}"
            sent.append(Sent(marker, await bench.get(f"{bench.base}/{marker}", patient=False)))
    awaited = [one.marker or one.id for one in sent]

    def complete() -> bool:
        text = process.output(since)
        return all(word in text for word in awaited)

    await process.wait_until(complete, bench.patience(2.0))
    # A second record of the last request would come right behind the first.
    await asyncio.sleep(0.2)
    lines = tuple(line for line in process.lines if line.at >= since)
    return Traffic(tuple(sent), lines, bench.manifest.logs.format, tuple(unnamed))


def access_lines(lines: Sequence[Line], one: Sent, form: str = "json") -> list[Line]:
    """Return the lines that report a request with its status, whatever their form.

    Some write one record when a request arrives and another, which has only its id, when it is answered.
    """
    named = [line for line in lines if one.is_in(line)]
    found = [line for line in named if _reports(line, one.answer, form)]
    if not found:
        # Some leave the method out; that is another fault than none.
        found = [
            line for line in named if parse_record(line, form) is None and _reports_tersely(line.plain, one)
        ]
    if not found and (ids := {identifier for line in named if (identifier := _id(line, form))}):
        found = [line for line in lines if _id(line, form) in ids and _has_outcome(parse_record(line, form))]
    if len(found) > 1:
        # A handled error may be recorded with its status too; that is no second access record.
        plain = [line for line in found if not _is_error(line, form)]
        found = plain or found[:1]
    return found


def _id(line: Line, form: str) -> str:
    record = parse_record(line, form)
    return str(record.get("request_id") or "") if record is not None else ""


def _has_outcome(record: Record | None) -> bool:
    return record is not None and re.fullmatch(r"[1-5]\d\d", str(record.get("status"))) is not None


def _reports(line: Line, answer: Answer, form: str) -> bool:
    record = parse_record(line, form)
    if record is None:
        return _says(line.plain, answer)
    # Some write a record when a request arrives, too; only the one with an outcome is its access record.
    outcome = _has_outcome(record) or record.get("duration") is not None
    named = record.get("method") is not None or record.get("path") is not None
    return bool(outcome and (named or _names(line.plain, answer))) or _says(
        str(record.get("message")), answer
    )


def _names(text: str, answer: Answer) -> bool:
    """Tell whether a text has the request line, as in ``"request":"GET /a HTTP/1.1"``."""
    return f"{answer.request.method} {answer.request.path.partition('?')[0]}" in text


def _says(text: str, answer: Answer) -> bool:
    """Tell whether a text is an access line, such as ``127.0.0.1 - "GET /a HTTP/1.1" 404``."""
    path = answer.request.path.partition("?")[0]
    request = rf"\b{re.escape(answer.request.method)}\b.*{re.escape(path)}"
    return re.search(rf"{request}.*\b{answer.status}\b|\b{answer.status}\b.*{request}", text) is not None


def _reports_tersely(text: str, one: Sent) -> bool:
    """Tell whether a text names a path and, outside of it, the status: ``200 ─ 1.2ms ─ /a``."""
    path = one.answer.request.path.partition("?")[0]
    before, found, after = text.partition(path)
    rest = f"{before} {after.partition(' ')[2]}"
    return bool(found) and re.search(rf"\b{one.answer.status}\b", rest) is not None


def is_split(lines: Sequence[Line], one: Sent) -> bool:
    """Tell whether a request has a record whose method, path and status stand in lines behind each other."""
    at = next((number for number, line in enumerate(lines) if one.is_in(line)), None)
    if at is None:
        return False
    near = [line.plain for line in lines[max(0, at - _LINES) : at + _LINES]]
    words = (one.answer.request.method, str(one.answer.status))
    return all(any(re.search(rf"\b{word}\b", text) for text in near) for word in words)


def _is_error(line: Line, form: str) -> bool:
    record = parse_record(line, form)
    return record is not None and record.get("error") is not None
