"""The service that docs/patterns.md builds, block by block, does what the page says."""

from __future__ import annotations

import importlib
import logging
import re
import sys
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from roadworthy import NotFoundError
from roadworthy.checklist import PATTERNS

from .served import served

pytestmark = pytest.mark.anyio

PAGE = Path(__file__).parents[1] / "docs" / "patterns.md"
_BLOCK = re.compile(r"^```python\n# (?P<name>[^\n]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def _files() -> dict[str, str]:
    return {one["name"]: one["text"] for one in _BLOCK.finditer(PAGE.read_text()) if "/" in one["name"]}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Write the page's blocks to their files; give a function that imports one of them."""
    for name, text in _files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/shop.db")
    monkeypatch.setenv("TOKEN_SECRET", "s3cret")

    def module(name: str) -> ModuleType:
        return importlib.import_module(f"shop.{name}")

    yield module
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]


@pytest.fixture
async def client(shop: Any) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the started service."""
    async with served(shop("app").app) as client:
        yield client


def test_every_pattern_has_a_section_with_code() -> None:
    """Each of the eight patterns is on the page, and every Python block is one of ours or the guide's."""
    text = PAGE.read_text()
    for pattern in PATTERNS:
        assert f'<a id="{pattern.id}"></a>\n## {pattern.title}\n' in text
    assert text.count("```python\n") == len(_files()) + text.count("```python\n# the guide\n")


async def _create(client: httpx.AsyncClient, name: str, **headers: str) -> httpx.Response:
    values = {"name": name, "email": f"{name}@example.com"}
    return await client.post("/users", json=values, headers=headers)


async def test_controllers(client: httpx.AsyncClient) -> None:
    """Created is 201 with Location, a missing user 404, a bad id and a bad body 422."""
    created = await _create(client, "ada")
    assert (created.status_code, created.headers["Location"]) == (201, "/users/1")
    assert (await client.get("/users/1")).json() == {"id": 1, "name": "ada", "email": "ada@example.com"}
    assert (await client.get("/users/7")).json()["code"] == "NOT_FOUND"
    assert (await client.get(f"/users/{10**30}")).status_code == 404
    assert (await client.get("/users/x")).status_code == 422
    assert (await client.post("/users", json={})).status_code == 422


async def test_a_taken_address_creates_nothing(client: httpx.AsyncClient) -> None:
    """A conflict is 409 with the code that the repository names, and undoes the whole method."""
    await _create(client, "ada")
    again = await _create(client, "ada")
    assert (again.status_code, again.json()["code"]) == (409, "EMAIL_TAKEN")
    assert len((await client.get("/users/1/overview")).json()["posts"]) == 1


async def test_transactions_and_error_classes(client: httpx.AsyncClient, shop: Any) -> None:
    """What was done before the method raised is undone; the error is of the service's own class."""
    await _create(client, "ada")
    await _create(client, "bob")
    service = shop("app").service
    await service.leave_everything_to(1, 2)
    assert len((await client.get("/users/2/overview")).json()["posts"]) == 2
    assert (await client.get("/users/1")).status_code == 404
    with pytest.raises(NotFoundError):
        await service.leave_everything_to(2, 99)
    assert len((await client.get("/users/2/overview")).json()["posts"]) == 2
    with pytest.raises(shop("errors").NothingToMoveError) as told:
        await service.leave_everything_to(99, 2)
    assert (told.value.status, told.value.code) == (409, "NOTHING_TO_MOVE")


async def test_idempotency(client: httpx.AsyncClient) -> None:
    """A POST repeated with its key is carried out once."""
    first = await _create(client, "ada", **{"Idempotency-Key": "k1"})
    again = await _create(client, "ada", **{"Idempotency-Key": "k1"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()


async def test_fan_out(client: httpx.AsyncClient, shop: Any) -> None:
    """A user and the posts together; many users in the order asked."""
    await _create(client, "ada")
    overview = (await client.get("/users/1/overview")).json()
    assert (overview["user"]["name"], overview["posts"][0]["title"]) == ("ada", "ada has joined")
    assert (await client.get("/users/7/overview")).status_code == 404
    found = await shop("app").service.many([7, 1, 8, 1])
    assert [user and user.id for user in found] == [None, 1, None, 1]


async def test_cpu_offload(client: httpx.AsyncClient) -> None:
    """The computation comes back from a worker process; a bad number is 422."""
    assert (await client.get("/primes/1000000")).json() == 78498
    assert (await client.get("/primes/1")).status_code == 422


async def test_async_errors(shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The block that logs and raises does both."""
    with pytest.raises(ConnectionError):
        await shop("mail").welcome("ada@example.com")
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage() == "no welcome"
