"""Traces: the caller's context is taken over exactly when it is valid, and spans are made once."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from roadworthy.layer.exchange import Exchange, current_exchange
from roadworthy.layer.tracing import Tracing, trace_headers, traceparent
from roadworthy.settings import Settings
from tests.patience import DEADLINE

from .conftest import make_exchange

_SETTINGS = Settings(_env_file=None)
_TRACE = "0af7651916cd43dd8448eb211c80319c"
_PARENT = "b7ad6b7169203331"
_GIVEN = f"00-{_TRACE}-{_PARENT}-01".encode()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """A real tracer provider for the time of one test, and what it exports."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def admitted(*headers: tuple[bytes, bytes], item: Tracing | None = None) -> Exchange:
    """Give an exchange with these fields after the admit step."""
    exchange = make_exchange("GET", "/users/42", headers)
    (item or Tracing(_SETTINGS)).admit(exchange)
    return exchange


def only(exporter: InMemorySpanExporter) -> ReadableSpan:
    """Give the one span that was made."""
    (span,) = exporter.get_finished_spans()
    return span


def test_a_valid_context_is_taken_over() -> None:
    """The trace id is the caller's, the span id is new."""
    exchange = admitted((b"traceparent", _GIVEN))
    assert exchange.trace_id == _TRACE
    assert re.fullmatch("[0-9a-f]{16}", exchange.span_id)
    assert exchange.span_id != _PARENT


@pytest.mark.parametrize(
    "field",
    [
        b"",
        b"00",
        _GIVEN.upper(),
        f"00-{'0' * 32}-{_PARENT}-01".encode(),
        f"00-{_TRACE}-{'0' * 16}-01".encode(),
        f"ff-{_TRACE}-{_PARENT}-01".encode(),
        _GIVEN + b"-more",
        _GIVEN + b"\n",
        _GIVEN + b", " + _GIVEN,
        f"01-{_TRACE}-{_PARENT}-01more".encode(),
        f"00-{_TRACE[:-1]}g-{_PARENT}-01".encode(),
        b"\xff" * 55,
        b"0" * 100_000,
    ],
)
def test_an_invalid_context_is_ignored(field: bytes) -> None:
    """A field that W3C Trace Context §3.2.2 does not allow leaves the exchange without a trace."""
    exchange = admitted((b"traceparent", field))
    assert (exchange.trace_id, exchange.span_id) == ("", "")


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """Versions after 00 may append to the field (W3C Trace Context §3.2.2)."""
    assert admitted((b"traceparent", f"cc-{_TRACE}-{_PARENT}-01-new".encode())).trace_id == _TRACE


@given(st.binary(max_size=80))
def test_no_field_gives_an_id_that_is_not_hexadecimal(field: bytes) -> None:
    """Whatever comes in, ids are empty or lower-case hexadecimal."""
    exchange = admitted((b"traceparent", field))
    assert re.fullmatch("[0-9a-f]{32}|", exchange.trace_id)


def test_outgoing_calls_point_back_to_this_exchange() -> None:
    """Calls made while the exchange is current carry its trace and span, the caller's flags and state."""
    exchange = admitted((b"traceparent", _GIVEN), (b"tracestate", b"vendor=1"))
    token = current_exchange.set(exchange)
    try:
        assert traceparent() == f"00-{_TRACE}-{exchange.span_id}-01"
        assert trace_headers() == {"traceparent": traceparent(), "tracestate": "vendor=1"}
    finally:
        current_exchange.reset(token)
    assert traceparent() is None
    assert trace_headers() == {}


def test_without_a_trace_nothing_is_handed_on() -> None:
    """A trace that nobody records is not begun: it would keep the next service from recording its own."""
    token = current_exchange.set(admitted())
    try:
        assert trace_headers() == {}
    finally:
        current_exchange.reset(token)


def test_unsampled_stays_unsampled() -> None:
    """The caller's decision not to record is handed on."""
    token = current_exchange.set(admitted((b"traceparent", _GIVEN[:-1] + b"0")))
    try:
        assert (traceparent() or "").endswith("-00")
    finally:
        current_exchange.reset(token)


def test_without_a_provider_there_is_nothing_to_do() -> None:
    """OpenTelemetry that is installed and not configured costs nothing: the item is not enabled."""
    script = """
import sys
from roadworthy.layer.tracing import Tracing
from roadworthy.settings import Settings
assert not Tracing(Settings(_env_file=None)).enabled
assert "opentelemetry" not in sys.modules
import opentelemetry.trace
assert not Tracing(Settings(_env_file=None)).enabled
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=DEADLINE)


def test_a_server_span_is_made(spans: InMemorySpanExporter) -> None:
    """One span of kind SERVER, below the caller's, named and described as the conventions for HTTP say."""
    item = Tracing(_SETTINGS)
    assert item.enabled
    exchange = admitted((b"traceparent", _GIVEN), item=item)
    with trace.get_tracer("app").start_as_current_span("inner"):
        pass
    exchange.route, exchange.status, exchange.ended, exchange.query = (
        "/users/{id}",
        200,
        True,
        b"token=canary",
    )
    item.finish(exchange)
    inner, span = spans.get_finished_spans()
    assert span.name == "GET /users/{id}"
    assert span.kind is trace.SpanKind.SERVER
    assert span.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/users/{id}",
        "url.path": "/users/42",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "client.address": "203.0.113.7",
    }
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == exchange.trace_id == _TRACE
    assert f"{span.context.span_id:016x}" == exchange.span_id
    assert f"{span.parent.span_id:016x}" == _PARENT
    assert inner.parent is not None
    assert inner.parent.span_id == span.context.span_id
    assert not trace.get_current_span().get_span_context().is_valid


def test_a_new_trace_is_known_to_records_and_calls(spans: InMemorySpanExporter) -> None:
    """Where OpenTelemetry begins the trace, its ids are the exchange's."""
    item = Tracing(_SETTINGS)
    exchange = admitted(item=item)
    token = current_exchange.set(exchange)
    try:
        # 3: sampled, and OpenTelemetry makes random ids.
        assert traceparent() == f"00-{exchange.trace_id}-{exchange.span_id}-03"
    finally:
        current_exchange.reset(token)
    item.finish(exchange)
    context = only(spans).context
    assert context is not None
    assert f"{context.trace_id:032x}" == exchange.trace_id


def test_a_failure_marks_the_span_without_its_message(spans: InMemorySpanExporter) -> None:
    """A 5xx sets the status and the type of the error; what the exception says stays out of the trace."""
    item = Tracing(_SETTINGS)
    exchange = admitted(item=item)
    exchange.status, exchange.exception = 500, ValueError("canary")
    item.finish(exchange)
    span = only(spans)
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.attributes is not None
    assert span.attributes["error.type"] == "ValueError"
    assert "canary" not in span.to_json()


def test_an_unknown_method_is_one_value(spans: InMemorySpanExporter) -> None:
    """Methods that clients make up do not become names of spans."""
    item = Tracing(_SETTINGS)
    exchange = make_exchange("BREW", "/")
    item.admit(exchange)
    exchange.status = 405
    item.finish(exchange)
    span = only(spans)
    assert span.name == "HTTP"
    assert span.attributes is not None
    assert span.attributes["http.request.method"] == "_OTHER"


def test_a_framework_that_traces_itself_is_not_doubled(spans: InMemorySpanExporter) -> None:
    """With native tracing there is no second span, and the exchange takes over the framework's ids."""
    item = Tracing(_SETTINGS, native=lambda: True)
    exchange = admitted(item=item)
    with trace.get_tracer("framework").start_as_current_span("GET", kind=trace.SpanKind.SERVER) as span:
        item.respond(exchange)
        ids = span.get_span_context()
    item.finish(exchange)
    assert only(spans).name == "GET"
    assert exchange.trace_id == f"{ids.trace_id:032x}"
    assert exchange.span_id == f"{ids.span_id:016x}"


def test_an_exchange_may_end_in_another_context(
    spans: InMemorySpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    """Ending a span in another task than it began in neither raises nor complains."""
    item = Tracing(_SETTINGS)
    exchange = make_exchange()

    async def begin() -> None:
        item.admit(exchange)

    async def main() -> None:
        await asyncio.create_task(begin())
        item.finish(exchange)

    asyncio.run(main())
    assert len(spans.get_finished_spans()) == 1
    assert caplog.records == []


def test_an_exchange_that_was_never_admitted_ends(
    spans: InMemorySpanExporter,
) -> None:
    """Ending an exchange that an earlier step refused does nothing."""
    Tracing(_SETTINGS).finish(make_exchange())
    assert spans.get_finished_spans() == ()


def test_a_provider_configured_while_the_app_starts_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A service may configure its provider in its own start; the item looks again."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    item = Tracing(_SETTINGS)
    before = item.enabled
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    asyncio.run(item.start())
    assert (before, item.enabled) == (False, True)
    exchange = admitted((b"traceparent", _GIVEN), item=item)
    assert exchange.trace_id == _TRACE
    item.finish(exchange)


def test_what_the_framework_never_sees_has_a_span_of_the_layer(spans: InMemorySpanExporter) -> None:
    """Where the framework makes the spans, a refusal before it has one all the same, and no second one."""
    item = Tracing(_SETTINGS, native=lambda: True)
    exchange = admitted((b"traceparent", _GIVEN), item=item)
    item.refused(exchange)
    item.refused(exchange)
    exchange.status = 429
    item.finish(exchange)
    context = only(spans).context
    assert context is not None
    assert (exchange.trace_id, exchange.span_id) == (_TRACE, f"{context.span_id:016x}")


def test_the_first_server_span_is_the_exchange_s(spans: InMemorySpanExporter) -> None:
    """It is known from its beginning, whoever makes it and whatever comes after; two layers look once."""
    for _ in range(2):
        item = Tracing(_SETTINGS, native=lambda: True)
    exchange = admitted((b"traceparent", _GIVEN), item=item)
    tracer = trace.get_tracer("framework")
    token = current_exchange.set(exchange)
    try:
        tracer.start_span("inner").end()
        first = tracer.start_span("GET", kind=trace.SpanKind.SERVER)
        tracer.start_span("GET", kind=trace.SpanKind.SERVER).end()
        first.end()
    finally:
        current_exchange.reset(token)
    item.finish(exchange)
    assert len(spans.get_finished_spans()) == 3
    ids = first.get_span_context()
    assert (exchange.trace_id, exchange.span_id) == (f"{ids.trace_id:032x}", f"{ids.span_id:016x}")


def test_a_span_around_the_layer_is_taken(spans: InMemorySpanExporter) -> None:
    """A middleware around the layer traces the request already: no second span, and its own goes on."""
    item = Tracing(_SETTINGS)
    with trace.get_tracer("middleware").start_as_current_span("GET", kind=trace.SpanKind.SERVER) as around:
        exchange = admitted(item=item)
        item.finish(exchange)
        assert around.is_recording()
    context = only(spans).context
    assert context is not None
    assert exchange.span_id == f"{context.span_id:016x}"


def test_a_span_of_a_caller_in_the_process_is_not_taken(spans: InMemorySpanExporter) -> None:
    """A test or a client around the app is not the request."""
    item = Tracing(_SETTINGS)
    with trace.get_tracer("test").start_as_current_span("the test"):
        item.finish(admitted(item=item))
    assert [span.kind for span in spans.get_finished_spans()] == [
        trace.SpanKind.SERVER,
        trace.SpanKind.INTERNAL,
    ]


def test_probes_have_no_span(spans: InMemorySpanExporter) -> None:
    """What is asked every few seconds is not traced."""
    item = Tracing(_SETTINGS, probes=("/users/42",))
    item.finish(admitted(item=item))
    assert spans.get_finished_spans() == ()
