"""Probes of ``logging``: what must not get into a record, and what must not get out of one."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from urllib.parse import quote

from ...bench import Bench
from ...http.wire import Answer
from ...needs import Need
from ...phases import Phase
from ...probe import Probe, probe
from ...read.records import parse_record
from ...read.shapes import members
from ...service.process import Line
from ...verdict import Lines, Verdict
from ..shared.survey import asks
from .levels import spelled
from .traffic import request_id, traffic

__all__ = ("PROBES",)


def _planted(bench: Bench, place: str) -> str:
    return bench.canary(f"log: {place}")


async def _send_secrets(bench: Bench) -> list[Answer]:
    """Send secrets wherever clients put them, to routes that succeed, refuse and fail."""
    routes = bench.manifest.routes.by_role
    user = base64.b64encode(b"ab:" + _planted(bench, "Authorization: Basic").encode()).decode()
    fields = {
        "Cookie": f"session={_planted(bench, 'Cookie')}",
        "X-Api-Key": _planted(bench, "X-Api-Key"),
        "Proxy-Authorization": f"Bearer {_planted(bench, 'Proxy-Authorization')}",
    }
    query = f"token={_planted(bench, 'the query')}"
    paths = [f"{bench.base}/rw-{bench.unique()}"]
    declared = [routes[role] for role in ("list", "fails", "large", "html", "read") if role in routes]
    paths += [route.path.replace("{id}", route.literal or "1") for route in declared if route.method == "GET"]
    found: list[Answer] = []
    for path in paths:
        path = path.replace("{canary}", "value")
        joined = f"{path}{'&' if '?' in path else '?'}{query}"
        bearer = f"Bearer {_planted(bench, 'Authorization: Bearer')}"
        found.append(await bench.get(path, {"Authorization": bearer, **fields}))
        found.append(await bench.get(path, {"Authorization": f"Basic {user}"}))
        found.append(await bench.get(joined, {"Authorization": bearer, **fields}))
    found += [await ask({**fields, "Authorization": f"Basic {user}"}) for ask in (await asks(bench)).values()]
    for method in ("HEAD", "DELETE", "OPTIONS"):
        found.append(await bench.request(method, f"{bench.unknown_path()}?{query}", fields))
    return found + await _send_bodies(bench)


async def _send_bodies(bench: Bench) -> list[Answer]:
    create = bench.manifest.routes.by_role.get("create")
    if create is None:
        return []
    secret = _planted(bench, "password in a body")
    valid = members(bench.fresh(create.body))
    found = [
        await bench.request(create.method, create.path, create.headers, json_body=body)
        for body in ({**valid, "password": secret}, {"password": secret}, {**valid, "password": [secret]})
    ]
    joined = f"{create.path}{'&' if '?' in create.path else '?'}token={_planted(bench, 'the query')}"
    found.append(
        await bench.request(create.method, joined, create.headers, json_body=bench.fresh(create.body))
    )
    update = bench.manifest.routes.by_role.get("update")
    if update is not None:
        path = update.path.replace("{id}", update.literal or (await bench.create()).id)
        sent = {"password": secret}
        found.append(await bench.request(update.method, path, update.headers, json_body=sent))
    broken = b'{"password": "' + secret.encode() + b'", '
    part = f'--b\r\nContent-Disposition: form-data; name="password"\r\n\r\n{secret}\r\n--b--\r\n'
    for media_type, body in (
        ("application/json", broken),
        ("multipart/form-data; boundary=b", part.encode()),
        ("application/x-www-form-urlencoded", f"password={secret}".encode()),
    ):
        headers = {**create.headers, "Content-Type": media_type}
        found.append(await bench.request(create.method, create.path, headers, body))
    login = bench.manifest.routes.by_role.get("login")
    if login is not None:
        signing_in = {**members(bench.fresh(login.body)), "password": _planted(bench, "password of a login")}
        found.append(await bench.request(login.method, login.path, login.headers, json_body=signing_in))
    return found


@probe("LOG-5", phase=Phase.START, needs=(Need.COMMAND,), samples=3)
async def _no_secret_in_the_log(bench: Bench) -> Verdict:
    """Sends secrets in every usual place at the level debug, and searches all output for each of them."""
    variable = bench.manifest.env.log_level
    env = {variable: spelled(bench, "debug")} if variable else {}
    async with bench.launch(env=env) as target:
        process = target.process
        answers = await _send_secrets(bench)
        last = await traffic(bench, 3)
        heard = any(one.is_in(line) for one in last.sent for line in last.lines)
        bench.control("requests can be seen in the log at all", heard)
        bench.control("the requests were answered", all(answer.status for answer in answers))
        lines = [*process.lines, *_file_lines(bench)]
    bench.sample(len(answers))
    text = "\n".join(line.text for line in lines)
    for label in bench.leaks(text):
        if label.startswith(("[canary: log: ", "[secret: ")):
            bad = [line for line in lines if label in bench.leaks(line.text)]
            shown = Lines("a line with the secret", tuple(line.text[:500] for line in bad[:3]))
            place = label.strip("[]").removeprefix("canary: log: ")
            got = f"{len(bad)} lines with it"
            bench.fail(f"a secret is in the log ({place})", "no trace of it", got, evidence=(shown,))
    return bench.verdict()


def _file_lines(bench: Bench) -> list[Line]:
    """Return the lines of a log file that the manifest declares."""
    named = bench.manifest.logs.file
    if not named:
        return []
    try:
        text = (bench.manifest.folder / bench.manifest.start.cwd / Path(named)).read_text("utf-8", "replace")
    except OSError as error:
        bench.note(f"logs.file could not be read: {error.strerror}")
        return []
    return [Line(0.0, named, line) for line in text.splitlines()]


@probe("LOG-6", phase=Phase.SERVE, needs=(Need.COMMAND,), samples=8, ways=False)
async def _nobody_forges_records(bench: Bench) -> Verdict:
    """Sends line ends, escape sequences and quotes in paths, queries, fields and bodies."""
    since = bench.now()
    mark = f"FORGED{bench.unique()}"
    record = f'{{"level":"info","message":"{mark}","forged":"{mark}"}}'
    inside = f'{mark}","forged":"{mark}'
    answers: list[Answer] = []
    for payload in (
        f"\n{record}",
        f"\r\n{record}",
        f"\r{record}",
        f"\n{mark} INFO forged",
        f"\x1b[31m{mark}",
        inside,
        f"\u2028{mark} INFO forged",
        f"\x85{mark} INFO forged",
    ):
        encoded = quote(payload, safe="")
        answers.append(await bench.get(f"{bench.base}/{mark}{encoded}"))
        answers.append(await bench.get(f"{bench.manifest.health.live or '/'}?q={mark}{encoded}"))
        bench.sample()
    fields = {
        "User-Agent": f"{mark} {inside}",
        "Referer": f"http://{mark}/{quote(record)}",
        "X-Forged": inside,
    }
    answers.append(await bench.get(f"{bench.base}/{mark}", fields))
    escaped = quote(f"\n{record}\x1b[31m{mark}\u2028{mark} INFO forged", safe="")
    for method in ("HEAD", "POST", "PUT", "DELETE", "OPTIONS"):
        sent = b"{}" if method in {"POST", "PUT"} else None
        answers.append(await bench.request(method, f"{bench.base}/{mark}{escaped}?q={escaped}", fields, sent))
    for route in bench.manifest.routes:
        path = route.path.replace("{id}", f"{mark}{escaped}").replace("{canary}", mark)
        answers.append(await bench.get(f"{path}{'&' if '?' in path else '?'}q={mark}{escaped}", fields))
    # No field may hold ESC (RFC 9110 §5.5); who takes it has to escape it.
    answers.append(await bench.get(f"{bench.base}/{mark}", {"User-Agent": f"\x1b[31m{mark}"}))
    create = bench.manifest.routes.by_role.get("create")
    if create is not None:
        body = dict.fromkeys(members(create.body), f"\n{record}\x1b[31m{mark}")
        answers.append(await bench.request(create.method, create.path, create.headers, json_body=body))
    await traffic(bench, 1)
    lines = [line for line in bench.target.process.lines if line.at >= since]
    named = [line for line in lines if mark in line.text or _has_id(line, answers)]
    bench.control(f"the requests are in the log: {len(named)} lines", named)
    _judge_forgeries(bench, mark, lines)
    return bench.verdict()


def _has_id(line: Line, answers: list[Answer]) -> bool:
    return any(one and one in line.text for one in map(request_id, answers))


def _judge_forgeries(bench: Bench, mark: str, lines: list[Line]) -> None:
    """Look for lines and members that a client wrote, first as lines are split, then as some readers do."""
    form = bench.manifest.logs.format
    forged = [line for line in lines if _is_forged(line, mark, form)]
    if forged:
        shown = (Lines("what the client wrote", tuple(line.text[:500] for line in forged[:5])),)
        got = f"{len(forged)} lines are the client's"
        bench.fail("a client can write records of its own", "escaped input", got, evidence=shown)
        return
    escapes = [line for line in lines if f"\x1b[31m{mark}" in line.text]
    if escapes:
        got = f"a raw ESC in {len(escapes)} lines"
        bench.fail("escape sequences of a client reach whoever reads the log", "escaped input", got)
    pieces = [
        Line(line.at, line.stream, piece)
        for line in lines
        for piece in re.split(r"[\x85\u2028\u2029]", line.text)[1:]
    ]
    if any(_is_forged(piece, mark, form) for piece in pieces):
        expected, got = "escaped input", "raw U+2028 or U+0085"
        bench.warn("readers that break lines at U+2028 see forged records", expected, got)


def _is_forged(line: Line, mark: str, form: str) -> bool:
    for piece in line.text.split("\r"):
        if piece.startswith(f"{mark} INFO forged"):
            return True
        record = parse_record(Line(line.at, line.stream, piece), form)
        if record is not None and record.fields.get("forged") == mark:
            return True
    return False


PROBES: tuple[Probe, ...] = (_no_secret_in_the_log, _nobody_forges_records)
