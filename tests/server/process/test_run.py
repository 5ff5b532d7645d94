"""The life of the process: listeners, drain, signals, exit codes, around an app that does nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from signal import SIGINT, SIGTERM

import pytest

from tests.patience import DEADLINE, until

from ..service import Running, command, free_port, get, running

APP = """
import asyncio, os, socket, sys, time
from roadworthy import roadworthy

started = asyncio.Event()

async def answer(send, status, body):
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        if os.environ.get("FAIL_START"):
            await send({"type": "lifespan.startup.failed", "message": "no database"})
            return
        if os.environ.get("SLOW_START"):
            print("starting", flush=True)
            await asyncio.sleep(0.5)
        if os.environ.get("TAKE_PORT"):
            app.thief = socket.create_server(("127.0.0.1", int(os.environ["TAKE_PORT"])))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        print("stopped", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["path"] == "/slow":
        print("slow begins", flush=True)
        await asyncio.sleep(1.0)
    if scope["path"] == "/stuck":
        print("stuck begins", flush=True)
        await asyncio.sleep(1000)
    await answer(send, 200, str(sorted(name for name, _ in scope["headers"])).encode())
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the app in it."""
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


@contextmanager
def service(place: Path, *flags: str, **env: str) -> Iterator[tuple[Running, str, str]]:
    """Start the app; gives the process, its public and its operations URL."""
    with running("run", "main:app", "--port", "0", "--ops-port", "0", *flags, cwd=place, env=env) as process:
        found = process.record("listening")
        yield process, found["url"], found["operations_url"]


def test_both_listeners_serve(place: Path) -> None:
    """The app is on the public listener; metrics and health are on the operations listener only."""
    with service(place) as (_, public, operations):
        assert get(public)[0] == 200
        assert get(operations, "/readyz")[0] == 200
        status, metrics = get(operations, "/metrics")
        assert status == 200
        assert b"http_request" in metrics
        assert b"http_request" not in get(public, "/metrics")[1]


def test_the_response_has_a_date_and_no_server_version(place: Path) -> None:
    """uvicorn's date field is on and its server field is off."""
    with (
        service(place) as (_, public, _),
        socket.create_connection(("127.0.0.1", int(public.rpartition(":")[2])), timeout=DEADLINE) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head = b"".join(iter(lambda: client.recv(65536), b"")).partition(b"\r\n\r\n")[0].lower()
        assert b"\r\ndate: " in head
        assert b"uvicorn" not in head


def test_sigterm_says_not_ready_and_serves_on_until_the_delay_is_over(place: Path) -> None:
    """uvicorn closes its listener at once, so that no prober can see "not ready"; here one can."""
    with service(place, "--drain-delay", "1") as (process, public, operations):
        process.signal(SIGTERM)
        until(lambda: get(operations, "/readyz")[0] == 503, "readiness says no")
        assert get(public)[0] == 200
        assert process.exit_code() == 0
        assert "stopped" in process.output
        draining, closing = (
            datetime.fromisoformat(process.record_of(step)["time"]) for step in ("draining", "closing")
        )
        assert (closing - draining).total_seconds() >= 0.99


def test_a_request_in_flight_is_finished(place: Path) -> None:
    """What began before SIGTERM ends with its whole response, and the process with 0."""
    with service(place, "--drain-delay", "0") as (process, public, _), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, public, "/slow")
        until(lambda: "slow begins" in process.output, "the request arrives")
        process.signal(SIGTERM)
        assert answer.result(30)[0] == 200
        assert process.exit_code() == 0


def test_a_second_sigterm_does_not_truncate(place: Path) -> None:
    """Impatient supervisors send SIGTERM twice; the response in flight still ends whole."""
    with service(place, "--drain-delay", "0") as (process, public, _), ThreadPoolExecutor(1) as pool:
        answer = pool.submit(get, public, "/slow")
        until(lambda: "slow begins" in process.output, "the request arrives")
        process.signal(SIGTERM)
        process.record("draining")
        process.signal(SIGTERM)
        assert answer.result(30)[0] == 200
        assert process.exit_code() == 0


def test_a_stuck_request_cannot_outlive_the_grace(place: Path) -> None:
    """Kludex/uvicorn waits for ever by default; here the grace ends it, with exit code 0."""
    with service(place, "--drain-delay", "0", "--grace", "1") as (process, public, _):
        port = int(public.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: "stuck begins" in process.output, "the request arrives")
            process.signal(SIGTERM)
            assert process.exit_code() == 0
        assert "stopped" in process.output


def test_ctrl_c_skips_the_drain_delay(place: Path) -> None:
    """A person at the keyboard does not wait: a delay far above the test's deadline is not served."""
    with service(place, "--drain-delay", "600") as (process, _, _):
        process.signal(SIGINT)
        assert process.exit_code() == 0
        assert "stopped" in process.output


def test_ctrl_c_ends_a_running_drain(place: Path) -> None:
    """SIGINT after SIGTERM skips what is left of the delay."""
    with service(place, "--drain-delay", "600") as (process, _, _):
        process.signal(SIGTERM)
        process.record("draining")
        process.signal(SIGINT)
        assert process.exit_code() == 0


def test_a_second_ctrl_c_quits_at_once(place: Path) -> None:
    """The grace is far above the test's deadline, and a stuck request does not hold the process."""
    with service(place, "--grace", "600") as (process, public, _):
        port = int(public.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"GET /stuck HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: "stuck begins" in process.output, "the request arrives")
            process.signal(SIGINT)
            process.record("closing")
            process.signal(SIGINT)
            assert process.exit_code() == 0


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_during_start_up_stops_cleanly(place: Path, number: int) -> None:
    """The app finishes its start, is stopped again, and the process ends with 0 without listening."""
    flags = ["--port", "0", "--ops-port", "0", "--drain-delay", "600"]
    with running("run", "main:app", *flags, cwd=place, env={"SLOW_START": "1"}) as process:
        until(lambda: "starting" in process.output, "the app starts")
        process.process.send_signal(number)
        assert process.exit_code() == 0
        assert "stopped" in process.output
        assert "listening" not in process.output


@pytest.mark.parametrize("number", [SIGTERM, SIGINT])
def test_a_signal_during_import_ends_with_zero(place: Path, number: int) -> None:
    """A process that is told to stop before it serves has nothing to finish."""
    (place / "main.py").write_text("import time\nprint('the app is imported', flush=True)\ntime.sleep(60)")
    with running("run", "main:app", cwd=place) as process:
        until(lambda: "the app is imported" in process.output, "the app's own import runs")
        process.process.send_signal(number)
        assert process.exit_code() == 0
        assert process.errors == ""


def test_a_failed_start_exits_with_one_and_says_why(place: Path) -> None:
    """The app's own words reach the log, and no listener opens."""
    with running(
        "run", "main:app", "--port", "0", "--ops-port", "0", cwd=place, env={"FAIL_START": "1"}
    ) as process:
        assert process.exit_code() == 1
        assert "no database" in process.output + process.errors
        assert "listening" not in process.output


@pytest.mark.parametrize(
    ("flag", "variable"), [("--port", "ROADWORTHY_PORT"), ("--ops-port", "ROADWORTHY_OPS_PORT")]
)
def test_a_busy_port_exits_with_two(place: Path, flag: str, variable: str) -> None:
    """Either listener's port is named, with the flag and the variable that choose another."""
    flags = {"--port": "0", "--ops-port": "0"}
    with socket.create_server(("127.0.0.1", 0)) as other:
        flags[flag] = str(other.getsockname()[1])
        done = command("run", "main:app", *(part for pair in flags.items() for part in pair), cwd=place)
    assert done.returncode == 2
    assert f"port {flags[flag]} on 127.0.0.1 is in use" in done.stderr
    assert variable in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_taken_between_bind_and_listen_exits_with_two(place: Path) -> None:
    """The app's lifespan ends in order, and the message is the same as for a port that was busy before."""
    port = str(free_port())
    done = command("run", "main:app", "--port", port, "--ops-port", "0", cwd=place, env={"TAKE_PORT": port})
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use" in done.stderr
    assert "stopped" in done.stdout


def test_the_operations_listener_can_be_off(place: Path) -> None:
    """`--ops-port off` opens no second listener."""
    with running("run", "main:app", "--port", "0", "--ops-port", "off", cwd=place) as process:
        found = process.record("listening")
        assert found["operations_url"] is None
        assert get(found["url"])[0] == 200
