"""Servers that nobody here wrote have habits of their own, and get the verdict that they deserve."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from roadworthy.checker import Options, Result, Verdict, parse_manifest, run_check
from tests.free_port import free_port

_SERVER = Path(__file__).with_name("other_server.py")


def _judged(word: str, assertion: str, folder: Path, routes: str = "") -> Result:
    port = free_port() if "fixed" in word else 0
    command = [sys.executable, "-P", str(_SERVER), word, *([str(port)] if port else [])]
    listen = f"port = {port}" if port else 'port_env = "PORT"'
    text = f"""
version = 1
[start]
command = {command}
grace = "1s"
[listen]
{listen}
[health]
live = "/livez"
[routes]
list = {{ path = "/a" }}
{routes}
[metrics]
path = "/metrics"
[cors]
policy = "public"
"""
    manifest = parse_manifest(text.replace("'", '"'), folder=folder)
    run = asyncio.run(run_check(manifest, Options(only=(assertion,), calibrated=False)))
    return run.results[0]


@pytest.mark.parametrize(
    ("word", "assertion", "verdict", "title"),
    [
        ("plain", "ERR-5", Verdict.PASS, ""),
        ("fixed", "ERR-5", Verdict.PASS, ""),
        ("fixed-silent", "LOG-1", Verdict.FAIL, "a request leaves no record"),
        ("silent", "LOG-1", Verdict.FAIL, "a request leaves no record"),
        ("coloured", "LOG-1", Verdict.PASS, ""),
        ("terse", "LOG-1", Verdict.PASS, ""),
        ("patches", "ERR-2", Verdict.PASS, ""),
        ("plain", "ERR-6", Verdict.PASS, ""),
        ("zipped", "HDR-2", Verdict.PASS, ""),
        ("split", "LOG-1", Verdict.FAIL, "a record is split over lines"),
        ("helper", "ERR-5", Verdict.PASS, ""),
        ("star", "COR-4", Verdict.PASS, ""),
        ("plain", "MET-4", Verdict.PASS, ""),
        ("plain", "SHUT-3", Verdict.PASS, ""),
        ("plain", "SHUT-8", Verdict.PASS, ""),
        ("stubborn", "SHUT-3", Verdict.FAIL, "the process does not end"),
    ],
)
def test_the_verdict_is_right(
    word: str, assertion: str, verdict: Verdict, title: str, tmp_path: Path
) -> None:
    """Habits, and what was not declared, are no reason for a false alarm or for no verdict."""
    result = _judged(word, assertion, tmp_path)
    assert (result.verdict, result.reason) == (verdict, "")
    assert {finding.title for finding in result.findings} == ({title} if title else set())


def test_a_counter_of_something_else_is_none_of_requests(tmp_path: Path) -> None:
    """A series that moves when requests come, and not by them, proves nothing; the manifest may name one."""
    result = _judged("upstream", "MET-4", tmp_path)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "upstream_requests_total" in result.reason
    assert "metrics.requests" in result.reason


def test_two_processes_do_not_share_one_port(tmp_path: Path) -> None:
    """What needs two at the same time is not tried on a fixed port, and the reason names what to declare."""
    result = _judged("fixed", "RTL-6", tmp_path)
    assert result.verdict in {Verdict.NOT_APPLICABLE, Verdict.INCONCLUSIVE}


def test_the_reason_has_what_the_service_wrote(tmp_path: Path) -> None:
    """A valid request that fails in the service proves nothing; its own words show where to look."""
    create = 'create = { path = "/a", body = { name = "{unique}" } }'
    result = _judged("full", "CTL-4", tmp_path, create)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "was answered 500" in result.reason
    assert result.reason.endswith("it wrote: OSError: no space left")


def test_a_relative_location_is_followed(tmp_path: Path) -> None:
    """Location is a reference that the request's URL resolves (RFC 9110 §10.2.2), not a path."""
    create = 'create = { path = "/a", body = { name = "{unique}" } }'
    result = _judged("located", "VAL-6", tmp_path, create)
    assert any(note.startswith("kept exactly: ") and "an emoji" in note for note in result.notes)


def test_what_is_compressed_for_http_1_1_alone_is_compressed(tmp_path: Path) -> None:
    """Caches that speak HTTP/1.0 may know no Vary: nginx and others leave out compression for them."""
    result = _judged("modern", "CMP-1", tmp_path, 'large = { path = "/large" }')
    assert result.verdict is Verdict.PASS


@pytest.mark.parametrize("assertion", ["VAL-0", "SVC-3"])
def test_a_create_may_answer_with_the_id_and_fill_in_defaults(assertion: str, tmp_path: Path) -> None:
    """An id alone is no representation, and a member that was not sent changes none that was."""
    routes = """
create = { path = "/a", body = { name = "{unique}", part = { size = 1 } } }
read = { path = "/a/{id}" }
"""
    assert _judged("brief", assertion, tmp_path, routes).verdict is Verdict.PASS
