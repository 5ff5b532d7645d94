"""The pass over HTTP: what reaches the client whatever the app does."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from typing import Any

import pytest

from roadworthy import APIError, ConflictError, Layer, NotFoundError, RouteRule, UnavailableError, roadworthy
from roadworthy.layer.exchange import ResponseAborted
from roadworthy.types import Receive, Scope, Send
from tests.asgi_driver import Call, Driven, ask, http_scope
from tests.patience import DEADLINE

pytestmark = pytest.mark.anyio
CANARY = "canary-f3a1"


async def _answer(send: Send, status: int, body: bytes, media_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", media_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Do what the path says."""
    match scope["path"]:
        case "/ok":
            await _answer(send, 200, b'{"ok":true}')
        case "/echo":
            body, more = b"", True
            while more:
                message = await receive()
                body, more = body + message.get("body", b""), message.get("more_body", False)
            await _answer(send, 200, body, b"application/octet-stream")
        case "/raise":
            raise RuntimeError(CANARY)
        case "/conflict":
            raise ConflictError("Taken", code="EMAIL_TAKEN")
        case "/unavailable":
            raise UnavailableError(retry_after=9)
        case "/own-404":
            await _answer(send, 404, b"<h1>lost</h1>", b"text/html")
        case "/silent":
            return
        case "/half":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            raise RuntimeError(CANARY)
        case "/after":
            await _answer(send, 202, b"{}")
            raise RuntimeError(CANARY)
        case "/swallow":
            with contextlib.suppress(APIError):
                await receive()
            await _answer(send, 200, b'{"ok":true}')
        case "/slow":
            await asyncio.sleep(60)
        case "/stubborn":
            forever = asyncio.get_running_loop().create_future()
            while not scope["state"].get("free"):
                try:
                    await asyncio.wait_for(asyncio.shield(forever), 0.05)
                except (asyncio.CancelledError, TimeoutError):
                    continue
        case "/large":
            await _answer(send, 200, json.dumps(list(range(200_000))).encode())
        case "/moving":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            until = asyncio.get_running_loop().time() + 0.5
            while asyncio.get_running_loop().time() < until:
                await send({"type": "http.response.body", "body": b".", "more_body": True})
                await asyncio.sleep(0.01)
            await send({"type": "http.response.body", "body": b"!"})
        case "/stream" | "/events":
            media_type = b"text/event-stream" if scope["path"] == "/events" else b"text/csv"
            head = [(b"content-type", media_type)]
            await send({"type": "http.response.start", "status": 200, "headers": head})
            await scope["state"]["go"].wait()
            while (await receive())["type"] != "http.disconnect":
                await send({"type": "http.response.body", "body": b"data: x\n\n", "more_body": True})
            scope["state"]["saw"] = "disconnect"
            await asyncio.sleep(60)


def layered(**settings: Any) -> Layer:
    """Put the layer around the app."""
    return roadworthy(app, **{"drain_delay": 0, **settings})


async def test_a_plain_response_passes_with_its_fields_added() -> None:
    """Status and body are the app's; id and security headers are added once."""
    got = await ask(layered(), path="/ok")
    assert (got.status, got.json()) == (200, {"ok": True})
    assert got.headers["x-content-type-options"] == "nosniff"
    assert len(got.headers["x-request-id"]) == 32


@pytest.mark.parametrize("path", ["/raise", "/silent"])
async def test_an_unhandled_failure_is_a_problem_without_its_text(path: str) -> None:
    """An exception, and an app that forgets to answer, become a 500 with id, CORS and security headers."""
    origin = [(b"origin", b"https://a.example")]
    got = await ask(layered(cors_origins="https://a.example"), path=path, headers=origin)
    assert got.status == 500
    assert got.json()["code"] == "INTERNAL_ERROR"
    assert got.json()["request_id"] == got.headers["x-request-id"]
    assert got.headers["access-control-allow-origin"] == "https://a.example"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert CANARY.encode() not in got.body


async def test_an_error_of_the_service_decides_status_code_and_fields() -> None:
    """APIError and its children travel from any depth to the one shape."""
    got = await ask(layered(), path="/conflict")
    assert (got.status, got.json()["code"], got.json()["detail"]) == (409, "EMAIL_TAKEN", "Taken")
    got = await ask(layered(), path="/unavailable")
    assert (got.status, got.headers["retry-after"]) == (503, "9")


async def test_a_body_that_the_app_made_stays() -> None:
    """A custom error page is not rewritten."""
    got = await ask(layered(), path="/own-404")
    assert (got.status, got.body, got.headers["content-type"]) == (404, b"<h1>lost</h1>", "text/html")


async def test_a_begun_response_is_aborted_and_not_ended() -> None:
    """When the app fails in the middle the server is told to abort; no last chunk pretends completeness."""
    call = Call(layered(), http_scope(path="/half"))
    with pytest.raises(ResponseAborted):
        await call.done()
    assert call.sent[-1]["more_body"] is True


async def test_a_failure_after_the_response_does_not_reach_the_server() -> None:
    """A failing background task costs the client and the connection nothing."""
    got = await ask(layered(), path="/after")
    assert got.status == 202


async def test_a_body_above_the_limit_is_413_declared_or_counted() -> None:
    """Both ways give 413, and a handler that swallows the refusal cannot turn it into a 200."""
    service = layered(body_limit=100)
    assert (await ask(service, "POST", "/echo", body=b"x" * 101)).status == 413
    assert (await ask(service, "POST", "/echo", body=[b"x" * 60, b"x" * 60])).status == 413
    assert (await ask(service, "POST", "/swallow", body=[b"x" * 60, b"x" * 60])).status in (200, 413)
    assert (await ask(service, "POST", "/swallow", body=[b"x" * 160])).status == 413
    got = await ask(service, "POST", "/echo", body=[b"x" * 60, b"x" * 40])
    assert (got.status, got.body) == (200, b"x" * 100)


async def test_a_rule_by_path_gives_a_route_its_own_limit() -> None:
    """A per-route body limit is found by path, before the app has routed the request."""
    service = roadworthy(app, body_limit=10, routes={"POST /echo": RouteRule(body_limit=50)})
    assert (await ask(service, "POST", "/echo", body=b"x" * 50)).status == 200
    assert (await ask(service, "POST", "/swallow", body=b"x" * 50)).status == 413


async def test_a_malformed_json_body_is_400_before_the_handler_sees_it() -> None:
    """A handler that reads JSON gets JSON or nothing."""
    headers = [(b"content-type", b"application/json")]
    got = await ask(layered(), "POST", "/echo", headers, b'{"a": NaN}')
    assert (got.status, got.json()["code"]) == (400, "BAD_REQUEST")
    got = await ask(layered(), "POST", "/echo", headers, b'{"a": 1}')
    assert (got.status, got.body) == (200, b'{"a": 1}')


async def test_a_late_request_is_cancelled_and_answered_504() -> None:
    """The deadline ends the work and tells the client."""
    got = await ask(layered(request_timeout=0.05), path="/slow")
    assert (got.status, got.json()["code"]) == (504, "TIMEOUT")


async def test_a_timeout_of_a_client_in_the_same_task_is_its_own() -> None:
    """A test that calls the app in its own task and gives up is not answered: its timeout comes through."""
    sent: list[object] = []

    async def send(message: object) -> None:
        sent.append(message)

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await layered()(http_scope(path="/slow"), asyncio.Queue[Any]().get, send)
    assert sent == []


async def test_work_that_ignores_cancellation_is_answered_without_waiting_for_it() -> None:
    """A thread or a swallowed cancellation cannot hold the client: 504 comes while the work goes on."""
    state: dict[str, Any] = {}
    call = Call(layered(request_timeout=0.05), http_scope(path="/stubborn", state=state))
    sent = await call.until_sent(2)
    assert sent[0]["status"] == 504
    assert not call.task.done()
    state["free"] = True
    await call.done()
    assert len(call.sent) == 2


async def test_a_body_that_does_not_come_is_408() -> None:
    """A client that stalls its body is told so and its connection closed."""
    call = Call(layered(body_timeout=0.05), http_scope("POST", "/echo", [(b"content-length", b"5")]))
    got = await call.done()
    assert (got.status, got.headers["connection"]) == (408, "close")


@pytest.mark.parametrize(
    ("rule", "piece", "status"),
    [
        ({}, 1000, 200),  # faster than the least rate: longer than BODY_TIMEOUT, as long as it moves
        ({}, 1, 408),
        ({"body_timeout": 60}, 1, 200),  # slower, where the route's own time allows it
        ({"body_timeout": 60, "timeout": 0.2}, 1000, 408),  # the whole request's time bounds it
    ],
    ids=["steady", "too slow", "own time", "whole time"],
)
async def test_a_slow_upload_has_the_time_that_its_rate_or_its_route_allows(
    rule: dict[str, Any], piece: int, status: int
) -> None:
    """A large body at a steady rate arrives, however long it takes; a trickle needs a rule."""
    # So the least rate is 10,000 bytes a second.
    settings: dict[str, Any] = {"body_timeout": 0.2, "body_limit": 2000}
    rules = {"/echo": RouteRule(**{"body_limit": "1MiB", "timeout": 60, **rule})}
    call = Call(
        roadworthy(app, drain_delay=0, routes=rules, **settings),
        http_scope("POST", "/echo", [(b"transfer-encoding", b"chunked")]),
    )
    loop = asyncio.get_running_loop()
    end = loop.time() + 1.0
    while loop.time() < end and not call.task.done():
        call.feed(b"x" * piece, more=True)
        await asyncio.sleep(0.01)
    call.feed()
    assert (await call.done()).status == status


async def test_the_deadline_does_not_cut_a_stream_that_moves() -> None:
    """Ten times request_timeout is no age for a stream with a chunk now and then (zeromicro/go-zero#4451)."""
    got = await ask(layered(request_timeout=0.05), path="/moving")
    assert got.complete
    assert got.body.endswith(b".!")


@pytest.mark.parametrize("path", ["/events", "/stream"])
async def test_a_stream_that_stands_still_is_cut(path: str, capfd: pytest.CaptureFixture[str]) -> None:
    """What spares a moving stream holds no silent one open for ever (zeromicro/go-zero#4451)."""
    layer = layered(stream_idle_timeout=0.05)
    call = Call(layer, http_scope(path=path, state={"go": asyncio.Event()}))
    with pytest.raises(ResponseAborted):
        await call.done()
    assert [message["type"] for message in call.sent] == ["http.response.start"]
    layer.pass_.logging.writer.flush(DEADLINE)
    lines = capfd.readouterr().out.splitlines()
    record = [json.loads(line) for line in lines if '"message":"request"' in line and path in line][-1]
    assert record["level"] == "error"
    assert "ROADWORTHY_STREAM_IDLE_TIMEOUT" in json.dumps(record["exception"])


async def test_cancel_on_disconnect_is_opt_in() -> None:
    """With the setting, work ends when the client leaves; without it, it goes on (fastapi#3766)."""
    call = Call(layered(cancel_on_disconnect=True), http_scope(path="/slow"))
    call.leave()
    got = await call.done()
    assert got.messages == []
    state: dict[str, Any] = {"go": asyncio.Event()}
    call = Call(layered(), http_scope(path="/events", state=state))
    call.feed()
    await call.until_sent(1)
    call.leave()
    state["go"].set()
    async with asyncio.timeout(DEADLINE):
        while "saw" not in state:
            await asyncio.sleep(0)
    assert not call.task.done()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.done()


@pytest.mark.parametrize("media_type", [b"application/json", b"application/octet-stream"])
@pytest.mark.parametrize("path", ["/silent-without-body", "/body-or-error"])
async def test_a_client_that_leaves_within_its_body_is_no_failure(
    path: str, media_type: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """An app that returns or raises when it hears of it is not answered for, nor recorded as failed."""

    async def reading(scope: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        if scope["path"] == "/body-or-error":
            raise ConnectionResetError
        # ASGI: whatever is sent from now on goes nowhere, so there is nothing to send.

    service = roadworthy(reading, drain_delay=0, log_format="json")
    call = Call(service, http_scope("POST", path, [(b"content-type", media_type), (b"content-length", b"9")]))
    call.feed(b"[1,", more=True)
    call.leave()
    assert (await call.done()).messages == []
    assert service.pass_.logging.writer.flush()
    records = map(json.loads, capfd.readouterr().out.splitlines())
    (record,) = [one for one in records if one.get("path") == path]
    assert (record["status"], record["level"]) == (499, "info")


async def test_a_large_body_is_compressed_off_the_loop_and_complete() -> None:
    """The coded body decodes to the app's, with its own length."""
    got = await ask(layered(), path="/large", headers=[(b"accept-encoding", b"gzip")])
    assert got.headers["content-encoding"] == "gzip"
    assert int(got.headers["content-length"]) == len(got.body)
    assert json.loads(gzip.decompress(got.body)) == list(range(200_000))


async def test_compression_can_be_switched_off() -> None:
    """With the setting off nothing is coded, and no field says that it might be."""
    got = await ask(layered(compression=False), path="/large", headers=[(b"accept-encoding", b"gzip")])
    assert "content-encoding" not in got.headers
    assert "vary" not in got.headers
    assert json.loads(got.body) == list(range(200_000))


async def test_the_head_of_a_stream_does_not_wait_for_its_first_chunk() -> None:
    """A stream that waits for its first event has sent its head already (tower-rs/tower-http#419)."""
    state = {"go": asyncio.Event()}
    call = Call(layered(), http_scope(path="/events", state=state))
    sent = await call.until_sent(1)
    assert sent[0]["status"] == 200
    state["go"].set()
    call.feed()
    sent = await call.until_sent(2)
    assert [message["body"] for message in sent[1:]] == [b"data: x\n\n"]
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.done()


@pytest.mark.parametrize(("path", "coding"), [("/stream", "gzip"), ("/events", None)])
async def test_compression_does_not_hold_the_head_of_a_stream(path: str, coding: str | None) -> None:
    """The head leaves before the first chunk, coded or not (agentcore-public-stack#1133)."""
    accept = [(b"accept-encoding", b"gzip")]
    call = Call(layered(), http_scope(path=path, headers=accept, state={"go": asyncio.Event()}))
    head = Driven(await call.until_sent(1)).headers
    assert head.get("content-encoding") == coding
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.done()


async def test_an_event_stream_is_told_to_end_and_then_ended_cleanly() -> None:
    """At closing a stream sees a disconnect, and after stream_grace gets its last chunk (datasette#2890)."""
    state: dict[str, Any] = {"go": asyncio.Event()}
    state["go"].set()
    service = layered(stream_grace=0.05)
    call = Call(service, http_scope(path="/events", state=state))
    call.feed()
    await call.until_sent(2)
    service.begin_drain()
    service.begin_close()
    got = await call.done()
    assert got.complete
    assert state["saw"] == "disconnect"


async def test_another_stream_is_aborted_rather_than_cut_in_silence() -> None:
    """What outlives stream_grace is ended, and does not look complete (micronaut-core#10656)."""
    state: dict[str, Any] = {"go": asyncio.Event()}
    state["go"].set()
    service = layered(stream_grace=0.05)
    call = Call(service, http_scope(path="/stream", state=state))
    call.feed()
    await call.until_sent(2)
    service.begin_close()
    with pytest.raises(ResponseAborted):
        await call.done()


async def test_draining_closes_connections_and_turns_readiness() -> None:
    """Not ready, serving on, Connection: close (spring-boot#20995, nestjs/nest#7611)."""
    service = layered()
    assert (await ask(service, path="/readyz")).status == 200
    assert "connection" not in (await ask(service, path="/ok")).headers
    service.begin_drain()
    assert (await ask(service, path="/readyz")).status == 503
    assert (await ask(service, path="/livez")).status == 200
    got = await ask(service, path="/ok")
    assert (got.status, got.headers["connection"]) == (200, "close")


async def test_a_drain_cuts_nothing_and_refuses_nobody() -> None:
    """A request in flight ends whole, a new one is served (fastify/fastify#1714, fastify/fastify#6889)."""
    service = layered(stream_grace=0.01)
    upload = Call(service, http_scope("POST", "/echo", [(b"content-length", b"8")]))
    upload.feed(b"half", more=True)
    async with asyncio.timeout(DEADLINE):
        while service.pass_.overload.in_flight == 0:
            await asyncio.sleep(0)
    service.begin_drain()
    assert (await ask(service, path="/ok")).status == 200
    service.begin_close()
    assert (await ask(service, path="/ok")).status == 200
    # Streams are cut a stream grace after closing; this one comes later and shows that the cut is past.
    state: dict[str, Any] = {"go": asyncio.Event()}
    with pytest.raises(ResponseAborted):
        await Call(service, http_scope(path="/stream", state=state)).done()
    upload.feed(b"half")
    got = await upload.done()
    assert (got.status, got.body) == (200, b"halfhalf")


async def test_clients_behind_a_proxy_do_not_share_a_bucket() -> None:
    """Each address that the trusted proxy appends has a limit of its own (laurentS/slowapi#255)."""
    service = layered(rate_limit="1/hour", trusted_proxies="10.0.0.0/8")
    for address, status in (("203.0.113.5", 200), ("203.0.113.6", 200), ("203.0.113.5", 429)):
        fields = [(b"x-forwarded-for", address.encode())]
        got = await ask(service, path="/ok", headers=fields, client=("10.0.0.1", 1))
        assert got.status == status


@pytest.mark.parametrize(
    ("trusted", "chain"), [("10.0.0.0/8", b"198.51.100.%d, 203.0.113.5"), ("", b"198.51.100.%d")]
)
async def test_a_forged_address_is_no_new_bucket(trusted: str, chain: bytes) -> None:
    """The left of X-Forwarded-For is the client's to write (GHSA-3fxj-6jh8-hvhx, nestjs/throttler#427)."""
    service = layered(rate_limit="1/hour", trusted_proxies=trusted)
    statuses: list[int] = []
    for number in range(4):
        fields = [(b"x-forwarded-for", chain % number)]
        got = await ask(service, path="/ok", headers=fields, client=("10.0.0.1", 1))
        statuses.append(got.status)
    assert statuses == [200, 429, 429, 429]


async def test_probes_pass_where_requests_do_not() -> None:
    """Health answers come before host, limits and load (losol/eventuras#1141)."""
    service = layered(rate_limit="1/hour", allowed_hosts="api.example")
    for _ in range(5):
        assert (await ask(service, path="/livez")).status == 200
    host = [(b"host", b"api.example")]
    assert (await ask(service, path="/ok", headers=host)).status == 200
    got = await ask(service, path="/ok", headers=host)
    assert (got.status, got.json()["code"]) == (429, "RATE_LIMITED")
    assert int(got.headers["retry-after"]) >= 1
    assert (await ask(service, path="/livez")).status == 200
    assert (await ask(service, path="/ok", headers=[(b"host", b"evil.example")])).status == 421


async def test_the_ceiling_sheds_what_does_not_fit() -> None:
    """Beyond max_in_flight and the queue, a request is 503 with Retry-After at once."""
    service = layered(max_in_flight=1, queue_size=0)
    held = Call(service, http_scope(path="/slow"))
    async with asyncio.timeout(DEADLINE):
        while service.pass_.overload.in_flight == 0:
            await asyncio.sleep(0)
    got = await ask(service, path="/ok")
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    held.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await held.done()
    assert (await ask(service, path="/ok")).status == 200


async def test_head_has_the_fields_and_no_body() -> None:
    """An error to HEAD carries the length of the body that GET would get, and no body (RFC 9110 §9.3.2)."""
    got = await ask(layered(), "HEAD", "/conflict")
    assert got.status == 409
    assert got.body == b""
    assert int(got.headers["content-length"]) > 0


async def test_the_apps_attributes_are_reached_through_the_layer() -> None:
    """The wrapped app still answers for its own attributes, and is not wrapped twice."""
    service = layered()
    assert service.app is app
    assert roadworthy(service) is service


async def test_exceptions_inside_groups_and_nested_errors_are_one_answer() -> None:
    """An APIError raised in a task group of the handler keeps its own answer."""

    async def grouped(scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(_raise(NotFoundError("User not found")))

    got = await ask(roadworthy(grouped), path="/x")
    assert (got.status, got.json()["detail"]) == (404, "User not found")


async def _raise(error: Exception) -> None:
    raise error
