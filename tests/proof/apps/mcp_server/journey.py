"""An MCP server of the Python SDK: a session, a tool, progress by events, a stream that is left open."""

from typing import Any

from ..application import Application
from ..visitor import Visitor

_BOTH = {"Accept": "application/json, text/event-stream"}
_HELLO = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "journey", "version": "1"},
}


def _call(number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def journey(visitor: Visitor) -> None:
    """Open a session, call, listen, close it."""
    hello = visitor.post("/mcp", json=_call(1, "initialize", _HELLO), headers=_BOTH)
    session = {"Mcp-Session-Id": hello.headers["mcp-session-id"], "MCP-Protocol-Version": "2025-06-18"}
    with_session = {**_BOTH, **session}
    visitor.post("/mcp", json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=with_session)
    visitor.post("/mcp", json=_call(2, "tools/list", {}), headers=with_session)
    visitor.post(
        "/mcp",
        json=_call(3, "tools/call", {"name": "add", "arguments": {"a": 2, "b": 3}}),
        headers=with_session,
    )
    progress = {"name": "long", "arguments": {"steps": 5}, "_meta": {"progressToken": "p"}}
    visitor.post("/mcp", json=_call(4, "tools/call", progress), headers=with_session)
    visitor.post("/mcp", json=_call(5, "resources/read", {"uri": "words://you"}), headers=with_session)
    visitor.post("/mcp", json=_call(6, "none", {}), headers=with_session)
    visitor.post("/mcp", json=_call(7, "tools/list", {}), headers={"Accept": "text/html"})
    visitor.post("/mcp", json=_call(8, "tools/list", {}), headers={**_BOTH, "Mcp-Session-Id": "none"})
    visitor.post(
        "/mcp", content="{", headers={**with_session, "Content-Type": "application/json"}, refused="no JSON"
    )
    visitor.ask("DELETE", "/mcp", headers=session)
    visitor.post("/mcp", json=_call(9, "tools/list", {}), headers=with_session)
    visitor.get("/elsewhere")
    stay = visitor.post("/mcp", json=_call(1, "initialize", _HELLO), headers=_BOTH)
    visitor.listen("/mcp", headers={**session, **_BOTH, "Mcp-Session-Id": stay.headers["mcp-session-id"]})


APPLICATION = Application(
    journey,
    settings={"LOG_FORMAT": ("json", "the SDK sets up the root logger, which would keep its format")},
    varies=(r"\b[0-9a-f]{32}\b",),
)
