"""FastAPI with its defaults."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = FastAPI()


class New(BaseModel):
    """What a client sends."""

    name: str
    qty: int


class Item(New):
    """What a client gets."""

    id: int


items: dict[int, Item] = {}


@app.get("/")
async def root() -> dict[str, bool]:
    """Answer at once."""
    return {"ok": True}


@app.get("/slow")
async def slow() -> dict[str, bool]:
    """Answer after two seconds."""
    await asyncio.sleep(2)
    return {"ok": True}


@app.get("/fail")
async def fail() -> None:
    """Fail by an exception that nothing handles."""
    raise RuntimeError("the item could not be counted")


@app.post("/items", status_code=201)
async def create(new: New) -> Item:
    """Keep an item."""
    item = Item(id=len(items) + 1, name=new.name, qty=new.qty)
    items[item.id] = item
    return item


@app.get("/items/{number}")
async def read(number: int) -> Item:
    """Return an item."""
    if number not in items:
        raise HTTPException(404)
    return items[number]
