"""The attacked service as Roadworthy's users write it: one line."""

from roadworthy import RouteRule, roadworthy

from .service import LIMIT, create

__all__ = ("app",)

app = roadworthy(create(), routes={"GET /limited": RouteRule(rate_limit=LIMIT)})
