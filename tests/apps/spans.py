"""Exports the spans of a process, one JSON object a line, to the file that ``TESTS_SPANS`` names."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

__all__ = ("export_spans", "server_spans", "spans_in")


class _FileExporter(SpanExporter):
    def __init__(self, path: Path) -> None:
        self._path = path

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        lines = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        with self._path.open("a") as file:
            file.write(lines)
        return SpanExportResult.SUCCESS


def export_spans(*, everywhere: bool = True) -> TracerProvider | None:
    """Return a tracer provider if there is to be one; ``everywhere`` makes it that of the process."""
    path = os.environ.get("TESTS_SPANS")
    if path is None:
        return None
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(_FileExporter(Path(path))))
    if everywhere:
        trace.set_tracer_provider(provider)
    return provider


def spans_in(path: Path) -> list[dict[str, Any]]:
    """Return what was exported so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def server_spans(path: Path) -> list[tuple[str, str]]:
    """Return the ids of the server spans so far: trace id and span id, as records have them."""
    return [
        (span["context"]["trace_id"].removeprefix("0x"), span["context"]["span_id"].removeprefix("0x"))
        for span in spans_in(path)
        if span["kind"] == "SpanKind.SERVER"
    ]
