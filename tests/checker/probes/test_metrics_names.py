"""What the checker says about names of metrics."""

from __future__ import annotations

import pytest

from roadworthy.checker.probes.metrics.names import lint
from roadworthy.checker.read.exposition import read_exposition


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("http_requests_total", "counter", []),
        ("http_request_duration_seconds", "histogram", []),
        ("http_response_size_bytes", "summary", []),
        ("requests", "counter", ["is a counter without _total"]),
        ("requests_total", "gauge", ["is a gauge with _total"]),
        ("wait_milliseconds", "gauge", ["is in milliseconds, not in seconds"]),
        ("wait_ms", "gauge", ["abbreviates a unit (ms)"]),
        ("memory_kilobytes", "gauge", ["is in kilobytes, not in bytes"]),
        ("load_percent", "gauge", ["is in percent, not in ratio"]),
        ("queue_gauge", "gauge", ["has its type in its name"]),
        ("job:requests", "gauge", ["has a colon, which is for recording rules"]),
        ("queueLength", "gauge", ["is in camelCase"]),
    ],
)
def test_names(name: str, kind: str, told: list[str]) -> None:
    """What promlint would say about a name is said, and a good name is left alone."""
    lines = [f"# HELP {name} Help.", f"# TYPE {name} {kind}"]
    ends = {"histogram": ('_bucket{le="+Inf"}', "_sum", "_count"), "summary": ("_sum", "_count")}
    lines += [f"{name}{end} 1" for end in ends.get(kind, ("",))]
    found = read_exposition(("\n".join(lines) + "\n").encode())
    assert found.problems == []
    assert [text for _, text, _ in lint(found)] == told


def test_names_of_runtimes_are_not_the_services() -> None:
    """What a language's runtime exports cannot be renamed, so it is told apart."""
    found = read_exposition(b"nodejs_heap_size 1\nqueue_size 1\n")
    assert [(name, own) for name, _, own in lint(found)] == [
        ("nodejs_heap_size", False),
        ("queue_size", True),
    ]
