"""Users, their posts, and transfers of posts on a real PostgreSQL, for uvicorn.

``DATABASE_URL`` and ``ZOO_DRIVER`` (``asyncpg`` or ``psycopg``) say where the data is and who speaks to it;
``ZOO_FAULT`` has the switch of a twin.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import BackgroundTasks, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import bindparam, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

__all__ = ("app",)

_TABLES = """
SELECT pg_advisory_xact_lock(2);
CREATE TABLE IF NOT EXISTS users (id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS posts (
    id BIGSERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users ON DELETE CASCADE,
    title TEXT NOT NULL
);
"""
_FAULT = os.environ.get("ZOO_FAULT", "")
_engine = create_async_engine(
    os.environ["DATABASE_URL"].replace("postgresql:", f"postgresql+{os.environ['ZOO_DRIVER']}:"),
    pool_size=5,
    max_overflow=0,
    pool_timeout=5,
    pool_pre_ping=True,
)


class _User(BaseModel):
    name: str


class _Post(BaseModel):
    title: str


class _Transfer(BaseModel):
    from_user: int
    to_user: int
    post_ids: list[int]


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncGenerator[None]:
    async with _engine.begin() as connection:
        for statement in _TABLES.strip().removesuffix(";").split(";"):
            await connection.execute(text(statement))
    yield
    await _engine.dispose()


app = FastAPI(lifespan=_lifespan)


@app.exception_handler(SQLAlchemyError)
@app.exception_handler(OSError)
async def _store_failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"title": "the store failed"}, 503)


@app.get("/readyz")
async def _ready() -> dict[str, str]:
    return {"status": "ok"}


async def _one(connection: AsyncConnection, statement: str, **values: Any) -> dict[str, Any] | None:
    found = (await connection.execute(text(statement), values)).mappings().first()
    return None if found is None else dict(found)


async def _written(work: Callable[[AsyncConnection], Awaitable[Any]], later: BackgroundTasks) -> Any:
    """Do the work in one transaction, and answer when it is committed."""
    if _FAULT == "txn-2-answers-first":
        connection = await _engine.connect()
        done = await work(connection)

        async def commit() -> None:
            # After the response.
            await connection.commit()
            await connection.close()

        later.add_task(commit)
        return done
    if _FAULT == "txn-2-swallows":
        connection = await _engine.connect()
        try:
            done = await work(connection)
            try:
                await connection.commit()
            except (SQLAlchemyError, OSError) as error:
                print(f"could not commit: {error}", flush=True)
            return done
        finally:
            await connection.close()
    async with _engine.begin() as connection:
        return await work(connection)


@app.post("/api/users", status_code=201)
async def _create(user: _User, later: BackgroundTasks) -> Any:
    return await _written(
        lambda connection: _one(
            connection, "INSERT INTO users (name) VALUES (:name) RETURNING id, name", name=user.name
        ),
        later,
    )


@app.get("/api/users/{number}")
async def _read(number: int) -> Any:
    async with _engine.connect() as connection:
        found = await _one(connection, "SELECT id, name FROM users WHERE id = :id", id=number)
    if found is None:
        raise HTTPException(404)
    return found


@app.delete("/api/users/{number}", status_code=204)
async def _delete(number: int, later: BackgroundTasks) -> None:
    gone = await _written(
        lambda connection: _one(connection, "DELETE FROM users WHERE id = :id RETURNING id", id=number), later
    )
    if gone is None:
        raise HTTPException(404)


@app.post("/api/users/{number}/posts", status_code=201)
async def _create_post(number: int, post: _Post, later: BackgroundTasks) -> Any:
    async def create(connection: AsyncConnection) -> Any:
        if await _one(connection, "SELECT 1 FROM users WHERE id = :id FOR SHARE", id=number) is None:
            raise HTTPException(404)
        return await _one(
            connection,
            "INSERT INTO posts (user_id, title) VALUES (:id, :title) RETURNING id, title",
            id=number,
            title=post.title,
        )

    return await _written(create, later)


@app.get("/api/users/{number}/posts")
async def _list_posts(
    number: int, limit: Annotated[int, Query(ge=1, le=100)] = 20, cursor: int = 0
) -> dict[str, Any]:
    async with _engine.connect() as connection:
        rows = await connection.execute(
            text("SELECT id, title FROM posts WHERE user_id = :id AND id > :cursor ORDER BY id LIMIT :limit"),
            {"id": number, "cursor": cursor, "limit": limit + 1},
        )
        found = [dict(row) for row in rows.mappings()]
    page = found[:limit]
    return {"items": page, "next_cursor": str(page[-1]["id"]) if len(found) > limit else None}


@app.post("/api/transfers")
async def _transfer(order: _Transfer, later: BackgroundTasks) -> dict[str, int]:
    async def move(connection: AsyncConnection) -> None:
        if await _one(connection, "SELECT 1 FROM users WHERE id = :id FOR SHARE", id=order.to_user) is None:
            raise HTTPException(404)
        select = "SELECT id FROM posts WHERE user_id = :id AND id IN :ids ORDER BY id"
        if _FAULT != "txn-4-unlocked":
            select += " FOR UPDATE"
        statement = text(select).bindparams(bindparam("ids", expanding=True))
        found = await connection.execute(statement, {"id": order.from_user, "ids": order.post_ids})
        if len(found.all()) != len(set(order.post_ids)):
            raise HTTPException(409)
        for post in sorted(order.post_ids):
            await connection.execute(
                text("UPDATE posts SET user_id = :id WHERE id = :post"), {"id": order.to_user, "post": post}
            )

    async def move_one(connection: AsyncConnection, post: int) -> None:
        moved = await _one(
            connection,
            "UPDATE posts SET user_id = :id WHERE id = :post AND user_id = :source RETURNING id",
            id=order.to_user,
            post=post,
            source=order.from_user,
        )
        if moved is None:
            raise HTTPException(409)

    if _FAULT == "txn-1-many-commits":
        for post in order.post_ids:
            async with _engine.begin() as connection:
                await move_one(connection, post)
    else:
        await _written(move, later)
    return {"moved": len(order.post_ids)}
