"""Another storage is another provider: routes, services and units of work stay as they are."""

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from tests.served import served

from reference.application import create_app
from reference.posts.dto import Post
from reference.storage import Storage
from reference.users.dto import User
from reference.users.router import user_service
from reference.users.service import UserService
from roadworthy import NotFoundError, Settings, roadworthy
from roadworthy.patterns import MemoryAnswers, MemoryRepository, MemoryStore

pytestmark = pytest.mark.anyio


class MemoryUsers(MemoryRepository[User, int]):
    """Users in memory."""

    def __init__(self, store: MemoryStore, posts: "MemoryPosts") -> None:
        super().__init__(store, User, int, label="User", unique={"email": "EMAIL_TAKEN"})
        self._posts = posts
        posts.users = self

    async def delete(self, key: int, *, version: int | None = None) -> None:
        """Remove a user together with the user's posts."""
        await super().delete(key, version=version)
        for post in (await self._posts.list(limit=1000, where={"user_id": key})).items:
            await self._posts.delete(post.id)


class MemoryPosts(MemoryRepository[Post, int]):
    """Posts in memory."""

    users: MemoryUsers

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store, Post, int, label="Post")

    async def insert(self, values: Any) -> Post:
        """Store a new post of a user who is there."""
        await self.users.get(values["user_id"])
        return await super().insert(values)

    async def move(self, post_ids: Sequence[int], from_user: int, to_user: int) -> int:
        """Give those of the posts that ``from_user`` has to ``to_user``."""
        mine = [post for post in await self.get_many(post_ids) if post and post.user_id == from_user]
        for post in mine:
            await self.update(post.id, {"user_id": to_user})
        return len(mine)


def in_memory() -> Storage:
    """Keep everything in memory: the one provider that a swap touches."""
    store = MemoryStore()
    posts = MemoryPosts(store)
    return Storage(MemoryUsers(store, posts), posts, MemoryAnswers(store))


@pytest.fixture(params=["memory", "database"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The service over each storage."""
    settings = Settings(rate_limit="off", database_url=SecretStr(f"sqlite:///{tmp_path / 'data.db'}"))
    service = create_app(settings, storage=in_memory() if request.param == "memory" else None)
    async with served(roadworthy(service, settings=settings, resources=service.state.resources)) as client:
        yield client


def _email() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"{number}@example.com"


async def test_the_same_answers(client: httpx.AsyncClient) -> None:
    """The same requests get the same answers on every storage: creating, conflicts, transfers, deleting."""
    emails = _email()
    ada, ben = [
        (await client.post("/api/users", json={"name": name, "email": next(emails)})).json()["id"]
        for name in ("Ada", "Ben")
    ]
    taken = await client.post("/api/users", json={"name": "Cyd", "email": "1@example.com"})
    assert (taken.status_code, taken.json()["code"]) == (409, "EMAIL_TAKEN")
    posts = [
        (await client.post(f"/api/users/{ada}/posts", json={"title": str(n), "body": ""})).json()["id"]
        for n in range(3)
    ]
    order = {"from_user": ada, "to_user": ben, "post_ids": posts[:2]}
    assert (await client.post("/api/transfers", json=order)).json() == {"moved": 2}
    again = await client.post("/api/transfers", json={**order, "post_ids": posts})
    assert (again.status_code, again.json()["code"]) == (409, "NOT_OWNER")
    left = (await client.get(f"/api/users/{ada}/posts")).json()["items"]
    assert [post["id"] for post in left] == posts[2:]
    assert (await client.delete(f"/api/users/{ada}")).status_code == 204
    assert (await client.get(f"/api/users/{ada}/posts")).status_code == 404
    assert (await client.get(f"/api/users/{ben}/posts/{posts[0]}")).status_code == 200
    page = (await client.get("/api/users", params={"limit": 1})).json()
    assert [user["id"] for user in page["items"]] == [ben]


async def test_idempotency_on_each_storage(client: httpx.AsyncClient) -> None:
    """A key is honoured on every storage."""
    body = {"name": "Ada", "email": "ada@example.com"}
    first, again = [
        await client.post("/api/users", json=body, headers={"Idempotency-Key": "k"}) for _ in range(2)
    ]
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert again.headers["idempotency-replayed"] == "true"
    other = await client.post("/api/users", json={**body, "name": "Eve"}, headers={"Idempotency-Key": "k"})
    assert (other.status_code, other.json()["errors"][0]["code"]) == (422, "idempotency_key_reused")


async def test_a_service_is_replaced_in_one_line() -> None:
    """FastAPI's own override replaces the service behind the functions."""

    class Nobody(UserService):
        async def get(self, user_id: int) -> User:
            raise NotFoundError("Nobody is here")

    storage = in_memory()
    service = create_app(storage=storage)
    service.dependency_overrides[user_service] = lambda: Nobody(storage.users)
    app = roadworthy(service, settings=Settings(rate_limit="off"))
    async with served(app) as client:
        assert (await client.get("/api/users/1")).json()["detail"] == "Nobody is here"


def test_openapi() -> None:
    """Functions and classes stand in the OpenAPI document alike, with the field that they honour."""
    paths = create_app(storage=in_memory()).openapi()["paths"]
    for path in ("/api/users", "/api/users/{id}/posts", "/api/transfers"):
        named = {one["name"] for one in paths[path]["post"]["parameters"]}
        assert "Idempotency-Key" in named
    assert paths["/api/users/{id}/posts/{post_id}"]["get"]["summary"]
