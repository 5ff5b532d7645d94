"""The drain as clients see it: nothing that was begun is lost, and whatever hangs is cut and told of."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.patience import DEADLINE, until

from .drain import APP, ROOT, drain_cycle, port_of
from .service import Running, environment, get, running

pytestmark = pytest.mark.long

FLAGS = ("--port", "0", "--ops-port", "off", "--drain-delay", "0")


@contextmanager
def lifecycle(folder: Path, *flags: str, **env: str) -> Iterator[tuple[Running, str]]:
    """Serve the lifecycle app; gives the process and its URL."""
    variables = {"PYTHONPATH": str(ROOT), "ROADWORTHY_STREAM_GRACE": "1", **env}
    with running("run", APP, *FLAGS, *flags, cwd=folder, env=variables) as process:
        yield process, f"http://127.0.0.1:{port_of(process)}"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_drain_under_load_loses_nothing(tmp_path: Path, workers: int) -> None:
    """Kludex/uvicorn under two workers reset every client that went on dialling; here none is reset."""
    asyncio.run(drain_cycle(tmp_path, workers)).check()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_background_work_is_joined(tmp_path: Path, workers: str) -> None:
    """A task that a handler began and left is finished before the process ends."""
    with lifecycle(tmp_path, "--workers", workers) as (process, url):
        assert get(url, "/later?1")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert "background work done" in process.output
        assert process.record_of("waiting for 1 background tasks")["tasks"] == ["_later"]


def test_lost_work_is_said_aloud(tmp_path: Path) -> None:
    """A task that outlives the grace is cancelled, counted and named."""
    with lifecycle(tmp_path, "--grace", "1") as (process, url):
        assert get(url, "/later?1000")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("lost 1 tasks")["tasks"] == ["_later"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_loop_of_a_library_holds_up_nothing(tmp_path: Path, workers: str) -> None:
    """What runs in a library alone, such as python-socketio's timer, gets the time of streams."""
    with lifecycle(tmp_path, "--grace", "600", "--workers", workers) as (process, url):
        assert get(url, "/library")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("ended 1 tasks of libraries")["tasks"] == ["sleep_forever"]
        assert '"lost' not in process.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_loop_that_no_request_began_holds_up_nothing(tmp_path: Path, workers: str) -> None:
    """What the lifespan began may begin more, as schedulers do; that is not called lost either."""
    with lifecycle(tmp_path, "--grace", "600", "--workers", workers, LATE_LOOP="1") as (process, url):
        until(lambda: get(url, "/tasks")[1] == b"1", "the loop is there")
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("waiting for 1 background tasks")["tasks"] == ["_later"]
        assert '"lost' not in process.output


def test_an_app_that_is_installed_is_no_library(tmp_path: Path) -> None:
    """Work of the app's own package is waited for where the package is, and called lost when it is."""
    place = tmp_path / "site-packages"
    (place / "shop").mkdir(parents=True)
    (place / "shop" / "__init__.py").touch()
    shutil.copy(ROOT / "tests" / "apps" / "lifecycle.py", place / "shop" / "main.py")
    env = {"PYTHONPATH": str(place), "ROADWORTHY_STREAM_GRACE": "0.1"}
    with running("run", "shop.main:app", *FLAGS, "--grace", "1", cwd=tmp_path, env=env) as process:
        assert get(f"http://127.0.0.1:{port_of(process)}", "/later?1000")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("lost 1 tasks")["tasks"] == ["_later"]


def test_a_cut_request_is_named(tmp_path: Path) -> None:
    """The record of what the grace cut names the request, and the process ends with 0."""
    with lifecycle(tmp_path, "--grace", "1") as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"GET /sleep?1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert get(url)[0] == 200
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 0
        assert process.record_of("cut 1 requests")["requests"] == ["GET /sleep"]


def test_work_behind_a_whole_response_is_no_request(tmp_path: Path) -> None:
    """A handler that works on after its response is a lost task and not a cut request."""
    with lifecycle(tmp_path, "--grace", "1") as (process, url):
        assert get(url, "/after?1000")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("lost 1 tasks")
        assert "cut 1 requests" not in process.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_hanging_lifespan_is_cut(tmp_path: Path, workers: str) -> None:
    """emmett-framework/granian waits for ever by default; here the record says what did not end."""
    with lifecycle(tmp_path, "--grace", "1", "--workers", workers, HANG_STOP="1") as (process, _):
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert any(str(one["message"]).startswith("cut: the lifespan") for one in process.records)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_stuck_thread_is_cut(tmp_path: Path, workers: str) -> None:
    """The interpreter waits for threads without an end (granian#459); the record names what was cut."""
    with lifecycle(tmp_path, "--grace", "1", "--workers", workers) as (process, url):
        assert get(url, "/thread?1000")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("cut 1 threads that did not end")["threads"] == ["stubborn"]


def test_a_thread_of_the_service_is_waited_for(tmp_path: Path) -> None:
    """It gets the grace, and not the time of streams."""
    with lifecycle(tmp_path, "--grace", "600", ROADWORTHY_STREAM_GRACE="0.1") as (process, url):
        assert get(url, "/work?2")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert "work of a thread done" in process.output


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_thread_of_a_library_holds_up_nothing(tmp_path: Path, workers: str) -> None:
    """One in which libraries alone run (marimo waits for its kernels in some) gets the time of streams."""
    with lifecycle(tmp_path, "--grace", "600", "--workers", workers) as (process, url):
        assert get(url, "/thread?1000")[0] == 202
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("cut 1 threads that did not end")["threads"] == ["stubborn"]


def test_a_start_that_hangs_is_cut(tmp_path: Path) -> None:
    """SIGTERM during a start that never ends: the process does not need SIGKILL, for nothing is served."""
    env = {"PYTHONPATH": str(ROOT), "SLOW_START": "1000"}
    with running("run", APP, *FLAGS, "--grace", "0.5", cwd=tmp_path, env=env) as process:
        until(lambda: "starting" in process.output, "the app starts")
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        assert process.record_of("cut: the event loop is held, or the start did not end")


def test_a_loop_that_is_held_for_ever_is_cut(tmp_path: Path) -> None:
    """No step of the drain can run there; a thread sees that the process ends, and the code tells of it."""
    with lifecycle(tmp_path, "--grace", "0.5") as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as client:
            client.sendall(b"GET /block?1000 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: not _accepts_at_once(url), "the loop is held")
            process.signal(signal.SIGTERM)
            assert process.exit_code() == 1
        assert process.record_of("cut: the event loop is held, or the requests did not end")


def test_a_second_ctrl_c_does_not_wait_for_background_work(tmp_path: Path) -> None:
    """The first waits for what handlers began; the second is somebody who has no time."""
    with lifecycle(tmp_path, "--grace", "600") as (process, url):
        assert get(url, "/later?1000")[0] == 202
        process.signal(signal.SIGINT)
        process.record("waiting for 1 background tasks")
        process.signal(signal.SIGINT)
        assert process.exit_code() == 0


def test_each_step_of_several_workers_is_a_record(tmp_path: Path) -> None:
    """The supervisor tells of its own steps and of each worker's end, and each worker of its steps."""
    with lifecycle(tmp_path, "--workers", "2") as (process, _):
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        said = [str(one["message"]) for one in process.records]
    first = [one for one in dict.fromkeys(said) if one in ("listening", "draining", "closing", "ended")]
    assert first == ["listening", "draining", "closing", "ended"]
    steps = ("listener closed", "requests finished", "lifespan ended", "worker ended")
    assert [said.count(step) for step in steps] == [2, 2, 2, 2]


def test_each_step_is_a_record(tmp_path: Path) -> None:
    """An operator reads the shutdown in the log, in order."""
    with lifecycle(tmp_path) as (process, _):
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
        said = [str(one["message"]) for one in process.records]
    steps = ["serving", "listening", "draining", "closing", "listener closed", "requests finished",
             "lifespan ended"]  # fmt: skip
    assert [one for one in said if one in steps] == steps


def test_a_connection_that_waits_to_be_accepted_is_served(tmp_path: Path) -> None:
    """What the kernel accepted before the close is answered, though the loop was busy until after SIGTERM."""
    with lifecycle(tmp_path) as (process, url):
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as blocker:
            blocker.sendall(b"GET /block?1 HTTP/1.1\r\nHost: x\r\n\r\n")
            until(lambda: not _accepts_at_once(url), "the loop is busy")
            with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as waiting:
                waiting.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                process.signal(signal.SIGTERM)
                assert waiting.recv(15) == b"HTTP/1.1 200 OK"
        assert process.exit_code() == 0


def _accepts_at_once(url: str) -> bool:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=DEADLINE) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.settimeout(0.2)
        try:
            return client.recv(1) == b"H"
        except TimeoutError:
            return False


def test_systemd_is_told_of_each_step(tmp_path: Path) -> None:
    """sd_notify(3): READY when the listener accepts, WATCHDOG, RELOADING, STOPPING when the drain begins."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(DEADLINE)
        for workers in ("1", "2"):
            env = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}
            with lifecycle(tmp_path, "--workers", workers, **env) as (process, _):
                heard = [manager.recv(1000), manager.recv(1000), manager.recv(1000)]
                assert sorted(set(heard)) == [b"READY=1", b"WATCHDOG=1"]
                if workers == "2":
                    process.signal(signal.SIGHUP)
                    while (told := manager.recv(1000)) == b"WATCHDOG=1":
                        pass
                    assert told.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                    while (told := manager.recv(1000)) == b"WATCHDOG=1":
                        pass
                    assert told == b"READY=1"
                process.signal(signal.SIGTERM)
                assert process.exit_code() == 0
                while (last := manager.recv(1000)) == b"WATCHDOG=1":
                    pass
                assert last == b"STOPPING=1"


def test_sockets_of_systemd_are_served_and_left_alone(tmp_path: Path) -> None:
    """sd_listen_fds(3): the passed socket is served, and takes connections again after the process ended."""
    starter = (
        "import os, socket, sys\n"
        "os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'roadworthy', *sys.argv[2:]])\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        for workers in ("1", "2"):
            out = tmp_path / f"{workers}.txt"
            with out.open("wb") as sink:
                started = subprocess.Popen(
                    [sys.executable, "-c", starter, str(listener.fileno()), "run", APP, "--workers", workers,
                     "--ops-port", "off", "--drain-delay", "0"],
                    pass_fds=[listener.fileno()], stdout=sink, stderr=sink, cwd=tmp_path,
                    env=environment({"PYTHONPATH": str(ROOT)}),
                )  # fmt: skip
            try:
                assert get(f"http://127.0.0.1:{port}")[0] == 200
            finally:
                started.send_signal(signal.SIGTERM)
                code = started.wait(30)
            assert code == 0, out.read_text()
        with socket.create_connection(("127.0.0.1", port), timeout=DEADLINE):
            listener.accept()[0].close()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_unix_socket_is_served_and_removed(tmp_path: Path, workers: str) -> None:
    """`--uds`: a socket that a killed process left is replaced, and the path is free after the end."""
    path = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as left_behind:
        left_behind.bind(str(path))
    flags = ("--uds", str(path), "--workers", workers)
    with (
        running("run", APP, *FLAGS, *flags, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as process,
        socket.socket(socket.AF_UNIX) as client,
    ):
        assert process.record("listening")["url"] == f"unix:{path}"
        client.settimeout(DEADLINE)
        client.connect(str(path))
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(15) == b"HTTP/1.1 200 OK"
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0
    assert not os.path.lexists(path)


def test_a_certificate_that_is_none_is_refused(tmp_path: Path) -> None:
    """What cannot be served is told before anything is opened, by the flag's name."""
    for name, said in (("missing.pem", "cannot be read"), ("broken.pem", "cannot be used")):
        (tmp_path / "broken.pem").write_text("nothing")
        with running(
            "run", APP, *FLAGS, "--tls-cert", str(tmp_path / name), cwd=tmp_path,
            env={"PYTHONPATH": str(ROOT)},
        ) as process:  # fmt: skip
            assert process.exit_code() == 2
            assert said in process.errors
            assert "--tls-cert" in process.errors


def test_ipv6_is_served(tmp_path: Path) -> None:
    """`--host ::1` listens on IPv6, and the URL has brackets."""
    if not socket.has_ipv6:
        pytest.skip("this Python has no IPv6")
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    env = {"PYTHONPATH": str(ROOT)}
    with running("run", APP, *FLAGS, "--host", "::1", cwd=tmp_path, env=env) as process:
        url = str(process.record("listening")["url"])
        assert url.startswith("http://[::1]:")
        with socket.create_connection(("::1", int(url.rpartition(":")[2])), timeout=DEADLINE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


@pytest.mark.parametrize("workers", ["1", "2"])
def test_tls_is_served(tmp_path: Path, tls: tuple[Path, Path], workers: str) -> None:
    """`--tls-cert` and `--tls-key` make the listener speak https, and the URL says so."""
    certificate, key = tls
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--workers", workers)
    env = {"PYTHONPATH": str(ROOT)}
    with running("run", APP, *FLAGS, *flags, cwd=tmp_path, env=env) as process:
        url = str(process.record("listening")["url"])
        assert url.startswith("https://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(certificate))
        port = int(url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=DEADLINE) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert client.recv(15) == b"HTTP/1.1 200 OK"
        process.signal(signal.SIGTERM)
        assert process.exit_code() == 0


def test_a_tls_handshake_has_a_deadline(tmp_path: Path, tls: tuple[Path, Path]) -> None:
    """A client that connects and never begins is let go like one that never sends its header fields."""
    flags = ("--tls-cert", str(tls[0]), "--tls-key", str(tls[1]))
    with (
        lifecycle(tmp_path, *flags, ROADWORTHY_HEADER_TIMEOUT="0.5s") as (_, url),
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=DEADLINE) as silent,
    ):
        assert silent.recv(1) == b""
