"""What docs/adopting.md shows does what the page says, block by block."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fastapi import FastAPI
from httpx import AsyncClient

from roadworthy.settings import Settings

from .patience import DEADLINE, until
from .served import served
from .server.service import environment, free_port, get

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[1] / "docs" / "adopting.md").read_text()
_BLOCK = re.compile(r"^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = [(one["kind"], one["text"]) for one in _BLOCK.finditer(PAGE)]
FILES = {
    text.splitlines()[0].removeprefix("# "): text
    for kind, text in BLOCKS
    if kind in ("python", "toml") and text.startswith("# ")
}
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
RULES = "roadworthy.toml"
BIND = {"hypercorn": "--bind=127.0.0.1:{}"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Write the page's files."""
    for name in JOURNEYS:
        (tmp_path / name).write_text(FILES[name])
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in JOURNEYS:
        sys.modules.pop(name.removesuffix(".py"), None)


def _module(name: str) -> ModuleType:
    importlib.invalidate_caches()
    return importlib.import_module(name)


async def _main(client: AsyncClient) -> None:
    assert (await client.get("/users/1")).json() == {"id": 1}


async def _service(client: AsyncClient) -> None:
    answer = await client.get("/users/2")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "There is no such user"
    app, own = _module("service").app, _module("main").app
    assert isinstance(app, FastAPI)
    assert (app.state, app.dependency_overrides) == (own.state, own.dependency_overrides)
    assert app.routes == own.routes


async def _own_errors(client: AsyncClient) -> None:
    assert (await client.get("/users/2")).json() == {"detail": "There is no such user"}


async def _slow(client: AsyncClient) -> None:
    assert (await client.post("/reports")).json() == "done"
    large = bytes(2 << 20)
    assert (await client.post("/files", content=large)).json() == len(large)
    assert (await client.post("/reports", content=large)).status_code == 413


async def _limits(client: AsyncClient) -> None:
    statuses = [(await client.post("/sign-in")).status_code for _ in range(6)]
    assert statuses == [200] * 5 + [429]
    assert {(await client.get("/export")).status_code for _ in range(700)} == {200}


async def _frames(client: AsyncClient) -> None:
    widget, signed_in = await client.get("/widget"), await client.get("/signed-in")
    assert "frame-ancestors 'self' https://partner.example" in widget.headers["content-security-policy"]
    assert signed_in.headers["x-frame-options"] == "SAMEORIGIN"
    assert signed_in.headers["cross-origin-opener-policy"] == "unsafe-none"


async def _pools(client: AsyncClient) -> None:
    assert (await client.get("/readyz")).status_code == 200


JOURNEYS: dict[str, Callable[[AsyncClient], Awaitable[None]]] = {
    "main.py": _main,
    "service.py": _service,
    "own_errors.py": _own_errors,
    "slow.py": _slow,
    "limits.py": _limits,
    "frames.py": _frames,
    "pools.py": _pools,
}


def test_every_block_is_run() -> None:
    """A file of the page has a journey; every other block is a command, or settings."""
    assert set(FILES) == {*JOURNEYS, RULES}
    assert {kind for kind, text in BLOCKS if text not in FILES.values()} == {"sh", "dotenv"}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", JOURNEYS)
async def test_the_apps_do_what_the_page_says(name: str) -> None:
    """Each app of the page is served, and its answers are those that the page describes."""
    async with served(_module(name.removesuffix(".py")).app) as client:
        await JOURNEYS[name](client)


async def test_the_rules_beside_the_app_hold(folder: Path) -> None:
    """The file of rules is read where the app is started, and its limit is in force."""
    (folder / RULES).write_text(FILES[RULES])
    async with served(_module("service").app) as client:
        statuses = [(await client.get("/users/1")).status_code for _ in range(61)]
    assert statuses == [200] * 60 + [429]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_commands_serve(folder: Path, line: str) -> None:
    """Each command of the page starts the service, which is ready, and ends with SIGTERM."""
    port = free_port()
    program, *rest = shlex.split(line)
    flag = BIND.get(program, "--port={}").format(port)
    env = environment({"ROADWORTHY_DRAIN_DELAY": "0", "ROADWORTHY_OPS_PORT": "off"})
    command = [str(Path(sys.executable).parent / program), *rest, flag]
    with (folder / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            until(lambda: process.poll() is not None or _is_ready(port), f"{line} is ready")
            assert process.poll() is None, (folder / "output.txt").read_text()
            assert get(f"http://127.0.0.1:{port}", "/users/2")[0] == 404
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE)
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(DEADLINE)


def _is_ready(port: int) -> bool:
    try:
        return get(f"http://127.0.0.1:{port}", "/readyz")[0] == 200
    except OSError:
        return False


@pytest.mark.parametrize("text", [text for kind, text in BLOCKS if kind == "dotenv"])
def test_the_settings_are_taken(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block of settings is a `.env` that the service starts with."""
    for name in [name for name in os.environ if name.startswith("ROADWORTHY_")]:
        monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(text)
    settings: Any = Settings(_env_file=tmp_path / ".env")
    names = {line.partition("=")[0].removeprefix("ROADWORTHY_").lower() for line in text.splitlines()}
    assert names <= settings.model_fields_set
