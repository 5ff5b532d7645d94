"""Flask, written as a first example is: nothing is validated and nothing is handled."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, request

app = Flask(__name__)
items: dict[int, dict[str, Any]] = {}


def root() -> dict[str, Any]:
    """Answer at once."""
    return {"ok": True}


def slow() -> dict[str, Any]:
    """Answer after two seconds."""
    time.sleep(2)
    return {"ok": True}


def fail() -> dict[str, Any]:
    """Fail by an exception that nothing handles."""
    raise RuntimeError("the item could not be counted")


def create() -> tuple[dict[str, Any], int]:
    """Keep an item."""
    body = request.json
    item = {"id": len(items) + 1, "name": body["name"], "qty": body["qty"]}
    items[len(items) + 1] = item
    return item, 201


def read(number: int) -> tuple[dict[str, Any], int]:
    """Return an item."""
    return (items[number], 200) if number in items else ({"error": "Not found"}, 404)


app.add_url_rule("/", view_func=root)
app.add_url_rule("/slow", view_func=slow)
app.add_url_rule("/fail", view_func=fail)
app.add_url_rule("/items", view_func=create, methods=["POST"])
app.add_url_rule("/items/<int:number>", view_func=read)
