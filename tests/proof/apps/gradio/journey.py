"""Gradio mounted in FastAPI: the page, its API by queue and event stream, an upload and a download of it."""

from ..application import Application
from ..visitor import Visitor

_API = "/demo/gradio_api"


def _done(line: str) -> bool:
    return line in {"event: complete", "event: error"}


def journey(visitor: Visitor) -> None:
    """Open the demo, call it as its script and as its client do."""
    visitor.page("/demo/")
    visitor.get("/demo")
    visitor.get("/demo/config")
    visitor.get(f"{_API}/info")
    for name in ("turn", "slowly"):
        call = visitor.post(f"{_API}/call/{name}", json={"data": ["hello"]})
        visitor.stream(f"{_API}/call/{name}/{call.json()['event_id']}", _done)
    joined = {"data": ["hello"], "fn_index": 0, "session_hash": "proof", "event_data": None}
    visitor.post(f"{_API}/queue/join", json=joined)
    visitor.stream(f"{_API}/queue/data?session_hash=proof", lambda line: "process_completed" in line)
    [path] = visitor.post(f"{_API}/upload", files={"files": ("a.txt", b"y" * 300_000)}).json()
    visitor.get(f"{_API}/file={path}")
    visitor.get(f"{_API}/file=/etc/passwd")
    call = visitor.post(
        f"{_API}/call/measure", json={"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
    )
    visitor.stream(f"{_API}/call/measure/{call.json()['event_id']}", _done)
    visitor.get("/demo/theme.css")
    visitor.get("/none")


APPLICATION = Application(
    journey,
    click=(
        "/demo/",
        "document.querySelector('#button')",
        "document.querySelector('#turned textarea')?.value === 'sdrow'",
    ),
    env={"GRADIO_ANALYTICS_ENABLED": "False"},
    varies=(
        r'("event_id": ?")[^"]+',
        r"(/call/\w+/)\w+",
        r'("(?:duration|average_duration|eta|rank_eta|avg_event_process_time|app_id'
        r'|time|cache_duration|avg_time)": ?)[\d.e-]+',
        r"\b[0-9a-f]{32,}\b",
        r"/tmp/[^\"\s]+",
    ),
)
