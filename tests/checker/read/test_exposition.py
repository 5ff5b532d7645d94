"""The reader of a scrape: its samples, and every breach of the format and nothing else."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Summary
from prometheus_client.exposition import choose_encoder, generate_latest

from roadworthy.checker.read.exposition import Sample, read_exposition, total

OPENMETRICS = "application/openmetrics-text"

SCRAPE = """# HELP http_requests_total Requests.
# TYPE http_requests_total counter
http_requests_total{method="GET",status="200"} 3
http_requests_total{status="404",method="GET"} 1.5 1700000000000
http_requests_total{method="POST",status="201",} 2 # {trace_id="a"} 1 1700000000
up 1

not a sample
bad{a="b"} many
flight{route="/a\\"b\\\\c\\nd"} +Inf
# EOF
"""


def test_samples_are_read() -> None:
    """Labels in any order, a time, an exemplar, escapes and infinities; a malformed line has no sample."""
    found = read_exposition(SCRAPE.encode(), OPENMETRICS).samples
    assert found[Sample("http_requests_total", (("method", "GET"), ("status", "200")))] == 3
    assert found[Sample("http_requests_total", (("method", "GET"), ("status", "404")))] == 1.5
    assert found[Sample("http_requests_total", (("method", "POST"), ("status", "201")))] == 2
    assert found[Sample("up", ())] == 1
    assert found[Sample("flight", (("route", '/a"b\\c\nd'),))] == math.inf
    assert len(found) == 5


def test_totals_by_labels() -> None:
    """The series of a name are added up where their labels match; a label that is absent is empty."""
    found = read_exposition(SCRAPE.encode(), OPENMETRICS).samples
    assert total(found, "http_requests_total") == 6.5
    assert total(found, "http_requests_total", status="4..") == 1.5
    assert total(found, "http_requests_total", status="5..") == 0
    assert total(found, "http_requests_total", route="") == 6.5


def test_the_first_label_of_several_names() -> None:
    """A label is asked for under the names that exporters give it."""
    sample = Sample("x", (("code", "200"),))
    assert (sample.label("status", "code"), sample.label("status")) == ("200", "")


@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(value=st.text(max_size=20))
def test_label_values_come_back(value: str) -> None:
    """Any label value that was escaped as the format says is read as it was."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    read = read_exposition(f'a{{b="{escaped}"}} 1\n'.encode())
    assert (list(read.samples), read.problems) == ([Sample("a", (("b", value),))], [])


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


def problems(text: str, media_type: str = "text/plain") -> list[str]:
    """Return what is wrong with a text."""
    return [problem for _, problem in read_exposition(text.encode(), media_type).problems]


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


def test_of_a_repeated_series_the_last_value_counts() -> None:
    """Two lines of one series are a breach; its value is that of the last."""
    assert read_exposition(b"a 1\nb 3\na 2\n").samples == {Sample("a", ()): 2, Sample("b", ()): 3}


def test_buckets_have_an_order() -> None:
    """Buckets stand in the order of their bounds."""
    lines = ["# TYPE b histogram", 'b_bucket{le="+Inf"} 3', 'b_bucket{le="1"} 3', "b_sum 1", "b_count 3", ""]
    assert problems("\n".join(lines)) == ["the buckets of b are not in order"]


def test_bytes_that_are_no_text() -> None:
    """What is not UTF-8 is reported with its line, and the rest is read."""
    found = read_exposition(b'a 1\nb{x="\xff"} 1\nc 2\n')
    assert found.problems == [(2, "is not UTF-8")]
    assert (found.samples[Sample("a", ())], found.samples[Sample("c", ())]) == (1, 2)


def test_openmetrics_has_an_end() -> None:
    """OpenMetrics ends with # EOF, has no empty lines and no other comments."""
    assert problems("# TYPE a counter\na_total 1\n# EOF\n", OPENMETRICS) == []
    assert problems("a 1\n", OPENMETRICS) == ["OpenMetrics must end with # EOF"]
    assert problems("a 1\n# EOF\nb 1\n", OPENMETRICS) == ["comes after # EOF"]
    assert problems("a 1\n\n# EOF\n", OPENMETRICS) == ["is empty, which OpenMetrics does not allow"]
    assert problems("# hi\n# EOF\n", OPENMETRICS) == ["is a comment that cannot be read"]


@pytest.mark.parametrize(
    "text",
    [
        "  a 1\n",
        "a\t1\t \n",
        "a 1 -1700000000000\n",
        'a {x="1"} 1\n',
        'a{ x = "1" , y = "2" , } 1\n',
        'a{x="1"}1\n',
        "a{} 1\n",
        "a +inf\nb -INFINITY\nc nan\nd 1E-3\ne 1.\n",
        " # a comment\n#another\n#\n# HELPER of none\n",
        "#\tHELP   a  With a text. \n# \t TYPE a\tgauge \na 1\n",
        "# HELP a\n# TYPE a gauge\na 1\n",
        " \t\n\n",
        '# TYPE "dotted.name" gauge\n{"dotted.name"} 1\n',
        '{ "dotted.name" , "any label" = "1" } 1\n',
        "",
    ],
)
def test_blanks_in_the_text_format(text: str) -> None:
    """Parts are separated by any number of blanks and tabs, and lines may begin and end with them."""
    assert problems(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "a\n",
        "1a 1\n",
        "a 0x1p-2\n",
        "a 1_000\n",
        "a ١\n",
        "a 1 1e3\n",
        "a{x='1'} 1\n",
        'a{x="1"',
        "a{x} 1\n",
        'a{="1"} 1\n',
        'a{x="1",,} 1\n',
        "a{,} 1\n",
        '{x="1"} 1\n',
        "# TYPE a gauges\n",
        "# TYPE a\n",
        "# TYPE 1a gauge\n",
        "# HELP\n",
    ],
)
def test_what_the_text_format_does_not_have(text: str) -> None:
    """Each of them costs Prometheus the scrape."""
    assert problems(text)


_EXEMPLAR = '# TYPE a counter\na_total 1 # {x="1"} 0.5 1.5\n# EOF\n'


def test_an_exemplar_has_no_problem() -> None:
    """A sample of OpenMetrics may have an exemplar: labels, a value, and perhaps a time."""
    assert problems(_EXEMPLAR, OPENMETRICS) == []
    assert problems(_EXEMPLAR.replace(" 1.5", "").replace('{x="1"}', "{}"), OPENMETRICS) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a_total 1", "a_total  1"),
        ("a_total 1", "a_total\t1"),
        ("a_total 1", "a_total 1 "),
        ("a_total 1", " a_total 1"),
        ("a_total 1", 'a_total{x="1",} 1'),
        ("a_total 1", 'a_total {x="1"} 1'),
        ("a_total 1", 'a_total{x= "1"} 1'),
        ("a_total 1", "a_total 1 now"),
        ("# TYPE a", "#  TYPE a"),
        ("# TYPE a counter", "# TYPE a counter "),
        ("# TYPE a counter", "# TYPE a untyped"),
        ("# TYPE a counter", "#TYPE a counter"),
        ('{x="1"} 0.5 1.5', '{x="1"}'),
        ('{x="1"} 0.5', '{x="1"} half'),
        ('{x="1"} 0.5', "{x=1} 0.5"),
        ('{x="1"} 0.5', '{x="' + "1" * 128 + '"} 0.5'),
        (" 1.5", " 1.5 1"),
        (" 1.5", " soon"),
        ("# EOF\n", "# EOF \n"),
    ],
)
def test_what_openmetrics_does_not_have(old: str, new: str) -> None:
    """One blank between two parts and no other, no comma at the end, and exemplars that can be read."""
    assert old in _EXEMPLAR
    assert problems(_EXEMPLAR.replace(old, new, 1), OPENMETRICS)


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
    assert problems(encode(registry).decode(), OPENMETRICS) == []


@pytest.mark.parametrize(
    ("text", "media_type", "scraped"),
    [
        ("# TYPE a counter\n# TYPE a counter\na 1\n", "text/plain", True),
        ("# HELP a b\n# HELP a b\na 1\n", "text/plain", True),
        ("a 1\nb 1\na 1 5\n", "text/plain", False),
        ('a{x="1"} 1\nb 1\na{x="2"} 1\n', "text/plain", True),
        ("a 1\n# TYPE a counter\n", "text/plain", True),
        ("a one\n", "text/plain", False),
        ("# TYPE a gauge\n# TYPE a gauge\na 1\n# EOF\n", OPENMETRICS, False),
    ],
)
def test_what_prometheus_takes_all_the_same(text: str, media_type: str, scraped: bool) -> None:
    """A breach that costs no sample is told apart from one that does."""
    found = read_exposition(text.encode(), media_type)
    assert found.problems
    assert found.is_scraped is scraped
