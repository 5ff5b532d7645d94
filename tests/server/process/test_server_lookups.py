"""Apps that look for their `uvicorn.Server` find what they would find under uvicorn itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT, SIGTERM, Signals
from typing import Any

import pytest

from tests.patience import until

from ..drain import ROOT
from ..service import Running, free_port, get, running

pytestmark = pytest.mark.long

APP = "tests.apps.server_lookups"
WAYS = {
    "uvicorn": [],
    "the layer on uvicorn": [],
    "no operations": ["--ops-port", "off"],
    "operations": ["--ops-port", "0"],
    "two workers": ["--ops-port", "0", "--workers", "2"],
}
"""What runs the app; the first is what the others are measured by."""
RUN = [way for way in WAYS if "uvicorn" not in way]


@contextmanager
def served(way: str, folder: Path, **env: str) -> Iterator[tuple[Running, str]]:
    """Serve the app; gives the process and its URL."""
    port = str(free_port())
    variables = {"PYTHONPATH": str(ROOT), **env}
    program, flags, written = ["-m", "uvicorn"], [], "running on"
    if way in RUN:
        program, flags, written = (
            ["-m", "roadworthy", "run"],
            ["--drain-delay", "0", *WAYS[way]],
            '"listening"',
        )
    target = f"{APP}:{'layered' if 'layer' in way else 'app'}"
    with running(target, "--port", port, *flags, cwd=folder, env=variables, program=program) as process:
        until(lambda: written in process.output + process.errors, "it listens")
        yield process, f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("way", WAYS)
def test_what_is_looked_up_is_there(way: str, tmp_path: Path) -> None:
    """One server is in memory, at the start and later: the one that serves, loaded and with its address."""
    with served(way, tmp_path) as (_, url):
        found: dict[str, Any] = json.loads(get(url)[1])
    port = int(url.rpartition(":")[2])
    # Under a server that is not ours the layer handles SIGTERM first, and calls the server's handler later.
    by_signal = way != "the layer on uvicorn"
    same = {
        "servers in memory": 1,
        "of them with a loaded configuration": 1,
        "of them for this app": 1,
        "of them at the signal": int(by_signal),
        "is to exit": False if by_signal else None,
        "is to reload": False,
        "host": "127.0.0.1",
        "port": port,
    }
    assert found == {
        "at the start": {**same, "has started": [False]},
        "now": {**same, "has started": [True]},
        "listens on": [port],
        "asked at": ["127.0.0.1", port],
    }


@pytest.mark.parametrize("way", ["uvicorn", "no operations", "operations"])
def test_an_app_can_stop_its_server(way: str, tmp_path: Path) -> None:
    """`should_exit` on the server that was found ends the process in order."""
    with served(way, tmp_path) as (process, url):
        assert get(url, "/stop")[0] == 200
        assert process.exit_code() == 0
        assert "lifespan over" in process.output


@pytest.mark.parametrize("number", [SIGTERM, SIGINT], ids=["term", "int"])
@pytest.mark.parametrize("way", RUN)
def test_who_replaces_the_signal_handler_hears_of_the_end(way: str, number: Signals, tmp_path: Path) -> None:
    """Each process that serves calls `uvicorn.Server.handle_exit` once, before the lifespan ends; code 0."""
    with served(way, tmp_path) as (process, _):
        process.signal(number)
        assert process.exit_code() == 0
        lines = [
            line for line in process.output.splitlines() if line in {"heard of SIGTERM", "lifespan over"}
        ]
        serving = 2 if way == "two workers" else 1
        assert sorted(lines) == ["heard of SIGTERM"] * serving + ["lifespan over"] * serving
        assert lines[0] == "heard of SIGTERM"


def test_a_replaced_handler_that_fails_stops_nothing(tmp_path: Path) -> None:
    """Its exception is recorded, and the process ends in order."""
    with served("no operations", tmp_path, FAIL_EXIT="1") as (process, _):
        process.signal(SIGTERM)
        assert process.exit_code() == 0
        assert "lifespan over" in process.output
        assert "the library is not set up" in process.output


@pytest.mark.parametrize("way", WAYS)
def test_records_to_the_servers_logger_are_kept(way: str, tmp_path: Path) -> None:
    """What an app writes to `uvicorn.error` is there; of uvicorn's own progress `run` writes nothing."""
    with served(way, tmp_path) as (process, _):
        until(lambda: "a record of the app's own" in process.output + process.errors)
        assert ("Waiting for application startup" in process.output + process.errors) == (way not in RUN)
