"""Routes that misbehave on purpose, for checks of a running process. Never part of the production app."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

__all__ = ("CANARY", "router")

CANARY = "canary-5d1f of an unhandled exception"
"""What no client may ever read."""

router = APIRouter(prefix="/api", tags=["probes"])


@router.get("/_slow")
async def slow(seconds: Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)]) -> dict[str, float]:
    """Answer after this many seconds."""
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


@router.get("/_fail")
async def fail() -> None:
    """Raise an exception that nothing handles."""
    raise RuntimeError(CANARY)


@router.get("/_stream", response_class=StreamingResponse)
async def stream(
    events: Annotated[int, Query(ge=0, le=1_000_000)],
    interval: Annotated[float, Query(ge=0, le=3600, allow_inf_nan=False)],
) -> StreamingResponse:
    """Send this many server-sent events, one every ``interval`` seconds."""

    async def lines() -> AsyncIterator[str]:
        for number in range(events):
            if number:
                await asyncio.sleep(interval)
            yield f"id: {number}\ndata: {number}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream")
