"""The strict reader of a scrape: every breach of the format is seen, and nothing else."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import choose_encoder, generate_latest

from roadworthy.checker.probes.metrics.exposition import read_exposition
from roadworthy.checker.probes.metrics.names import lint

GOOD = """# A comment of any kind.
# HELP a_total With a \\\\ and a \\n in it.
# TYPE a_total counter
a_total{x="1",y="a\\"b\\\\c\\n"} 1 1700000000000
a_total{x="2",} 2e3

# TYPE b_seconds histogram
b_seconds_bucket{le="0.1"} 1
b_seconds_bucket{le="+Inf"} 3
b_seconds_sum 1.5
b_seconds_count 3
# TYPE c summary
c{quantile="0.5"} NaN
c_sum -0.5
c_count 0
free .5
{"dotted.name",x="1"} +Inf
"""


def problems(text: str, *, openmetrics: bool = False) -> list[str]:
    """Return what is wrong with a text."""
    return [problem for _, problem in read_exposition(text.encode(), openmetrics=openmetrics).problems]


def test_what_is_valid_has_no_problem() -> None:
    """Comments, escapes, times, empty lines, a last comma, quoted names: all of it is allowed."""
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("+Inf\n", "+Inf", "the last line does not end with a line feed"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"} 2,5', "the value of a_total is no number"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"}', "has no value, or more than a value and a time"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"} 1 2 3', "has no value, or more than a value and a time"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"} 1 1.5', "the timestamp of a_total is invalid"),
        ('a_total{x="2",} 2e3', 'a_total{x="\\d"} 1', "a label has an unknown escape"),
        ('a_total{x="2",} 2e3', 'a_total{x="2} 1', "a quoted text has no end"),
        ('a_total{x="2",} 2e3', "a_total{x=2} 1", "a label has no quoted value"),
        ('a_total{x="2",} 2e3', 'a_total{x-y="2"} 1', "a label has no quoted value"),
        ('a_total{x="2",} 2e3', 'a_total{x="2" y="3"} 1', "labels are not separated by commas"),
        ('a_total{x="2",} 2e3', 'a_total{x="2",x="3"} 1', "a_total has a label twice"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"} -1', "the counter a_total is not a number from 0 on"),
        ('a_total{x="2",} 2e3', "<html>", "does not begin with a name"),
        ('a_total{x="2",} 2e3', 'a_total{x="2"} 1\na_total{x="2"} 1', "repeats the series of line 5"),
        ("# TYPE a_total counter", "# TYPE a_total count", "TYPE of a_total is unknown"),
        (
            "# TYPE a_total counter",
            "# TYPE a_total counter\n# TYPE a_total counter",
            "a second TYPE of a_total",
        ),
        ("# TYPE a_total counter", "# HELP a_total Again.", "a second HELP of a_total"),
        ("free .5", "# TYPE free gauge\nfree 1\n# HELP free Late.", "HELP of free comes after its samples"),
        ("free .5", 'free 1\na_total{x="3"} 1', "a_total is not in one group: other names stand in between"),
        ('b_seconds_bucket{le="+Inf"} 3\n', "", 'the histogram b_seconds has no bucket le="+Inf"'),
        ("b_seconds_count 3", "b_seconds_count 4", "the bucket +Inf of b_seconds is not its _count"),
        ("b_seconds_sum 1.5\n", "", "the histogram b_seconds lacks _sum or _count"),
        ("c_count 0\n", "", "the summary c lacks _sum or _count"),
        ('le="0.1"} 1', 'le="0.1"} 4', "the buckets of b_seconds are not cumulative"),
        ('le="0.1"', 'le="low"', "a bucket of b_seconds has no le that is a number"),
    ],
)
def test_each_breach_is_seen(old: str, new: str, problem: str) -> None:
    """One change makes a valid text invalid, and just that is said."""
    assert old in GOOD
    assert problems(GOOD.replace(old, new, 1)) == [problem]


def test_buckets_have_an_order() -> None:
    """Buckets stand in the order of their bounds."""
    lines = ["# TYPE b histogram", 'b_bucket{le="+Inf"} 3', 'b_bucket{le="1"} 3', "b_sum 1", "b_count 3", ""]
    assert problems("\n".join(lines)) == ["the buckets of b are not in order"]


def test_bytes_that_are_no_text() -> None:
    """What is not UTF-8 is said with its line."""
    assert read_exposition(b'a 1\nb{x="\xff"} 1\n').problems == [(2, "is not UTF-8")]


def test_openmetrics_has_an_end() -> None:
    """OpenMetrics ends with # EOF, has no empty lines and no other comments."""
    assert problems("# TYPE a counter\na_total 1\n# EOF\n", openmetrics=True) == []
    assert problems("a 1\n", openmetrics=True) == ["OpenMetrics must end with # EOF"]
    assert problems("a 1\n# EOF\nb 1\n", openmetrics=True) == ["comes after # EOF"]
    assert problems("a 1\n\n# EOF\n", openmetrics=True) == ["is empty, which OpenMetrics does not allow"]
    assert problems("# hi\n# EOF\n", openmetrics=True) == ["is a comment that cannot be read"]


def test_what_prometheus_client_writes_is_valid() -> None:
    """Every kind of metric of the usual library is valid in both formats, exemplars and all."""
    registry = CollectorRegistry()
    Counter("a", "Counts.", ["x"], registry=registry).labels('"\\\n').inc(exemplar={"trace_id": "b"})
    Gauge("b", "Measures.", registry=registry).set(float("nan"))
    Histogram("c", "Spreads.", registry=registry).observe(0.3, {"trace_id": "b"})
    Summary("d", "Sums.", registry=registry).observe(3)
    Info("e", "Names.", registry=registry).info({"version": "1"})
    assert problems(generate_latest(registry).decode()) == []
    encode, _ = choose_encoder("application/openmetrics-text; version=1.0.0")
    assert problems(encode(registry).decode(), openmetrics=True) == []


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
