"""Sentry's SDK sees through the layer what it would see without: each failure once, with the request's id."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.patience import DEADLINE, until
from tests.servers import Server, serving

FAILURES = {"/fails": 500, "/fails-in-a-thread": 500, "/fails-after": 200, "/logs": 200}
NONE = {"/conflict": 409, "/missing": 404, "/item/x": 422, "/late": 504, "/livez": 200, "/nowhere": 404}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a service that uses the SDK."""
    folder = tmp_path_factory.mktemp("sentry")
    settings = {"TESTS_EVENTS": str(folder / "events")}
    with serving("roadworthy", "tests.apps.sentry:app", folder, settings, "/livez") as server:
        yield server


def _events(server: Server) -> list[dict[str, Any]]:
    path = server.cwd / "events"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _ask(server: Server, path: str) -> tuple[int, str]:
    request_id = uuid.uuid4().hex
    answered = httpx.get(f"{server.url}{path}", headers={"X-Request-Id": request_id}, timeout=DEADLINE)
    return answered.status_code, request_id


def _tagged(server: Server, request_id: str) -> list[dict[str, Any]]:
    return [event for event in _events(server) if event["tags"]["request_id"] == request_id]


@pytest.mark.parametrize("path", FAILURES)
def test_a_failure_is_one_event(server: Server, path: str) -> None:
    """It has the id that the client and the record have."""
    status, request_id = _ask(server, path)
    assert status == FAILURES[path]
    until(lambda: bool(_tagged(server, request_id)), "the event is there")
    (event,) = _tagged(server, request_id)
    if path == "/logs":
        assert event["logentry"]["message"] == "the printer is on fire"
    else:
        assert event["exception"]["values"][-1]["type"] == "LookupError"


@pytest.mark.parametrize("path", NONE)
def test_what_is_no_failure_of_the_app_is_no_event(server: Server, path: str) -> None:
    """Refusals, deadlines and probes are recorded by the layer, and nobody is called for them."""
    status, request_id = _ask(server, path)
    assert status == NONE[path]
    # What comes before the event of a later failure would be there by now.
    _, later = _ask(server, "/fails")
    until(lambda: bool(_tagged(server, later)), "the later event is there")
    assert _tagged(server, request_id) == []
