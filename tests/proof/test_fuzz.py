"""Fuzz: whatever comes in, no 5xx goes out and nothing of the inside."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.patience import DEADLINE
from tests.reference_service import Running, reference_service

pytestmark = pytest.mark.proof
ROOT = Path(__file__).parents[2]
REQUESTS = 10_000
LEAKS = re.compile(rb"Traceback|site-packages|\.py\"|sqlite3|SQLAlchemy|sqlalchemy|hunter2-canary")

_segment = st.one_of(
    st.sampled_from(
        ["api", "users", "posts", "livez", "docs", "1", "0", "-1", "9007199254740993", "%00", "..", "%2e%2e"]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=12),
)
_path = st.lists(_segment, max_size=5).map(lambda parts: "/" + "/".join(parts))
_query = st.one_of(
    st.just(""),
    st.sampled_from(
        ["?limit=1e9", "?limit=-1", "?cursor=%00", "?limit=&cursor=", "?cursor=AAAA", "?limit=5&limit=6"]
    ),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_user = st.fixed_dictionaries(
    {},
    optional={
        "name": _json,
        "email": _json | st.emails(),
        "title": _json,
        "body": _json,
        "password": st.just("hunter2-canary"),
    },
)
_body = st.one_of(
    st.just(b""),
    st.binary(max_size=200),
    _user.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass")),
    _json.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass")),
    st.integers(1, 3000).map(lambda depth: b"[" * depth),
)
_headers = st.fixed_dictionaries(
    {},
    optional={
        "content-type": st.sampled_from(
            ["application/json", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "x"]
        ),
        "accept-encoding": st.sampled_from(["gzip", "br;q=0", "*", "zstd;q=abc", "\xff", ",,,"]),
        "origin": st.sampled_from(["null", "https://evil.example", "\xff"]),
        "x-request-id": st.text(
            st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
        ),
        "x-forwarded-for": st.sampled_from(["1.2.3.4", "::1", "a,b,,", "\xff" * 10]),
        "traceparent": st.sampled_from(
            ["00-" + "0" * 32 + "-" + "0" * 16 + "-01", "x", "00-" + "a" * 32 + "-" + "b" * 16 + "-01"]
        ),
        "content-encoding": st.sampled_from(["gzip", "identity"]),
        "accept": st.sampled_from(["text/html", "*/*;q=x"]),
        "range": st.sampled_from(["bytes=0-", "bytes=" + "0-1," * 50]),
    },
)
_method = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "FOO"])


@contextmanager
def _sending(running: Running) -> Iterator[Callable[..., tuple[int, bytes]]]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=DEADLINE)

    def send(method: str, target: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            connection.request(method, target, body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (http.client.RemoteDisconnected, ConnectionError, http.client.BadStatusLine):
            # The server may close on what is not HTTP; it must answer the next request all the same.
            connection.close()
            return 0, b""

    try:
        yield send
    finally:
        connection.close()


def test_random_requests_give_no_5xx_and_no_leak(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Ten thousand requests of random method, target, fields and body: no 5xx, nothing of the inside."""
    counted = {"requests": 0, "closed": 0}
    with reference_service(tmp_path) as running, _sending(running) as send:

        @settings(
            max_examples=REQUESTS,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(_method, _path, _query, _headers, _body)
        def one(method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
            status, answer = send(method, path + query, body, headers)
            counted["requests"] += 1
            counted["closed"] += status == 0
            assert status < 500, (method, path, query, headers, body)
            assert not LEAKS.search(answer), answer

        one()
        assert send("GET", "/readyz", b"", {})[0] == 200
        errors: list[Any] = [line for line in running.lines() if '"level":"error"' in line]
    assert errors == []
    assert counted["closed"] < counted["requests"] // 20
    for name, value in counted.items():
        record_property(name, value)


def test_schemathesis_finds_no_server_error(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """schemathesis over the contract's OpenAPI document, two minutes: no server error."""
    st_command = shutil.which("st", path=str(Path(sys.executable).parent))
    assert st_command, "schemathesis is not installed: make setup"
    with reference_service(tmp_path) as running:
        done = subprocess.run(
            [
                *(st_command, "run", str(ROOT / "contract" / "openapi.yaml"), "--url", running.url),
                *("--checks", "not_a_server_error", "--max-time", "120", "--max-examples", "200"),
                *("--no-color", "--request-timeout", "10", "--seed", "7", "--continue-on-failure"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        served = sum('"message":"request"' in line for line in running.lines())
    record_property("requests", served)
    assert "not_a_server_error" not in done.stdout.partition("FAILURES")[2], done.stdout[-3000:]
    assert done.returncode == 0, done.stdout[-3000:]
    assert served > 500
