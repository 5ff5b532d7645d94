"""An inventory on plain ASGI under uvicorn, as a careful team writes it, with one switch for each fault."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import signal
import sqlite3
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from exchange import (  # type: ignore[import-not-found]
    PROTECTIVE,
    Exchange,
    Handler,
    Problem,
    Receive,
    Response,
    Send,
    as_json,
    encodable,
)
from store import BUCKETS, FAULT, Conflict, Inventory, Missing  # type: ignore[import-not-found]

from settings import OWN, SETTINGS, SHARED, record  # type: ignore[import-not-found]

HERE = Path(__file__).parent
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5ErkJggg=="
)


def number(text: str) -> int:
    """Return the id that a path holds; 404 for what is none."""
    if not re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII):
        raise Problem(404, "There is no such item.")
    return int(text)


def _clash(conflict: Conflict) -> Problem:
    if str(conflict) == "key":
        return Problem(422, "The key was used for another request.")
    return Problem(409, "Another item has this sku.")


async def create(exchange: Exchange) -> Response:
    """Store an item."""
    item = await exchange.item_body()
    try:
        row = await asyncio.to_thread(exchange.inventory.create, item, exchange.key())
    except Conflict as conflict:
        raise _clash(conflict) from None
    return as_json({"id": row} | item, 201, ("location", f"/api/items/{row}"), ("cache-control", "no-store"))


async def read(exchange: Exchange, row: str) -> Response:
    """Return an item."""
    try:
        return as_json(
            await asyncio.to_thread(exchange.inventory.read, number(row)), 200, ("cache-control", "no-store")
        )
    except Missing:
        raise Problem(404, "There is no such item.") from None


async def listing(exchange: Exchange) -> Response:
    """Return a page of items."""
    limit, cursor = exchange.query.get("limit", "20"), exchange.query.get("cursor", "0")
    lowest = r"-?\d{1,3}" if FAULT == "py-val-limit-negative" else r"\d{1,3}"
    if not re.fullmatch(lowest, limit, re.ASCII) or int(limit) > 100 or int(limit) == 0:
        raise Problem(
            422, "The limit is not right.", [{"parameter": "limit", "detail": "must be from 1 to 100"}]
        )
    if not re.fullmatch(r"\d{1,18}", cursor, re.ASCII):
        raise Problem(
            422, "The cursor is not right.", [{"parameter": "cursor", "detail": "must be one that was given"}]
        )
    size = int(limit)
    items = await asyncio.to_thread(exchange.inventory.page, int(cursor), size + 1 if size > 0 else size)
    more = str(items[size - 1]["id"]) if 0 < size < len(items) else None
    shown = items[:size] if size > 0 else items
    return as_json({"items": shown, "next_cursor": more}, 200, ("cache-control", "no-store"))


async def update(exchange: Exchange, row: str) -> Response:
    """Replace an item."""
    wanted = number(row)
    item = await exchange.item_body()
    try:
        if FAULT == "py-txn-put-early":
            await asyncio.to_thread(exchange.inventory.read, wanted)
            exchange.later = lambda: exchange.inventory.update(wanted, item)
        else:
            await asyncio.to_thread(exchange.inventory.update, wanted, item)
    except Missing:
        raise Problem(404, "There is no such item.") from None
    except Conflict:
        raise Problem(409, "Another item has this sku.") from None
    item.pop("extra", None)
    return as_json({"id": wanted} | item, 200, ("cache-control", "no-store"))


GONE: set[int] = set()


async def delete(exchange: Exchange, row: str) -> Response:
    """Delete an item."""
    try:
        await asyncio.to_thread(exchange.inventory.delete, number(row))
    except Missing:
        if FAULT != "py-ctl-delete-twice" or number(row) not in GONE:
            raise Problem(404, "There is no such item.") from None
    GONE.add(number(row))
    return Response(204)


async def add_note(exchange: Exchange, row: str) -> Response:
    """Add a note to an item."""
    value = await exchange.body()
    text = value.get("text")
    if (
        not isinstance(text, str)
        or not 0 < len(text) <= 1000
        or not encodable(text)
        or value.keys() != {"text"}
    ):
        raise Problem(422, "Some fields are not right.", [{"pointer": "/text", "detail": "must be a text"}])
    try:
        note = await asyncio.to_thread(exchange.inventory.add_note, number(row), text, exchange.key())
    except Missing:
        raise Problem(404, "There is no such item.") from None
    except Conflict as conflict:
        raise _clash(conflict) from None
    location = ("location", f"/api/items/{row}/notes/{note}")
    return as_json({"id": note, "text": text}, 201, location, ("cache-control", "no-store"))


async def read_note(exchange: Exchange, row: str, note: str) -> Response:
    """Return a note."""
    try:
        found = await asyncio.to_thread(exchange.inventory.note, number(row), number(note))
    except Missing:
        raise Problem(404, "There is no such note.") from None
    return as_json(found, 200, ("cache-control", "no-store"))


async def transfer(exchange: Exchange) -> Response:
    """Move notes from one item to another, all or none."""
    value = await exchange.body()
    source, target, ids = value.get("from_user"), value.get("to_user"), value.get("post_ids")
    numbers = ids if isinstance(ids, list) else [None]
    if (
        any(not isinstance(each, int) or isinstance(each, bool) for each in (source, target, *numbers))
        or len(numbers) > 100
    ):
        raise Problem(422, "Some fields are not right.", [{"pointer": "/post_ids", "detail": "must be ids"}])
    try:
        moved = await asyncio.to_thread(
            exchange.inventory.transfer, source, target, list(dict.fromkeys(numbers))
        )
    except (Missing, OverflowError):
        raise Problem(404, "There is no such item or note.") from None
    except Conflict:
        raise Problem(409, "A note belongs to another item.") from None
    return as_json({"moved": moved})


async def notes(exchange: Exchange, row: str) -> Response:
    """Return the notes of an item."""
    try:
        found = await asyncio.to_thread(exchange.inventory.notes, number(row))
    except Missing:
        raise Problem(404, "There is no such item.") from None
    return as_json({"items": found}, 200, ("cache-control", "no-store"))


async def login(exchange: Exchange) -> Response:
    """Sign in."""
    value = await exchange.body()
    if value.get("password") != SETTINGS.secret:
        raise Problem(401, "The name or the password is wrong.", fields=(("www-authenticate", "Bearer"),))
    cookie = f"session={uuid.uuid4().hex}; HttpOnly; Secure; SameSite=Lax; Path=/"
    return as_json({"signed_in": True}, 200, ("set-cookie", cookie), ("cache-control", "no-store"))


async def slow(exchange: Exchange) -> Response:
    """Answer after some seconds."""
    await asyncio.sleep(min(float(exchange.query.get("seconds", "2") or 2), 5.0))
    return as_json({"slept": True})


async def fails(_: Exchange) -> Response:
    """Fail."""
    raise RuntimeError("canary-7c40 in the pricing module")


async def catalogue(_: Exchange) -> Response:
    """Return a large document."""
    return as_json(
        {"products": [{"name": f"product {each}", "text": "lorem ipsum " * 6} for each in range(600)]}
    )


async def picture(_: Exchange) -> Response:
    """Return an image."""
    return Response(200, PNG, "image/png")


async def page(_: Exchange) -> Response:
    """Return a page."""
    body = "<!doctype html><html lang=en><head><title>Inventory</title></head><body>Inventory</body></html>"
    policy = (
        "content-security-policy",
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    )
    return Response(200, body.encode(), "text/html; charset=utf-8", [policy])


async def document(_: Exchange) -> Response:
    """Return the OpenAPI document."""
    described = json.loads((HERE.parent / "openapi.json").read_text())
    key = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    described["paths"]["/api/items"]["post"]["parameters"] = [key]
    return as_json(described)


async def live(exchange: Exchange) -> Response:
    """Answer while the process is well."""
    if FAULT == "py-hlt-live-after-failures" and exchange.failures >= 3:
        raise Problem(503, "The service is not well.")
    return as_json({"status": "up"}, 200, ("cache-control", "no-store"))


async def ready(exchange: Exchange) -> Response:
    """Answer positively while the store can be read."""
    try:
        await asyncio.wait_for(asyncio.to_thread(exchange.inventory.ping), 1.0)
    except (sqlite3.Error, TimeoutError):
        raise Problem(503, "The service is not ready.") from None
    fields = [] if FAULT == "py-hlt-ready-cache" else [("cache-control", "no-store")]
    return as_json({"status": "up"}, 200, *fields)


async def metrics(_: Exchange) -> Response:
    """Return the numbers in the text format of Prometheus."""
    flying, rows = SHARED.rows()
    if OWN is not SHARED:
        rows += OWN.rows()[1]
    total = ["# HELP http_requests_total Requests that were answered.", "# TYPE http_requests_total counter"]
    times = [
        "# HELP http_request_duration_seconds Time to answer.",
        "# TYPE http_request_duration_seconds histogram",
    ]
    for method, route, status, count, seconds, *hits in rows:
        labels = f'method="{method}",route="{route}",status="{status}"'
        total.append(f"http_requests_total{{{labels}}} {count}")
        for edge, hit in zip(BUCKETS, hits, strict=True):
            times.append(f'http_request_duration_seconds_bucket{{{labels},le="{edge}"}} {hit}')
        times.append(f'http_request_duration_seconds_bucket{{{labels},le="+Inf"}} {count}')
        times.append(f"http_request_duration_seconds_sum{{{labels}}} {seconds}")
        times.append(f"http_request_duration_seconds_count{{{labels}}} {count}")
    gauge = [
        "# HELP http_requests_in_flight Requests being answered.",
        "# TYPE http_requests_in_flight gauge",
    ]
    text = "\n".join([*total, *times, *gauge, f"http_requests_in_flight {flying}", ""])
    return Response(
        200, text.encode(), "text/plain; version=0.0.4; charset=utf-8", [("cache-control", "no-store")]
    )


_ITEM, _NOTE = "(?P<row>[^/]+)", "(?P<note>[^/]+)"
_TABLE: dict[str, dict[str, Handler]] = {
    "/api/items": {"GET": listing, "POST": create},
    "/api/items/{id}": {"GET": read, "PUT": update, "DELETE": delete},
    "/api/items/{id}/notes": {"GET": notes, "POST": add_note},
    "/api/items/{id}/notes/{note}": {"GET": read_note},
    "/api/transfers": {"POST": transfer},
    "/api/login": {"POST": login},
    "/api/slow": {"GET": slow},
    "/api/fails": {"GET": fails},
    "/api/catalogue": {"GET": catalogue},
    "/picture.png": {"GET": picture},
    "/": {"GET": page},
    "/openapi.json": {"GET": document},
    "/health/live": {"GET": live},
    "/health/ready": {"GET": ready},
    "/metrics": {"GET": metrics},
}
Exchange.routes = tuple(
    (path, re.compile(path.replace("{id}", _ITEM).replace("{note}", _NOTE)), handlers)
    for path, handlers in _TABLE.items()
)


async def events(exchange: Exchange) -> None:
    """Send ten events, one each 0.2 s."""
    lines = [(name.encode(), value.encode()) for name, value in PROTECTIVE]
    lines += [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-request-id", exchange.id.encode()),
        (b"vary", b"Origin"),
    ]
    exchange.route = "/api/events"
    SHARED.fly(1)
    await exchange.send({"type": "http.response.start", "status": 200, "headers": lines})
    for each in range(10):
        await exchange.send(
            {"type": "http.response.body", "body": f"data: {each}\n\n".encode(), "more_body": True}
        )
        await asyncio.sleep(0.2)
    await exchange.send({"type": "http.response.body", "body": b""})
    exchange.finish(200, private=False)


async def lifespan(receive: Receive, send: Send) -> None:
    """Open the inventory, and close with a record."""
    await receive()
    try:
        Exchange.inventory = Inventory(SETTINGS.database)
    except sqlite3.Error:
        record("error", "the database that DATABASE_URL names cannot be opened")
        await send({"type": "lifespan.startup.failed"})
        return
    record("info", "started", port=SETTINGS.port)
    if FAULT == "py-shut-status":
        before = signal.getsignal(signal.SIGTERM)

        def note(number: int, frame: Any) -> None:
            Exchange.stopping_busy = Exchange.flying > 0
            if callable(before):
                before(number, frame)

        signal.signal(signal.SIGTERM, note)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    record("info", "stopped")
    await send({"type": "lifespan.shutdown.complete"})
    if Exchange.stopping_busy:
        os._exit(1)


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """The service as ASGI."""
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["type"] == "http":
        scope["path"] = unquote(scope["raw_path"].decode("latin-1"))
        exchange = Exchange(scope, receive, send)
        if scope["path"] == "/api/events" and scope["method"] == "GET":
            await events(exchange)
        else:
            await exchange.run()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    uvicorn.run(
        "service:app",
        host="127.0.0.1",
        port=SETTINGS.port,
        workers=SETTINGS.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_graceful_shutdown=20,
    )
