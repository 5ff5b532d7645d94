"""The examples in `examples/guide`, and what a user of each looks like."""

from __future__ import annotations

from pathlib import Path

__all__ = ("FOLDER", "STACKS", "USERS")

FOLDER = Path(__file__).parents[2] / "examples" / "guide"
USERS = {
    "express": "/api/users/1",
    "nestjs": "/users/1",
    "fastify": "/users/1",
    "django": "/api/users/1",
    "fastapi": "/users/1",
    "go": "/api/users/1",
    "spring-boot": "/api/users/1",
}
STACKS = tuple(USERS)
