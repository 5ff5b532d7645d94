"""Numbers for Prometheus, and what may be wrong with them."""

from __future__ import annotations

import json
import mmap
import multiprocessing
import re
from collections.abc import Iterator
from typing import Any

from ..http import Request, Response
from ..service import Part, Zoo, faulty
from ..workers import number_of_workers

_BUCKETS = (0.01, 0.1, 1.0, 10.0)
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Made when this is imported, so that all workers have them by inheritance.
_shared = mmap.mmap(-1, 1 << 20)
_turn = multiprocessing.Lock()


class Metrics(Part):
    """``/metrics`` with ``http_requests_total`` and its family."""

    def __init__(self) -> None:
        self._own: dict[str, Any] = {"counts": {}, "seconds": {}, "flight": 0, "hosts": []}

    async def before(self, zoo: Zoo, request: Request) -> Response | None:
        """Answer a scrape, and note that a request is in flight."""
        if request.path != "/metrics" or request.method != "GET":
            self._change("flight", 1)
            request.facts["in flight"] = True
            return None
        text = "".join(f"{line}\n" for line in _told(self._state()))
        if faulty("met-1-page"):
            return Response(200, text.encode(), [("Content-Type", "text/html")])
        kind = "text/plain" if faulty("met-1-no-version") else _TYPE
        if faulty("met-2-no-line-end"):
            text = text.rstrip("\n")
        return Response(200, text.encode(), [] if faulty("met-1-no-type") else [("Content-Type", kind)])

    def done(self, zoo: Zoo, request: Request, response: Response, seconds: float) -> None:
        """Count a request."""
        if request.facts.get("in flight") and not (response.status >= 500 and faulty("met-8-leaks")):
            self._change("flight", -1)
        health = request.path in {"/livez", "/readyz", "/metrics"}
        if (health and not faulty("hlt-7-counted")) or faulty("met-4-static"):
            return
        if response.status >= 500 and (faulty("err-8-uncounted") or faulty("met-8-no-failures")):
            return
        if response.status == 404 and faulty("met-4-skips-404"):
            return
        method = request.method if request.method in _METHODS or faulty("met-7-methods") else "other"
        route = request.facts.get("route", "none") if not health else "none"
        if "{" in route and faulty("met-6-paths"):
            route = request.path
        if route == "none" and faulty("met-7-paths"):
            route = request.path
        status = response.status // 100 * 100 if faulty("met-4-rounds") else response.status
        self._change("counts", (method, route, status), 2 if faulty("met-4-doubles") else 1)
        if not faulty("met-8-silent"):
            self._change("seconds", route, seconds * (1000 if faulty("met-8-millis") else 1))
        for fault, field in (
            ("met-7-hosts", "host"),
            ("met-7-agents", "user-agent"),
            ("met-9-leaks", "cookie"),
        ):
            if faulty(fault) and field in request.fields:
                self._change("hosts", request.fields[field])

    def _change(self, what: str, key: Any, by: float = 0) -> None:
        if number_of_workers() == 1 or faulty("met-5-per-worker"):
            _apply(self._own, what, key, by)
            return
        with _turn:
            state = self._state()
            _apply(state, what, key, by)
            data = json.dumps(state).encode()
            _shared[: len(data) + 1] = data + b"\0"

    def _state(self) -> dict[str, Any]:
        if number_of_workers() == 1 or faulty("met-5-per-worker"):
            return self._own
        data = _shared[:].partition(b"\0")[0]
        found: dict[str, Any] = json.loads(data) if data else dict(self._own)
        return found


def _apply(state: dict[str, Any], what: str, key: Any, by: float) -> None:
    if what == "flight":
        state["flight"] += key
    elif what == "hosts":
        state["hosts"] = sorted({*state["hosts"], key})
    elif what == "counts":
        name = json.dumps(key)
        state["counts"][name] = state["counts"].get(name, 0) + by
    else:
        cells = state["seconds"].setdefault(key, [0] * (len(_BUCKETS) + 1) + [0.0])
        for at, bound in enumerate((*_BUCKETS, float("inf"))):
            cells[at] += by <= bound
        cells[-1] += by


def _told(state: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a scrape."""
    lines = [*_counters(state), *_durations(state), *_others(state)]
    if faulty("met-2-late-type"):
        lines.append("# TYPE zoo_info gauge")
    if faulty("met-2-scattered"):
        lines.append('http_requests_total{method="GET",route="again",status="200"} 0')
    if faulty("met-2-repeats"):
        lines.insert(3, lines[2])
    if faulty("met-2-no-inf"):
        lines = [line for line in lines if 'le="+Inf"' not in line]
    if faulty("met-2-comma"):
        lines = [re.sub(r" (\d+)\.(\d+)$", r" \1,\2", line) for line in lines]
    yield from lines


def _counters(state: dict[str, Any]) -> Iterator[str]:
    if not faulty("met-3-no-help"):
        yield "# HELP http_requests_total Requests by method, route and status."
    yield "# TYPE http_requests_total counter"
    found = {tuple(json.loads(key)): count for key, count in state["counts"].items()}
    if faulty("met-4-static"):
        found = {("GET", "/api/items", 200): 42}
    for (method, route, status), count in sorted(found.items()):
        labels = f'method="{method}",route="{route}"'
        if not faulty("met-4-no-status"):
            labels += f',status="{status}"'
        elif status != 200:
            continue
        else:
            count = sum(n for key, n in found.items() if key[:2] == (method, route))
        yield f"http_requests_total{{{labels}}} {count}"


def _durations(state: dict[str, Any]) -> Iterator[str]:
    name = "http_request_duration_seconds"
    yield f"# HELP {name} From the request to its response."
    yield f"# TYPE {name} histogram"
    for route, cells in sorted(state["seconds"].items()):
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), cells, strict=False):
            yield f'{name}_bucket{{route="{route}",le="{bound}"}} {count}'
        yield f'{name}_sum{{route="{route}"}} {cells[-1]:.6f}'
        yield f'{name}_count{{route="{route}"}} {cells[-2]}'


def _others(state: dict[str, Any]) -> Iterator[str]:
    yield "# HELP http_requests_in_flight Requests that are being answered."
    yield "# TYPE http_requests_in_flight gauge"
    yield f"http_requests_in_flight {0 if faulty('met-8-blind') else state['flight']}"
    if not faulty("met-2-late-type"):
        yield "# HELP zoo_info What this is."
        yield "# TYPE zoo_info gauge"
    yield 'zoo_info{kind="service of the zoo"} 1'
    if faulty("met-3-millis"):
        yield "# HELP store_wait_milliseconds Time waited for the store."
        yield "# TYPE store_wait_milliseconds gauge"
        yield "store_wait_milliseconds 3"
    if faulty("met-3-camel"):
        yield "# HELP storeCalls Calls of the store."
        yield "# TYPE storeCalls counter"
        yield "storeCalls 3"
    if state["hosts"]:
        yield "# HELP zoo_seen Who was seen."
        yield "# TYPE zoo_seen gauge"
    for host in state["hosts"]:
        yield f"zoo_seen{{who={_quoted(host)}}} 1"


def _quoted(text: str) -> str:
    """Return the value of a label."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
