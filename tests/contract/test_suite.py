"""The suite notices: a fault between it and the reference service makes the right test fail."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from contract.rows import ROWS

from tests.patience import DEADLINE

from ..reference_service import reference_service
from .current_test import CONTROL
from .test_reference import open_rows, run_suite

pytestmark = pytest.mark.long


class Answer:
    """What the service answered and a fault may change before the suite sees it."""

    def __init__(self, request: bytes, response: HTTPResponse) -> None:
        self.request = request
        self.status = response.status
        self.headers = {name.title(): value for name, value in response.getheaders()}
        self.body = response.read()

    def edit(self, **members: Any) -> None:
        """Change members of the JSON body; None takes one out."""
        body = {**json.loads(self.body), **members}
        self.body = json.dumps({name: value for name, value in body.items() if value is not None}).encode()


Fault = Callable[[Answer], None]


class FaultyProxy:
    """Passes requests on to a service, and its answers through the fault that belongs to the current test.

    ``faults`` are by name of the test. The path ``without`` is one that the service does not have.
    """

    def __init__(self, target: str) -> None:
        self.faults: Mapping[str, Fault] = {}
        self.without: str | None = None
        self._fault: Fault | None = None
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body go out in two writes

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == CONTROL:
                    proxy._fault = proxy.faults.get(body.decode())
                    self.send_response_only(204)
                    self.end_headers()
                    return
                path = self.path if self.path != proxy.without else "/nowhere"
                connection = HTTPConnection(urlsplit(target).netloc, timeout=DEADLINE)
                try:
                    headers = {name: value for name, value in self.headers.items() if name != "Connection"}
                    connection.request(self.command, path, body, headers)
                    answer = Answer(body, connection.getresponse())
                finally:
                    connection.close()
                if proxy._fault is not None:
                    proxy._fault(answer)
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    if name not in ("Content-Length", "Transfer-Encoding", "Connection"):
                        self.send_header(name, value)
                if answer.status != 204:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    """The reference service behind a proxy."""
    with reference_service(tmp_path_factory.mktemp("reference")) as running:
        proxy = FaultyProxy(running.url)
        yield proxy
        proxy.close()


def _echo(answer: Answer) -> None:
    if answer.status == 422:
        answer.edit(errors=[{**one, "message": answer.request.decode()} for one in _entries(answer)])


def _entries(answer: Answer) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads(answer.body)["errors"]
    return entries


def _first_entry_only(answer: Answer) -> None:
    if answer.status == 422:
        answer.edit(errors=_entries(answer)[:1])


def _other_location(answer: Answer) -> None:
    if "Location" in answer.headers:
        answer.headers["Location"] += "0"


def _forgotten(answer: Answer) -> None:
    if "Idempotency-Replayed" in answer.headers:
        answer.edit(id=json.loads(answer.body)["id"] + 1)


def _plain_json_errors(answer: Answer) -> None:
    if answer.status >= 400:
        answer.headers["Content-Type"] = "application/json"


def _no_request_id(answer: Answer) -> None:
    if answer.status >= 400:
        answer.edit(request_id=None)


def _stack(answer: Answer) -> None:
    if answer.status >= 400:
        answer.edit(stack="Traceback (most recent call last)")


def _normalised(answer: Answer) -> None:
    answer.body = answer.body.replace("e\u0301".encode(), "\u00e9".encode())


def _stripped(answer: Answer) -> None:
    if answer.status == 201 and "name" in json.loads(answer.body):
        answer.edit(name=json.loads(answer.body)["name"].strip() or "x")


def _first_page_for_ever(answer: Answer) -> None:
    if answer.status == 200 and b'"next_cursor":null' in answer.body:
        answer.edit(next_cursor="MQ")


def _allow_get_only(answer: Answer) -> None:
    if answer.status == 405:
        answer.headers["Allow"] = "GET"


def _bad_request_for_all(answer: Answer) -> None:
    if answer.status == 422:
        answer.status = 400


def _failure(answer: Answer) -> None:
    if b"\\ud800" in answer.request:
        answer.status = 500


def _local_time(answer: Answer) -> None:
    if answer.status in (200, 201) and b"created_at" in answer.body:
        answer.body = answer.body.replace(b'Z"', b'+01:00"')


def _extra_member(answer: Answer) -> None:
    if answer.status == 201:
        answer.edit(password="x")


def _generic_conflict(answer: Answer) -> None:
    if answer.status == 409:
        answer.edit(code="CONFLICT")


def _body_after_delete(answer: Answer) -> None:
    if answer.status == 204:
        answer.status, answer.body = 200, b"{}"


def _backwards(answer: Answer) -> None:
    if answer.status == 200:
        answer.edit(items=json.loads(answer.body)["items"][::-1])


def _one_more(answer: Answer) -> None:
    if answer.status == 200:
        answer.edit(count=json.loads(answer.body)["count"] + 1)


def _no_posts(answer: Answer) -> None:
    if answer.status == 200 and b'"posts"' in answer.body:
        answer.edit(posts=[])


ROUNDS: tuple[dict[str, Fault], ...] = (
    {
        "test_bad_fields": _echo,
        "test_location": _other_location,
        "test_unknown_path": _plain_json_errors,
        "test_round_trip": _normalised,
        "test_walk_posts": _first_page_for_ever,
        "test_other_method": _allow_get_only,
        "test_bad_id": _bad_request_for_all,
        "test_refused_in_a_user": _failure,
        "test_create": _local_time,
        "test_email_taken": _generic_conflict,
        "test_delete": _body_after_delete,
        "test_batch": _backwards,
        "test_primes": _one_more,
        "test_overview": _no_posts,
    },
    {
        "test_bad_fields": _first_entry_only,
        "test_unknown_path": _no_request_id,
        "test_round_trip": _stripped,
        "test_create": _extra_member,
        "test_other_body": _bad_request_for_all,
        "test_repeated_user": _forgotten,
        "test_transfer_of_what_is_not_owned": _generic_conflict,
    },
    {"test_unknown_path": _stack},
)
"""Faults by the test that has to notice. A test notices several only in several rounds."""


@pytest.fixture(scope="module")
def outcomes(proxy: FaultyProxy) -> list[set[str]]:
    """The names of the tests that failed: first without any fault, then in each round."""
    failed: list[set[str]] = []
    for faults in ({}, *ROUNDS):
        proxy.faults = faults
        names = " or ".join(faults or {name for round_ in ROUNDS for name in round_})
        _, printed = run_suite(proxy.url, "-p", "tests.contract.current_test", "-k", names)
        assert "passed" in printed or "failed" in printed, printed[-5000:]
        failed.append(set(re.findall(r"^FAILED contract/\S+::(\w+)", printed, re.MULTILINE)))
    proxy.faults = {}
    return failed


def test_no_fault_nothing_noticed(outcomes: list[set[str]]) -> None:
    """Over the proxy without a fault every test passes."""
    assert outcomes[0] == set()


@pytest.mark.parametrize(
    ("round_", "test"),
    [
        pytest.param(number, test, id=f"{fault.__name__.strip('_')}-{test}")
        for number, faults in enumerate(ROUNDS, 1)
        for test, fault in faults.items()
    ],
)
def test_fault_is_noticed(outcomes: list[set[str]], round_: int, test: str) -> None:
    """The test that a fault belongs to fails when the fault is there."""
    assert test in outcomes[round_]


def test_missing_row(proxy: FaultyProxy) -> None:
    """Rows that are not there are named and skipped, and are failures when the service has to be complete."""
    proxy.faults, proxy.without = {}, "/api/transfers"
    missing = {"POST /api/transfers"}
    try:
        code, printed = run_suite(proxy.url, "-k", "test_transfer")
        assert (code, open_rows(printed)) == (0, missing)
        assert f"{len(ROWS) - len(missing)} of {len(ROWS)} rows are served" in printed
        code, printed = run_suite(proxy.url, "-k", "test_transfer", "--complete")
        assert code == 1
        assert "not there yet: POST /api/transfers" in printed
    finally:
        proxy.without = None


def test_nobody_there() -> None:
    """A URL where nothing listens is named, and nothing is said to hold."""
    code, printed = run_suite("http://127.0.0.1:1")
    assert code == 4
    assert "no service answers at http://127.0.0.1:1" in printed


def test_no_url() -> None:
    """Without a URL the suite says how to give one."""
    code, printed = run_suite("")
    assert code == 4
    assert "--base-url http://127.0.0.1:8000" in printed
