"""Metrics: request rate, errors, durations, sizes and what other items report, for Prometheus to scrape.

Names and units follow prometheus.io "Metric and label naming". The labels are bounded: the method is one of a
fixed list or ``_OTHER``, the route is a template or ``unmatched``, and above ``metrics_series`` label sets
requests are counted under ``_OTHER`` by status class (gombit-dev/gombit#197, artifact-keeper#2220).
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, cast

from prometheus_client import REGISTRY, CollectorRegistry, Metric, multiprocess
from prometheus_client.process_collector import PROCESS_COLLECTOR

from ..settings import Settings
from .exchange import Exchange, Reply
from .exposition import OPENMETRICS, TEXT, Page, Series, wants_openmetrics
from .local.cells import (
    LIVE,
    MAGNET,
    PEAK,
    SUM,
    Cells,
    CellsFullError,
    Merged,
    combine,
    exact,
    fold,
    live_pids,
    merge,
)
from .local.process import process_families

__all__ = ("BUCKETS", "Metrics", "bytes_for")

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Upper bounds of the duration histogram in seconds: client_golang's defaults, moved down by one step because
a compiled route answers within 1 ms, with 10 s as the last before the request deadline."""

_SECONDS = len(BUCKETS) + 1
_RECEIVED = _SECONDS + 1
_SENT = _RECEIVED + 1
_WIDTH = _SENT + 1
"""Cells of one (method, route, status): 13 buckets, seconds, bytes received, bytes sent. The counter and both
counts are the sum of the buckets, so that they can never disagree."""

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
"""RFC 9110 §9.1 and RFC 5789."""
_OTHER = "_OTHER"
_UNMATCHED = "unmatched"
_REQUESTS = "requests"
_OVERFLOW = 6
"""Label sets that come on top of the cap: one per first digit of the status, 0 to 5."""
_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"

_WATCHED = 1024
"""Cells for the values of other items; each is one number that is registered once at start."""

_TICK = 0.25
"""Seconds between two samples of the event loop's lag."""
_TICKS = 20
"""Samples per half of the window of which the lag is the maximum: a scrape every 5 s misses no peak."""

_HELP = {
    "event_loop_lag_seconds": "Longest delay of any worker's event loop in the last 5 to 10 seconds.",
    "roadworthy_series_dropped_total": "Requests counted as _OTHER because metrics_series was reached.",
    "process_cpu_seconds_total": "Total user and system CPU time spent in seconds.",
}

# prometheus_client has no types for these two.
_merge_files = cast(
    "Callable[[list[str]], Iterable[Metric]]", vars(multiprocess)["MultiProcessCollector"].merge
)
_mark_process_dead = cast("Callable[[int], None]", vars(multiprocess)["mark_process_dead"])

_logger = logging.getLogger("roadworthy.metrics")


class Metrics:
    """Counts every exchange and gives the numbers of all workers as one scrape.

    Parameters:
        settings: ``metrics_series`` bounds the label sets of requests.
        group_directory: a directory that all workers of this service share and nobody else may enter, one
            per start of the service; the files are in its folder ``metrics``. None with a single worker. A
            process takes part from its first request or :meth:`start` on; one that only calls
            :meth:`exposition` leaves no file.
        registry: where the app keeps its own metrics. With several workers set ``PROMETHEUS_MULTIPROC_DIR``
            as prometheus_client documents; without it the app's metrics carry the answering worker's pid.
    """

    def __init__(
        self,
        settings: Settings,
        group_directory: Path | None = None,
        *,
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        self._registry = registry
        self._cap = settings.metrics_series
        self._group = None if group_directory is None else group_directory / "metrics"
        self._joined = False
        self._cells = Cells(_cells_of(self._cap))
        self._bases: dict[tuple[str, str | None, int], int] = {}
        self._series: dict[tuple[str, str, str], int] = {}
        self._watched: list[tuple[int, str, bool, Callable[[], float]]] = []
        self._lag = self._value(PEAK, "event_loop_lag_seconds")
        self._dropped = self._value(SUM, "roadworthy_series_dropped_total")
        self._overflow = [
            self._cells.reserve((SUM, _REQUESTS, _OTHER, _OTHER, f"{digit}xx"), _WIDTH)
            for digit in range(_OVERFLOW)
        ]
        self._numbers = self._cells.numbers
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._peaks = (0.0, 0.0)
        if group_directory is not None:
            # One of several CPU counters, read in turn, goes up and down: so theirs is a sum like the others.
            self.watch("process_cpu_seconds_total", _HELP["process_cpu_seconds_total"], time.process_time)

    def finish(self, exchange: Exchange) -> None:
        """Count the exchange under its method, route and status (``0`` where no response was begun)."""
        base = self._bases.get((exchange.method, exchange.route, exchange.status))
        if base is None:
            base = self._base(exchange.method, exchange.route, exchange.status)
        numbers = self._numbers
        # Rounded as exact() does it, without the call.
        seconds = exchange.duration + MAGNET - MAGNET
        numbers[base + bisect_left(BUCKETS, seconds)] += 1.0
        numbers[base + _SECONDS] += seconds
        received = exchange.body_received
        if received:
            numbers[base + _RECEIVED] += received
        sent = exchange.bytes_sent
        if sent:
            numbers[base + _SENT] += sent

    def watch(
        self,
        name: str,
        help_text: str,
        read: Callable[[], float],
        *,
        kind: Literal["counter", "gauge"] = "counter",
        merge: Literal["sum", "max"] = "sum",
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """Put a number of another item into the scrape.

        Parameters:
            name: the series' name; that of a counter ends in ``_total``.
            help_text: one sentence.
            read: gives the number now; called on the event loop four times a second and for a scrape. What it
                raises is logged and the last number kept.
            kind: a counter is added up over all workers, those that ended too; a gauge over those that run.
            merge: how the gauges of several workers become one.
            labels: from a fixed, small set.

        Raises:
            ValueError: a counter without ``_total``, or a gauge with it.
        """
        if name.endswith("_total") != (kind == "counter"):
            raise ValueError(f"the name of a counter, and of nothing else, ends in _total: {name!r}")
        how = SUM if kind == "counter" else PEAK if merge == "max" else LIVE
        base = self._cells.reserve(
            (how, name, help_text, *(word for pair in (labels or {}).items() for word in pair)), 1
        )
        self._watched.append((base, name, how == SUM, read))
        self._numbers = self._cells.numbers

    async def start(self) -> None:
        """Take part in the group and begin to sample the event loop."""
        self._join()
        if self._timer is None:
            self._schedule(asyncio.get_running_loop())

    async def stop(self) -> None:
        """Stop sampling; what was counted stays."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._sample()

    def exposition(self, accept: bytes = b"") -> Reply:
        """Answer a scrape with the numbers of all workers, and those the app keeps in prometheus_client.

        Parameters:
            accept: the ``Accept`` field; OpenMetrics 1.0 where it is preferred, else text 0.0.4.
        """
        self._sample()
        openmetrics = wants_openmetrics(accept)
        page = Page(openmetrics)
        numbers = self._merged()
        _write_requests(page, numbers)
        _write_values(page, numbers)
        page.gauge(
            "roadworthy_build_info",
            "Version of Roadworthy and of Python.",
            [({"version": _version(), "python": platform.python_version()}, 1.0)],
        )
        if self._group is None:
            own: Iterable[Metric] = PROCESS_COLLECTOR.collect()
        else:
            pids = live_pids(self._group)
            page.gauge("roadworthy_workers", "Worker processes that run.", [({}, float(len(pids)))])
            own = process_families(pids)
        for family in own:
            page.family(family)
        for family in self._users():
            page.family(family, silent=family.name.startswith("process_"))
        body = page.bytes()
        return Reply(
            200,
            [
                (b"content-type", OPENMETRICS if openmetrics else TEXT),
                (b"content-length", b"%d" % len(body)),
                (b"cache-control", b"no-store"),
                (b"vary", b"Accept"),
            ],
            body,
        )

    def _value(self, how: str, name: str) -> int:
        return self._cells.reserve((how, name, _HELP[name]), 1)

    def _join(self) -> None:
        if self._group is None or self._joined:
            return
        self._joined = True
        try:
            self._group.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._cells.share(self._group)
        except OSError as error:
            _logger.error("the metrics of this worker are not shared with the others: %s", error.strerror)
        self._numbers = self._cells.numbers

    def _base(self, method: str, route: str | None, status: int) -> int:
        """Find the cells for labels that are new, or whose method is folded and so never remembered."""
        self._join()
        folded = method if method in _METHODS else _OTHER
        labels = (folded, _UNMATCHED if route is None else route, str(status))
        base = self._series.get(labels)
        if base is None:
            try:
                if len(self._series) >= self._cap:
                    raise CellsFullError
                base = self._cells.reserve((SUM, _REQUESTS, *labels), _WIDTH)
            except (CellsFullError, OSError):
                self._numbers[self._dropped] += 1.0
                return self._overflow[min(max(status // 100, 0), 5)]
            self._series[labels] = base
        if folded is method:
            self._bases[method, route, status] = base
        return base

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + _TICK
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        before, peak = self._peaks
        peak = max(peak, loop.time() - due)
        self._numbers[self._lag] = max(before, peak)
        self._ticks = (self._ticks + 1) % _TICKS
        self._peaks = (before, peak) if self._ticks else (peak, 0.0)
        self._sample()
        self._schedule(loop)

    def _sample(self) -> None:
        for base, name, counts, read in self._watched:
            try:
                value = float(read())
            except Exception as error:
                _logger.warning("metric %s could not be read: %s", name, type(error).__name__)
                continue
            self._numbers[base] = exact(value) if counts else value

    def _merged(self) -> Merged:
        if self._group is None:
            return self._cells.read()
        try:
            gone = fold(self._group)
        except OSError as error:
            _logger.warning("the metrics of workers that ended stay unfolded: %s", error.strerror)
            gone = []
        if os.environ.get(_MULTIPROCESS):
            for pid in gone:
                _mark_process_dead(pid)
        numbers = merge(self._group)
        if not self._cells.shared:
            for key, cells in self._cells.read().items():
                combine(numbers, key, cells)
        return numbers

    def _users(self) -> Iterator[Metric]:
        directory = os.environ.get(_MULTIPROCESS)
        try:
            if directory:
                yield from _multiprocess(directory)
            elif self._group is None:
                yield from self._registry.collect()
            else:
                # Known to the answering worker alone; under one name they would go up and down between
                # scrapes (trallnag/prometheus-fastapi-instrumentator#50).
                yield from (_of_this_process(family) for family in self._registry.collect())
        except Exception as error:
            _logger.warning("metrics of the app are left out of the scrape: %s", type(error).__name__)


def bytes_for(series: int) -> int:
    """Return the size of the file in which one worker counts so many series."""
    return 8 * _cells_of(series)


def _cells_of(series: int) -> int:
    return (series + _OVERFLOW) * _WIDTH + _WATCHED


def _write_requests(page: Page, numbers: Merged) -> None:
    """Write the four families of requests; a label set that has counted nothing yet is left out."""
    counts: list[Series] = []
    routes: dict[tuple[str, str], list[float]] = {}
    for key in sorted(key for key in numbers if key[1] == _REQUESTS and len(key) == 5):
        _, _, method, route, status = key
        cells = numbers[key]
        count = sum(cells[:_SECONDS])
        if count and len(cells) == _WIDTH:
            counts.append(({"method": method, "route": route, "status": status}, count))
            total = routes.setdefault((method, route), [0.0] * _WIDTH)
            total[:] = map(float.__add__, total, cells)
    labelled = [({"method": method, "route": route}, total) for (method, route), total in routes.items()]
    page.counter("http_requests_total", "Requests answered.", counts)
    page.histogram(
        "http_request_duration_seconds",
        "Time from the request's head to the last byte of its response.",
        BUCKETS,
        [(labels, total[:_SECONDS], total[_SECONDS]) for labels, total in labelled],
    )
    for name, help_text, index in (
        ("http_request_size_bytes", "Bytes of request bodies that were read.", _RECEIVED),
        ("http_response_size_bytes", "Bytes of response bodies, after compression.", _SENT),
    ):
        page.summary(
            name, help_text, [(labels, sum(total[:_SECONDS]), total[index]) for labels, total in labelled]
        )
    page.gauge("roadworthy_series", "Label sets of http_requests_total.", [({}, float(len(counts)))])


def _write_values(page: Page, numbers: Merged) -> None:
    families: dict[str, tuple[str, str, list[Series]]] = {}
    for key in sorted(key for key in numbers if key[1] != _REQUESTS and len(key) >= 3):
        how, name, help_text, *words = key
        family = families.setdefault(name, (how, help_text, []))
        if family[0] == how:
            family[2].append((dict(zip(words[::2], words[1::2], strict=True)), numbers[key][0]))
    for name, (how, help_text, series) in families.items():
        write = page.counter if how == SUM else page.gauge
        write(name, help_text, series)


def _multiprocess(directory: str) -> Iterable[Metric]:
    """Return the families of prometheus_client's own multi-process mode.

    Files that cannot be read are passed over: one of 0 bytes, left by a killed worker, would otherwise end
    all scrapes for good (prometheus/client_python#1199).
    """
    files = [str(path) for path in Path(directory).glob("*.db")]
    try:
        return _merge_files(files)
    except Exception:
        return _merge_files([file for file in files if _readable(file)])


def _readable(file: str) -> bool:
    try:
        _merge_files([file])
    except Exception:
        return False
    return True


def _of_this_process(family: Metric) -> Metric:
    own = Metric(family.name, family.documentation, family.type, family.unit)
    pid = str(os.getpid())
    own.samples = [sample._replace(labels={**sample.labels, "pid": pid}) for sample in family.samples]
    return own


def _version() -> str:
    try:
        return version("roadworthy")
    except PackageNotFoundError:
        return "unknown"
