"""FastAPI with Sentry's SDK, as docs/checklist/logging.md sets it up; events go to ``TESTS_EVENTS``."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

import sentry_sdk
from fastapi import BackgroundTasks, FastAPI, HTTPException
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from roadworthy import ConflictError, RouteRule, current_request_id, roadworthy

__all__ = ("app",)


class _FileTransport(Transport):
    def capture_envelope(self, envelope: Envelope) -> None:
        event = envelope.get_event()
        if event is not None:
            with Path(os.environ["TESTS_EVENTS"]).open("a") as file:
                file.write(json.dumps(event, default=str) + "\n")


def with_request_id(event: Any, hint: Any) -> Any:
    """Tag the event with the id that the client and the record have."""
    request_id = current_request_id()
    if request_id:
        event.setdefault("tags", {})["request_id"] = request_id
    return event


sentry_sdk.init(
    dsn="https://key@sentry.invalid/1",
    transport=_FileTransport,
    before_send=with_request_id,
    max_request_body_size="never",
    include_local_variables=False,
)
api = FastAPI()


@api.get("/fails")
async def fails() -> None:
    """Fail."""
    raise LookupError("lost")


@api.get("/fails-in-a-thread")
def fails_in_a_thread() -> None:
    """Fail, in a thread of the framework's."""
    raise LookupError("lost")


@api.get("/conflict")
async def conflict() -> None:
    """Refuse."""
    raise ConflictError


@api.get("/missing")
async def missing() -> None:
    """Refuse as the framework does."""
    raise HTTPException(404)


@api.get("/item/{number}")
async def item(number: int) -> None:
    """Take a number."""


@api.get("/late")
async def late() -> None:
    """Never end."""
    await asyncio.Event().wait()


@api.get("/logs")
async def logs() -> None:
    """Go on, and leave a record of an error."""
    logging.getLogger("shop").error("the printer is on fire")


@api.get("/fails-after")
async def fails_after(tasks: BackgroundTasks) -> None:
    """Answer, and fail then."""
    tasks.add_task(fails_in_a_thread)


app = roadworthy(api, routes={"/late": RouteRule(timeout="200ms")})
