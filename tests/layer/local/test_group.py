"""How workers find each other, under real servers."""

import http.client
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roadworthy.layer.local.group import ENVIRONMENT_VARIABLE, process_key, worker_group
from tests.patience import DEADLINE

_ROOT = Path(__file__).parents[3]
_APP = "tests.apps.worker_group:app"
_SERVERS = {
    "uvicorn": ["uvicorn", "--workers", "2", "--port", "{port}", "--log-level", "error", _APP],
    "granian": ["granian", "--interface", "asgi", "--workers", "2", "--port", "{port}", _APP],
    "hypercorn": ["hypercorn", "--workers", "2", "--bind", "127.0.0.1:{port}", _APP],
}
_ALONE = {"uvicorn": ["uvicorn", "--port", "{port}", "--log-level", "error", _APP]}
_FORKED = """
import os, sys, types
sys.modules["gunicorn.arbiter"] = types.ModuleType("gunicorn.arbiter")
from roadworthy.layer.local.group import process_key, worker_group
expected = process_key(os.getpid())
assert worker_group() is None or worker_group().key != expected
if (child := os.fork()) == 0:
    group = worker_group()
    os._exit(0 if group is not None and group.key == expected else 1)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ask(port: int) -> tuple[str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    try:
        connection.request("GET", "/")
        worker, key = connection.getresponse().read().decode().split()
        return worker, key
    finally:
        connection.close()


def _groups(command: list[str], workers: int) -> tuple[dict[str, str], int]:
    """Start a server, ask until that many workers have answered, stop it; return the workers' keys."""
    port = _free_port()
    arguments = [sys.executable, "-m", *(part.format(port=port) for part in command)]
    server = subprocess.Popen(arguments, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: dict[str, str] = {}
    try:
        deadline = time.monotonic() + DEADLINE
        while len(seen) < workers and time.monotonic() < deadline:
            try:
                worker, key = _ask(port)
                seen[worker] = key
            except (OSError, ValueError, http.client.HTTPException):
                time.sleep(0.02)
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
    assert len(seen) == workers, f"only {len(seen)} of {workers} workers answered"
    return seen, server.pid


@pytest.mark.parametrize("server", list(_SERVERS))
def test_workers_of_one_server_are_one_group(server: str) -> None:
    """Two workers of a foreign server find the same group, named after a process of that server."""
    seen, parent = _groups(_SERVERS[server], 2)
    assert len(set(seen.values())) == 1
    assert next(iter(seen.values())).split("-")[1] == str(parent)


def test_a_server_without_workers_is_no_group() -> None:
    """One process that serves alone has nobody to share with."""
    seen, _ = _groups(_ALONE["uvicorn"], 1)
    assert set(seen.values()) == {"-"}


def test_gunicorns_forked_workers_are_a_group() -> None:
    """A process forked by gunicorn's arbiter belongs to the arbiter, and the arbiter itself to no group."""
    assert subprocess.run([sys.executable, "-c", _FORKED], cwd=_ROOT, check=False).returncode == 0


def test_the_variable_names_the_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor's own name wins; the folder is private and found again."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, process_key(os.getpid()))
    group = worker_group()
    assert group is not None
    try:
        assert group.key == process_key(os.getpid())
        assert group.directory.stat().st_mode & 0o777 == 0o700
        assert worker_group() == group
    finally:
        group.directory.rmdir()


@pytest.mark.parametrize("name", ["../elsewhere", "a/b", ".", " ", "x" * 101])
def test_a_name_that_is_a_path_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The variable cannot lead out of the folder, and the error names it without its value."""
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, name)
    with pytest.raises(ValueError, match=ENVIRONMENT_VARIABLE) as caught:
        worker_group()
    assert name == " " or name == "." or name not in str(caught.value)


def test_groups_whose_parent_is_gone_are_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start removes what a dead group left, and nothing of a living or differently named one."""
    ended = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    stale = process_key(ended.pid)
    ended.communicate()
    base = _base_of_groups(monkeypatch)
    kept = [base / "named-by-hand", base / process_key(os.getppid())]
    made = [path for path in (*kept, base / stale) if not path.exists()]
    for path in made:
        path.mkdir(0o700)
        (path / "limits").write_bytes(b"x")
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, process_key(os.getpid()))
    group = worker_group()
    assert group is not None
    try:
        assert not (base / stale).exists()
        assert all(path.exists() for path in kept)
    finally:
        group.directory.rmdir()
        for path in made:
            if path.exists():
                (path / "limits").unlink()
                path.rmdir()


def _base_of_groups(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "probe")
    group = worker_group()
    assert group is not None
    group.directory.rmdir()
    return group.directory.parent


def test_a_folder_that_others_may_enter_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group's folder with other permissions than ours stops the start."""
    base = _base_of_groups(monkeypatch)
    (base / "open-to-all").mkdir()
    (base / "open-to-all").chmod(0o777)
    monkeypatch.setenv(ENVIRONMENT_VARIABLE, "open-to-all")
    try:
        with pytest.raises(RuntimeError, match="open-to-all"):
            worker_group()
    finally:
        (base / "open-to-all").rmdir()


def _report(queue: "multiprocessing.SimpleQueue[str]") -> None:
    group = worker_group()
    queue.put(group.key if group else "-")


def test_the_key_is_the_parents_and_changes_with_its_start() -> None:
    """A process started through multiprocessing is named after its parent's id and start time."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    process = context.Process(target=_report, args=(queue,))
    process.start()
    process.join()
    assert queue.get() == process_key(os.getpid())


def test_a_dead_process_has_no_key() -> None:
    """There is no name for a process that is gone."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(ProcessLookupError):
        process_key(ended.pid)
