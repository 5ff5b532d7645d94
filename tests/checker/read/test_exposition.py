"""Samples read out of a scrape, enough to compare two of them."""

from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from roadworthy.checker.read.exposition import Sample, read_samples, total

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
    """Labels in any order, a time, an exemplar, escapes and infinities; other lines are passed over."""
    found = read_samples(SCRAPE)
    assert found[Sample("http_requests_total", (("method", "GET"), ("status", "200")))] == 3
    assert found[Sample("http_requests_total", (("method", "GET"), ("status", "404")))] == 1.5
    assert found[Sample("http_requests_total", (("method", "POST"), ("status", "201")))] == 2
    assert found[Sample("up", ())] == 1
    assert found[Sample("flight", (("route", '/a"b\\c\nd'),))] == math.inf
    assert len(found) == 5


def test_totals_by_labels() -> None:
    """The series of a name are added up where their labels match; a label that is absent is empty."""
    found = read_samples(SCRAPE)
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
    assert list(read_samples(f'a{{b="{escaped}"}} 1')) == [Sample("a", (("b", value),))]
