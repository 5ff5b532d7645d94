"""Each way in which an exchange can end, at a path of its own."""

from __future__ import annotations

import asyncio

from roadworthy import ConflictError, current_request_id, roadworthy
from roadworthy.types import Receive, Scope, Send

from .spans import export_spans

__all__ = ("app",)


class Odd(Exception):
    """What an app raises."""


async def _head(send: Send, status: int = 200, *fields: tuple[bytes, bytes]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": list(fields)})


async def _piece(send: Send, body: bytes = b"piece", *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def _wait_for_another() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    asyncio.get_running_loop().call_soon(task.cancel)
    await task


async def _until_gone(receive: Receive) -> None:
    print(f"waits for {current_request_id()} to leave", flush=True)
    while (await receive())["type"] != "http.disconnect":
        pass


def _own_task() -> asyncio.Task[None]:
    task = asyncio.current_task()
    assert task is not None
    return task


async def _serve_websocket(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["route"] = scope["path"]
    await receive()
    match path.strip("/").split("/")[1:]:
        case ["closes"]:
            await send({"type": "websocket.close", "code": 1008})
        case ["denies"]:
            await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
            await send({"type": "websocket.http.response.body", "body": b"who is it?"})
        case ["fails"]:
            raise Odd
        case ["refuses"]:
            raise ConflictError
        case ["returns"]:
            return
        case ["cancelled"]:
            raise asyncio.CancelledError
        case ["cancels-itself"]:
            _own_task().cancel()
            await asyncio.Event().wait()
        case ["late"]:
            await asyncio.Event().wait()
        case _:
            await send({"type": "websocket.accept"})


async def _serve(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await _serve_websocket(scope, receive, send)
        return
    path = scope["route"] = scope["path"]
    match path.strip("/").split("/"):
        case ["fails"]:
            raise Odd
        case ["group"]:
            raise BaseExceptionGroup("both", [Odd(), KeyError()])
        case ["exits"]:
            raise SystemExit(3)
        case ["cancelled-by-another"]:
            await _wait_for_another()
        case ["cancelled"]:
            raise asyncio.CancelledError
        case ["cancels-itself"]:
            _own_task().cancel()
            await asyncio.Event().wait()
        case ["cancels-by-a-callback"]:
            asyncio.get_running_loop().call_soon(_own_task().cancel)
            await asyncio.Event().wait()
        case ["returns"]:
            return
        case ["late"]:
            await asyncio.Event().wait()
        case ["status", status]:
            await _head(send, int(status))
            await _piece(send, more=False)
        case ["field-value"]:
            await _head(send, 200, (b"x-a", b"b\r\nx-c: d"))
            await _piece(send, more=False)
        case ["field-name"]:
            await _head(send, 200, (b"x a", b"b"))
            await _piece(send, more=False)
        case ["error-field"]:
            raise ConflictError(headers={"X-Reason": "a\r\nb"})
        case ["length"]:
            await _head(send, 200, (b"content-length", b"99"))
            await _piece(send, more=False)
        case ["stream-fails-first"]:
            await _head(send)
            raise Odd
        case ["stream-cancelled-first"]:
            await _head(send)
            await _wait_for_another()
        case ["stream-returns-first"]:
            await _head(send)
        case ["stream-fails"]:
            await _head(send)
            await _piece(send)
            raise Odd
        case ["stream-returns"]:
            await _head(send)
            await _piece(send)
        case ["fails-after"]:
            await _head(send)
            await _piece(send, more=False)
            raise Odd
        case ["leaves"]:
            await _until_gone(receive)
        case ["leaves-raising"]:
            await _until_gone(receive)
            raise Odd
        case ["leaves-stream"]:
            await _head(send)
            await _piece(send)
            await _until_gone(receive)
        case _:
            await _head(send, 204)
            await _piece(send, b"", more=False)


export_spans()
app = roadworthy(_serve)
