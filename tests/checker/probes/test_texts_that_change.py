"""Two answers of one route are compared in one stretch, and not where the route changes by itself."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from roadworthy.checker import Options, Profile, Result, Verdict, parse_manifest, run_check
from roadworthy.checker.http.request import Address, build_request
from roadworthy.checker.http.wire import Answer, Ending
from roadworthy.checker.probes.compression.facts import same_text

_SERVER = Path(__file__).with_name("rows_server.py")


def _judged(word: str, folder: Path, only: tuple[str, ...]) -> dict[str, Result]:
    text = f"""
version = 1
[start]
command = {json.dumps([sys.executable, "-P", str(_SERVER), word])}
[listen]
port_env = "PORT"
[health]
live = "/livez"
[routes]
list = {{ path = "/rows" }}
create = {{ path = "/rows", body = {{ name = "{{unique}}" }} }}
read = {{ path = "/rows/{{id}}" }}
delete = {{ path = "/rows/{{id}}" }}
"""
    manifest = parse_manifest(text, folder=folder)
    options = Options(only=only, profile=Profile.FULL, second_try=False, calibrated=False)
    return {result.id: result for result in asyncio.run(run_check(manifest, options)).results}


def test_what_the_check_creates_disturbs_no_comparison(tmp_path: Path) -> None:
    """Probes that create stand between those that compare the list that they add to."""
    results = _judged("steady", tmp_path, ("CMP-1", "CMP-6", "CMP-7", "CMP-8"))
    assert {name: result.verdict for name, result in results.items()} == dict.fromkeys(results, Verdict.PASS)


@pytest.mark.parametrize(
    ("word", "assertion", "title"),
    [
        ("lies", "CMP-1", "the compressed body decodes to something else"),
        ("shares", "CMP-7", "two variants share a strong ETag"),
        ("longer", "CMP-8", "HEAD returns a false length (gzip)"),
        ("forgets", "CTL-5", "a refused collision has changed what is stored"),
    ],
)
def test_a_fault_is_seen_all_the_same(word: str, assertion: str, title: str, tmp_path: Path) -> None:
    """What differs by itself is left out, and the rest is compared."""
    result = _judged(word, tmp_path, (assertion,))[assertion]
    assert [finding.title for finding in result.findings] == [title]


@pytest.mark.parametrize(
    ("word", "assertion", "verdict"),
    [
        ("grows", "CMP-1", Verdict.INCONCLUSIVE),
        ("grows", "CMP-7", Verdict.INCONCLUSIVE),
        ("grows", "CMP-8", Verdict.INCONCLUSIVE),
        ("ticks", "CMP-1", Verdict.PASS),
        ("counts", "CTL-5", Verdict.PASS),
        ("ticks", "CMP-7", Verdict.INCONCLUSIVE),
    ],
)
def test_a_route_that_changes_by_itself_proves_nothing(
    word: str, assertion: str, verdict: Verdict, tmp_path: Path
) -> None:
    """No finding comes of it, and the reason names what was not judged and why."""
    result = _judged(word, tmp_path, (assertion,))[assertion]
    assert (result.verdict, result.findings) == (verdict, ())
    if verdict is Verdict.INCONCLUSIVE:
        assert result.reason.startswith("not judged: ")
        assert "two identical requests for /rows in a row had different answers" in result.reason


def _answer(body: bytes) -> Answer:
    request, _ = build_request(Address("127.0.0.1", 80), "GET", "/", [])
    return Answer(request, Ending.COMPLETE, body=body)


@pytest.mark.parametrize(
    ("coded", "before", "after", "same"),
    [
        (b"a", b"a", b"a", True),
        (b"b", b"a", b"a", False),
        (b"a", b"a", b"b", True),
        (b"b", b"a", b"b", True),
        (b"c", b"a", b"b", None),
        (b"x\nc", b"x\na", b"x\nb", True),
        (b"y\nc", b"x\na", b"x\nb", False),
        (b'{"a": 1, "t": 3}', b'{"a": 1, "t": 1}', b'{"a": 1, "t": 2}', True),
        (b'{"a": 2, "t": 3}', b'{"a": 1, "t": 1}', b'{"a": 1, "t": 2}', False),
        (b'{"a": 1}', b'{"a": 1, "t": 1}', b'{"a": 1, "t": 2}', False),
        (b"[1, 3]", b"[1, 2]", b"[1, 4]", True),
        (b"[1]", b"[1, 2]", b"[1, 4]", False),
        (b"[1, 2, 3, 4]", b"[1, 2]", b"[1, 2, 3]", None),
        (b"not JSON", b'{"a": 1, "t": 1}', b'{"a": 1, "t": 2}', False),
    ],
)
def test_a_text_is_compared_in_what_does_not_change(
    coded: bytes, before: bytes, after: bytes, same: bool | None
) -> None:
    """Parts that differ between two plain answers are left out; where nothing is left, nothing is known."""
    assert same_text(coded, _answer(before), _answer(after)) is same
