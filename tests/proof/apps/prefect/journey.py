"""Prefect's server: its API, a flow with runs and logs, events over a WebSocket, its interface's assets."""

from collections.abc import Iterator
from typing import Any

from ..application import Application
from ..visitor import Visitor


def _events(socket: Any) -> Iterator[str]:
    socket.send('{"type": "auth", "token": null}')
    yield socket.recv()
    socket.send('{"type": "filter", "filter": {"event": {"prefix": ["none"]}}}')


def journey(visitor: Visitor) -> None:
    """Use the API as the client does, and look at it in a browser."""
    visitor.get("/api/health")
    visitor.get("/api/hello")
    visitor.get("/api/admin/version")
    flow = visitor.post("/api/flows/", json={"name": "proof"}).json()
    run = visitor.post("/api/flow_runs/", json={"flow_id": flow["id"], "name": "first"}).json()
    state = {"state": {"type": "RUNNING", "name": "Running"}}
    visitor.post(f"/api/flow_runs/{run['id']}/set_state", json=state)
    logs = [
        {"name": "n", "level": 20, "message": f"line {number}", "timestamp": "2026-01-01T00:00:00Z",
         "flow_run_id": run["id"]}
        for number in range(200)
    ]  # fmt: skip
    visitor.post("/api/logs/", json=logs)
    visitor.post("/api/logs/filter", json={"sort": "TIMESTAMP_ASC"})
    visitor.post("/api/flows/filter", json={})
    visitor.post("/api/flows/", json={})
    visitor.get("/api/flows/00000000-0000-0000-0000-000000000000")
    visitor.get("/api/flows/none")
    visitor.ask("DELETE", f"/api/flow_runs/{run['id']}")
    visitor.socket("/api/events/out", _events, subprotocols=["prefect"])
    visitor.get("/")
    visitor.page("/docs")
    visitor.get("/openapi.json")
    visitor.get("/api/none")


APPLICATION = Application(
    journey,
    target="prefect.server.api.server:create_app",
    factory=True,
    env={
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "false",
    },
    varies=(r'("(?:estimated_run_time|estimated_start_time_delta|total_run_time)": ?)[\d.e-]+',),
)
