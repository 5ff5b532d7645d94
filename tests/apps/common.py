"""What all fixture apps share: their data, and the one way the layer is put around them."""

from typing import Any

from roadworthy import RouteRule, roadworthy
from roadworthy.layer import Layer
from roadworthy.types import ASGIApp

__all__ = ("BIG_LIST", "CANARY", "EVENTS", "FILE_TEXT", "TEXT_CHUNKS", "around")

CANARY = "canary-4f1d-must-not-leave"
"""Text of every deliberate failure; no response may carry it."""

BIG_LIST = [{"id": number, "name": f"item number {number}"} for number in range(100)]
"""A JSON list well above the compression threshold."""

TEXT_CHUNKS = [f"chunk {number}\n" for number in range(5)]
EVENTS = ["data: one\n\n", "data: two\n\n"]
FILE_TEXT = "a file, served as it is\n" * 100


def around(app: ASGIApp, **settings: Any) -> Layer:
    """Put the layer around ``app`` with the one per-route rule that the tests ask for."""
    return roadworthy(app, routes={"GET /limited": RouteRule(rate_limit="3/hour")}, **settings)
