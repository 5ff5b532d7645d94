"""The service that leaves, in Litestar."""

from typing import Any, cast

from litestar import Litestar
from litestar import get as litestar_get
from litestar.params import FromPath
from litestar.response import Stream

from roadworthy import roadworthy
from roadworthy.types import ASGIApp
from tests.apps.exits import chunks, hold, holding, leave, release

__all__ = ("litestar",)


@litestar_get("/handler/{kind:str}")
async def _litestar_handler(kind: FromPath[str]) -> None:
    leave(kind)


@litestar_get("/sync/{kind:str}", sync_to_thread=True)
def _litestar_sync(kind: FromPath[str]) -> None:
    leave(kind)


@litestar_get("/stream/{kind:str}")
async def _litestar_stream(kind: FromPath[str]) -> Stream:
    return Stream(chunks(kind))


_waits: list[Any] = [
    litestar_get("/hold")(hold),
    litestar_get("/holding")(holding),
    litestar_get("/release")(release),
]
litestar = roadworthy(
    cast("ASGIApp", Litestar([_litestar_handler, _litestar_sync, _litestar_stream, *_waits]))
)
