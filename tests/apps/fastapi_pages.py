"""FastAPI with error pages of its own: what the app made itself has to stay as it is."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from roadworthy import roadworthy
from tests.apps.common import BIG_LIST, CANARY

__all__ = ("app", "create", "plain")


async def not_found(request: Request, _: Exception) -> HTMLResponse:
    """Answer 404 with a page."""
    return HTMLResponse("<h1>Nothing here</h1>", 404)


async def failed(request: Request, _: Exception) -> HTMLResponse:
    """Answer 500 with a page."""
    return HTMLResponse("<h1>We broke it</h1>", 500)


async def refused(request: Request, _: Exception) -> JSONResponse:
    """Answer 422 in the app's own shape."""
    return JSONResponse({"message": "look at your input"}, 422)


def create() -> FastAPI:
    """Make the app anew."""
    made = FastAPI(
        title="Pages", exception_handlers={404: not_found, 500: failed, RequestValidationError: refused}
    )

    @made.get("/items")
    async def items() -> list[dict[str, object]]:
        return BIG_LIST

    @made.get("/items/{item_id}")
    async def item(item_id: int) -> dict[str, int]:
        return {"id": item_id}

    @made.get("/fail")
    async def fail() -> None:
        raise RuntimeError(CANARY)

    @made.get("/page", response_class=HTMLResponse)
    async def page() -> str:
        return "<!doctype html><script>1</script><h1>Hello</h1>"

    @made.get("/file")
    async def file() -> FileResponse:
        return FileResponse(Path(__file__).with_name("__init__.py"), media_type="text/x-python")

    @made.get("/cookie")
    async def cookie() -> JSONResponse:
        answer = JSONResponse({"ok": True})
        answer.set_cookie("session", "value")
        return answer

    made.mount("/static", StaticFiles(directory=Path(__file__).parent))
    return made


plain = create()
app = roadworthy(create())
