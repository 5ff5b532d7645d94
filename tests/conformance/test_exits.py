"""Exits raised by handlers, under servers that are not ours."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import httpx
import pytest

from tests.conformance.conftest import SETTINGS
from tests.patience import DEADLINE
from tests.servers import ServerKind, serving

pytestmark = pytest.mark.long

KINDS = ("SystemExit", "KeyboardInterrupt", "GeneratorExit", "CancelledError", "OwnExit")
APPS = {
    "plain": "tests.apps.exits:plain",
    "fastapi": "tests.apps.exits_fastapi:fastapi",
    "behind": "tests.apps.exits_fastapi:behind",
    "litestar": "tests.apps.exits_litestar:litestar",
    "django": "tests.apps.exits_django:app",
}
CELLS: list[tuple[str, ServerKind]] = [
    *((app, "uvicorn") for app in APPS),
    ("plain", "granian"),
    ("plain", "hypercorn"),
]


@pytest.mark.parametrize(("app", "kind"), CELLS)
def test_a_handler_that_exits_ends_its_request_alone(app: str, kind: ServerKind, tmp_path: Path) -> None:
    """It is a 500 with one record, and the server answers the next request."""
    places = ("handler",) if app == "plain" else ("handler", "sync")
    with serving(kind, APPS[app], tmp_path, SETTINGS, "/livez") as server:
        # A GeneratorExit out of a thread reaches uvicorn beside the layer, and uvicorn closes the connection.
        fields = {"connection": "close"}
        with httpx.Client(base_url=server.url, timeout=DEADLINE, headers=fields) as client:
            for place in places:
                for leave in KINDS:
                    given = uuid.uuid4().hex
                    response = client.get(f"/{place}/{leave}", headers={"x-request-id": given})
                    assert response.status_code == 500, (place, leave)
                    assert response.headers["content-type"] == "application/problem+json"
                    lines = server.wait_stdout(lambda lines: any(given in line for line in lines))  # noqa: B023
                    records = [json.loads(line) for line in lines if given in line]
                    assert [one["level"] for one in records] == ["error"]
                    # Starlette's middleware hides that a task was cancelled.
                    assert leave in json.dumps(records[0]["exception"]) or (app, leave) == (
                        "behind",
                        "CancelledError",
                    )
            assert client.get("/livez").status_code == 200
        server.terminate()
        assert server.wait_exit() in (0, -15)
