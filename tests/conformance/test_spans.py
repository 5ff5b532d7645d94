"""Whoever makes the spans: records carry the ids of the ones that are exported, and probes have none."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from tests.apps.spans import server_spans, spans_in
from tests.patience import DEADLINE, until
from tests.servers import Server, ServerKind, serving

WAYS: tuple[tuple[str, ServerKind], ...] = (
    ("own", "roadworthy"),
    ("native", "roadworthy"),
    ("instrumented", "roadworthy"),
    ("everywhere", "roadworthy"),
    ("own-provider", "roadworthy"),
    ("middleware", "roadworthy"),
    ("inside", "roadworthy"),
    ("around", "uvicorn"),
)
"""Who makes the server's span: the layer, FastAPI itself, OpenTelemetry's instrumentation of the app, of the
class, and with a provider that is not the process's; its middleware among the app's own, around the app, and
around the layer."""

ENDS = {
    "/ok": 200,
    "/stream": 200,
    "/nothing": 404,
    "/item/1": 404,
    "/item/x": 422,
    "/fails": 500,
    "/late": 504,
}


class Traced:
    """A server, and what it exports."""

    def __init__(self, way: str, server: Server, spans: Path) -> None:
        self.way = way
        self.server = server
        self.spans = spans

    def ask(self, path: str, **fields: str) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
        """Return the status, the access record, and the app's own records of one request."""
        request_id = uuid.uuid4().hex
        headers = {"X-Request-Id": request_id, **fields}
        status = httpx.get(f"{self.server.url}{path}", headers=headers, timeout=DEADLINE).status_code
        return (status, *self.records(request_id))

    def records(self, request_id: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the access record of a request and the records of the app's own."""

        def written(lines: list[str]) -> bool:
            return any(request_id in line and '"message":"request"' in line for line in lines)

        lines = [line for line in self.server.wait_stdout(written) if request_id in line]
        records = [json.loads(line) for line in lines]
        (access,) = [record for record in records if record["message"] == "request"]
        return access, [record for record in records if record["logger"] == "shop"]

    def server_ids(self, trace_id: str) -> list[str]:
        """Return the ids of the exported server spans of a trace, once there are any."""
        found: list[str] = []

        def exported() -> bool:
            found[:] = [span for trace, span in server_spans(self.spans) if trace == trace_id]
            return bool(found)

        until(exported, "the span is exported")
        return found


@pytest.fixture(scope="module", params=WAYS, ids=[way for way, _ in WAYS])
def traced(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    """Start the app with each way to make spans."""
    way, kind = request.param
    folder = tmp_path_factory.mktemp("spans")
    spans = folder / "spans"
    settings = {
        "TESTS_TRACING": way,
        "TESTS_SPANS": str(spans),
        "ROADWORTHY_METRICS_PUBLIC": "true",
        "ROADWORTHY_METRICS_TOKEN": "a-token-of-the-tests",
    }
    with serving(kind, "tests.apps.traced:app", folder, settings, "/livez") as server:
        yield Traced(way, server, spans)


@pytest.mark.parametrize("caller", [False, True], ids=["new", "called"])
@pytest.mark.parametrize("path", ENDS)
def test_the_record_names_the_exported_span(traced: Traced, path: str, caller: bool) -> None:
    """One server span is exported for a request, and the access record has its ids, however it ends."""
    trace = uuid.uuid4().hex
    fields = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"} if caller else {}
    status, record, _ = traced.ask(path, **fields)
    assert (status, record["status"]) == (ENDS[path], ENDS[path])
    assert not caller or record["trace_id"] == trace
    assert traced.server_ids(record["trace_id"]) == [record["span_id"]]


@pytest.mark.parametrize("path", ["/ok", "/fails", "/stream"])
def test_records_of_the_app_name_exported_spans(traced: Traced, path: str) -> None:
    """What the app records is of the same trace, in a span that is exported."""
    _, record, (own,) = traced.ask(path)
    assert own["trace_id"] == record["trace_id"]
    traced.server_ids(record["trace_id"])
    exported = [span["context"]["span_id"].removeprefix("0x") for span in spans_in(traced.spans)]
    assert own["span_id"] in exported


def test_what_the_layer_refuses_has_its_span(traced: Traced) -> None:
    """The framework never sees it; its span is made all the same."""
    while True:
        status, record, _ = traced.ask("/limited")
        assert traced.server_ids(record["trace_id"]) == [record["span_id"]]
        if status == 429:
            break


def test_a_websocket_has_one_span(traced: Traced) -> None:
    """Its record is written at its end, with the ids of the one span that there is for it."""
    request_id = uuid.uuid4().hex
    url = f"ws://127.0.0.1:{traced.server.port}/socket"
    with connect(url, additional_headers={"X-Request-Id": request_id}) as socket:
        assert socket.recv(timeout=DEADLINE) == "hello"
    record, (own,) = traced.records(request_id)
    assert traced.server_ids(record["trace_id"]) == [record["span_id"]]
    assert own["trace_id"] == record["trace_id"]


def test_probes_have_no_spans(traced: Traced) -> None:
    """Health and metrics are asked every few seconds, and nobody looks for their traces."""
    if traced.way == "around":
        pytest.skip("what is outside of the layer sees the probes first")
    for path in ("/livez", "/readyz", "/startupz", "/metrics", "/metrics"):
        given = {"Authorization": "Bearer a-token-of-the-tests"}
        assert httpx.get(f"{traced.server.url}{path}", headers=given, timeout=DEADLINE).status_code == 200
    _, record, _ = traced.ask("/ok")
    traced.server_ids(record["trace_id"])
    attributes = [json.dumps(span["attributes"]) for span in spans_in(traced.spans)]
    assert [one for one in attributes if "livez" in one or "readyz" in one or "metrics" in one] == []
    assert [one for one in attributes if "startupz" in one] == []
