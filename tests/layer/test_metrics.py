"""What a scrape says about requests, in one process and in several that may be killed."""

import asyncio
import contextlib
import fcntl
import json
import logging
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from roadworthy.layer.metrics import BUCKETS, Metrics
from roadworthy.settings import Settings
from tests.patience import DEADLINE

from .conftest import MakeExchange

OPENMETRICS = b"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def settings(**values: Any) -> Settings:
    """Make settings without a file."""
    return Settings(_env_file=None, **values)


def scrape(metrics: Metrics) -> Samples:
    """Scrape, check the page strictly, and return every sample."""
    page = metrics.exposition().body.decode()
    strict(page)
    found: Samples = {}
    for family in parse_text(page):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, f"{key} stands twice"
            found[key] = sample.value
    return found


def value(samples: Samples, name: str, **labels: str) -> float:
    """Return one sample."""
    return samples[name, tuple(sorted(labels.items()))]


def total(samples: Samples, name: str) -> float:
    """Add up all samples of a name."""
    return math.fsum(value for (found, _), value in samples.items() if found == name)


def strict(page: str) -> None:
    """Check what the parsers let pass: heads once and first, groups whole, histograms that add up."""
    assert page.endswith("\n")
    heads: dict[tuple[str, str], int] = {}
    kinds: dict[str, str] = {}
    groups: list[str] = []
    buckets: dict[str, list[tuple[float, float]]] = {}
    counts: dict[str, float] = {}
    for line in page.splitlines():
        if line == "# EOF":
            continue
        if line.startswith("# "):
            _, kind, name, text = line.split(" ", 3)
            heads[kind, name] = heads.get((kind, name), 0) + 1
            assert heads[kind, name] == 1, f"{kind} of {name} stands twice"
            if kind == "HELP":
                groups.append(name)
            else:
                kinds[name] = text
            assert groups[-1] == name
            continue
        match = re.fullmatch(r'([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)', line)
        assert match is not None, line
        base = re.sub(r"_(bucket|sum|count|total|created)$", "", match[1])
        assert groups[-1] in (match[1], base), f"{match[1]} stands outside its group"
        if kinds[groups[-1]] == "histogram" and match[1].endswith("_bucket"):
            series, _, bound = match[2].rpartition("le=")
            buckets.setdefault(groups[-1] + series.rstrip(","), []).append(
                (float(bound.strip('"')), float(match[3]))
            )
        elif kinds[groups[-1]] == "histogram" and match[1].endswith("_count"):
            counts[groups[-1] + (match[2] or "")] = float(match[3])
    assert buckets.keys() == counts.keys()
    for series, row in buckets.items():
        assert [bound for bound, _ in row] == sorted({bound for bound, _ in row})
        assert [count for _, count in row] == sorted(count for _, count in row), "not cumulative"
        assert row[-1] == (math.inf, counts[series])


@pytest.fixture
def registry() -> CollectorRegistry:
    """Give a registry of the app's own."""
    return CollectorRegistry()


class TestRequests:
    def test_counts_by_method_route_and_status(self, exchange: MakeExchange) -> None:
        """Every exchange counts once, under its own three labels."""
        metrics = Metrics(settings())
        for method, status, times in (("GET", 200, 7), ("GET", 404, 5), ("POST", 201, 3), ("POST", 500, 2)):
            for _ in range(times):
                metrics.finish(exchange(method, route="/users/{id}", status=status))
        samples = scrape(metrics)
        requests = {
            tuple(text for _, text in labels): count
            for (name, labels), count in samples.items()
            if name == "http_requests_total"
        }
        assert requests == {
            ("GET", "/users/{id}", "200"): 7,
            ("GET", "/users/{id}", "404"): 5,
            ("POST", "/users/{id}", "201"): 3,
            ("POST", "/users/{id}", "500"): 2,
        }
        assert value(samples, "http_request_duration_seconds_count", method="GET", route="/users/{id}") == 12

    def test_measures_seconds_and_bytes(self, exchange: MakeExchange) -> None:
        """Durations are seconds since the exchange began, and sizes are what was read and sent."""
        metrics = Metrics(settings())
        metrics.finish(exchange(route="/", status=200, duration=2.0, body_received=10, bytes_sent=300))
        metrics.finish(exchange(route="/", status=200, bytes_sent=20))
        samples = scrape(metrics)
        labels = {"method": "GET", "route": "/"}
        assert value(samples, "http_request_duration_seconds_sum", **labels) == pytest.approx(2.0, abs=0.2)
        assert value(samples, "http_request_duration_seconds_bucket", le="1.0", **labels) == 1
        assert value(samples, "http_request_duration_seconds_bucket", le="2.5", **labels) == 2
        assert value(samples, "http_request_size_bytes_sum", **labels) == 10
        assert value(samples, "http_request_size_bytes_count", **labels) == 2
        assert value(samples, "http_response_size_bytes_sum", **labels) == 320

    def test_has_about_a_dozen_buckets_in_order(self) -> None:
        """The bounds rise, so that a duration has one bucket."""
        assert list(BUCKETS) == sorted(set(BUCKETS))
        assert len(BUCKETS) == 12

    def test_junk_methods_and_paths_make_no_series(self, exchange: MakeExchange) -> None:
        """Raw methods and unmatched paths are folded (gombit-dev/gombit#197, artifact-keeper#2220)."""
        metrics = Metrics(settings())
        metrics.finish(exchange("GET", "/known", status=404))
        metrics.finish(exchange("FETCH", "/known", status=405))
        before = len(scrape(metrics))
        for number in range(1_000):
            metrics.finish(exchange("GET", f"/{number}", status=404))
            metrics.finish(exchange(f"M{number}", f"/{number}", status=405))
        samples = scrape(metrics)
        assert len(samples) == before
        assert (
            value(samples, "http_requests_total", method="_OTHER", route="unmatched", status="405") == 1_001
        )

    def test_series_are_capped_and_no_request_is_lost(self, exchange: MakeExchange) -> None:
        """Above the cap requests count under _OTHER; series are counted (prometheus/client_python#568)."""
        metrics = Metrics(settings(metrics_series=100))
        for number in range(500):
            metrics.finish(exchange(route=f"/r{number}", status=500 if number % 2 else 200))
        samples = scrape(metrics)
        assert total(samples, "http_requests_total") == 500
        assert value(samples, "roadworthy_series_dropped_total") == 400
        assert value(samples, "http_requests_total", method="_OTHER", route="_OTHER", status="5xx") == 200
        assert value(samples, "roadworthy_series") == 102

    def test_labels_are_escaped(self, exchange: MakeExchange) -> None:
        """A route with quotes, backslashes, line ends or lone surrogates leaves the page valid."""
        metrics = Metrics(settings())
        route = '/a"b\\c\nd'
        metrics.finish(exchange(route=route, status=200))
        metrics.finish(exchange(route="/\ud800", status=200))
        samples = scrape(metrics)
        assert value(samples, "http_requests_total", method="GET", route=route, status="200") == 1


class TestExposition:
    def test_text_by_default(self, exchange: MakeExchange) -> None:
        """Without a wish the scrape is text 0.0.4, which every Prometheus reads."""
        metrics = Metrics(settings())
        metrics.finish(exchange(route="/", status=200))
        reply = metrics.exposition()
        fields = dict(reply.headers)
        assert reply.status == 200
        assert fields[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"
        assert fields[b"content-length"] == b"%d" % len(reply.body)
        assert fields[b"cache-control"] == b"no-store"
        assert b"# EOF" not in reply.body
        assert list(parse_text(reply.body.decode()))

    def test_openmetrics_when_preferred(self, exchange: MakeExchange, registry: CollectorRegistry) -> None:
        """A scraper that prefers OpenMetrics 1.0 gets it, valid and with its end mark, once."""
        Counter("orders", "Orders.", registry=registry).inc()
        metrics = Metrics(settings(), registry=registry)
        metrics.finish(exchange(route="/", status=200))
        reply = metrics.exposition(OPENMETRICS)
        page = reply.body.decode()
        assert (
            dict(reply.headers)[b"content-type"]
            == b"application/openmetrics-text; version=1.0.0; charset=utf-8"
        )
        assert page.endswith("# EOF\n")
        assert page.count("# EOF") == 1
        families = {family.name: family for family in parse_openmetrics(page)}  # type: ignore[no-untyped-call]
        assert families["http_requests"].type == "counter"
        assert families["orders"].samples[0].value == 1
        strict(page)

    @pytest.mark.parametrize(
        ("accept", "openmetrics"),
        [
            (b"", False),
            (b"*/*", False),
            (b"text/plain", False),
            (b"application/openmetrics-text; version=1.0.0", True),
            (b"application/openmetrics-text", True),
            (b"application/openmetrics-text;version=2.0.0", False),
            (b"application/openmetrics-text;q=0", False),
            (b"application/openmetrics-text;q=0.1, text/plain;q=0.9", False),
            (b"application/openmetrics-text;q=x", False),
            (b";;,=,q=;\xff", False),
        ],
    )
    def test_negotiates_the_format(self, accept: bytes, openmetrics: bool) -> None:
        """The field Accept decides, by q-values, and broken ones never fail a scrape."""
        reply = Metrics(settings()).exposition(accept)
        assert dict(reply.headers)[b"content-type"].startswith(b"application/openmetrics") is openmetrics

    def test_names_are_clean(self, exchange: MakeExchange) -> None:
        """Names keep promlint's rules: help, base units, _total for counters and for nothing else."""
        metrics = Metrics(settings(), registry=CollectorRegistry())
        metrics.finish(exchange(route="/", status=200))
        page = metrics.exposition().body.decode()
        kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))
        assert kinds
        for name, kind in kinds.items():
            assert name.endswith("_total") == (kind == "counter"), name
            assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
            assert not re.search(
                r"milliseconds|_ms\b|kilobytes|percent|_(counter|gauge|histogram)\b", name
            ), name
            assert re.search(rf"^# HELP {name} \S", page, re.MULTILINE), name


class TestAppMetrics:
    def test_the_app_s_own_metrics_are_in_the_scrape(self, registry: CollectorRegistry) -> None:
        """What the app counts with prometheus_client stands on the same page."""
        Counter("orders", "Orders.", ["kind"], registry=registry).labels("new").inc(3)
        Gauge("stock", "Stock.", registry=registry).set(2)
        samples = scrape(Metrics(settings(), registry=registry))
        assert value(samples, "orders_total", kind="new") == 3
        assert value(samples, "stock") == 2

    def test_process_families_stand_once(self) -> None:
        """The default registry's own process and Python families are not repeated."""
        page = Metrics(settings(), registry=REGISTRY).exposition().body.decode()
        strict(page)
        for name in ("process_cpu_seconds_total", "process_resident_memory_bytes", "python_info"):
            assert page.count(f"# TYPE {name} ") == 1

    def test_a_taken_name_is_left_out_with_a_warning(
        self, exchange: MakeExchange, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Another instrumentation's family of the same name does not make the scrape invalid."""
        Counter("http_requests", "Theirs.", registry=registry).inc(99)
        Gauge("http_request_duration_seconds_count", "Theirs.", registry=registry).set(99)
        metrics = Metrics(settings(), registry=registry)
        metrics.finish(exchange(route="/", status=200))
        assert total(scrape(metrics), "http_requests_total") == 1
        assert "http_requests is left out" in caplog.text

    def test_a_broken_collector_does_not_end_the_scrape(
        self, exchange: MakeExchange, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A collector of the app that raises costs its own families only, and its text is not logged."""

        class Broken(Collector):
            def collect(self) -> Iterator[Metric]:
                yield Metric("fine", "Fine.", "gauge")
                raise RuntimeError("password=hunter2")

            def describe(self) -> Iterator[Metric]:
                return iter(())

        registry.register(Broken())
        metrics = Metrics(settings(), registry=registry)
        metrics.finish(exchange(route="/", status=200))
        assert total(scrape(metrics), "http_requests_total") == 1
        assert "RuntimeError" in caplog.text
        assert "hunter2" not in caplog.text

    def test_multiprocess_mode_is_respected_despite_a_torn_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """prometheus_client's own files are merged, one of 0 bytes is passed over (client_python#1199)."""
        script = (
            "import os, sys; from prometheus_client import Counter;"
            "Counter('orders', 'Orders.').inc(int(sys.argv[1]))"
        )
        for number in ("2", "5"):
            environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
            subprocess.run(
                [sys.executable, "-c", script, number], env=environment, check=True, timeout=DEADLINE
            )
        (tmp_path / "counter_99999.db").touch()
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        assert value(scrape(Metrics(settings())), "orders_total") == 7

    def test_with_several_workers_they_carry_the_pid(
        self, tmp_path: Path, registry: CollectorRegistry
    ) -> None:
        """Metrics that one worker alone knows never seem to go up and down (instrumentator#50)."""
        Counter("orders", "Orders.", registry=registry).inc(3)
        samples = scrape(Metrics(settings(), tmp_path, registry=registry))
        assert value(samples, "orders_total", pid=str(os.getpid())) == 3


class TestWatch:
    def test_shows_the_numbers_of_other_items(self) -> None:
        """A watched number is read at the scrape, with its labels."""
        metrics = Metrics(settings())
        now = {"taken": 1.0}
        metrics.watch("pool_taken", "Taken.", lambda: now["taken"], kind="gauge", labels={"pool": "main"})
        metrics.watch("rate_limited_total", "Refused.", lambda: 4)
        assert value(scrape(metrics), "pool_taken", pool="main") == 1
        now["taken"] = 7
        assert value(scrape(metrics), "pool_taken", pool="main") == 7
        assert value(scrape(metrics), "rate_limited_total") == 4

    def test_refuses_a_misnamed_counter(self) -> None:
        """The ending _total and the kind go together."""
        with pytest.raises(ValueError, match="_total"):
            Metrics(settings()).watch("refused", "Refused.", lambda: 1)

    def test_a_reader_that_raises_keeps_the_last_number(self, caplog: pytest.LogCaptureFixture) -> None:
        """A broken reader costs its number only."""
        answers = iter((5.0,))
        metrics = Metrics(settings())
        metrics.watch("left", "Left.", lambda: next(answers), kind="gauge")
        assert value(scrape(metrics), "left") == 5
        assert value(scrape(metrics), "left") == 5
        assert "left could not be read" in caplog.text

    def test_measures_the_event_loop_s_lag(self) -> None:
        """A blocked loop shows in the lag."""

        async def blocked() -> float:
            metrics = Metrics(settings())
            await metrics.start()
            blocked_until = time.monotonic() + 0.6
            while time.monotonic() < blocked_until:
                pass
            deadline = time.monotonic() + DEADLINE
            while not (lag := value(scrape(metrics), "event_loop_lag_seconds")):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.01)
            await metrics.stop()
            return lag

        assert 0.2 < asyncio.run(blocked()) < 5


WORKER = """
import asyncio, sys, types
from pathlib import Path
from roadworthy.layer.metrics import Metrics
from roadworthy.settings import Settings
import time
metrics = Metrics(Settings(_env_file=None), Path(sys.argv[1]))
metrics.watch("busy", "Busy.", lambda: 1, kind="gauge")
asyncio.run(metrics.start())
print("up", flush=True)
for line in sys.stdin:
    for number in range(int(line)):
        metrics.finish(types.SimpleNamespace(
            method="GET", route="/a", status=200, duration=number * 1.1e-3,
            body_received=0, bytes_sent=3))
    metrics.exposition()
    print("done", flush=True)
"""


class Worker:
    """A process that counts as many requests as it is told."""

    def __init__(self, directory: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.wait("up")

    def wait(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == word

    def count(self, number: int) -> None:
        self.tell(number)
        self.wait("done")

    def tell(self, number: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()

    def kill(self, *, reap: bool = True) -> None:
        self.process.send_signal(signal.SIGKILL)
        if reap:
            self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[[], Worker]]:
    """Give what starts workers of one group, and end them all."""
    started: list[Worker] = []

    def start() -> Worker:
        started.append(Worker(tmp_path))
        return started[-1]

    yield start
    for one in started:
        one.close()


def counts(samples: Samples) -> float:
    """Return the number of requests to /a."""
    return value(samples, "http_requests_total", method="GET", route="/a", status="200")


class TestSeveralWorkers:
    def test_a_scrape_has_all_of_them(
        self, tmp_path: Path, worker: Callable[[], Worker], exchange: MakeExchange
    ) -> None:
        """Whoever answers gives the exact sum (instrumentator#50), and gauges of those that run."""
        first, second = worker(), worker()
        first.count(100)
        second.count(37)
        reader = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        samples = scrape(reader)
        assert counts(samples) == 137
        assert value(samples, "http_response_size_bytes_sum", method="GET", route="/a") == 411
        assert value(samples, "busy") == 2
        assert value(samples, "roadworthy_workers") == 2
        assert value(samples, "process_resident_memory_bytes") > 2 * 10_000_000
        own = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        own.finish(exchange(route="/a", status=200))
        assert counts(scrape(own)) == counts(scrape(reader)) == 138

    def test_a_reader_leaves_no_file(self, tmp_path: Path) -> None:
        """A process that only scrapes, as a supervisor does, takes no part in the group."""
        scrape(Metrics(settings(), tmp_path))
        assert not list(tmp_path.rglob("*.cells"))

    def test_a_killed_worker_s_counts_stay_exactly(
        self, tmp_path: Path, worker: Callable[[], Worker]
    ) -> None:
        """After kill -9 every counted request is there, gauges are not, and its files are folded away."""
        first, second = worker(), worker()
        first.count(1_000)
        second.count(10)
        reader = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        before = scrape(reader)
        first.kill()
        after = scrape(reader)
        assert counts(after) == 1_010
        assert value(after, "busy") == 1
        for key, number in before.items():
            if key[0].endswith(("_total", "_sum", "_count", "_bucket")):
                assert after[key] >= number, key
        assert len(list(tmp_path.rglob("*.cells"))) == 1
        assert counts(scrape(Metrics(settings(), tmp_path, registry=CollectorRegistry()))) == 1_010

    def test_a_zombie_counts_as_ended(self, tmp_path: Path, worker: Callable[[], Worker]) -> None:
        """A killed worker that nobody has reaped yet runs no more."""
        first = worker()
        first.count(5)
        first.kill(reap=False)
        os.waitid(os.P_PID, first.process.pid, os.WEXITED | os.WNOWAIT)
        samples = scrape(Metrics(settings(), tmp_path, registry=CollectorRegistry()))
        assert counts(samples) == 5
        assert value(samples, "roadworthy_workers") == 0

    def test_counters_never_fall_while_workers_are_killed(
        self, tmp_path: Path, worker: Callable[[], Worker]
    ) -> None:
        """Scrapes during kills and restarts are valid and never lower, and the directory stays small."""
        reader = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        highest: Samples = {}
        for _ in range(4):
            one = worker()
            one.count(50)
            one.tell(20_000)
            for step in range(4):
                if step == 2:
                    one.kill()
                samples = scrape(reader)
                for key, number in samples.items():
                    if key[0].endswith(("_total", "_sum", "_count", "_bucket")):
                        assert number >= highest.get(key, 0.0), key
                        highest[key] = number
        assert counts(highest) >= 200
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) <= 4

    def test_unreadable_files_never_break_a_scrape(
        self, tmp_path: Path, worker: Callable[[], Worker]
    ) -> None:
        """Empty, cut, foreign and hostile files are passed over (client_python#1199, litellm#28713)."""
        one = worker()
        one.count(12)
        group = tmp_path / "metrics"
        keys, cells = next(group.glob("*.keys")), next(group.glob("*.cells"))
        pid = one.process.pid
        start = keys.name.split("-")[1]
        for number, (some_keys, some_cells) in enumerate(
            (
                (b"", b""),
                (keys.read_bytes(), b""),
                (keys.read_bytes(), cells.read_bytes()[:12]),
                (keys.read_bytes(), cells.read_bytes()[:5]),
                (keys.read_bytes()[:-9], b"\xff" * 4096),
                (b'\xff\n[1]\n{}\n[-1, 2, "sum", "x"]\n[0, 1]\n[0, "a", "sum"]\nnull\n', cells.read_bytes()),
            ),
            start=100,
        ):
            (group / f"{pid}-{start}-{number}.keys").write_bytes(some_keys)
            (group / f"{pid}-{start}-{number}.cells").write_bytes(some_cells)
        (group / "notes.txt").touch()
        (group / "1-1-1.cells").mkdir()
        assert counts(scrape(Metrics(settings(), tmp_path, registry=CollectorRegistry()))) == 12

    def test_a_fold_cut_short_counts_nothing_twice(
        self, tmp_path: Path, worker: Callable[[], Worker]
    ) -> None:
        """Killed between writing the sum and removing the files, a fold leaves the right sum."""
        one = worker()
        one.count(9)
        group = tmp_path / "metrics"
        kept = {path: path.read_bytes() for path in (*group.glob("*.keys"), *group.glob("*.cells"))}
        one.kill()
        reader = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        assert counts(scrape(reader)) == 9
        for path, content in kept.items():
            path.write_bytes(content)
        with (group / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert counts(scrape(reader)) == 9
        assert counts(scrape(reader)) == 9
        assert not any(path.exists() for path in kept)
        folded = json.loads((group / "folded").read_text())
        assert len(folded["done"]) == 1

    def test_a_held_lock_does_not_stop_a_scrape(self, tmp_path: Path, worker: Callable[[], Worker]) -> None:
        """While another process folds, or hangs in it, a scrape reads the files as they are."""
        one = worker()
        one.count(4)
        one.kill()
        with (tmp_path / "metrics" / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert counts(scrape(Metrics(settings(), tmp_path, registry=CollectorRegistry()))) == 4
        assert list(tmp_path.rglob("*.cells"))

    def test_no_directory_is_no_reason_to_fail(
        self, tmp_path: Path, exchange: MakeExchange, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A worker that cannot share its numbers says so and goes on counting them."""
        (tmp_path / "file").touch()
        with caplog.at_level(logging.ERROR):
            metrics = Metrics(settings(), tmp_path / "file", registry=CollectorRegistry())
            metrics.finish(exchange(route="/a", status=200))
        assert "not shared" in caplog.text
        assert counts(scrape(metrics)) == 1

    def test_files_are_private(self, tmp_path: Path, exchange: MakeExchange) -> None:
        """Nobody else on the machine can read or change the numbers."""
        metrics = Metrics(settings(), tmp_path)
        metrics.finish(exchange(route="/a", status=200))
        group = tmp_path / "metrics"
        assert group.stat().st_mode & 0o077 == 0
        assert all(path.stat().st_mode & 0o077 == 0 for path in group.iterdir())

    def test_parts_add_up_the_same_in_any_order(self, tmp_path: Path, exchange: MakeExchange) -> None:
        """A sum of seconds has no rounding that depends on order, so that folding never lowers it."""
        metrics = Metrics(settings(), tmp_path, registry=CollectorRegistry())
        for number in range(200):
            metrics.finish(exchange(route="/a", status=200, duration=number / 7))
        seconds = value(scrape(metrics), "http_request_duration_seconds_sum", method="GET", route="/a")
        assert (seconds * 2**22).is_integer()
